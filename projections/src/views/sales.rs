//! Sales: units and revenue per day, product, region and currency.
//!
//! A sale counts on the day it was confirmed, when money and goods had changed hands; what comes back is
//! subtracted on the day it came back, so a closed day never changes. Days are of business time (UTC), which
//! an importer may set. The currency is part of the key because two currencies have no sum.

use domain::{
    event::Event,
    ids::{ProductId, Region},
    money::{Currency, Money, MoneyError},
    order::{self, Sold},
};
use jiff::civil::Date;
use ports::views::Key;
use serde::{Deserialize, Serialize};

use crate::{
    event::{Category, Fact},
    key::{Part, key},
    reader::Query,
    view::{Fault, Touched, View},
};

const BY_PRODUCT: &str = "by_product";
const BY_REGION: &str = "by_region";

/// The view of sales.
#[derive(Debug)]
pub struct Sales;

/// What names a row of sales.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// The day, UTC.
    pub day: Date,
    /// The product.
    pub product: ProductId,
    /// Where it went.
    pub region: Region,
    /// In which currency it was paid.
    pub currency: Currency,
}

/// What was sold and came back of a product on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaySales {
    /// The day, UTC.
    pub day: Date,
    /// The product.
    pub product: ProductId,
    /// Where it went.
    pub region: Region,
    /// The currency of both amounts.
    pub currency: Currency,
    /// Units sold.
    pub units_sold: u64,
    /// What buyers paid for them, in minor units.
    pub amount_sold: i64,
    /// Units that came back.
    pub units_returned: u64,
    /// What buyers got back for them, in minor units.
    pub amount_returned: i64,
}

impl DaySales {
    /// Units sold less units that came back; negative when more came back than went.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn units(&self) -> Result<i64, MoneyError> {
        let net = i128::from(self.units_sold) - i128::from(self.units_returned);
        i64::try_from(net).map_err(|_| MoneyError::Overflow)
    }

    /// What buyers paid less what they got back.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn revenue(&self) -> Result<Money, MoneyError> {
        Money::new(self.amount_sold, self.currency).minus(Money::new(self.amount_returned, self.currency))
    }
}

/// All rows from one day to another (both inclusive), by day.
#[must_use]
pub fn between(from: Date, to: Date) -> Query<Sales> {
    Query::rows().between(&(from,), &(to,))
}

/// The rows of a product from one day to another (both inclusive), by day.
#[must_use]
pub fn of_product(product: &ProductId, from: Date, to: Date) -> Query<Sales> {
    Query::index(BY_PRODUCT).between(&(product, from), &(product, to))
}

/// The rows of a region from one day to another (both inclusive), by day.
#[must_use]
pub fn in_region(region: &Region, from: Date, to: Date) -> Query<Sales> {
    Query::index(BY_REGION).between(&(region, from), &(region, to))
}

impl Part for Cell {
    fn write(&self, key: &mut Key) {
        (self.day, &self.product, &self.region, self.currency.code()).write(key);
    }
}

/// What a fact means to a row.
#[derive(Debug)]
pub enum Change<'a> {
    /// Goods were sold.
    Sale(&'a Sold),
    /// Goods came back, or never arrived.
    Return(&'a Sold),
}

impl View for Sales {
    const NAME: &'static str = "sales";
    const VERSION: u32 = 1;
    const READS: &'static [Category] = &[Category::Order];
    const INDEXES: &'static [&'static str] = &[BY_PRODUCT, BY_REGION];
    type Key = Cell;
    type Row = DaySales;
    type Change<'a> = Change<'a>;

    fn touch<'a>(fact: &'a Fact, touched: &mut Touched<'a, Self>) -> Result<(), Fault> {
        let Event::Order(event) = &fact.event else {
            return Ok(());
        };
        let (sold, region, change): (&'a [Sold], _, fn(&'a Sold) -> Change<'a>) = match event {
            order::Event::Confirmed(confirmed) => (&confirmed.sold, &confirmed.region, Change::Sale),
            order::Event::Undeliverable(undone) => (&undone.sold, &undone.region, Change::Return),
            order::Event::Returned(returned) => (&returned.lines, &returned.region, Change::Return),
            _ => return Ok(()),
        };
        let day = fact.day();
        for line in sold {
            let cell =
                Cell { day, product: line.product.clone(), region: region.clone(), currency: line.amount.currency };
            touched.row(cell, change(line));
        }
        Ok(())
    }

    fn apply(key: &Cell, row: Option<DaySales>, change: Change<'_>, _: &Fact) -> Result<Option<DaySales>, Fault> {
        let mut row = row.unwrap_or_else(|| DaySales {
            day: key.day,
            product: key.product.clone(),
            region: key.region.clone(),
            currency: key.currency,
            units_sold: 0,
            amount_sold: 0,
            units_returned: 0,
            amount_returned: 0,
        });
        let (units, amount, line) = match change {
            Change::Sale(line) => (&mut row.units_sold, &mut row.amount_sold, line),
            Change::Return(line) => (&mut row.units_returned, &mut row.amount_returned, line),
        };
        *units = units.checked_add(line.quantity.into()).ok_or(Fault::Count { what: "units" })?;
        *amount = amount.checked_add(line.amount.amount).ok_or(MoneyError::Overflow)?;
        Ok(Some(row))
    }

    fn indexes(row: &DaySales) -> Vec<(&'static str, Key)> {
        let DaySales { day, product, region, .. } = row;
        vec![(BY_PRODUCT, key(&(product, day))), (BY_REGION, key(&(region, day)))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Told, fault, rows, told, word};
    use domain::{
        ids::{MemberId, OrderId, ReturnId},
        order::{Confirmed, Returned, Undeliverable},
    };

    fn buyer() -> MemberId {
        MemberId::from_u128(1)
    }

    fn stream() -> String {
        format!("order-{}", OrderId::from_u128(1))
    }

    /// Lines as product, units, pence.
    fn lines(lines: &[(&str, u32, i64)], currency: Currency) -> Vec<Sold> {
        (0..)
            .zip(lines)
            .map(|(line, (product, quantity, amount))| Sold {
                line,
                product: word(product),
                sku: word("S"),
                quantity: *quantity,
                amount: Money::new(*amount, currency),
            })
            .collect()
    }

    fn sold(day: i64, region: &str, sold: &[(&str, u32, i64)]) -> Told {
        let sold = lines(sold, Currency::GBP);
        told(stream(), day, Confirmed { buyer: buyer(), sold, region: word(region) })
    }

    fn returned(day: i64, region: &str, back: &[(&str, u32, i64)]) -> Told {
        let refund = Money::new(back.iter().map(|(_, _, amount)| amount).sum(), Currency::GBP);
        let (lines, return_id) = (lines(back, Currency::GBP), ReturnId::from_u128(1));
        told(stream(), day, Returned { return_id, buyer: buyer(), lines, refund, region: word(region) })
    }

    /// What happened, and every row after it: day product region: units, revenue.
    fn check(story: &[Told], expected: &[&str]) {
        let shown: Vec<String> = rows::<Sales>(story)
            .unwrap()
            .iter()
            .map(|row| {
                let revenue = row.revenue().unwrap();
                format!("{} {} {}: {} {revenue}", row.day, row.product, row.region, row.units().unwrap())
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn sales_add_up_per_day_product_and_region() {
        check(
            &[
                sold(1, "GB", &[("mug", 2, 500), ("lamp", 1, 999), ("mug", 1, 250)]),
                sold(1, "GB", &[("mug", 1, 255)]),
                sold(1, "FR", &[("mug", 1, 300)]),
                sold(2, "GB", &[("mug", 1, 255)]),
            ],
            &[
                "2010-12-01 lamp GB: 1 9.99 GBP",
                "2010-12-01 mug FR: 1 3.00 GBP",
                "2010-12-01 mug GB: 4 10.05 GBP",
                "2010-12-02 mug GB: 1 2.55 GBP",
            ],
        );
    }

    #[test]
    fn what_comes_back_is_subtracted_on_the_day_it_came_back() {
        check(
            &[sold(1, "GB", &[("mug", 2, 500)]), returned(3, "GB", &[("mug", 1, 250)])],
            &["2010-12-01 mug GB: 2 5.00 GBP", "2010-12-03 mug GB: -1 -2.50 GBP"],
        );
        let undone = Undeliverable {
            why: "lost".into(),
            buyer: buyer(),
            sold: lines(&[("mug", 2, 500)], Currency::GBP),
            region: word("GB"),
        };
        check(&[sold(1, "GB", &[("mug", 2, 500)]), told(stream(), 1, undone)], &["2010-12-01 mug GB: 0 0.00 GBP"]);
    }

    #[test]
    fn two_currencies_are_never_added() {
        let won = lines(&[("mug", 1, 1200)], Currency::KRW);
        let won = told(stream(), 1, Confirmed { buyer: buyer(), sold: won, region: word("GB") });
        check(
            &[sold(1, "GB", &[("mug", 1, 250)]), won],
            &["2010-12-01 mug GB: 1 2.50 GBP", "2010-12-01 mug GB: 1 1200 KRW"],
        );
    }

    #[test]
    fn a_sum_that_does_not_fit_is_a_fault() {
        let most = [("mug", 1, i64::MAX)];
        let story = [sold(1, "GB", &most), sold(1, "GB", &most)];
        assert_eq!(fault::<Sales>(&story), Fault::Money(MoneyError::Overflow));
    }
}
