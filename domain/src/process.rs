//! Process managers: pure deciders too. They look at a state and name the one thing that is due next.
//!
//! A process here is *level-triggered*: it does not react to an event that might be missed or seen twice, it
//! looks at where things stand. The eager driver in the gateway and the runner behind the log call the same
//! `next`, run the step it names, and record what came of it. A step that is run twice does nothing twice,
//! because its request ids derive from the stream and revision that made it due.

use jiff::Timestamp;
use uuid::Uuid;

use crate::ids::RequestId;

pub mod delivery;
pub mod order;
pub mod payment;
pub mod returns;

/// What a process wants now.
#[derive(Debug, Clone, PartialEq)]
pub enum Next<Step> {
    /// Run this step, then look again.
    Do(Step),
    /// Nothing before this moment, or before another event.
    Await {
        /// The moment, if time alone can make something due.
        until: Option<Timestamp>,
    },
    /// Nothing, ever, unless something new is asked.
    Done,
}

/// The request id of a step: derived from what made it due, so that a step run again is the same request.
///
/// `id` and `revision` name the state (`revision` events of stream `id`), `step` the step and `part` one of its
/// parts, such as a SKU.
#[must_use]
pub fn request_id(id: Uuid, revision: u64, step: &str, part: &[u8]) -> RequestId {
    RequestId::derived(id, &[&revision.to_be_bytes(), step.as_bytes(), part])
}
