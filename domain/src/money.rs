//! Money: whole minor units of one currency, with checked arithmetic and splits that always add up.
//!
//! There is no float, no implicit currency and no rounding that loses a penny. KRW and JPY have no minor
//! unit, KWD has three digits: [`Currency::digits`] knows, so that text and amounts convert exactly.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};

/// An ISO 4217 currency code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Pound sterling.
    pub const GBP: Self = Self(*b"GBP");
    /// South Korean won; it has no minor unit.
    pub const KRW: Self = Self(*b"KRW");
    /// Euro.
    pub const EUR: Self = Self(*b"EUR");
    /// United States dollar.
    pub const USD: Self = Self(*b"USD");

    /// The three letters.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// How many decimal digits the minor unit has (ISO 4217's exponent).
    #[must_use]
    pub fn digits(&self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX"
            | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            _ => 2,
        }
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = MoneyError;
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        match text.as_bytes() {
            &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_uppercase) => Ok(Self([a, b, c])),
            _ => Err(MoneyError::NotACurrency { text: text.chars().take(16).collect() }),
        }
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Code;
        impl Visitor<'_> for Code {
            type Value = Currency;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an ISO 4217 currency code")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Currency, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Code)
    }
}

/// Why an amount could not be computed or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result does not fit 64 bits of minor units.
    #[error("the amount is too large")]
    Overflow,
    /// Two currencies met in one sum.
    #[error("{left} and {right} cannot be added")]
    Mismatch {
        /// The currency on the left.
        left: Currency,
        /// The currency on the right.
        right: Currency,
    },
    /// Not three capital letters.
    #[error("{text:?} is not an ISO 4217 currency code")]
    NotACurrency {
        /// What was given (its beginning).
        text: String,
    },
    /// Not a decimal number.
    #[error("{text:?} is not an amount")]
    NotAnAmount {
        /// What was given (its beginning).
        text: String,
    },
    /// More decimals than the currency's minor unit has.
    #[error("{currency} has no unit that small")]
    SubMinor {
        /// The currency asked for.
        currency: Currency,
    },
}

/// An amount in minor units (pence, cents, won) of one currency.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Minor units; negative only where a sum may be (a refund total, never a price).
    pub amount: i64,
    /// The currency of `amount`.
    pub currency: Currency,
}

impl Money {
    /// `amount` minor units of `currency`.
    #[must_use]
    pub const fn new(amount: i64, currency: Currency) -> Self {
        Self { amount, currency }
    }

    /// Nothing, in `currency`.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// Reads a decimal such as `2.55`.
    ///
    /// # Errors
    /// [`MoneyError::SubMinor`] for more decimals than the currency has (trailing zeros aside),
    /// [`MoneyError::NotAnAmount`] for anything but a decimal, [`MoneyError::Overflow`].
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let not_an_amount = || MoneyError::NotAnAmount { text: text.chars().take(32).collect() };
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || digits.ends_with('.') {
            return Err(not_an_amount());
        }
        let fraction = fraction.trim_end_matches('0');
        let places = currency.digits() as usize;
        if fraction.len() > places {
            return Err(MoneyError::SubMinor { currency });
        }
        let minor = format!("{whole}{fraction:0<places$}");
        let amount: i64 = minor.parse().map_err(|_| MoneyError::Overflow)?;
        Ok(Self::new(if negative { -amount } else { amount }, currency))
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::Mismatch`] or [`MoneyError::Overflow`].
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.same(other)?;
        self.amount.checked_add(other.amount).map(|a| Self::new(a, self.currency)).ok_or(MoneyError::Overflow)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`MoneyError::Mismatch`] or [`MoneyError::Overflow`].
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.same(other)?;
        self.amount.checked_sub(other.amount).map(|a| Self::new(a, self.currency)).ok_or(MoneyError::Overflow)
    }

    /// `quantity` times the amount.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn times(self, quantity: u32) -> Result<Self, MoneyError> {
        self.amount.checked_mul(i64::from(quantity)).map(|a| Self::new(a, self.currency)).ok_or(MoneyError::Overflow)
    }

    /// `numerator / denominator` of the amount, rounded towards zero. A zero denominator yields zero.
    #[must_use]
    pub fn fraction(self, numerator: u64, denominator: u64) -> Self {
        if denominator == 0 {
            return Self::zero(self.currency);
        }
        let exact = i128::from(self.amount) * i128::from(numerator) / i128::from(denominator);
        let bounded = exact.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        Self::new(i64::try_from(bounded).unwrap_or(i64::MAX), self.currency)
    }

    /// Splits the amount in proportion to `weights` by largest remainder: the parts always add up to
    /// the whole, and equal remainders go to the earlier part. All-zero weights share equally.
    #[must_use]
    pub fn split(self, weights: &[u64]) -> Vec<Self> {
        if weights.is_empty() {
            return Vec::new();
        }
        let total: u128 = weights.iter().map(|&w| u128::from(w)).sum();
        let (weight_of, total): (Box<dyn Fn(usize) -> u128>, u128) = if total == 0 {
            (Box::new(|_| 1), weights.len() as u128)
        } else {
            (Box::new(|i| u128::from(weights[i])), total)
        };
        let whole = u128::from(self.amount.unsigned_abs());
        let mut parts: Vec<u128> = (0..weights.len()).map(|i| whole * weight_of(i) / total).collect();
        let missing = whole - parts.iter().sum::<u128>();
        let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
        by_remainder.sort_by_key(|&i| std::cmp::Reverse(whole * weight_of(i) % total));
        for &i in by_remainder.iter().take(usize::try_from(missing).unwrap_or(usize::MAX)) {
            parts[i] += 1;
        }
        let sign = self.amount.signum();
        parts.into_iter().map(|part| Self::new(sign * i64::try_from(part).unwrap_or(i64::MAX), self.currency)).collect()
    }

    fn same(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(MoneyError::Mismatch { left: self.currency, right: other.currency })
        }
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Money {
    /// `12.50 GBP`, `1200 KRW`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.currency.digits() as usize;
        let sign = if self.amount < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", self.amount.unsigned_abs(), width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let point = if places > 0 { "." } else { "" };
        write!(f, "{sign}{whole}{point}{fraction} {}", self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gbp(amount: i64) -> Money {
        Money::new(amount, Currency::GBP)
    }

    #[test]
    fn text_converts_exactly_or_not_at_all() {
        assert_eq!(Money::parse("2.55", Currency::GBP), Ok(gbp(255)));
        assert_eq!(Money::parse("2.5", Currency::GBP), Ok(gbp(250)));
        assert_eq!(Money::parse("2.500", Currency::GBP), Ok(gbp(250)));
        assert_eq!(Money::parse("-11062.06", Currency::GBP), Ok(gbp(-1_106_206)));
        assert_eq!(Money::parse("1200", Currency::KRW), Ok(Money::new(1200, Currency::KRW)));
        assert_eq!(Money::parse("0.001", Currency::GBP), Err(MoneyError::SubMinor { currency: Currency::GBP }));
        assert_eq!(Money::parse("1.5", Currency::KRW), Err(MoneyError::SubMinor { currency: Currency::KRW }));
        assert_eq!(Money::parse("99999999999999999999", Currency::GBP), Err(MoneyError::Overflow));
        for bad in ["", ".", "1.", ".5", "1e3", "1,5", "--1", " 1", "٣"] {
            assert!(matches!(Money::parse(bad, Currency::GBP), Err(MoneyError::NotAnAmount { .. })), "{bad:?}");
        }
    }

    #[test]
    fn amounts_print_with_their_currencys_digits() {
        assert_eq!(gbp(5).to_string(), "0.05 GBP");
        assert_eq!(gbp(-1250).to_string(), "-12.50 GBP");
        assert_eq!(Money::new(1200, Currency::KRW).to_string(), "1200 KRW");
    }

    #[test]
    fn currencies_never_mix_and_sums_never_wrap() {
        let won = Money::new(1, Currency::KRW);
        assert!(matches!(gbp(1).plus(won), Err(MoneyError::Mismatch { .. })));
        assert_eq!(gbp(i64::MAX).plus(gbp(1)), Err(MoneyError::Overflow));
        assert_eq!(gbp(i64::MAX).times(2), Err(MoneyError::Overflow));
        assert_eq!(gbp(i64::MIN).minus(gbp(1)), Err(MoneyError::Overflow));
    }

    proptest! {
        #[test]
        fn a_split_always_adds_up_and_never_strays_by_more_than_one(
            amount in -1_000_000_000_i64..1_000_000_000,
            weights in proptest::collection::vec(0_u64..1_000_000, 1..40),
        ) {
            let parts = gbp(amount).split(&weights);
            prop_assert_eq!(parts.iter().map(|p| p.amount).sum::<i64>(), amount);
            let total: u64 = weights.iter().sum();
            if total > 0 {
                for (part, weight) in parts.iter().zip(&weights) {
                    let fair = i128::from(amount) * i128::from(*weight) / i128::from(total);
                    prop_assert!((i128::from(part.amount) - fair).abs() <= 1);
                }
            }
        }

        #[test]
        fn what_prints_reads_back(amount in proptest::num::i64::ANY) {
            prop_assume!(amount != i64::MIN);
            let text = gbp(amount).to_string();
            prop_assert_eq!(Money::parse(text.trim_end_matches(" GBP"), Currency::GBP), Ok(gbp(amount)));
        }
    }
}
