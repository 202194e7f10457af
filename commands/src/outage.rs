//! What the program's log hears of something that fails for a while: that it began, how long it lasts, that it is over.
//!
//! Whoever works for ever tries again and again. A line for each try would bury what else there is to read, just
//! when somebody reads it.

use std::{
    fmt::Display,
    sync::atomic::{AtomicU64, Ordering},
};

/// From how many failures on each doubling is told again: what lasts must not be forgotten.
const LASTING: u64 = 256;

/// Something that works or fails again and again.
#[derive(Debug)]
pub struct Outage {
    what: &'static str,
    failures: AtomicU64,
}

impl Outage {
    /// It works, so far; `what` says what does not when it fails, e.g. "the relay cannot publish".
    #[must_use]
    pub const fn new(what: &'static str) -> Self {
        Self { what, failures: AtomicU64::new(0) }
    }

    /// It has failed: a warning if that is news.
    pub fn failed(&self, error: &dyn Display) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if is_news(failures) {
            tracing::warn!(%error, failures, "{}; trying again", self.what);
        } else {
            tracing::debug!(%error, failures, "{}; trying again", self.what);
        }
    }

    /// It has worked.
    pub fn worked(&self) {
        // Nearly always nothing: then nobody else's cache is disturbed.
        if self.failures.load(Ordering::Relaxed) == 0 {
            return;
        }
        let failures = self.failures.swap(0, Ordering::Relaxed);
        if failures > 0 {
            tracing::info!(failures, "over: {}", self.what);
        }
    }
}

const fn is_news(failures: u64) -> bool {
    failures == 1 || doubled(failures, LASTING)
}

/// True when so many failures are at least `lasting`, and twice as many as when this was last true.
pub(crate) const fn doubled(failures: u64, lasting: u64) -> bool {
    failures >= lasting && failures.is_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_when_it_begins_and_each_time_it_has_lasted_twice_as_long() {
        let told: Vec<u64> = (1..=1_024).filter(|failures| is_news(*failures)).collect();
        assert_eq!(told, [1, 256, 512, 1_024]);
    }

    #[test]
    fn what_has_worked_again_is_news_when_it_fails() {
        let outage = Outage::new("the test cannot go on");
        outage.failed(&"first");
        outage.failed(&"second");
        outage.worked();
        assert_eq!(outage.failures.load(Ordering::Relaxed), 0);
    }
}
