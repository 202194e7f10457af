//! What the tests stand on: a log in SQLite, a relay, and a look at the stream with the bare client.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_nats::jetstream::{self, consumer};
use bus_nats::{Limits, Nats, Settings};
use bytes::Bytes;
use commands::relay::{self, Relay};
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use ports::{
    bus::Bus,
    clock::Clock,
    memory::ManualClock,
    store::{Append, EventStore, NewEvent, Position},
};
use servers::{nats::Options, or_not_run};
use store_sqlite::SqliteStore;
use tempfile::TempDir;
use uuid::Uuid;

/// How long what is expected may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// A server of our own, or nothing to test on.
pub fn server() -> Option<servers::nats::Nats> {
    or_not_run(servers::nats::Nats::start(Options { own: true, ..Options::default() }))
}

/// Deadlines short enough to see a frozen server as such.
pub fn limits() -> Limits {
    Limits {
        connect_max: Duration::from_secs(2),
        request_max: Duration::from_secs(2),
        ack_max: Duration::from_secs(1),
        ping_every: Duration::from_millis(500),
        idle_max: Duration::from_millis(200),
        ack_wait: Duration::from_secs(2),
        again_min: Duration::from_millis(10),
        ..Limits::default()
    }
}

pub async fn connect(server: &servers::nats::Nats) -> Nats {
    Nats::connect(Settings::new(server.url()), limits()).await.unwrap()
}

pub fn relay_limits() -> relay::Limits {
    relay::Limits {
        batch_events_max: 50,
        checkpoint_events: 100,
        retry_min: Duration::from_millis(20),
        retry_max: Duration::from_millis(200),
        idle_max: Duration::from_millis(50),
        idle_waits_max: 4,
        page_messages_max: 300,
        ..relay::Limits::default()
    }
}

/// A clock that goes on by a millisecond whenever it is looked at.
struct Ticking(ManualClock);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        self.0.advance(SignedDuration::from_millis(1))
    }
}

/// A log on disk, with as many aggregates as are asked for.
pub struct Log {
    pub store: Arc<dyn EventStore>,
    aggregates: u64,
    lengths: BTreeMap<u64, u64>,
    written: u64,
    _folder: TempDir,
}

impl Log {
    pub fn new(aggregates: u64) -> Self {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(Ticking(ManualClock::default()));
        let store = SqliteStore::open(folder.path(), clock, &store_sqlite::Limits::default()).unwrap();
        Self { store: Arc::new(store), aggregates, lengths: BTreeMap::new(), written: 0, _folder: folder }
    }

    pub async fn append(&mut self, count: u64) {
        let mut batch = Vec::new();
        for _ in 0..count {
            let aggregate = self.written * 7 % self.aggregates;
            let expected = self.lengths.entry(aggregate).or_default();
            let event = NewEvent {
                id: Uuid::from_u128((u128::from(self.written + 1) << 80) | 0x4000_8000_0000_0000_0000),
                kind: if *expected == 0 { "order.placed" } else { "order.reserved" }.into(),
                data: Bytes::from(format!(r#"{{"n":{}}}"#, self.written)),
                metadata: Bytes::from_static(b"{}"),
            };
            batch.push(Append {
                recorded_at: None,
                stream: format!("order-a.{aggregate}"),
                expected: *expected,
                events: vec![event],
            });
            *expected += 1;
            self.written += 1;
        }
        for answer in self.store.append(batch).await.unwrap() {
            answer.unwrap();
        }
    }

    pub async fn relay(&self, bus: Arc<dyn Bus>) -> Relay {
        let store = Arc::clone(&self.store);
        Relay::open(store, bus, "nats", "urn:cartulary:test", relay_limits()).await.unwrap()
    }

    /// Works until everything is out, whatever fails meanwhile.
    pub async fn drain(&self, relay: &mut Relay) {
        let head = self.store.head().await.unwrap();
        let out = async {
            while relay.step().await.is_err() || relay.position() < head {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, out).await.expect("everything goes out in time");
    }

    /// Compares, with patience for a server that still takes for a repeat what it has lost.
    pub async fn reconcile(&self, relay: &mut Relay) -> relay::Report {
        let compared = async {
            loop {
                match relay.reconcile(Timestamp::UNIX_EPOCH).await {
                    Ok(report) => return report,
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        tokio::time::timeout(SOON, compared).await.expect("a comparison ends in time")
    }

    /// Every event is in the stream, once; each aggregate's in the log's order; nothing else is there.
    pub async fn is_published_by(&self, server: &servers::nats::Nats) {
        let events = self.store.read_all(Position::START, usize::MAX).await.unwrap();
        let messages = stream(server, "shop-events").await;
        let ids: Vec<&str> = messages.iter().map(|message| message.header("Nats-Msg-Id")).collect();
        let logged: Vec<String> = events.iter().map(|event| event.id.to_string()).collect();
        assert_eq!(ids, logged, "the stream holds the log, in its order, each event once");
        for (event, message) in events.iter().zip(&messages) {
            let (_, name) = event.kind.split_once('.').unwrap();
            let id = event.stream.trim_start_matches("order-").replace('.', "%2E");
            assert_eq!(message.subject, format!("shop.evt.order.{name}.{id}"));
            assert_eq!(message.payload, event.data);
            assert_eq!(message.header("ce-id"), event.id.to_string());
            assert_eq!(message.header("ce-type"), event.kind);
            assert_eq!(message.header("ce-subject"), event.stream);
            assert_eq!(message.header("ce-position"), event.position.to_string());
            assert_eq!(message.header("ce-revision"), event.revision.to_string());
        }
    }
}

/// A message as the bare client sees it.
pub struct Seen {
    pub subject: String,
    pub sequence: u64,
    pub payload: Bytes,
    headers: async_nats::HeaderMap,
}

impl Seen {
    pub fn header(&self, name: &'static str) -> &str {
        self.headers.get(name).map_or("", |value| value.as_str())
    }
}

pub async fn jetstream(server: &servers::nats::Nats) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

/// Everything a stream holds.
pub async fn stream(server: &servers::nats::Nats, name: &str) -> Vec<Seen> {
    let stream = jetstream(server).await.get_stream(name).await.unwrap();
    let count = usize::try_from(stream.cached_info().state.messages).unwrap();
    let reader = consumer::pull::OrderedConfig::default();
    let reader = stream.create_consumer(reader).await.unwrap().messages().await.unwrap();
    let read = reader.take(count).map(|message| {
        let message = message.unwrap();
        let sequence = message.info().unwrap().stream_sequence;
        let (subject, headers) = (message.subject.to_string(), message.headers.clone().unwrap_or_default());
        Seen { subject, sequence, payload: message.payload.clone(), headers }
    });
    tokio::time::timeout(SOON, read.collect()).await.unwrap()
}
