//! How fast the relay publishes a log that is there already, beside a bare publisher that sends the same bodies,
//! pipelined, and nothing else. Both in one run, on the same server; only the ratio means anything elsewhere.
//!
//! `cargo bench -p bus-nats`; `-- --events 200000 --durable` for more, or for a server that syncs every message.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark fails by panicking and takes the time"
)]

use std::{sync::Arc, time::Instant};

use async_nats::jetstream::{self, message::PublishMessage, stream::Config};
use bus_nats::{Limits, Nats, Settings};
use bytes::Bytes;
use commands::relay::{self, Relay};
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use ports::{
    clock::Clock,
    store::{Append, EventStore, NewEvent},
};
use servers::{nats::Options, or_not_run};
use store_sqlite::SqliteStore;
use uuid::Uuid;

/// The allocator of the shop.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As many messages as the relay has under way.
const WINDOW: usize = 1_000;
/// An order line's worth of JSON.
const BODY: &str = r#"{"order":"019a0000-0000-7000-8000-000000000000","lines":[{"product":"85123A","sku":"85123A","name":"WHITE HANGING HEART T-LIGHT HOLDER","quantity":6,"price":{"minor":255,"currency":"GBP"}},{"product":"71053","sku":"71053","name":"WHITE METAL LANTERN","quantity":6,"price":{"minor":339,"currency":"GBP"}}],"region":"GB"}"#;
const METADATA: &str = r#"{"schema":1,"request_id":"019a0000-0000-7000-8000-000000000001","body_hash":1234567890,"actor":{"member":"019a0000-0000-7000-8000-000000000002"},"$correlationId":"019a0000-0000-7000-8000-000000000003","occurred_at":"2026-01-02T03:04:05.678901Z"}"#;

struct System;

impl Clock for System {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.next().map(|_| arguments.next().unwrap_or_default())
}

/// A log of so many events, a thousand to an append, in as many streams as there are thousands.
async fn log(folder: &std::path::Path, events: u64) -> Arc<dyn EventStore> {
    let store = SqliteStore::open(folder, Arc::new(System), &store_sqlite::Limits::default()).unwrap();
    for first in (0..events).step_by(1_000) {
        let event = |n: u64| NewEvent {
            id: Uuid::from_u128((u128::from(n + 1) << 80) | 0x4000_8000_0000_0000_0000),
            kind: "order.placed".into(),
            data: Bytes::from_static(BODY.as_bytes()),
            metadata: Bytes::from_static(METADATA.as_bytes()),
        };
        let events = (first..(first + 1_000).min(events)).map(event).collect();
        let append = Append {
            recorded_at: None,
            stream: format!("order-{}", Uuid::from_u128(first.into())),
            expected: 0,
            events,
        };
        store.append(vec![append]).await.unwrap().remove(0).unwrap();
    }
    Arc::new(store)
}

/// Publishes the same bodies under ids of their own, so many at once. Events a second.
async fn bare(url: &str, events: u64, run: u64) -> f64 {
    let context = jetstream::new(async_nats::connect(url).await.unwrap());
    let name = format!("bare-{run}");
    let config = Config { name: name.clone(), subjects: vec![format!("{name}.>")], ..Config::default() };
    context.create_stream(config).await.unwrap();
    let begun = Instant::now();
    let publish = |n: u64| {
        let message = PublishMessage::build().message_id(Uuid::from_u128(n.into()).to_string());
        let (context, name) = (context.clone(), name.clone());
        async move {
            let message = message.payload(Bytes::from_static(BODY.as_bytes()));
            context.send_publish(format!("{name}.order.placed.{}", n % 1_000), message).await.unwrap().await.unwrap()
        }
    };
    stream::iter(0..events).map(publish).buffer_unordered(WINDOW).for_each(|_| async {}).await;
    events as f64 / begun.elapsed().as_secs_f64()
}

async fn relayed(url: &str, store: &Arc<dyn EventStore>, events: u64, run: u64) -> f64 {
    let settings = Settings { prefix: format!("run-{run}"), ..Settings::new(url) };
    let bus = Nats::connect(settings, Limits::default()).await.unwrap().bus();
    bus.tail().await.unwrap();
    let limits = relay::Limits { batch_events_max: WINDOW, ..relay::Limits::default() };
    let outlet = format!("run-{run}");
    let mut relay = Relay::open(Arc::clone(store), bus, &outlet, "urn:cartulary:bench", limits).await.unwrap();
    let (head, begun) = (store.head().await.unwrap(), Instant::now());
    while relay.position() < head {
        relay.step().await.unwrap();
    }
    events as f64 / begun.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    let durable = std::env::args().any(|argument| argument == "--durable");
    let default = if durable { 10_000 } else { 100_000 };
    let events = argument("--events").and_then(|events| events.parse().ok()).unwrap_or(default);
    let Some(server) = or_not_run(servers::nats::Nats::start(Options { own: true, durable, ..Options::default() }))
    else {
        return;
    };
    let folder = tempfile::TempDir::new().unwrap();
    let store = log(folder.path(), events).await;
    println!("{events} events of {} bytes, {WINDOW} under way; the server syncs every message: {durable}", BODY.len());
    let mut ratios = Vec::new();
    for run in 0..5 {
        // Alternately first, so that neither has the warmer machine.
        let (bare, relayed) = if run % 2 == 0 {
            let bare = bare(server.url(), events, run).await;
            (bare, relayed(server.url(), &store, events, run).await)
        } else {
            let relayed = relayed(server.url(), &store, events, run).await;
            (bare(server.url(), events, run).await, relayed)
        };
        ratios.push(relayed / bare);
        println!("bare publisher {bare:>9.0}/s   relay {relayed:>9.0}/s   ratio {:.2}", relayed / bare);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2} (goal: at least 0.5)", ratios[ratios.len() / 2]);
}
