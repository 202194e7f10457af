//! The clock port: time comes from outside, so that a seed can replay a run.

use jiff::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The time now, UTC, to the microsecond. It may stand still or be set back; nothing may rest on it alone.
    fn now(&self) -> Timestamp;
}
