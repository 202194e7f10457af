//! The faults of a run: which there are, how often each happened, and the dice that decide.
//!
//! A fault type that never happens proves nothing, so each is counted where it is done, and a run in which any
//! count is zero fails. Every component has dice of its own, split off the run's seed by name: a new
//! component does not change what the others throw.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

macro_rules! named {
    ($(#[$meta:meta])* $enum:ident { $($(#[$vmeta:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $enum { $($(#[$vmeta])* $variant,)+ }

        impl $enum {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

named! {
    /// What can go wrong outside of the code under test.
    Fault {
        /// A node's components are dropped at whatever await points they are.
        Crash = "crash",
        /// A node dies just before its append is written.
        CrashBeforeAppend = "crash before append",
        /// A node dies after its append was written and before it hears so.
        CrashAfterAppend = "crash after append",
        /// A node dies after the provider acted and before it hears so.
        CrashAfterProvider = "crash after provider call",
        /// A node dies after the carrier booked and before it hears so.
        CrashAfterCarrier = "crash after carrier call",
        /// A node dies with a notice in hand.
        CrashWithNotice = "crash with notice in hand",
        /// A node dies after a view commit was written and before the engine hears so.
        CrashAfterCommit = "crash after view commit",
        /// An append is written, wholly or in part, and answered "unknown".
        AppendUnheard = "append written, answered unknown",
        /// An append is not written and answered "unknown".
        AppendLost = "append lost, answered unknown",
        /// An append is not written and says so.
        AppendFailed = "append failed",
        /// An append takes seconds.
        AppendSlow = "slow append",
        /// The disk is full for a while.
        StoreFull = "disk full",
        /// The store refuses to work until its node is restarted.
        StoreStopped = "store stopped",
        /// The log cannot be read.
        ReadFailed = "read error",
        /// A wake-up comes for nothing.
        WakeSpurious = "wake-up for nothing",
        /// A snapshot is not there any more, or never was.
        SnapshotLost = "snapshot lost",
        /// The process runner's checkpoint is not there any more.
        CheckpointLost = "runner checkpoint lost",
        /// Two nodes wrote the same stream.
        Conflict = "conflict between writers",
        /// A view commit is not written and says so.
        CommitFailed = "view commit failed",
        /// A view commit is written and answered with a failure.
        CommitUnheard = "view commit written, unheard",
        /// The view store cannot be read.
        ViewReadFailed = "view read error",
        /// A request arrives twice.
        RequestDuplicated = "request duplicated",
        /// A request is under way for seconds.
        RequestDelayed = "request delayed",
        /// A request overtakes an earlier one.
        RequestReordered = "request reordered",
        /// A request never arrives.
        RequestLost = "request lost",
        /// An answer never arrives.
        AnswerLost = "answer lost",
        /// A request was being handled when its node crashed.
        AnswerCut = "request cut off by a crash",
        /// The provider acts and does not answer.
        ProviderTimeout = "provider timeout",
        /// The provider never answers: the act may have happened or not.
        ProviderHangs = "provider hangs",
        /// The provider is down.
        ProviderUnavailable = "provider unavailable",
        /// The provider declines to authorize or to capture.
        ProviderDeclined = "payment declined",
        /// The provider declines a void or a refund.
        UndoDeclined = "void or refund declined",
        /// The provider tells the same twice.
        ProviderNoticeDuplicated = "provider notice duplicated",
        /// The provider tells an earlier thing later.
        ProviderNoticeReordered = "provider notice late",
        /// The carrier books and does not answer.
        CarrierTimeout = "carrier timeout",
        /// The carrier never answers: it may have booked or not.
        CarrierHangs = "carrier hangs",
        /// The carrier is down.
        CarrierUnavailable = "carrier unavailable",
        /// The carrier refuses a booking.
        CarrierRefused = "booking refused",
        /// The carrier gives up a delivery.
        DeliveryFailed = "delivery failed",
        /// The carrier tells the same twice.
        CarrierNoticeDuplicated = "carrier notice duplicated",
        /// The carrier tells an earlier thing later.
        CarrierNoticeReordered = "carrier notice late",
    }
}

/// Counts by fault, and whether faults are still being made.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    counts: Arc<Mutex<BTreeMap<Fault, u64>>>,
    over: Arc<AtomicBool>,
}

impl Faults {
    /// One more of these.
    pub fn count(&self, fault: Fault) {
        self.count_many(fault, 1);
    }

    /// So many more of these.
    pub fn count_many(&self, fault: Fault, more: u64) {
        *lock(&self.counts).entry(fault).or_default() += more;
    }

    /// Ends them: from here on the shop's own machines and networks work. Provider and carrier stay as they are.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// True once they have ended.
    #[must_use]
    pub fn over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// How often each happened; none is left out.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Fault, u64> {
        let counted = lock(&self.counts);
        Fault::ALL.iter().map(|fault| (*fault, counted.get(fault).copied().unwrap_or(0))).collect()
    }
}

/// A component's dice. A clone throws from the same cup.
#[derive(Debug, Clone)]
pub struct Dice(Arc<Mutex<StdRng>>);

impl Dice {
    /// The dice of the component called `name` (its first 24 bytes count) in the run of `seed`.
    #[must_use]
    pub fn new(seed: u64, name: &str) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        for (to, from) in bytes[8..].iter_mut().zip(name.bytes()) {
            *to = from;
        }
        Self(Arc::new(Mutex::new(StdRng::from_seed(bytes))))
    }

    /// True with this probability.
    pub fn chance(&self, probability: f64) -> bool {
        lock(&self.0).random_bool(probability)
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&self, least: u64, most: u64) -> u64 {
        lock(&self.0).random_range(least..=most.max(least))
    }

    /// A number from 0 to `most`, both included.
    pub fn up_to(&self, most: u32) -> u32 {
        u32::try_from(self.between(0, u64::from(most))).unwrap_or(most)
    }

    /// A time from `least` to `most` milliseconds.
    pub fn millis(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }

    /// One of these; `None` of nothing.
    pub fn pick<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        let last = of.len().checked_sub(1)?;
        of.get(usize::try_from(self.between(0, last as u64)).unwrap_or(0))
    }

    /// A new id.
    pub fn uuid(&self) -> uuid::Uuid {
        uuid::Builder::from_random_bytes(lock(&self.0).random()).into_uuid()
    }
}

/// Locks a mutex whose contents are whole even if a thread panicked while holding it: each change is one call.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_name_throw_the_same_and_others_do_not() {
        let throw =
            |seed, name| (0..20).map(|_| Dice::new(seed, name)).map(|dice| dice.between(0, 1_000_000)).collect();
        let first: Vec<u64> = throw(1, "store");
        assert_eq!(first, throw(1, "store"));
        assert_ne!(first, throw(2, "store"));
        assert_ne!(first, throw(1, "views"));
    }

    #[test]
    fn a_fault_that_never_happened_is_reported_as_zero() {
        let faults = Faults::default();
        faults.count(Fault::Crash);
        assert_eq!(faults.counts().len(), Fault::ALL.len());
        assert_eq!(faults.counts()[&Fault::Crash], 1);
        assert_eq!(faults.counts()[&Fault::StoreFull], 0);
    }
}
