//! Runs the steps that processes name as due: the effectful half of [`domain::process`].
//!
//! Everything a step does is a command under a request id that derives from the state that made it due, or a
//! call under an idempotency key that is already stored. So a step may be run twice, by anybody, and a crash
//! in the middle of one is finished by running it again.

use std::{sync::Arc, time::Duration};

use domain::{
    event::Actor,
    ids::{EventId, OrderId},
    process::request_id,
};
use jiff::Timestamp;
use ports::{carrier::Carrier, keys::Keys, payment::PaymentProvider, store::Revision};
use uuid::Uuid;

use crate::{desk, request::Request, shop::Shop};

mod delivery;
mod money;
mod notices;
mod order;
mod payment;
mod reserve;
mod returning;

pub use money::PayError;
pub use notices::{carrier_notices, provider_notices};
pub use order::Look;

/// How far a process came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A step was done: look again.
    Moved,
    /// Nothing before this moment, or before another event.
    Waiting {
        /// The moment, if time alone can make something due.
        until: Option<Timestamp>,
    },
}

/// Why a step could not be finished now. Running it again later is always safe.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl<R: std::error::Error> From<desk::Error<R>> for Failure {
    fn from(error: desk::Error<R>) -> Self {
        Self(error.to_string())
    }
}

/// Which steps an order's driver runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Up to the answer for the buyer: stock reserved and coupon held, or refused.
    Reserved,
    /// As far as it goes.
    Settled,
}

/// The processes' hands: the desks and the ports that steps use.
#[derive(Clone)]
pub struct Steps {
    /// The desks.
    pub shop: Shop,
    /// The payment provider.
    pub provider: Arc<dyn PaymentProvider>,
    /// The carrier.
    pub carrier: Arc<dyn Carrier>,
    /// Opens addresses for the carrier's label.
    pub keys: Arc<dyn Keys>,
    /// The longest wait for an answer of provider or carrier ([`crate::runner::Limits::partner_call_max`]).
    pub partner_call_max: Duration,
}

impl Steps {
    /// Waits for a partner's answer, but not for ever: without one in time the outcome is `unknown`, and the call is to be
    /// repeated under the same key.
    async fn in_time<T, E>(&self, call: impl Future<Output = Result<T, E>>, unknown: E) -> Result<T, E> {
        tokio::time::timeout(self.partner_call_max, call).await.unwrap_or(Err(unknown))
    }
}

/// What made a step due: the state that was looked at.
#[derive(Debug, Clone, Copy)]
struct Due {
    /// The stream's id.
    id: Uuid,
    /// The order that all of it is about.
    order: OrderId,
    /// How many events the state holds.
    revision: Revision,
    /// The last of them, if known.
    cause: Option<EventId>,
    /// The time now.
    now: Timestamp,
    /// Business time of what follows.
    occurred_at: Timestamp,
}

impl Due {
    /// The envelope of one command of a step.
    fn request(&self, step: &str, part: &[u8]) -> Request {
        Request {
            id: request_id(self.id, self.revision, step, part),
            actor: Actor::Process,
            body_hash: 0,
            correlation: self.order.0,
            causation: self.cause,
            occurred_at: self.occurred_at,
            if_match: None,
        }
    }
}

#[cfg(test)]
mod tests;
