//! A clock that stands still until it is told otherwise.

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};

use super::lock;
use crate::clock::Clock;

/// A clock moved by hand. A clone is the same clock.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Timestamp>>);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    /// Shows `now` from here on; it may lie in the past, as with a real clock that was corrected.
    pub fn set(&self, now: Timestamp) {
        *lock(&self.0) = now;
    }

    /// Moves on by `by` and answers the new time. At the end of time it stops.
    pub fn advance(&self, by: SignedDuration) -> Timestamp {
        let mut now = lock(&self.0);
        *now = now.saturating_add(by).unwrap_or(*now);
        *now
    }
}

impl Default for ManualClock {
    /// A clock at the first of January 1970, midnight UTC.
    fn default() -> Self {
        Self::new(Timestamp::UNIX_EPOCH)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *lock(&self.0)
    }
}
