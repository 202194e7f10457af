//! The members' keys keep the contract of their port, across two processes' handles too.

use std::sync::Arc;

use async_trait::async_trait;
use ports::{
    conformance::{self, Harness},
    keys::Keys,
};
use store_postgres::{Limits, PostgresKeys};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::server;

/// A database per contents; the newest is the one that is reopened.
struct Databases(Mutex<String>);

async fn keys(url: &str) -> Arc<dyn Keys> {
    Arc::new(PostgresKeys::connect(url, &Limits::default()).await.unwrap())
}

#[async_trait]
impl Harness<dyn Keys> for Databases {
    async fn open(&self) -> Arc<dyn Keys> {
        let mut url = self.0.lock().await;
        *url = server().unwrap().fresh_database().unwrap();
        keys(&url).await
    }

    async fn reopen(&self, adapter: Arc<dyn Keys>) -> Arc<dyn Keys> {
        drop(adapter);
        keys(&self.0.lock().await.clone()).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_keys_keep_the_contract() {
    if server().is_some() {
        conformance::keys(&Databases(Mutex::default())).await;
    }
}

#[tokio::test]
async fn a_member_who_is_forgotten_by_one_process_is_forgotten_by_all() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    let (here, there) = (keys(&url).await, keys(&url).await);
    let member = Uuid::from_u128(7);
    let key = here.key(member).await.unwrap();
    assert_eq!(there.key(member).await.unwrap().0, key.0);
    there.forget(member).await.unwrap();
    assert!(here.existing(member).await.unwrap().is_none());
    assert!(here.key(member).await.is_err());
}
