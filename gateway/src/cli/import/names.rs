//! What the file's names become in the shop: words, member ids, request ids; all of them derived, none drawn.
//!
//! **Words.** Stock codes and countries become ids of the shop, which hold letters, digits and `. _ ~ -`. A blank
//! becomes `-`; every other byte outside letters, digits, `.` and `_` becomes `~` and two hexadecimal digits.
//! So `United Kingdom` is `United-Kingdom`, `BANK CHARGES` is `BANK-CHARGES`, and [`unword`] leads back:
//! no two names become one. Upper and lower case stay apart, as in the file.
//!
//! **Members.** A customer's number names the same member in every file. A row without one belongs to a guest,
//! one guest per invoice: nobody knows whether two of them are the same person.
//!
//! **Requests.** A request id derives from the content of the file and the step, so importing again, or on after a
//! crash, is sending the same requests again. It begins with the time of the invoice, like a UUIDv7: the
//! replay of a year moves through the shop's indexes from one end to the other.

use std::fmt::Write as _;

use domain::ids::{IdError, MemberId, ProductId, RequestId, derive};
use jiff::Timestamp;
use uuid::Uuid;

/// What customers' numbers are numbers of: the shop whose file this is.
const CUSTOMERS: Uuid = Uuid::from_u128(0x0000_0000_0000_8000_8000_7563_6920_7265);

/// A name as a word of the shop.
///
/// # Errors
/// When it is empty or becomes longer than a word may be.
pub fn word(name: &str) -> Result<String, IdError> {
    let mut word = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b' ' => word.push('-'),
            b'.' | b'_' => word.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => word.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => _ = write!(word, "~{byte:02X}"),
        }
    }
    // All words obey one rule; a product id stands for any of them.
    ProductId::new(word).map(|id| id.to_string())
}

/// The name that became this word; `None` for a word that [`word`] never makes.
#[must_use]
pub fn unword(word: &str) -> Option<String> {
    let mut name = Vec::with_capacity(word.len());
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        name.push(match byte {
            b'-' => b' ',
            b'~' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(name).ok()
}

/// The member behind a customer's number, or the guest of an invoice without one.
#[must_use]
pub fn member(customer: Option<&str>, invoice: &str) -> MemberId {
    match customer {
        Some(number) => MemberId::derived(CUSTOMERS, &[b"customer", number.as_bytes()]),
        None => MemberId::derived(CUSTOMERS, &[b"guest", invoice.as_bytes()]),
    }
}

/// Makes the request ids of one file.
#[derive(Debug, Clone, Copy)]
pub struct Requests {
    fingerprint: [u8; 32],
}

impl Requests {
    /// The requests of the file with this content.
    #[must_use]
    pub const fn new(fingerprint: [u8; 32]) -> Self {
        Self { fingerprint }
    }

    /// The request that does `step` for `what`, which happened then.
    #[must_use]
    pub fn id(&self, at: Timestamp, step: &str, what: &[&[u8]]) -> RequestId {
        let mut parent = [0; 16];
        let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
        parent[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        parent[6..].copy_from_slice(&self.fingerprint[..10]);
        let what: Vec<&[u8]> =
            [&self.fingerprint[..], step.as_bytes()].into_iter().chain(what.iter().copied()).collect();
        RequestId(derive(Uuid::from_bytes(parent), "import", &what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_to_their_names() {
        for (name, expected) in [
            ("85123A", "85123A"),
            ("85123a", "85123a"),
            ("BANK CHARGES", "BANK-CHARGES"),
            ("gift_0001_40", "gift_0001_40"),
            ("United Kingdom", "United-Kingdom"),
            ("Guinea-Bissau", "Guinea~2DBissau"),
            ("a~20b", "a~7E20b"),
            ("Côte d'Ivoire", "C~C3~B4te-d~27Ivoire"),
        ] {
            assert_eq!(word(name).unwrap(), expected);
            assert_eq!(unword(expected).as_deref(), Some(name));
        }
        assert!(word("").is_err() && word(&"é".repeat(11)).is_err());
        assert!(["~", "~2", "~zz", "~FF"].iter().all(|broken| unword(broken).is_none()));
    }

    #[test]
    fn a_customer_is_one_member_and_a_guest_one_per_invoice() {
        assert_eq!(member(Some("17850"), "1"), member(Some("17850"), "2"));
        assert_ne!(member(Some("17850"), "1"), member(Some("17851"), "1"));
        assert_ne!(member(None, "1"), member(None, "2"));
        assert_ne!(member(None, "17850"), member(Some("17850"), "17850"));
    }

    #[test]
    fn request_ids_rise_with_time_and_differ_by_file_step_and_subject() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let requests = Requests::new([1; 32]);
        let early = requests.id(at("2010-12-01T08:26:00Z"), "sale", &[b"536365"]);
        let late = requests.id(at("2010-12-01T08:27:00Z"), "sale", &[b"536364"]);
        assert!(early < late);
        assert_eq!(early, requests.id(at("2010-12-01T08:26:00Z"), "sale", &[b"536365"]));
        let others = [
            Requests::new([2; 32]).id(at("2010-12-01T08:26:00Z"), "sale", &[b"536365"]),
            requests.id(at("2010-12-01T08:26:00Z"), "deliver", &[b"536365"]),
            requests.id(at("2010-12-01T08:26:00Z"), "sale", &[b"5363", b"65"]),
        ];
        assert!(!others.contains(&early));
    }
}
