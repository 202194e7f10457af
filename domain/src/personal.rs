//! Personal data: a value that is either open in memory or sealed for storage, never stored open.
//!
//! The domain knows no cipher. A codec at the edge of each side walks over an event's personal fields
//! and seals or opens them with the member's key ([`crate::decider::Stored::personal`]). Forgetting a member is
//! deleting that key: every sealed byte in log, snapshots, views and exports becomes noise at once.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, ser::Error as _};

use crate::ids::MemberId;

/// A value about a member that must never be stored in the open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Personal<T> {
    /// Readable; exists in memory only. Writing it fails.
    Open {
        /// Whose data it is; their key seals it.
        member: MemberId,
        /// The data.
        value: T,
    },
    /// Sealed under the member's key.
    Sealed {
        /// Whose key opens it.
        member: MemberId,
        /// Nonce, ciphertext and tag, as the keys port sealed them.
        ciphertext: Vec<u8>,
    },
}

impl<T> Personal<T> {
    /// An open value of `member`.
    pub const fn open(member: MemberId, value: T) -> Self {
        Self::Open { member, value }
    }

    /// Whose data it is.
    pub const fn member(&self) -> MemberId {
        match self {
            Self::Open { member, .. } | Self::Sealed { member, .. } => *member,
        }
    }

    /// The value, if it is open.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Open { value, .. } => Some(value),
            Self::Sealed { .. } => None,
        }
    }
}

impl Personal<String> {
    /// What somebody said in their own words about `member`, or to them; `None` where nothing was said.
    #[must_use]
    pub fn words(member: MemberId, text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::open(member, text.to_owned()))
    }
}

/// What a codec sees of a personal field, whatever its type.
pub trait Sealable: Send {
    /// Whose key seals it.
    fn member(&self) -> MemberId;

    /// The plaintext to seal, or `None` when it is sealed already.
    fn plaintext(&self) -> Option<Vec<u8>>;

    /// The ciphertext to open, or `None` when it is open already.
    fn ciphertext(&self) -> Option<&[u8]>;

    /// Replaces the value by its ciphertext.
    fn seal(&mut self, ciphertext: Vec<u8>);

    /// Replaces the ciphertext by the value it held.
    ///
    /// # Errors
    /// When the plaintext is not of the field's type.
    fn unseal(&mut self, plaintext: &[u8]) -> Result<(), serde_json::Error>;
}

impl<T: Serialize + DeserializeOwned + Send> Sealable for Personal<T> {
    fn member(&self) -> MemberId {
        Personal::member(self)
    }

    fn plaintext(&self) -> Option<Vec<u8>> {
        self.value().and_then(|value| serde_json::to_vec(value).ok())
    }

    fn ciphertext(&self) -> Option<&[u8]> {
        match self {
            Self::Open { .. } => None,
            Self::Sealed { ciphertext, .. } => Some(ciphertext),
        }
    }

    fn seal(&mut self, ciphertext: Vec<u8>) {
        *self = Self::Sealed { member: Personal::member(self), ciphertext };
    }

    fn unseal(&mut self, plaintext: &[u8]) -> Result<(), serde_json::Error> {
        *self = Self::Open { member: Personal::member(self), value: serde_json::from_slice(plaintext)? };
        Ok(())
    }
}

/// Fields that hold zero or more personal values, so that `Option<Personal<T>>` can be named like
/// `Personal<T>` in the `events!` macro.
pub trait Fields {
    /// Appends the personal values in `self` to `fields`.
    fn collect<'a>(&'a mut self, fields: &mut Vec<&'a mut dyn Sealable>);
}

impl<T: Serialize + DeserializeOwned + Send> Fields for Personal<T> {
    fn collect<'a>(&'a mut self, fields: &mut Vec<&'a mut dyn Sealable>) {
        fields.push(self);
    }
}

impl<F: Fields> Fields for Option<F> {
    fn collect<'a>(&'a mut self, fields: &mut Vec<&'a mut dyn Sealable>) {
        if let Some(inner) = self {
            inner.collect(fields);
        }
    }
}

/// The stored form: `{"member": …, "sealed": base64}`.
#[derive(Serialize, Deserialize)]
struct Wire {
    member: MemberId,
    sealed: String,
}

impl<T> Serialize for Personal<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Open { .. } => Err(S::Error::custom("personal data must be sealed before it is written")),
            Self::Sealed { member, ciphertext } => {
                Wire { member: *member, sealed: STANDARD.encode(ciphertext) }.serialize(serializer)
            }
        }
    }
}

impl<'de, T> Deserialize<'de> for Personal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let ciphertext = STANDARD.decode(&wire.sealed).map_err(serde::de::Error::custom)?;
        Ok(Self::Sealed { member: wire.member, ciphertext })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Personal<String> {
        Personal::open(MemberId::from_u128(7), "1 Fleet Street".into())
    }

    #[test]
    fn open_personal_data_is_never_written() {
        assert!(serde_json::to_string(&open()).is_err());
    }

    #[test]
    fn a_sealed_value_survives_storage_and_opens_again() {
        let mut value = open();
        let plaintext = value.plaintext().unwrap();
        value.seal(plaintext.iter().map(|byte| byte ^ 0x55).collect());
        let stored = serde_json::to_string(&value).unwrap();
        assert!(!stored.contains("Fleet"));

        let mut read: Personal<String> = serde_json::from_str(&stored).unwrap();
        let plaintext: Vec<u8> = read.ciphertext().unwrap().iter().map(|byte| byte ^ 0x55).collect();
        read.unseal(&plaintext).unwrap();
        assert_eq!(read, open());
    }
}
