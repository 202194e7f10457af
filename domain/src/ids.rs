//! The one registry of ids: every name a thing can have, as a type of its own.
//!
//! Two families. *Words* are chosen by people (`ProductId`, `Sku`, …): short printable text, checked where
//! it enters. *Numbers* are UUIDs; those the shop makes itself are **derived** from the request that caused
//! them, so that a retry yields the same ids. A derived id begins with the first 48 bits of its
//! parent: when clients send UUIDv7 request ids, all that a request causes lies side by side in
//! every index, and the newest end of the log stays the hot end of the disk.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Why text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("{what} must not be empty")]
    Empty {
        /// The kind of id.
        what: &'static str,
    },
    /// More characters than [`WORD_MAX`].
    #[error("{what} must have at most {WORD_MAX} characters")]
    TooLong {
        /// The kind of id.
        what: &'static str,
    },
    /// A character outside letters, digits and `. _ ~ -`.
    #[error("{what} may hold letters, digits and . _ ~ - only, not {found:?}")]
    Character {
        /// The kind of id.
        what: &'static str,
        /// The first offending character.
        found: char,
    },
    /// Not a UUID.
    #[error("{what} must be a UUID")]
    NotUuid {
        /// The kind of id.
        what: &'static str,
    },
}

/// The longest id that people may choose, in characters.
pub const WORD_MAX: usize = 64;

fn check_word(what: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    if text.chars().count() > WORD_MAX {
        return Err(IdError::TooLong { what });
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '-'))) {
        Some(found) => Err(IdError::Character { what, found }),
        None => Ok(()),
    }
}

macro_rules! words {
    ($($(#[$meta:meta])* $name:ident $what:literal),+ $(,)?) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "Arc<str>", into = "Arc<str>")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps a word.
            ///
            /// # Errors
            /// An [`IdError`] when it is empty, too long or holds a forbidden character.
            pub fn new(text: impl Into<Arc<str>>) -> Result<Self, IdError> {
                let text = text.into();
                check_word($what, &text)?;
                Ok(Self(text))
            }

            /// The word itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<Arc<str>> for $name {
            type Error = IdError;
            fn try_from(text: Arc<str>) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for Arc<str> {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

macro_rules! numbers {
    ($($(#[$meta:meta])* $name:ident $what:literal),+ $(,)?) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// An id from its 128 bits.
            #[must_use]
            pub const fn from_u128(bits: u128) -> Self {
                Self(Uuid::from_u128(bits))
            }

            /// The id that `parent` causes for `purpose`; see [`derive`](crate::ids::derive).
            #[must_use]
            pub fn derived(parent: Uuid, purpose: &[&[u8]]) -> Self {
                Self(derive(parent, $what, purpose))
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text).map(Self).map_err(|_| IdError::NotUuid { what: $what })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

words! {
    /// A product as the catalogue lists it; it has one or more SKUs.
    ProductId "product id",
    /// A stock keeping unit: the thing that is counted, reserved and shipped.
    Sku "SKU",
    /// A place that holds stock.
    WarehouseId "warehouse id",
    /// Who sells a product.
    SellerId "seller id",
    /// One step of the category tree, e.g. `home-garden`.
    CategoryId "category id",
    /// Where an order goes: a country or region by the code the shop uses, e.g. `GB`.
    Region "region",
}

numbers! {
    /// A member of the shop: buyer, operator, or any other caller.
    MemberId "member id",
    /// One wish of a caller, however often it is sent (AIP-155).
    RequestId "request id",
    /// One stored event.
    EventId "event id",
    /// An order.
    OrderId "order id",
    /// One attempt to pay an order.
    PaymentId "payment id",
    /// One refund of a payment.
    RefundId "refund id",
    /// One delivery of an order.
    DeliveryId "delivery id",
    /// One return of delivered goods.
    ReturnId "return id",
    /// A coupon campaign.
    CampaignId "campaign id",
    /// A member's claim on a campaign: the coupon in their hand.
    ClaimId "claim id",
}

impl PaymentId {
    /// Stands where an order that costs nothing would name its payment.
    pub const NONE: Self = Self(Uuid::nil());
}

/// Derives an id: the first 48 bits of `parent`, then a hash of parent, kind and purpose (UUIDv8).
///
/// Every part is length-prefixed in the hash, so no two lists of parts are ever the same bytes.
#[must_use]
pub fn derive(parent: Uuid, kind: &str, purpose: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(parent.as_bytes());
    for part in std::iter::once(kind.as_bytes()).chain(purpose.iter().copied()) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut bytes = [0_u8; 16];
    bytes[..6].copy_from_slice(&parent.as_bytes()[..6]);
    bytes[6..].copy_from_slice(&digest[..10]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_refuse_what_would_break_a_path_a_subject_or_a_stream_name() {
        assert!(Sku::new("85123A").is_ok());
        assert_eq!(Sku::new(""), Err(IdError::Empty { what: "SKU" }));
        assert_eq!(Sku::new("a/b"), Err(IdError::Character { what: "SKU", found: '/' }));
        assert_eq!(Sku::new("é"), Err(IdError::Character { what: "SKU", found: 'é' }));
        assert_eq!(Sku::new("x".repeat(65)), Err(IdError::TooLong { what: "SKU" }));
        assert!(serde_json::from_str::<Sku>("\"a b\"").is_err(), "the rule holds for stored text too");
    }

    #[test]
    fn a_derived_id_keeps_its_parents_time_and_differs_by_every_part() {
        let parent = Uuid::from_u128(0x0192_aaaa_bbbb_7ccc_8ddd_eeee_ffff_0001);
        let a = derive(parent, "order", &[b"ab", b"c"]);
        assert_eq!(a.as_bytes()[..6], parent.as_bytes()[..6]);
        assert_eq!(a.get_version_num(), 8);
        assert_eq!(a, derive(parent, "order", &[b"ab", b"c"]));
        assert_ne!(a, derive(parent, "order", &[b"a", b"bc"]));
        assert_ne!(a, derive(parent, "payment", &[b"ab", b"c"]));
    }
}
