//! Each port in memory: what tests, the simulation and a first try run on.
//!
//! These are whole adapters, not mocks: they pass the same suites as the durable ones. They hold everything in
//! ordered maps, so that one seed yields one run, and nothing in them is bounded. A clone is another handle
//! on the same contents: drop everything that stands above a store, build it anew on a clone, and you have
//! simulated a crash. `fork` copies the contents instead, for trying two futures of one past.

mod bus;
mod clock;
mod keys;
mod store;
mod views;

pub use bus::{Failure, MemoryBus};
pub use clock::ManualClock;
pub use keys::MemoryKeys;
pub use store::MemoryStore;
pub use views::MemoryViews;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex whose contents are whole even if a thread panicked while holding it: every change in these
/// adapters is made after all checks, in one go.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
