//! Keys that sort as the values they encode: a row's own key and the keys of its index entries.
//!
//! A view store compares bytes. So that `range` walks rows by date, by name or by buyer, each part of
//! a key is written in a form whose bytes compare as the values do, and no part is the beginning of
//! another of its type, so that parts can follow one another and a shorter tuple is a true prefix.
//! There are no type tags: the shape of a key is fixed by the index it belongs to. There are no
//! descending forms either: a range says which way it walks.

use domain::ids::{
    CampaignId, CategoryId, ClaimId, DeliveryId, MemberId, OrderId, PaymentId, ProductId, RefundId, Region, ReturnId,
    SellerId, Sku, WarehouseId,
};
use jiff::{Timestamp, civil::Date};
use ports::views::Key;
use uuid::Uuid;

/// The flipped sign bit makes negative numbers sort below positive ones.
const SIGN_64: u64 = 1 << 63;

/// What an average key needs; most are a few short words.
const KEY_CAPACITY: usize = 48;

/// A value that can be part of a key.
pub trait Part {
    /// Appends bytes that compare as the value does and are no prefix of another value's bytes.
    fn write(&self, key: &mut Key);
}

/// The key of one value or a tuple of values.
#[must_use]
pub fn key(parts: &(impl Part + ?Sized)) -> Key {
    let mut key = Key::with_capacity(KEY_CAPACITY);
    parts.write(&mut key);
    key
}

/// The first key that is greater than every key beginning with `prefix`; empty when there is none.
#[must_use]
pub fn after_prefix(prefix: &[u8]) -> Key {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

impl<T: Part + ?Sized> Part for &T {
    fn write(&self, key: &mut Key) {
        (**self).write(key);
    }
}

impl Part for str {
    /// The text, each zero byte followed by 0xFF, then two zero bytes: an end that sorts before any
    /// continuation, so that `"a"` comes before `"ab"` and `("a", "b")` is never `("ab", "")`.
    fn write(&self, key: &mut Key) {
        for (n, piece) in self.as_bytes().split(|byte| *byte == 0).enumerate() {
            if n > 0 {
                key.extend_from_slice(&[0, u8::MAX]);
            }
            key.extend_from_slice(piece);
        }
        key.extend_from_slice(&[0, 0]);
    }
}

impl Part for String {
    fn write(&self, key: &mut Key) {
        self.as_str().write(key);
    }
}

impl Part for u64 {
    fn write(&self, key: &mut Key) {
        key.extend_from_slice(&self.to_be_bytes());
    }
}

impl Part for i64 {
    fn write(&self, key: &mut Key) {
        (self.cast_unsigned() ^ SIGN_64).write(key);
    }
}

impl Part for bool {
    fn write(&self, key: &mut Key) {
        key.push(u8::from(*self));
    }
}

impl Part for Uuid {
    fn write(&self, key: &mut Key) {
        key.extend_from_slice(self.as_bytes());
    }
}

impl Part for Timestamp {
    /// Whole seconds since 1970 and nanoseconds within the second: exact over the type's range.
    fn write(&self, key: &mut Key) {
        let mut second = self.as_second();
        let mut nanosecond = self.subsec_nanosecond();
        if nanosecond < 0 {
            second -= 1;
            nanosecond += 1_000_000_000;
        }
        second.write(key);
        key.extend_from_slice(&nanosecond.to_be_bytes());
    }
}

impl Part for Date {
    fn write(&self, key: &mut Key) {
        key.extend_from_slice(&(self.year().cast_unsigned() ^ (1 << 15)).to_be_bytes());
        key.extend_from_slice(&[self.month().cast_unsigned(), self.day().cast_unsigned()]);
    }
}

macro_rules! words {
    ($($name:ident),+) => {$(
        impl Part for $name {
            fn write(&self, key: &mut Key) {
                self.as_str().write(key);
            }
        }
    )+};
}

macro_rules! numbers {
    ($($name:ident),+) => {$(
        impl Part for $name {
            fn write(&self, key: &mut Key) {
                self.0.write(key);
            }
        }
    )+};
}

macro_rules! tuples {
    ($(($($part:ident $n:tt),+))+) => {$(
        impl<$($part: Part),+> Part for ($($part,)+) {
            fn write(&self, key: &mut Key) {
                $(self.$n.write(key);)+
            }
        }
    )+};
}

words!(ProductId, Sku, WarehouseId, SellerId, CategoryId, Region);
numbers!(MemberId, OrderId, PaymentId, RefundId, DeliveryId, ReturnId, CampaignId, ClaimId);
tuples! { (A 0) (A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3) }

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text over an alphabet that is rich in what an encoding could get wrong.
    fn text() -> impl Strategy<Value = String> {
        proptest::collection::vec(
            prop_oneof![Just('\0'), Just('\u{1}'), Just('a'), Just('b'), Just('\u{ff}'), any::<char>()],
            0..6,
        )
        .prop_map(|chars| chars.into_iter().collect())
    }

    fn time() -> impl Strategy<Value = Timestamp> {
        (-5_i64..5, -999_999_999_i32..=999_999_999)
            .prop_filter_map("signs must agree", |(second, nano)| Timestamp::new(second, nano).ok())
    }

    fn day() -> impl Strategy<Value = Date> {
        (-3_i16..3, 1_i8..=12, 1_i8..=28).prop_filter_map("a day", |(y, m, d)| Date::new(y, m, d).ok())
    }

    proptest! {
        #[test]
        fn keys_of_text_and_numbers_sort_as_the_tuples_do(
            a in (text(), any::<u64>(), any::<i64>()), b in (text(), any::<u64>(), any::<i64>()),
        ) {
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }

        #[test]
        fn keys_of_two_texts_sort_as_the_pairs_do(a in (text(), text()), b in (text(), text())) {
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }

        #[test]
        fn keys_of_times_days_and_uuids_sort_as_the_tuples_do(
            a in (time(), day(), any::<u128>(), any::<bool>()), b in (time(), day(), any::<u128>(), any::<bool>()),
        ) {
            let encode = |t: &(Timestamp, Date, u128, bool)| key(&(t.0, t.1, Uuid::from_u128(t.2), t.3));
            prop_assert_eq!(encode(&a).cmp(&encode(&b)), a.cmp(&b));
            prop_assert_eq!(key(&a.0).cmp(&key(&b.0)), a.0.cmp(&b.0));
            prop_assert_eq!(key(&a.1).cmp(&key(&b.1)), a.1.cmp(&b.1));
        }

        #[test]
        fn a_prefix_range_holds_exactly_the_keys_that_begin_with_it(first in text(), other in (text(), any::<u64>())) {
            let from = key(&(&first,));
            let to = after_prefix(&from);
            let found = key(&other);
            prop_assert_eq!(found >= from && found < to, other.0 == first);
        }
    }

    #[test]
    fn a_prefix_of_highest_bytes_has_no_end() {
        assert_eq!(after_prefix(&[1, 255, 255]), [2]);
        assert_eq!(after_prefix(&[255, 255]), Key::new());
        assert_eq!(after_prefix(&[]), Key::new());
    }

    #[test]
    fn neighbouring_texts_never_run_into_each_other() {
        assert_ne!(key(&("a", "b")), key(&("ab", "")));
        assert_ne!(key(&("", "ab")), key(&("a", "b")));
        assert!(key(&"a") < key(&"ab"));
        assert!(key(&("a", "z")) < key(&("ab", "a")));
    }

    #[test]
    fn the_extremes_keep_their_order() {
        assert!(key(&i64::MIN) < key(&-1_i64));
        assert!(key(&-1_i64) < key(&0_i64));
        assert!(key(&Timestamp::MIN) < key(&Timestamp::UNIX_EPOCH));
        assert!(key(&Timestamp::UNIX_EPOCH) < key(&Timestamp::MAX));
        assert!(key(&Date::MIN) < key(&Date::ZERO) && key(&Date::ZERO) < key(&Date::MAX));
    }
}
