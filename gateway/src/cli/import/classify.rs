//! What a row is: a sale, a credit, or nothing that can be sold, and then why not.
//!
//! The rules are a column of guards; the first that speaks decides, so a row has one reason even where several
//! hold. Nothing is repaired: a number that does not read as a number is not looked at twice.

use std::{fmt, sync::Arc};

use domain::{
    money::{Currency, Money, MoneyError},
    stock::UNITS_MAX,
};
use jiff::{Timestamp, civil::DateTime, tz::Offset};

use super::{names, row::Raw};

/// The currency of the file, which has no column for it: the retailer is British.
pub const CURRENCY: Currency = Currency::GBP;

/// Why a row is refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The line cannot be read: columns, quotes, a number, a date, a name that is too long.
    BadRow,
    /// No invoice number.
    MissingInvoice,
    /// No stock code.
    MissingStockCode,
    /// No country.
    MissingCountry,
    /// A price below zero: bookkeeping, not a sale.
    NegativePrice,
    /// A price smaller than a penny: no amount of the currency.
    SubMinorPrice,
    /// An invoice number that is neither digits nor `C` and digits, e.g. the `A` of a bad debt.
    UnknownInvoiceKind,
    /// Nothing.
    ZeroQuantity,
    /// A negative quantity on an invoice that is not a credit note: a write-off.
    NegativeQuantityWithoutCredit,
    /// A positive quantity on a credit note.
    PositiveQuantityOnCredit,
    /// A sale of a stock code that the whole file sells at no price: nothing can be listed at nothing.
    NoListPrice,
    /// A credit for which no earlier sale of the customer is left.
    CreditWithoutSale,
    /// Some of a credit's units were returned before the shop refused the others.
    PartlyReturned,
    /// The shop refused it, with this reason of its registry.
    Shop(Arc<str>),
}

impl Reason {
    /// The reason's name in reports, e.g. `SUB_MINOR_PRICE`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::BadRow => "BAD_ROW",
            Self::MissingInvoice => "MISSING_INVOICE",
            Self::MissingStockCode => "MISSING_STOCK_CODE",
            Self::MissingCountry => "MISSING_COUNTRY",
            Self::NegativePrice => "NEGATIVE_PRICE",
            Self::SubMinorPrice => "SUB_MINOR_PRICE",
            Self::UnknownInvoiceKind => "UNKNOWN_INVOICE_KIND",
            Self::ZeroQuantity => "ZERO_QUANTITY",
            Self::NegativeQuantityWithoutCredit => "NEGATIVE_QUANTITY_WITHOUT_CREDIT",
            Self::PositiveQuantityOnCredit => "POSITIVE_QUANTITY_ON_CREDIT",
            Self::NoListPrice => "NO_LIST_PRICE",
            Self::CreditWithoutSale => "CREDIT_WITHOUT_SALE",
            Self::PartlyReturned => "PARTLY_RETURNED",
            Self::Shop(name) => name,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A row that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The line in the file.
    pub line: u64,
    /// Why.
    pub reason: Reason,
    /// What exactly, for people.
    pub detail: String,
}

/// Whether goods went out or came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They went out.
    Sale,
    /// They came back.
    Credit,
}

/// A row that means something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The line in the file.
    pub line: u64,
    /// What it is.
    pub kind: Kind,
    /// The invoice or credit note, without the `C`.
    pub invoice: String,
    /// The stock code.
    pub code: String,
    /// What the row calls it; may be empty.
    pub description: String,
    /// Units, at least 1, whatever the direction.
    pub units: u32,
    /// When; the file says no zone and is read as UTC.
    pub at: Timestamp,
    /// The unit price in minor units, not negative.
    pub price: i64,
    /// The customer's number; `None` for a guest.
    pub customer: Option<String>,
    /// The country.
    pub country: String,
}

/// Says what a row is.
///
/// # Errors
/// [`Refused`] with the first reason that holds, in the order of the guards.
pub fn classify(raw: Raw) -> Result<Row, Refused> {
    let line = raw.line;
    read(raw).map_err(|(reason, detail)| Refused { line, reason, detail })
}

fn read(raw: Raw) -> Result<Row, (Reason, String)> {
    let bad = |what: &str, text: &str| (Reason::BadRow, format!("{what}: {text:?}"));
    let no = |reason: Reason| (reason, String::new());
    let present = |text: &str, reason: Reason| if text.is_empty() { Err(no(reason)) } else { Ok(()) };
    present(&raw.invoice, Reason::MissingInvoice)?;
    present(&raw.code, Reason::MissingStockCode)?;
    present(&raw.country, Reason::MissingCountry)?;
    for (what, text) in [("stock code", &raw.code), ("country", &raw.country)] {
        names::word(text).map_err(|_| bad(what, text))?;
    }
    let quantity: i64 = raw.quantity.parse().map_err(|_| bad("quantity", &raw.quantity))?;
    let units = u32::try_from(quantity.unsigned_abs()).ok().filter(|units| *units <= UNITS_MAX);
    let units = units.ok_or_else(|| bad("quantity", &raw.quantity))?;
    let at = moment(&raw.date).ok_or_else(|| bad("date", &raw.date))?;
    let price = price(&raw.price).map_err(|reason| match reason {
        Reason::BadRow => bad("price", &raw.price),
        reason => (reason, raw.price.clone()),
    })?;
    let (kind, invoice) = kind(&raw.invoice).ok_or_else(|| (Reason::UnknownInvoiceKind, raw.invoice.clone()))?;
    match (kind, quantity.signum()) {
        (_, 0) => return Err(no(Reason::ZeroQuantity)),
        (Kind::Sale, -1) => return Err((Reason::NegativeQuantityWithoutCredit, raw.quantity)),
        (Kind::Credit, 1) => return Err((Reason::PositiveQuantityOnCredit, raw.quantity)),
        _ => {}
    }
    Ok(Row {
        line: raw.line,
        kind,
        invoice: invoice.to_owned(),
        code: raw.code,
        description: raw.description,
        units,
        at,
        price,
        customer: Some(raw.customer).filter(|customer| !customer.is_empty()),
        country: raw.country,
    })
}

fn kind(invoice: &str) -> Option<(Kind, &str)> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match invoice.strip_prefix('C') {
        Some(number) if digits(number) => Some((Kind::Credit, number)),
        None if digits(invoice) => Some((Kind::Sale, invoice)),
        _ => None,
    }
}

/// `2010-12-01 08:26:00`, with a blank or a `T`.
fn moment(text: &str) -> Option<Timestamp> {
    if text.len() != 19 {
        return None;
    }
    let civil: DateTime = text.parse().ok()?;
    Offset::UTC.to_timestamp(civil).ok()
}

/// Pence. Whether a price is negative is asked before whether it is small: the sign says what the row is.
fn price(text: &str) -> Result<i64, Reason> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    match Money::parse(digits, CURRENCY) {
        Ok(money) if money.amount < 0 => Err(Reason::BadRow),
        Ok(money) if money.amount == 0 || sign > 0 => Ok(money.amount),
        Ok(_) => Err(Reason::NegativePrice),
        Err(MoneyError::SubMinor { .. }) if sign < 0 => Err(Reason::NegativePrice),
        Err(MoneyError::SubMinor { .. }) => Err(Reason::SubMinorPrice),
        Err(_) => Err(Reason::BadRow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(invoice: &str, quantity: &str, price: &str) -> Raw {
        Raw {
            line: 7,
            invoice: invoice.into(),
            code: "85123A".into(),
            description: "WHITE HANGING HEART".into(),
            quantity: quantity.into(),
            date: "2010-12-01 08:26:00".into(),
            price: price.into(),
            customer: "17850".into(),
            country: "United Kingdom".into(),
        }
    }

    /// A row in a word: `Sale 6 x 255` or the reason.
    fn said(raw: Raw) -> String {
        match classify(raw) {
            Ok(row) => format!("{:?} {} x {}", row.kind, row.units, row.price),
            Err(refused) => refused.reason.to_string(),
        }
    }

    #[test]
    fn the_first_reason_that_holds_decides() {
        for (invoice, quantity, price, expected) in [
            ("536365", "6", "2.55", "Sale 6 x 255"),
            ("536365", "6", "2.5", "Sale 6 x 250"),
            ("536365", "6", "2.550", "Sale 6 x 255"),
            ("536365", "6", "0.0", "Sale 6 x 0"),
            ("536365", "6", "-0.0", "Sale 6 x 0"),
            ("C536365", "-6", "2.55", "Credit 6 x 255"),
            ("536365", "0", "2.55", "ZERO_QUANTITY"),
            ("C536365", "0", "2.55", "ZERO_QUANTITY"),
            ("536365", "-6", "0.0", "NEGATIVE_QUANTITY_WITHOUT_CREDIT"),
            ("C536365", "6", "2.55", "POSITIVE_QUANTITY_ON_CREDIT"),
            ("536365", "6", "0.001", "SUB_MINOR_PRICE"),
            ("536365", "6", "-0.001", "NEGATIVE_PRICE"),
            ("A563185", "1", "11062.06", "UNKNOWN_INVOICE_KIND"),
            ("A563186", "1", "-11062.06", "NEGATIVE_PRICE"),
            ("C", "-1", "1", "UNKNOWN_INVOICE_KIND"),
            ("", "-1", "1", "MISSING_INVOICE"),
            ("536365", "", "2.55", "BAD_ROW"),
            ("536365", "6.0", "2.55", "BAD_ROW"),
            ("536365", " 6", "2.55", "BAD_ROW"),
            ("536365", "1000000001", "2.55", "BAD_ROW"),
            ("536365", "6", "", "BAD_ROW"),
            ("536365", "6", "1e3", "BAD_ROW"),
            ("536365", "6", "--1", "BAD_ROW"),
            ("536365", "6", "99999999999999999999", "BAD_ROW"),
        ] {
            assert_eq!(said(raw(invoice, quantity, price)), expected, "{invoice} {quantity} {price}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let sale = || raw("536365", "6", "2.55");
        assert_eq!(said(Raw { code: String::new(), ..sale() }), "MISSING_STOCK_CODE");
        assert_eq!(said(Raw { country: String::new(), ..sale() }), "MISSING_COUNTRY");
        assert_eq!(said(Raw { code: "x".repeat(65), ..sale() }), "BAD_ROW");
        assert_eq!(classify(Raw { customer: String::new(), ..sale() }).unwrap().customer, None);
    }

    #[test]
    fn a_date_is_utc_or_a_bad_row() {
        let on = |date: &str| {
            classify(Raw { date: date.into(), ..raw("536365", "6", "2.55") }).map(|row| row.at.to_string())
        };
        assert_eq!(on("2010-12-01 08:26:00").unwrap(), "2010-12-01T08:26:00Z");
        assert_eq!(on("2010-12-01T08:26:00").unwrap(), "2010-12-01T08:26:00Z");
        for bad in ["", "2010-12-01", "2010-02-30 08:26:00", "01/12/2010 08:26:00", "2010-12-01 25:00:00"] {
            assert_eq!(on(bad).unwrap_err().reason, Reason::BadRow, "{bad}");
        }
    }
}
