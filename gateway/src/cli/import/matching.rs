//! Which sale a credit undoes: a credit note does not name the invoice, so it is looked for.
//!
//! It is the newest earlier sale to the same customer, of the same stock code, at the same unit price and into the
//! same country, of which enough units are left; where no single sale has enough, the newest ones together.
//! Units are taken once. A credit that finds too few units in all finds none: half a guess is a guess. A guest has
//! no earlier sales, because nobody knows who they were.

use std::collections::HashMap;

use super::classify::Row;

/// Units of one sale that a credit takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which sale, by the number given to [`Ledger::sell`].
    pub sale: usize,
    /// How many units.
    pub units: u32,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Account {
    customer: String,
    code: String,
    country: String,
    price: i64,
}

/// What every customer has bought and not yet given back.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: HashMap<Account, Vec<Part>>,
}

impl Ledger {
    /// Notes a sale; rows come in the order of time.
    pub fn sell(&mut self, row: &Row, sale: usize) {
        if let Some(account) = account(row) {
            self.accounts.entry(account).or_default().push(Part { sale, units: row.units });
        }
    }

    /// Takes a credit's units back from the sales that it undoes; `None` when there are too few.
    pub fn credit(&mut self, row: &Row) -> Option<Vec<Part>> {
        let sales = self.accounts.get_mut(&account(row)?)?;
        let mut parts = Vec::new();
        if let Some(enough) = sales.iter_mut().rev().find(|sale| sale.units >= row.units) {
            enough.units -= row.units;
            parts.push(Part { sale: enough.sale, units: row.units });
        } else {
            let left: u64 = sales.iter().map(|sale| u64::from(sale.units)).sum();
            let mut missing = row.units;
            if left < u64::from(missing) {
                return None;
            }
            for sale in sales.iter_mut().rev() {
                let units = missing.min(sale.units);
                sale.units -= units;
                missing -= units;
                parts.push(Part { sale: sale.sale, units });
            }
        }
        sales.retain(|sale| sale.units > 0);
        parts.retain(|part| part.units > 0);
        Some(parts)
    }
}

fn account(row: &Row) -> Option<Account> {
    let customer = row.customer.clone()?;
    Some(Account { customer, code: row.code.clone(), country: row.country.clone(), price: row.price })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::import::classify::Kind;

    /// A row from `customer code units price`.
    fn row(text: &str) -> Row {
        let words: Vec<&str> = text.split(' ').collect();
        let &[customer, code, units, price] = &words[..] else { panic!("four words: {text}") };
        Row {
            line: 1,
            kind: Kind::Sale,
            invoice: "1".into(),
            code: code.into(),
            description: String::new(),
            units: units.parse().unwrap(),
            at: jiff::Timestamp::UNIX_EPOCH,
            price: price.parse().unwrap(),
            customer: Some(customer.to_owned()).filter(|customer| customer != "-"),
            country: "GB".into(),
        }
    }

    /// Sales, numbered from 0, then credits with what they take: `units@sale …`, or nothing.
    fn check(sales: &[&str], credits: &[(&str, &str)]) {
        let mut ledger = Ledger::default();
        for (number, sale) in sales.iter().enumerate() {
            ledger.sell(&row(sale), number);
        }
        for (credit, expected) in credits {
            let parts = ledger.credit(&row(credit)).unwrap_or_default();
            let shown: Vec<String> = parts.iter().map(|part| format!("{}@{}", part.units, part.sale)).collect();
            assert_eq!(shown.join(" "), *expected, "{credit}");
        }
    }

    #[test]
    fn the_newest_sale_with_enough_units_is_undone() {
        check(
            &["ann mug 5 255", "ann mug 5 255"],
            &[("ann mug 2 255", "2@1"), ("ann mug 4 255", "4@0"), ("ann mug 3 255", "3@1")],
        );
        check(&["ann mug 5 255", "ann mug 2 255"], &[("ann mug 3 255", "3@0")]);
    }

    #[test]
    fn sales_are_undone_together_where_none_has_enough() {
        check(
            &["ann mug 2 255", "ann mug 2 255", "ann mug 2 255"],
            &[("ann mug 5 255", "2@2 2@1 1@0"), ("ann mug 1 255", "1@0")],
        );
    }

    #[test]
    fn units_come_back_once_and_never_more_than_went() {
        check(&["ann mug 5 255"], &[("ann mug 5 255", "5@0"), ("ann mug 1 255", "")]);
        check(&["ann mug 5 255"], &[("ann mug 6 255", ""), ("ann mug 5 255", "5@0")]);
    }

    #[test]
    fn customer_code_price_and_country_must_agree() {
        let others = [("bob mug 1 255", ""), ("ann cup 1 255", ""), ("ann mug 1 250", ""), ("- mug 1 255", "")];
        check(&["ann mug 5 255", "- mug 5 255"], &others);
        let mut ledger = Ledger::default();
        ledger.sell(&row("ann mug 1 255"), 0);
        assert_eq!(ledger.credit(&Row { country: "FR".into(), ..row("ann mug 1 255") }), None);
    }
}
