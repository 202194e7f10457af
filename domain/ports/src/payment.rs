//! The payment provider port: authorize, capture, void, refund, each under a key stored before the call.
//!
//! A provider is outside the shop: it answers late, twice, or not at all. Every call carries the caller's
//! idempotency key; the same key again is the same act with the same answer. What a call did not
//! answer comes as a [`Notice`], or is asked for by repeating the call.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

/// What the provider is asked to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The caller's idempotency key; the same key is the same charge.
    pub key: Uuid,
    /// The shop's payment.
    pub payment: Uuid,
    /// Minor units, positive.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
}

/// What the provider answers, and what it later notifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done; the provider's own reference.
    Approved {
        /// The provider's reference for the act.
        reference: String,
    },
    /// Refused for good; a new attempt needs a new key.
    Declined {
        /// The provider's reason code, e.g. `insufficient_funds`.
        reason: String,
    },
}

/// Which act an answer or a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// Money was set aside.
    Authorize,
    /// Money was taken.
    Capture,
    /// What was set aside was let go.
    Void,
    /// Money was given back.
    Refund,
}

/// The provider telling us, by callback, what became of an act. At least once, in any order, at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The shop's payment.
    pub payment: Uuid,
    /// Which act.
    pub act: Act,
    /// The idempotency key of the act.
    pub key: Uuid,
    /// Minor units moved.
    pub amount: i64,
    /// What became of it.
    pub answer: Answer,
    /// When it happened, by the provider's clock.
    pub at: Timestamp,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The outcome is unknown: the act may have happened. Repeat the call with the same key.
    #[error("the payment provider did not answer in time")]
    Timeout,
    /// The provider is down; nothing happened.
    #[error("the payment provider is unavailable: {0}")]
    Unavailable(String),
}

/// A payment provider.
#[async_trait]
pub trait PaymentProvider: Send + Sync + 'static {
    /// Sets money aside on the buyer's method (`token` is the provider's name for it).
    ///
    /// # Errors
    /// [`Error`]; repeat with the same key.
    async fn authorize(&self, charge: &Charge, token: &str) -> Result<Answer, Error>;

    /// Takes what `authorization` (the provider's reference) set aside.
    ///
    /// # Errors
    /// [`Error`]; repeat with the same key.
    async fn capture(&self, charge: &Charge, authorization: &str) -> Result<Answer, Error>;

    /// Lets go of whatever was set aside under authorize key `charge.key`, also when its outcome is unknown.
    /// Declined when the money has already been captured.
    ///
    /// # Errors
    /// [`Error`]; repeat with the same key.
    async fn void(&self, charge: &Charge) -> Result<Answer, Error>;

    /// Gives back `charge.amount` of what was captured under `capture` (the provider's reference).
    ///
    /// # Errors
    /// [`Error`]; repeat with the same key.
    async fn refund(&self, charge: &Charge, capture: &str) -> Result<Answer, Error>;

    /// The next notice, waiting for one. A notice may be repeated and may come before its call has answered.
    /// `None` when the provider will never send another.
    async fn notice(&self) -> Option<Notice>;
}
