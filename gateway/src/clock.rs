//! The system's clock: the one place where the shop asks what time it is.

use jiff::Timestamp;
use ports::clock::Clock;

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where ports::Clock meets the system's clock")]
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        // The port promises microseconds; finer digits would be lost on the way through other systems.
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }
}
