//! The adapter keeps the contract of its port, over real sockets, against our own server of the protocol. No server of
//! the original was at hand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../gateway/esdb-wire/tests/wire/server.rs"]
mod server;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ports::{
    conformance::{self, Harness},
    store::EventStore,
};
use server::{Log, Running};
use store_eventstoredb::{EventStoreDb, Limits};

/// A server per contents; the newest is the one that is reopened, its server with it.
struct Servers {
    limits: Limits,
    log: fn() -> Log,
    newest: Mutex<Option<Running>>,
}

impl Servers {
    fn new(limits: Limits, log: fn() -> Log) -> Self {
        Self { limits, log, newest: Mutex::new(None) }
    }

    fn client(&self, server: Running) -> Arc<dyn EventStore> {
        let store = EventStoreDb::new(&server.url(), self.limits.clone()).unwrap();
        *self.newest.lock().unwrap() = Some(server);
        Arc::new(store)
    }
}

#[async_trait]
impl Harness<dyn EventStore> for Servers {
    async fn open(&self) -> Arc<dyn EventStore> {
        let before = self.newest.lock().unwrap().take();
        if let Some(before) = before {
            before.stop().await;
        }
        self.client(Running::start((self.log)(), 0).await)
    }

    async fn reopen(&self, adapter: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        assert_eq!(Arc::strong_count(&adapter), 1, "reopening needs the only handle");
        drop(adapter);
        let server = self.newest.lock().unwrap().take().unwrap();
        let port = server.port();
        let log = server.stop().await;
        self.client(Running::start(log, port).await)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_adapter_keeps_the_contract_over_a_log_in_memory() {
    conformance::event_store(&Servers::new(Limits::default(), Log::memory)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_adapter_keeps_the_contract_over_a_log_in_sqlite() {
    conformance::event_store(&Servers::new(Limits::default(), Log::sqlite)).await;
}

/// Limits so small that every page and queue has an end all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_adapter_keeps_the_contract_at_the_smallest_limits() {
    let limits = Limits {
        streams_in_flight_max: 1,
        finds_in_flight_max: 1,
        ids_max: 4_000,
        stream_ids_max: 1,
        streams_known_max: 1,
        page_events: 7,
        ..Limits::default()
    };
    conformance::event_store(&Servers::new(limits, Log::memory)).await;
}
