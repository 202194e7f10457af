//! The log and the keys on a real server keep the contracts of their ports.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use ports::{
    clock::Clock,
    conformance::{self, Harness},
    keys::Keys,
    memory::ManualClock,
    store::EventStore,
};
use servers::postgres::Postgres;
use store_postgres::{Limits, PostgresKeys, PostgresStore};

use crate::server;

/// A database for each contents; the newest is the one that is reopened.
struct Databases {
    server: &'static Postgres,
    newest: Mutex<String>,
    limits: Limits,
}

impl Databases {
    fn new(server: &'static Postgres, limits: Limits) -> Self {
        Self { server, newest: Mutex::default(), limits }
    }

    fn next(&self) -> String {
        let url = self.server.fresh_database().unwrap();
        self.newest.lock().unwrap().clone_from(&url);
        url
    }

    async fn connect(&self, url: &str) -> Arc<dyn EventStore> {
        let clock = Arc::new(Backward(ManualClock::default()));
        Arc::new(PostgresStore::connect(url, clock, &self.limits).await.unwrap())
    }
}

/// A clock that runs backward, so that a log which trusted it would show.
struct Backward(ManualClock);

impl Clock for Backward {
    fn now(&self) -> Timestamp {
        self.0.advance(SignedDuration::from_secs(-1))
    }
}

#[async_trait]
impl Harness<dyn EventStore> for Databases {
    async fn open(&self) -> Arc<dyn EventStore> {
        self.connect(&self.next()).await
    }

    async fn reopen(&self, adapter: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        assert_eq!(Arc::strong_count(&adapter), 1, "reopening needs the only handle");
        drop(adapter);
        let url = self.newest.lock().unwrap().clone();
        self.connect(&url).await
    }

    async fn beside(&self) -> Option<Arc<dyn EventStore>> {
        let url = self.newest.lock().unwrap().clone();
        Some(self.connect(&url).await)
    }
}

#[async_trait]
impl Harness<dyn Keys> for Databases {
    async fn open(&self) -> Arc<dyn Keys> {
        Arc::new(PostgresKeys::connect(&self.next(), &self.limits).await.unwrap())
    }

    async fn reopen(&self, adapter: Arc<dyn Keys>) -> Arc<dyn Keys> {
        drop(adapter);
        let url = self.newest.lock().unwrap().clone();
        Arc::new(PostgresKeys::connect(&url, &self.limits).await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_keeps_the_contract() {
    let Some(server) = server() else { return };
    conformance::event_store(&Databases::new(server, Limits::default())).await;
}

/// Limits so small that every bound is met all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_keeps_the_contract_at_the_smallest_limits() {
    let Some(server) = server() else { return };
    let limits = Limits { queue_batches_max: 1, group_events_max: 1, readers_max: 1, ..Limits::default() };
    conformance::event_store(&Databases::new(server, limits)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_keys_keep_the_contract() {
    let Some(server) = server() else { return };
    conformance::keys(&Databases::new(server, Limits::default())).await;
    conformance::keys(&Databases::new(server, Limits { key_connections_max: 1, ..Limits::default() })).await;
}
