//! Messages to domain values and back, with errors that name the field.
//!
//! Field names are given as anything that prints, so that `lines[17].sku` is spelled out only when something is
//! wrong with it.

use std::{fmt::Display, str::FromStr};

use domain::{
    ids::{IdError, WORD_MAX},
    money::{Currency, Money},
};
use jiff::Timestamp;
use tonic::Status;

use crate::error::{invalid, missing};

/// The longest reason that a caller may give, in characters.
const REASON_MAX: usize = 200;
/// Billionths in one: the unit of `google.type.Money.nanos`.
const NANOS: i64 = 1_000_000_000;

/// A required id.
pub(super) fn id<T: FromStr<Err = IdError>>(field: impl Display, text: &str) -> Result<T, Status> {
    text.parse().map_err(|why| bad_id(field, text, &why))
}

/// An id that may be left out.
pub(super) fn optional_id<T: FromStr<Err = IdError>>(field: impl Display, text: &str) -> Result<Option<T>, Status> {
    if text.is_empty() { Ok(None) } else { id(field, text).map(Some) }
}

fn bad_id(field: impl Display, text: &str, why: &IdError) -> Status {
    let field = field.to_string();
    match why {
        _ if text.is_empty() => missing(&field),
        IdError::Empty { .. } => missing(&field),
        IdError::TooLong { .. } => invalid(&field, format!("must have at most {WORD_MAX} characters")),
        IdError::Character { found, .. } => {
            invalid(&field, format!("may hold letters, digits and . _ ~ - only, not {found:?}"))
        }
        IdError::NotUuid { .. } => invalid(&field, "must be a UUID"),
    }
}

/// A required amount.
pub(super) fn money(field: impl Display, money: Option<&proto::Money>) -> Result<Money, Status> {
    match money {
        Some(money) => amount(&field, money),
        None => Err(missing(&field.to_string())),
    }
}

/// An amount that may be left out.
pub(super) fn optional_money(field: impl Display, money: Option<&proto::Money>) -> Result<Option<Money>, Status> {
    money.map(|money| amount(&field, money)).transpose()
}

fn amount(field: &impl Display, money: &proto::Money) -> Result<Money, Status> {
    let refuse = |why: String| invalid(&field.to_string(), why);
    let currency: Currency = money.currency_code.parse().map_err(|_| {
        invalid(&format!("{field}.currency_code"), "must be three capital letters of ISO 4217, e.g. GBP")
    })?;
    let nanos = i64::from(money.nanos);
    if nanos.abs() >= NANOS || (money.units > 0 && nanos < 0) || (money.units < 0 && nanos > 0) {
        return Err(refuse("has nanos that do not fit its units".into()));
    }
    let scale = 10_i64.pow(currency.digits());
    let unit = NANOS / scale;
    if nanos % unit != 0 {
        return Err(refuse(format!("is smaller than the smallest unit of {currency}")));
    }
    let minor = money.units.checked_mul(scale).and_then(|whole| whole.checked_add(nanos / unit));
    minor.map(|minor| Money::new(minor, currency)).ok_or_else(|| refuse("is too large".into()))
}

/// The amount as clients read it.
pub(super) fn to_money(money: Money) -> proto::Money {
    let scale = 10_i64.pow(money.currency.digits());
    let nanos = (money.amount % scale) * (NANOS / scale);
    proto::Money {
        currency_code: money.currency.code().to_owned(),
        units: money.amount / scale,
        // Less than a billion by construction.
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

/// A moment that may be left out.
pub(super) fn moment(field: &str, moment: Option<&prost_types::Timestamp>) -> Result<Option<Timestamp>, Status> {
    let Some(moment) = moment else { return Ok(None) };
    if !(0..1_000_000_000).contains(&moment.nanos) {
        return Err(invalid(field, "has nanos outside 0 to 999,999,999"));
    }
    let read = Timestamp::new(moment.seconds, moment.nanos);
    read.map(Some).map_err(|_| invalid(field, "must lie between the years -9999 and 9999"))
}

/// The moment as clients read it: nanos always count forward.
pub(super) fn to_moment(moment: Timestamp) -> prost_types::Timestamp {
    let (mut seconds, mut nanos) = (moment.as_second(), moment.subsec_nanosecond());
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    prost_types::Timestamp { seconds, nanos }
}

/// A text that people read, of bounded length and without control characters.
pub(super) fn text(field: impl Display, text: &str, max: usize) -> Result<String, Status> {
    if text.chars().count() > max {
        return Err(invalid(&field.to_string(), format!("must have at most {max} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(&field.to_string(), "must not hold control characters"));
    }
    Ok(text.to_owned())
}

/// Why somebody wants something; may be empty.
pub(super) fn reason(why: &str) -> Result<String, Status> {
    text("reason", why, REASON_MAX)
}

/// A count of the domain as a message has it.
pub(super) fn count(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use domain::ids::{OrderId, Sku};
    use proptest::prelude::*;

    use super::*;

    fn says(status: &Status) -> &str {
        status.message()
    }

    fn wire(code: &str, units: i64, nanos: i32) -> proto::Money {
        proto::Money { currency_code: code.into(), units, nanos }
    }

    #[test]
    fn ids_say_what_is_wrong_with_which_field() {
        let field = || format_args!("lines[{}].sku", 2).to_string();
        assert_eq!(says(&id::<Sku>(field(), "").unwrap_err()), "lines[2].sku is required");
        assert!(says(&id::<Sku>(field(), "a b").unwrap_err()).starts_with("lines[2].sku may hold letters"));
        assert_eq!(says(&id::<OrderId>("order_id", "7").unwrap_err()), "order_id must be a UUID");
        assert_eq!(says(&id::<OrderId>("order_id", "").unwrap_err()), "order_id is required");
        assert_eq!(optional_id::<OrderId>("order_id", "").unwrap(), None);
    }

    #[test]
    fn an_amount_converts_exactly_or_is_refused() {
        let read = |money: &proto::Money| optional_money("price", Some(money)).map(Option::unwrap);
        assert_eq!(read(&wire("GBP", 2, 550_000_000)).unwrap(), Money::new(255, Currency::GBP));
        assert_eq!(read(&wire("GBP", -2, -550_000_000)).unwrap(), Money::new(-255, Currency::GBP));
        assert_eq!(read(&wire("KRW", 1200, 0)).unwrap(), Money::new(1200, Currency::KRW));
        for (bad, why) in [
            (wire("GBP", 0, 1_000_000), "price is smaller than the smallest unit of GBP"),
            (wire("KRW", 1, 500_000_000), "price is smaller than the smallest unit of KRW"),
            (wire("GBP", 1, -10_000_000), "price has nanos that do not fit its units"),
            (wire("GBP", 0, 1_000_000_000), "price has nanos that do not fit its units"),
            (wire("GBP", i64::MAX, 0), "price is too large"),
            (wire("gbp", 1, 0), "price.currency_code must be three capital letters of ISO 4217, e.g. GBP"),
        ] {
            assert_eq!(says(&read(&bad).unwrap_err()), why);
        }
    }

    #[test]
    fn a_moment_before_1970_goes_both_ways() {
        let early = prost_types::Timestamp { seconds: -5, nanos: 250_000_000 };
        let read = moment("occurred_at", Some(&early)).unwrap().unwrap();
        assert_eq!(read.to_string(), "1969-12-31T23:59:55.25Z");
        assert_eq!(to_moment(read), early);
        assert!(moment("occurred_at", Some(&prost_types::Timestamp { seconds: 0, nanos: -1 })).is_err());
        assert!(moment("occurred_at", Some(&prost_types::Timestamp { seconds: i64::MAX, nanos: 0 })).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(minor in proptest::num::i64::ANY, which in 0_usize..3) {
            let currency = ["GBP", "KRW", "KWD"][which].parse().unwrap();
            let money = Money::new(minor, currency);
            prop_assert_eq!(optional_money("x", Some(&to_money(money))).unwrap(), Some(money));
        }
    }
}
