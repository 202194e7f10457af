//! Coupons: a campaign that hands out claims, and each claim's own life.
//!
//! Two aggregates, because they are used so differently. A [`campaign`] is one hot stream that every member
//! hits in the same minute: it checks quantity, member limit and window in one decision and holds claims
//! only. A [`claim`] is the coupon in one member's hand: an order holds it, redeems it, gives it back.

pub mod campaign;
pub mod claim;
pub mod members;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::money::{Currency, Money, MoneyError};

/// The most claims a campaign can limit itself to.
pub const QUANTITY_MAX: u32 = 1_000_000_000;
/// The most claims a campaign can allow one member.
pub const PER_MEMBER_MAX: u32 = 1_000;
/// All of a subtotal, in basis points.
pub const BASIS_POINTS: u32 = 10_000;

/// What a coupon takes off. In JSON: `{"percent": {"basis_points": 1000}}` or
/// `{"amount": {"amount": 500, "currency": "GBP"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Discount {
    /// A share of the subtotal.
    Percent {
        /// Hundredths of a percent, 1 to 10,000.
        basis_points: u32,
    },
    /// A fixed amount, positive; never more than the subtotal.
    Amount(Money),
}

/// What a campaign promises, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// What each claim takes off an order.
    pub discount: Discount,
    /// The smallest subtotal it applies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_spend: Option<Money>,
    /// How many claims there are in all; none means as many as members want.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u32>,
    /// How many claims one member may have, at least 1.
    pub per_member: u32,
    /// The first moment at which it can be claimed.
    pub opens_at: Timestamp,
    /// The first moment at which it can no longer be claimed.
    pub closes_at: Timestamp,
}

/// Why terms make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTerms {
    /// A share of nothing or of more than all.
    #[error("a discount must be 1 to {BASIS_POINTS} basis points, not {found}")]
    Percent {
        /// What was given.
        found: u32,
    },
    /// A discount or a minimum spend of nothing or less.
    #[error("an amount must be positive, not {found}")]
    Amount {
        /// What was given.
        found: Money,
    },
    /// A discount in another currency than the minimum spend.
    #[error("the discount is in {discount}, the minimum spend in {minimum_spend}")]
    Currency {
        /// The discount's currency.
        discount: Currency,
        /// The minimum spend's currency.
        minimum_spend: Currency,
    },
    /// A quantity of zero or beyond [`QUANTITY_MAX`].
    #[error("a quantity must be between 1 and {QUANTITY_MAX}, not {found}")]
    Quantity {
        /// What was given.
        found: u32,
    },
    /// A member limit of zero or beyond [`PER_MEMBER_MAX`].
    #[error("a member limit must be between 1 and {PER_MEMBER_MAX}, not {found}")]
    PerMember {
        /// What was given.
        found: u32,
    },
    /// A window that closes before it opens.
    #[error("the window closes at {closes_at}, which is not after it opens at {opens_at}")]
    Window {
        /// When it opens.
        opens_at: Timestamp,
        /// When it closes.
        closes_at: Timestamp,
    },
}

/// Why a coupon takes nothing off an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Inapplicable {
    /// The order is too small.
    #[error("the coupon needs a subtotal of {minimum_spend}, not {subtotal}")]
    BelowMinimum {
        /// The smallest subtotal it applies to.
        minimum_spend: Money,
        /// What was given.
        subtotal: Money,
    },
    /// The order is in another currency.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

impl Discount {
    /// What it takes off `subtotal`: never more than that, never less than nothing. A percentage rounds down
    /// to the minor unit.
    ///
    /// # Errors
    /// [`MoneyError::Mismatch`] when a fixed amount meets another currency.
    pub fn off(&self, subtotal: Money) -> Result<Money, MoneyError> {
        let most = subtotal.amount.max(0);
        let wanted = match self {
            Self::Percent { basis_points } => subtotal.fraction((*basis_points).into(), BASIS_POINTS.into()),
            Self::Amount(amount) if amount.currency == subtotal.currency => *amount,
            Self::Amount(amount) => {
                return Err(MoneyError::Mismatch { left: subtotal.currency, right: amount.currency });
            }
        };
        Ok(Money::new(wanted.amount.clamp(0, most), subtotal.currency))
    }
}

impl Terms {
    /// What a claim takes off an order of `subtotal`.
    ///
    /// # Errors
    /// [`Inapplicable`] when the order is too small or in another currency.
    pub fn off(&self, subtotal: Money) -> Result<Money, Inapplicable> {
        if let Some(minimum_spend) = self.minimum_spend
            && subtotal.minus(minimum_spend)?.amount < 0
        {
            return Err(Inapplicable::BelowMinimum { minimum_spend, subtotal });
        }
        Ok(self.discount.off(subtotal)?)
    }

    /// Checks that the terms make sense.
    ///
    /// # Errors
    /// The first [`InvalidTerms`] in the order of the fields.
    pub fn check(&self) -> Result<(), InvalidTerms> {
        match &self.discount {
            Discount::Percent { basis_points: 1..=BASIS_POINTS } => {}
            Discount::Percent { basis_points } => {
                return Err(InvalidTerms::Percent { found: *basis_points });
            }
            Discount::Amount(amount) => positive(*amount)?,
        }
        if let Some(minimum_spend) = self.minimum_spend {
            positive(minimum_spend)?;
            match &self.discount {
                Discount::Amount(amount) if amount.currency != minimum_spend.currency => {
                    let (discount, minimum_spend) = (amount.currency, minimum_spend.currency);
                    return Err(InvalidTerms::Currency { discount, minimum_spend });
                }
                Discount::Amount(_) | Discount::Percent { .. } => {}
            }
        }
        match self.quantity {
            Some(found) if !(1..=QUANTITY_MAX).contains(&found) => {
                return Err(InvalidTerms::Quantity { found });
            }
            Some(_) | None => {}
        }
        if !(1..=PER_MEMBER_MAX).contains(&self.per_member) {
            return Err(InvalidTerms::PerMember { found: self.per_member });
        }
        if self.closes_at <= self.opens_at {
            return Err(InvalidTerms::Window { opens_at: self.opens_at, closes_at: self.closes_at });
        }
        Ok(())
    }
}

fn positive(amount: Money) -> Result<(), InvalidTerms> {
    if amount.amount > 0 { Ok(()) } else { Err(InvalidTerms::Amount { found: amount }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gbp(amount: i64) -> Money {
        Money::new(amount, Currency::GBP)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ten_percent() -> Terms {
        Terms {
            discount: Discount::Percent { basis_points: 1_000 },
            minimum_spend: None,
            quantity: Some(100),
            per_member: 1,
            opens_at: at(10),
            closes_at: at(20),
        }
    }

    #[test]
    fn a_percentage_rounds_down_and_an_amount_stops_at_the_subtotal() {
        let off = |discount: Discount, subtotal| discount.off(gbp(subtotal)).map(|money| money.amount);
        let percent = |basis_points| Discount::Percent { basis_points };
        assert_eq!(off(percent(1_000), 999), Ok(99));
        assert_eq!(off(percent(3_333), 100), Ok(33));
        assert_eq!(off(percent(10_000), 999), Ok(999));
        assert_eq!(off(percent(1), 9_999), Ok(0));
        assert_eq!(off(Discount::Amount(gbp(500)), 999), Ok(500));
        assert_eq!(off(Discount::Amount(gbp(500)), 499), Ok(499));
        assert_eq!(off(Discount::Amount(gbp(500)), -1), Ok(0));
        let won = Money::new(500, Currency::KRW);
        assert!(matches!(Discount::Amount(won).off(gbp(1)), Err(MoneyError::Mismatch { .. })));
    }

    #[test]
    fn a_minimum_spend_is_met_exactly_or_the_coupon_takes_nothing_off() {
        let terms = Terms { minimum_spend: Some(gbp(1_000)), ..ten_percent() };
        assert_eq!(terms.off(gbp(1_000)), Ok(gbp(100)));
        let small = Inapplicable::BelowMinimum { minimum_spend: gbp(1_000), subtotal: gbp(999) };
        assert_eq!(terms.off(gbp(999)), Err(small));
        assert!(matches!(terms.off(Money::new(9_999, Currency::KRW)), Err(Inapplicable::Money(_))));
    }

    #[test]
    fn terms_that_make_no_sense_are_refused_with_the_reason() {
        let percent = |basis_points| Terms { discount: Discount::Percent { basis_points }, ..ten_percent() };
        let amount = |amount| Terms { discount: Discount::Amount(gbp(amount)), ..ten_percent() };
        let euros = Money::new(5, Currency::EUR);
        let (discount, minimum_spend) = (Currency::GBP, Currency::EUR);
        let scenarios = [
            (ten_percent(), Ok(())),
            (Terms { quantity: None, ..ten_percent() }, Ok(())),
            (percent(10_000), Ok(())),
            (percent(0), Err(InvalidTerms::Percent { found: 0 })),
            (percent(10_001), Err(InvalidTerms::Percent { found: 10_001 })),
            (amount(0), Err(InvalidTerms::Amount { found: gbp(0) })),
            (Terms { minimum_spend: Some(gbp(-1)), ..amount(5) }, Err(InvalidTerms::Amount { found: gbp(-1) })),
            (
                Terms { minimum_spend: Some(euros), ..amount(5) },
                Err(InvalidTerms::Currency { discount, minimum_spend }),
            ),
            (Terms { quantity: Some(0), ..ten_percent() }, Err(InvalidTerms::Quantity { found: 0 })),
            (Terms { quantity: Some(u32::MAX), ..ten_percent() }, Err(InvalidTerms::Quantity { found: u32::MAX })),
            (Terms { per_member: 0, ..ten_percent() }, Err(InvalidTerms::PerMember { found: 0 })),
            (Terms { per_member: 1_001, ..ten_percent() }, Err(InvalidTerms::PerMember { found: 1_001 })),
            (
                Terms { closes_at: at(10), ..ten_percent() },
                Err(InvalidTerms::Window { opens_at: at(10), closes_at: at(10) }),
            ),
        ];
        for (terms, expected) in scenarios {
            assert_eq!(terms.check(), expected, "{terms:?}");
        }
    }

    proptest! {
        #[test]
        fn a_discount_is_never_negative_and_never_more_than_the_subtotal(
            subtotal in proptest::num::i64::ANY,
            basis_points in 0_u32..20_000,
            amount in proptest::num::i64::ANY,
        ) {
            for discount in [Discount::Percent { basis_points }, Discount::Amount(gbp(amount))] {
                let off = discount.off(gbp(subtotal)).unwrap().amount;
                prop_assert!(off >= 0 && off <= subtotal.max(0), "{off}");
            }
        }
    }
}
