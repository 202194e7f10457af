//! The keys port: one secret key per member, kept outside the log, and the cipher that uses it.
//!
//! The log keeps everything for ever; a person may ask to be forgotten. So their data is written sealed, and
//! forgetting is deleting a key. The nonce follows from event id and field, which makes sealing a pure
//! function: a retried write seals to the same bytes.

use async_trait::async_trait;
use chacha20poly1305::{
    XChaCha20Poly1305,
    aead::{Aead, KeyInit},
};
use uuid::Uuid;

/// A member's secret key.
#[derive(Clone, PartialEq, Eq)]
pub struct MemberKey(pub [u8; 32]);

impl std::fmt::Debug for MemberKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemberKey(…)")
    }
}

/// Why a sealed value stays closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the sealed value does not open with this key")]
pub struct Unopened;

/// Bytes of the nonce in front of the ciphertext.
const NONCE_LEN: usize = 24;

impl MemberKey {
    /// Seals `plaintext`, under a nonce that follows from the event and field where it is first written. The
    /// sealed bytes carry their nonce, so that they may be copied into later events as they are.
    #[must_use]
    pub fn seal(&self, event: Uuid, field: u8, plaintext: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        nonce[..16].copy_from_slice(event.as_bytes());
        nonce[16] = field;
        // Encrypting a buffer of this size cannot fail; an empty ciphertext would merely never open.
        let ciphertext = self.cipher().encrypt(&nonce.into(), plaintext).unwrap_or_default();
        [nonce.as_slice(), &ciphertext].concat()
    }

    /// Opens what [`Self::seal`] sealed.
    ///
    /// # Errors
    /// [`Unopened`] for another key or altered bytes.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, Unopened> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Unopened)?;
        self.cipher().decrypt(&(*nonce).into(), ciphertext).map_err(|_| Unopened)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.0.into())
    }
}

/// Why the key store could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The store cannot be reached, or has too much to do, at the moment. Ask again: whatever it may have done, doing it
    /// twice is doing it once.
    #[error("the key store is not available: {0}")]
    Unavailable(String),
    /// No space is left for a new key; those that are there can be read.
    #[error("the key store's disk is full")]
    Full,
    /// Anything else; asking again will not help.
    #[error("the key store failed: {0}")]
    Failed(String),
}

impl Error {
    /// The member gets no key any more.
    #[must_use]
    pub fn forgotten(member: Uuid) -> Self {
        Self::Failed(format!("member {member} was forgotten"))
    }

    /// The member has a key, and it is another.
    #[must_use]
    pub fn other_key(member: Uuid) -> Self {
        Self::Failed(format!("member {member} has another key"))
    }
}

/// Every member's key.
#[async_trait]
pub trait Keys: Send + Sync + 'static {
    /// The member's key, made if they have none. When it returns, the key is durable: what is sealed with it can
    /// be opened after a crash. A member who was forgotten gets no new key.
    ///
    /// # Errors
    /// [`Error`] when the key can neither be read nor kept, or the member was forgotten.
    async fn key(&self, member: Uuid) -> Result<MemberKey, Error>;

    /// The member's key if they have one; `None` after [`Self::forget`].
    ///
    /// # Errors
    /// [`Error`] when it cannot be read.
    async fn existing(&self, member: Uuid) -> Result<Option<MemberKey>, Error>;

    /// Destroys the member's key for ever. When it returns, no copy is left.
    ///
    /// # Errors
    /// [`Error`] when it could not be destroyed for certain.
    async fn forget(&self, member: Uuid) -> Result<(), Error>;

    /// Up to `limit` members after `after` (exclusive), in the order of their ids, each with their key, or `None` for one
    /// who was forgotten. For moving a shop's keys elsewhere.
    ///
    /// # Errors
    /// [`Error`] when they cannot be read.
    async fn page(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<(Uuid, Option<MemberKey>)>, Error>;

    /// Takes a key that was made elsewhere. A member who has this key already keeps it. When it returns, it is durable.
    ///
    /// # Errors
    /// [`Error`] when it could not be kept, or the member has another key, or was forgotten.
    async fn adopt(&self, member: Uuid, key: MemberKey) -> Result<(), Error>;
}
