//! The views on a real server keep the contract of their port.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ports::{
    conformance::{self, Harness},
    views::ViewStore,
};
use servers::postgres::Postgres;
use views_postgres::{Limits, PostgresViews};

use crate::server;

/// A database for each contents; the newest is the one that is reopened.
struct Databases {
    server: &'static Postgres,
    newest: Mutex<String>,
    limits: Limits,
}

#[async_trait]
impl Harness<dyn ViewStore> for Databases {
    async fn open(&self) -> Arc<dyn ViewStore> {
        let url = self.server.fresh_database().unwrap();
        self.newest.lock().unwrap().clone_from(&url);
        Arc::new(PostgresViews::connect(&url, &self.limits).await.unwrap())
    }

    async fn reopen(&self, adapter: Arc<dyn ViewStore>) -> Arc<dyn ViewStore> {
        assert_eq!(Arc::strong_count(&adapter), 1, "reopening needs the only handle");
        drop(adapter);
        let url = self.newest.lock().unwrap().clone();
        Arc::new(PostgresViews::connect(&url, &self.limits).await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_views_keep_the_contract() {
    let Some(server) = server() else { return };
    conformance::view_store(&Databases { server, newest: Mutex::default(), limits: Limits::default() }).await;
}

/// Limits so small that every bound is met all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_views_keep_the_contract_at_the_smallest_limits() {
    let Some(server) = server() else { return };
    let limits =
        Limits { readers_max: 1, writers_max: 1, statement_rows_max: 1, copy_rows_min: 1, ..Limits::default() };
    conformance::view_store(&Databases { server, newest: Mutex::default(), limits }).await;
}
