//! The views in an SQLite file keep the contract of their port.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use ports::{
    conformance::{self, Harness},
    views::ViewStore,
};
use tempfile::TempDir;
use views_sqlite::{Limits, SqliteViews};

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

    fn newest(&self) -> PathBuf {
        self.root.path().join(self.opened.load(Ordering::Relaxed).to_string())
    }

    fn views(&self) -> Arc<dyn ViewStore> {
        Arc::new(SqliteViews::open(&self.newest(), &self.limits).unwrap())
    }
}

#[async_trait]
impl Harness<dyn ViewStore> for Folders {
    async fn open(&self) -> Arc<dyn ViewStore> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.views()
    }

    async fn reopen(&self, adapter: Arc<dyn ViewStore>) -> Arc<dyn ViewStore> {
        assert_eq!(Arc::strong_count(&adapter), 1, "reopening needs the only handle");
        drop(adapter);
        self.views()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_views_keep_the_contract() {
    conformance::view_store(&Folders::new(Limits::default())).await;
}

/// Limits so small that every bound is met all the time: the WAL is copied and starts over while readers
/// read, a dropped view goes row by row.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_views_keep_the_contract_at_the_smallest_limits() {
    let limits = Limits {
        readers_max: 1,
        writer_cache_bytes: 16 << 10,
        reader_cache_bytes: 16 << 10,
        checkpoint_wal_bytes: 16 << 10,
        restart_wal_bytes: 32 << 10,
        drop_rows_max: 7,
        ..Limits::default()
    };
    conformance::view_store(&Folders::new(limits)).await;
}
