//! The contract of each port as tests that every adapter runs.
//!
//! A suite is a function over a [`Harness`] and fails by panicking. It opens fresh contents for every check, so a
//! check stands alone, and reopens them where the contract speaks of a restart. Call it on a
//! multi-threaded runtime: the races are real.
//!
//! ```text
//! #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
//! async fn the_store_keeps_the_contract_of_the_port() {
//!     conformance::event_store(&MyHarness::default()).await;
//! }
//! ```

mod bus;
mod event_store;
mod keys;
mod view_store;

pub use bus::bus;
pub use event_store::event_store;
pub use keys::keys;
pub use view_store::view_store;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

/// How a suite gets at an adapter of the port `P`, e.g. `dyn EventStore`.
#[async_trait]
pub trait Harness<P: ?Sized + Send + Sync>: Sync {
    /// An adapter with empty contents, other than all before.
    async fn open(&self) -> Arc<P>;

    /// The same contents, opened anew, as after a restart of the process. `adapter` is the only handle left;
    /// drop it first.
    async fn reopen(&self, adapter: Arc<P>) -> Arc<P>;

    /// Another handle on the contents that were opened last, as another process would have it; `None` where one process
    /// at a time holds them.
    async fn beside(&self) -> Option<Arc<P>> {
        None
    }
}

/// How long something may take that should happen at once, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(30);
