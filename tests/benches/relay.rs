//! How fast the relay publishes a log that is there already, beside a bare publisher that sends the same bodies to the same
//! server, pipelined, and nothing else.
//!
//! Both on a server that syncs when it likes, as NATS does by default, and on one that syncs before it acknowledges.

use std::{path::Path, sync::Arc};

use async_nats::jetstream::{self, Context, message::PublishMessage, stream::Config};
use bus_nats::Nats;
use bytes::Bytes;
use commands::relay::{Limits, Relay};
use futures::{StreamExt as _, stream};
use gateway::clock::SystemClock;
use ports::store::{Append, EventStore, NewEvent};
use servers::nats;
use store_sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Settings,
    load::per_second,
    report::{Goal, Report},
};

/// As many messages as the relay has under way.
const WINDOW: usize = 1_000;
/// Rounds, unless the time is over before: the median of their ratios counts.
const ROUNDS_MAX: u64 = 5;
/// Events of a round, where the server syncs when it likes, and where it syncs each.
const EVENTS: [u64; 2] = [100_000, 10_000];
/// An order line's worth of JSON.
const BODY: &str = r#"{"order":"019a0000-0000-7000-8000-000000000000","lines":[{"product":"85123A","sku":"85123A","name":"WHITE HANGING HEART T-LIGHT HOLDER","quantity":6,"price":{"minor":255,"currency":"GBP"}},{"product":"71053","sku":"71053","name":"WHITE METAL LANTERN","quantity":6,"price":{"minor":339,"currency":"GBP"}}],"region":"GB"}"#;
const METADATA: &str = r#"{"schema":1,"request_id":"019a0000-0000-7000-8000-000000000001","body_hash":1234567890,"actor":{"member":"019a0000-0000-7000-8000-000000000002"},"$correlationId":"019a0000-0000-7000-8000-000000000003","occurred_at":"2026-01-02T03:04:05.678901Z"}"#;

pub(super) fn measure(settings: &Settings) -> Report {
    let mut report = Report::new("relay");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for (durable, events) in [(false, EVENTS[0]), (true, EVENTS[1])] {
        let options = nats::Options { own: true, durable, place: Some(&settings.folder), ..nats::Options::default() };
        match nats::Nats::start(options) {
            Ok(server) => runtime.block_on(rounds(settings, server.url(), durable, events, &mut report)),
            Err(why) => report.not_run("NATS", &why.to_string()),
        }
    }
    report
}

async fn rounds(settings: &Settings, url: &str, durable: bool, events: u64, report: &mut Report) {
    let folder = TempDir::with_prefix_in("cartulary-", &settings.folder).expect("a folder");
    let store = log(folder.path(), events).await;
    let context = jetstream::new(async_nats::connect(url).await.expect("a connection"));
    let begun = Instant::now();
    let mut rounds = Vec::new();
    for round in 0..ROUNDS_MAX {
        // Alternately first, so that neither has the warmer machine.
        rounds.push(if round % 2 == 0 {
            let bare = bare(&context, events).await;
            (bare, relayed(&context, url, &store, round).await)
        } else {
            let relayed = relayed(&context, url, &store, round).await;
            (bare(&context, events).await, relayed)
        });
        if begun.elapsed() > settings.time {
            break;
        }
    }
    rounds.sort_by(|one, other| (one.1 / one.0).total_cmp(&(other.1 / other.0)));
    let (bare, relayed) = rounds[(rounds.len() - 1) / 2];
    let what = if durable { "synced before acknowledged" } else { "synced when the server likes" };
    report.rate(format!("bare publisher, {what}"), bare, None);
    report.rate(format!("relay, {what}"), relayed, None);
    report.ratio(format!("relay / bare publisher, {what}"), relayed, bare, Goal::Least(0.5));
    let (rounds, bytes) = (rounds.len(), BODY.len());
    report.note(format!("{what}: {events} events of {bytes} bytes, {WINDOW} under way; median of {rounds} round(s)"));
}

/// A log of so many events, a thousand to an append, in as many streams as there are thousands.
async fn log(folder: &Path, events: u64) -> Arc<dyn EventStore> {
    let store = SqliteStore::open(folder, Arc::new(SystemClock), &store_sqlite::Limits::default()).expect("a log");
    for first in (0..events).step_by(1_000) {
        let event = |n: u64| NewEvent {
            id: Uuid::from_u128((u128::from(n + 1) << 80) | 0x4000_8000_0000_0000_0000),
            kind: "order.placed".into(),
            data: Bytes::from_static(BODY.as_bytes()),
            metadata: Bytes::from_static(METADATA.as_bytes()),
        };
        let append = Append {
            recorded_at: None,
            stream: format!("order-{}", Uuid::from_u128(first.into())),
            expected: 0,
            events: (first..(first + 1_000).min(events)).map(event).collect(),
        };
        store.append(vec![append]).await.expect("an append").remove(0).expect("a new stream");
    }
    Arc::new(store)
}

/// Publishes the same bodies under ids of their own, so many at once. Events a second.
async fn bare(context: &Context, events: u64) -> f64 {
    let config = Config { name: "bare".into(), subjects: vec!["bare.>".into()], ..Config::default() };
    context.create_stream(config).await.expect("a stream");
    let begun = Instant::now();
    let publish = async |n: u64| {
        let message = PublishMessage::build().message_id(Uuid::from_u128(n.into()).to_string());
        let message = message.payload(Bytes::from_static(BODY.as_bytes()));
        let sent = context.send_publish(format!("bare.order.placed.{}", n % 1_000), message).await;
        sent.expect("a connection").await.expect("an acknowledgement");
    };
    stream::iter(0..events).map(publish).buffer_unordered(WINDOW).for_each(async |()| {}).await;
    let rate = per_second(events, begun.elapsed());
    context.delete_stream("bare").await.expect("a stream that was there");
    rate
}

/// Lets the relay do it, under a name that has no checkpoint yet. Events a second.
async fn relayed(context: &Context, url: &str, store: &Arc<dyn EventStore>, round: u64) -> f64 {
    let prefix = format!("relayed-{round}");
    let settings = bus_nats::Settings { prefix: prefix.clone(), ..bus_nats::Settings::new(url) };
    let bus = Nats::connect(settings, bus_nats::Limits::default()).await.expect("a bus").bus();
    bus.tail().await.expect("an empty bus");
    let limits = Limits { batch_events_max: WINDOW, ..Limits::default() };
    let relay = Relay::open(Arc::clone(store), bus, &prefix, "urn:cartulary:bench", limits);
    let mut relay = relay.await.expect("a relay");
    let (head, begun) = (store.head().await.expect("a log"), Instant::now());
    while relay.position() < head {
        relay.step().await.expect("a bus that takes what it is given");
    }
    let rate = per_second(head.0, begun.elapsed());
    context.delete_stream(format!("{prefix}-events")).await.expect("a stream that was there");
    rate
}
