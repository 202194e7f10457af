//! The carrier port: book a delivery under a key stored before the call, then hear how it goes.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

/// What the carrier is asked to bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// The caller's idempotency key; the same key is the same booking.
    pub key: Uuid,
    /// The shop's delivery.
    pub delivery: Uuid,
    /// Where to, as the carrier's label needs it (opened personal data); `None` when collected.
    pub address: Option<String>,
    /// The destination's region code.
    pub region: String,
    /// How many units.
    pub units: u64,
}

/// What a carrier tells about a delivery. At least once, in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The shop's delivery.
    pub delivery: Uuid,
    /// What happened.
    pub news: News,
    /// When, by the carrier's clock.
    pub at: Timestamp,
}

/// What happened to a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// On its way.
    Dispatched,
    /// In the buyer's hands.
    Delivered,
    /// Given up; the goods come back.
    Failed {
        /// The carrier's reason.
        reason: String,
    },
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The outcome is unknown; repeat the call with the same key.
    #[error("the carrier did not answer in time")]
    Timeout,
    /// The carrier is down; nothing happened.
    #[error("the carrier is unavailable: {0}")]
    Unavailable(String),
    /// The carrier will not bring it.
    #[error("the carrier refuses: {0}")]
    Refused(String),
}

/// A carrier.
#[async_trait]
pub trait Carrier: Send + Sync + 'static {
    /// Books a delivery and answers its tracking number.
    ///
    /// # Errors
    /// [`Error`]; unless refused, repeat with the same key.
    async fn book(&self, booking: &Booking) -> Result<String, Error>;

    /// The next notice, waiting for one. `None` when the carrier will never send another.
    async fn notice(&self) -> Option<Notice>;
}
