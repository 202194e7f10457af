//! The adapter keeps the contract of its port, over real sockets, against our own server of the protocol. No server of
//! the original was at hand; [`original`] is a log that knows no more than one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../gateway/esdb-wire/tests/wire/original.rs"]
mod original;
#[path = "../../../gateway/esdb-wire/tests/wire/server.rs"]
mod server;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use original::Original;
use ports::{
    conformance::{self, Harness},
    store::{Append, EventStore, NewEvent, Position},
};
use server::{Log, Running};
use store_eventstoredb::{EventStoreDb, Limits};
use uuid::Uuid;

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

    async fn beside(&self) -> Option<Arc<dyn EventStore>> {
        let url = self.newest.lock().unwrap().as_ref().unwrap().url();
        Some(Arc::new(EventStoreDb::new(&url, self.limits.clone()).unwrap()))
    }
}

/// What the original does not know the adapter must.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_adapter_keeps_the_contract_over_a_log_that_knows_as_little_as_the_original() {
    let log = || Log::Other(Arc::new(Original::default()));
    conformance::event_store(&Servers::new(Limits::default(), log)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_adapter_keeps_the_contract_over_a_log_in_memory() {
    conformance::event_store(&Servers::new(Limits::default(), Log::memory)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_adapter_keeps_the_contract_over_a_log_in_sqlite() {
    conformance::event_store(&Servers::new(Limits::default(), Log::sqlite)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_adapter_keeps_the_contract_over_a_log_in_postgresql() {
    if Log::postgres().is_some() {
        let log = || Log::postgres().unwrap();
        conformance::event_store(&Servers::new(Limits::default(), log)).await;
    }
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

/// The window on ids, and counting, have an end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ids_are_found_in_a_window_and_distances_estimated_beyond_a_bound() {
    let limits = Limits { ids_max: 50, stream_ids_max: 1, page_events: 7, distance_exact_max: 10, ..Limits::default() };
    let server = Running::start(Log::Other(Arc::new(Original::default())), 0).await;
    let open = || EventStoreDb::new(&server.url(), limits.clone()).unwrap();
    let (one, other) = (open(), open());
    let id = |n: u128| Uuid::from_u128(n);
    let append = |n: u128| {
        let event = NewEvent { id: id(n), kind: "thing.happened".into(), data: "{}".into(), metadata: "{}".into() };
        Append { recorded_at: None, stream: format!("thing-{n}"), expected: 0, events: vec![event] }
    };
    one.append((0..200).map(append).collect()).await.unwrap();
    let fifty: Vec<Uuid> = one.read_all(Position::START, 1_000).await.unwrap()[150..].iter().map(|e| e.id).collect();
    for store in [&one, &other, &open()] {
        let found = store.find(&fifty).await.unwrap();
        assert!(found.iter().all(Option::is_some), "the newest are found, whoever wrote them");
    }
    one.append(vec![append(200)]).await.unwrap();
    let found = other.find(&[id(200), fifty[0], fifty[1]]).await.unwrap();
    let found: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(found, [true, false, true], "what another node wrote since is found, and the oldest has made way");

    // The newest of a stream are known however old they are: what expects the stream as it is would be written twice.
    let again = Append { expected: 1, ..append(0) };
    let again = open().append(vec![again]).await.unwrap().remove(0).unwrap();
    assert!(!again.fresh && again.first_revision == 0, "a repeat of what is outside of the window: {again:?}");

    let log = one.read_all(Position::START, 1_000).await.unwrap();
    let exact = one.distance(Position::START, log[9].position).await.unwrap();
    assert_eq!(exact, 10, "few are counted");
    let estimate = one.distance(Position::START, log[200].position).await.unwrap();
    assert!((180..=220).contains(&estimate), "201 are estimated as {estimate}");
    let beyond = one.distance(Position::START, Position(u64::MAX)).await.unwrap();
    assert_eq!(beyond, estimate, "behind the newest event is nothing");
    server.stop().await;
}
