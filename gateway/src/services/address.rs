//! Addresses: from a message to the label that is sealed, and back for those who may see it.
//!
//! The shop keeps an address as the text of its label, because that is all that a carrier needs: one field a line,
//! the recipient first, then the street, and as the last four city, postal code, country and phone (perhaps empty). So
//! the message can be read back from it. It is sealed under the buyer's key before it is stored anywhere.

use domain::{delivery::ADDRESS_MAX, ids::MemberId, personal::Personal};
use projections::sealed::Sealed;
use proto::v1::Address;
use tonic::Status;

use super::{Context, convert};
use crate::error::{invalid, missing};

/// The most lines of a street address.
const LINES_MAX: usize = 4;
/// How many fields follow the street.
const TAIL: usize = 4;
/// The longest field, in characters.
const FIELD_MAX: usize = 200;

/// The address as it is sealed for its member.
pub(super) fn label(field: &str, address: &Address, member: MemberId) -> Result<Personal<String>, Status> {
    let required = |name: &str, text: &str| {
        let field = format!("{field}.{name}");
        if text.trim().is_empty() { Err(missing(&field)) } else { convert::text(field, text, FIELD_MAX) }
    };
    let mut label = vec![required("recipient", &address.recipient)?];
    if !(1..=LINES_MAX).contains(&address.lines.len()) {
        return Err(invalid(&format!("{field}.lines"), format!("must be one to {LINES_MAX}")));
    }
    for (n, line) in address.lines.iter().enumerate() {
        label.push(required(&format!("lines[{n}]"), line)?);
    }
    label.push(required("city", &address.city)?);
    label.push(convert::text(format!("{field}.postal_code"), &address.postal_code, FIELD_MAX)?);
    if address.country.len() != 2 || !address.country.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(invalid(&format!("{field}.country"), "must be two capital letters of ISO 3166-1, e.g. GB"));
    }
    label.push(address.country.clone());
    label.push(convert::text(format!("{field}.phone"), &address.phone, FIELD_MAX)?);
    let label = label.join("\n");
    if label.chars().count() > ADDRESS_MAX {
        return Err(invalid(field, format!("must have at most {ADDRESS_MAX} characters in all")));
    }
    Ok(Personal::open(member, label))
}

/// The address on a label; `None` when it is not one of ours.
fn read(label: &str) -> Option<Address> {
    let fields: Vec<&str> = label.split('\n').collect();
    let (recipient, rest) = fields.split_first()?;
    let (lines, tail) = rest.split_at_checked(rest.len().checked_sub(TAIL)?)?;
    let [city, postal_code, country, phone] = tail else { return None };
    Some(Address {
        recipient: (*recipient).to_owned(),
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        city: (*city).to_owned(),
        postal_code: (*postal_code).to_owned(),
        country: (*country).to_owned(),
        phone: (*phone).to_owned(),
    })
}

impl Context {
    /// Opens an address. One whose member was forgotten is noise, and shown as no address at all.
    ///
    /// # Errors
    /// While the keys are out of reach: no address would mean that the member was forgotten.
    pub(super) async fn open_address(&self, sealed: Option<&Sealed>) -> Result<Option<Address>, Status> {
        Ok(self.unseal(sealed).await?.and_then(|label| read(&label)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address {
            recipient: "Ada Lovelace".into(),
            lines: vec!["12 St James's Square".into(), "Second floor".into()],
            city: "London".into(),
            postal_code: "SW1Y 4JH".into(),
            country: "GB".into(),
            phone: String::new(),
        }
    }

    fn refusal(change: impl FnOnce(&mut Address)) -> String {
        let mut changed = address();
        change(&mut changed);
        label("ship_to", &changed, MemberId::from_u128(1)).unwrap_err().message().to_owned()
    }

    #[test]
    fn a_label_reads_back_as_the_address_it_was_made_from() {
        for lines in 1..=LINES_MAX {
            let address = Address { lines: vec!["x".into(); lines], ..address() };
            let label = label("ship_to", &address, MemberId::from_u128(1)).unwrap();
            assert_eq!(read(label.value().unwrap()), Some(address));
        }
        for other in ["", "one line", "a\nb\nc\nd"] {
            assert_eq!(read(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_no_carrier_could_print_is_refused_by_name() {
        assert_eq!(refusal(|a| a.recipient.clear()), "ship_to.recipient is required");
        assert_eq!(refusal(|a| a.lines.clear()), "ship_to.lines must be one to 4");
        assert_eq!(refusal(|a| a.lines[1] = " ".into()), "ship_to.lines[1] is required");
        assert!(refusal(|a| a.city = "Lon\ndon".into()).contains("ship_to.city must not hold control"));
        assert!(refusal(|a| a.country = "gb".into()).contains("ship_to.country"));
        assert!(refusal(|a| a.phone = "5".repeat(201)).contains("ship_to.phone must have at most 200"));
    }
}
