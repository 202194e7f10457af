//! The adapters in memory keep the contracts of their ports.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ports::{
    bus::Bus,
    clock::Clock,
    conformance::{self, Harness},
    keys::Keys,
    memory::{ManualClock, MemoryBus, MemoryKeys, MemoryStore, MemoryViews},
    store::EventStore,
    views::ViewStore,
};

/// Contents in memory survive a restart of what stands above them, so reopening hands the same ones out.
struct Memory;

/// The log has two handles: clones of one store.
#[derive(Default)]
struct MemoryLog(Mutex<Option<MemoryStore>>);

#[async_trait]
impl Harness<dyn EventStore> for MemoryLog {
    async fn open(&self) -> Arc<dyn EventStore> {
        let store = MemoryStore::new(Arc::new(Backward(ManualClock::default())));
        *self.0.lock().unwrap() = Some(store.clone());
        Arc::new(store)
    }

    async fn beside(&self) -> Option<Arc<dyn EventStore>> {
        self.0.lock().unwrap().clone().map(|store| Arc::new(store) as Arc<dyn EventStore>)
    }

    async fn reopen(&self, adapter: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        assert_eq!(Arc::strong_count(&adapter), 1, "reopening needs the only handle");
        adapter
    }
}

#[async_trait]
impl Harness<dyn ViewStore> for Memory {
    async fn open(&self) -> Arc<dyn ViewStore> {
        Arc::new(MemoryViews::new())
    }

    async fn reopen(&self, adapter: Arc<dyn ViewStore>) -> Arc<dyn ViewStore> {
        adapter
    }
}

#[async_trait]
impl Harness<dyn Keys> for Memory {
    async fn open(&self) -> Arc<dyn Keys> {
        Arc::new(MemoryKeys::new(7))
    }

    async fn reopen(&self, adapter: Arc<dyn Keys>) -> Arc<dyn Keys> {
        adapter
    }
}

#[async_trait]
impl Harness<dyn Bus> for Memory {
    async fn open(&self) -> Arc<dyn Bus> {
        Arc::new(MemoryBus::new())
    }

    async fn reopen(&self, adapter: Arc<dyn Bus>) -> Arc<dyn Bus> {
        adapter
    }
}

/// A clock that runs backward, so that a log which trusted it would show.
struct Backward(ManualClock);

impl Clock for Backward {
    fn now(&self) -> jiff::Timestamp {
        self.0.advance(jiff::SignedDuration::from_secs(-1))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_memory_keeps_the_contract() {
    conformance::event_store(&MemoryLog::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_views_in_memory_keep_the_contract() {
    conformance::view_store(&Memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_keys_in_memory_keep_the_contract() {
    conformance::keys(&Memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_bus_in_memory_keeps_the_contract() {
    conformance::bus(&Memory).await;
}

#[tokio::test]
async fn a_fork_goes_its_own_way() {
    let store = MemoryStore::new(Arc::new(ManualClock::default()));
    let (same, fork) = (store.clone(), store.fork());
    let event = |n| ports::store::NewEvent {
        id: uuid::Uuid::from_u128(n),
        kind: "thing.happened".into(),
        data: "{}".into(),
        metadata: "{}".into(),
    };
    let append =
        ports::store::Append { recorded_at: None, stream: "thing-1".to_owned(), expected: 0, events: vec![event(1)] };
    store.append(vec![append]).await.unwrap()[0].as_ref().unwrap();
    assert_eq!(same.head().await.unwrap().0, 1, "a clone is the same log");
    assert_eq!(fork.head().await.unwrap().0, 0, "a fork is another log");
}
