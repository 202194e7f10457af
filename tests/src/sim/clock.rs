//! The simulated time: the runtime's paused time, told as a date.

use jiff::{SignedDuration, Timestamp};
use ports::clock::Clock;
use tokio::time::Instant;

/// A clock that moves with the paused runtime: no time passes while anything can still be done.
#[derive(Debug, Clone)]
pub struct SimClock {
    began: Instant,
}

impl SimClock {
    /// When every run begins: midnight UTC before the first of January 2026, in seconds of Unix time.
    const BEGINNING: i64 = 1_767_225_600;

    /// A clock that shows the beginning. It must be made and used inside the paused runtime.
    #[must_use]
    pub fn start() -> Self {
        Self { began: Instant::now() }
    }

    /// How long the run has lasted, in simulated milliseconds.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let beginning = Timestamp::from_second(Self::BEGINNING).unwrap_or_default();
        let elapsed = SignedDuration::try_from(self.began.elapsed()).unwrap_or_default();
        beginning.saturating_add(elapsed).unwrap_or(beginning)
    }
}
