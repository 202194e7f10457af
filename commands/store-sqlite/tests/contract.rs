//! The log and the keys in SQLite files keep the contracts of their ports.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use ports::{
    clock::Clock,
    conformance::{self, Harness},
    keys::Keys,
    memory::ManualClock,
    store::EventStore,
};
use store_sqlite::{Limits, SqliteKeys, SqliteStore};
use tempfile::TempDir;

/// A folder per contents; the newest is the one that is reopened.
struct Folders {
    root: TempDir,
    opened: AtomicU32,
    limits: Limits,
}

impl Folders {
    fn new(limits: Limits) -> Self {
        Self { root: TempDir::new().unwrap(), opened: AtomicU32::new(0), limits }
    }

    fn next(&self) -> PathBuf {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.newest()
    }

    fn newest(&self) -> PathBuf {
        self.root.path().join(self.opened.load(Ordering::Relaxed).to_string())
    }
}

/// A clock that runs backward, so that a log which trusted it would show.
struct Backward(ManualClock);

impl Clock for Backward {
    fn now(&self) -> Timestamp {
        self.0.advance(SignedDuration::from_secs(-1))
    }
}

fn store(folder: &std::path::Path, limits: &Limits) -> Arc<dyn EventStore> {
    Arc::new(SqliteStore::open(folder, Arc::new(Backward(ManualClock::default())), limits).unwrap())
}

#[async_trait]
impl Harness<dyn EventStore> for Folders {
    async fn open(&self) -> Arc<dyn EventStore> {
        store(&self.next(), &self.limits)
    }

    async fn reopen(&self, adapter: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        assert_eq!(Arc::strong_count(&adapter), 1, "reopening needs the only handle");
        drop(adapter);
        store(&self.newest(), &self.limits)
    }
}

#[async_trait]
impl Harness<dyn Keys> for Folders {
    async fn open(&self) -> Arc<dyn Keys> {
        Arc::new(SqliteKeys::open(&self.next(), &self.limits).unwrap())
    }

    async fn reopen(&self, adapter: Arc<dyn Keys>) -> Arc<dyn Keys> {
        assert_eq!(Arc::strong_count(&adapter), 1, "reopening needs the only handle");
        drop(adapter);
        Arc::new(SqliteKeys::open(&self.newest(), &self.limits).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_keeps_the_contract() {
    conformance::event_store(&Folders::new(Limits::default())).await;
}

/// Limits so small that every bound is met all the time: the queue is full, groups are split, streams and
/// pages are forgotten, the WAL is copied and starts over while readers read.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_keeps_the_contract_at_the_smallest_limits() {
    let limits = Limits {
        queue_batches_max: 1,
        group_events_max: 3,
        heads_max: 1,
        readers_max: 1,
        writer_cache_bytes: 16 << 10,
        reader_cache_bytes: 16 << 10,
        checkpoint_wal_bytes: 16 << 10,
        restart_wal_bytes: 32 << 10,
        keys_cached_max: 1,
        ..Limits::default()
    };
    conformance::event_store(&Folders::new(limits)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_keys_keep_the_contract() {
    conformance::keys(&Folders::new(Limits::default())).await;
    conformance::keys(&Folders::new(Limits { keys_cached_max: 1, ..Limits::default() })).await;
}
