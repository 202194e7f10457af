//! NATS keeps the contract of the bus's port.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use bus_nats::{Limits, Nats, Settings};
use ports::{
    bus::Bus,
    conformance::{self, Harness},
};
use servers::or_not_run;

/// One server; contents are told apart by their prefix.
struct Prefixes {
    server: servers::nats::Nats,
    opened: AtomicU32,
    limits: Limits,
}

impl Prefixes {
    async fn connect(&self) -> Arc<dyn Bus> {
        let prefix = format!("contract-{}-{}", std::process::id(), self.opened.load(Ordering::Relaxed));
        let settings = Settings { prefix, ..Settings::new(self.server.url()) };
        Nats::connect(settings, self.limits.clone()).await.unwrap().bus()
    }
}

#[async_trait]
impl Harness<dyn Bus> for Prefixes {
    async fn open(&self) -> Arc<dyn Bus> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.connect().await
    }

    async fn reopen(&self, adapter: Arc<dyn Bus>) -> Arc<dyn Bus> {
        drop(adapter);
        self.connect().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nats_keeps_the_contract() {
    let Some(server) = or_not_run(servers::nats::Nats::start(servers::nats::Options::default())) else { return };
    let harness = Prefixes { server, opened: AtomicU32::new(0), limits: Limits::default() };
    conformance::bus(&harness).await;
    // The same with hardly anything under way at once.
    let harness = Prefixes { limits: Limits { in_flight_max: 3, ..Limits::default() }, ..harness };
    conformance::bus(&harness).await;
}
