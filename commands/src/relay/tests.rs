//! The relay on a bus and a log in memory, with everything a bus can do to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use ports::{
    bus::{self, Bus, Message},
    memory::{Failure, ManualClock, MemoryBus, MemoryStore},
    store::{Append, EventStore, NewEvent, Position},
};
use uuid::Uuid;

use super::{Error, Limits, Relay, Report};
use crate::vague::{STRIDE, Vague};

const SOURCE: &str = "urn:cartulary:test";

fn limits() -> Limits {
    Limits {
        batch_events_max: 7,
        checkpoint_events: 10,
        idle_max: Duration::from_millis(1),
        idle_waits_max: 2,
        page_messages_max: 5,
        unseen_events_max: 1_000,
        ..Limits::default()
    }
}

fn log() -> MemoryStore {
    MemoryStore::new(Arc::new(ManualClock::default()))
}

/// Appends `count` events, spread over five streams.
async fn append(store: &MemoryStore, count: u64) {
    for _ in 0..count {
        let n = store.head().await.unwrap().0;
        let stream = format!("order-{}", n % 5);
        let expected = store.read_stream(&stream, 0, usize::MAX).await.unwrap().len() as u64;
        let event = NewEvent {
            id: Uuid::from_u128(u128::from(n) << 80 | 0x4000_8000_0000_0000_0000),
            kind: "order.placed".into(),
            data: Bytes::from(format!(r#"{{"n":{n}}}"#)),
            metadata: Bytes::from_static(b"{}"),
        };
        store
            .append(vec![Append { recorded_at: None, stream, expected, events: vec![event] }])
            .await
            .unwrap()
            .remove(0)
            .unwrap();
    }
}

async fn relay(store: &(impl EventStore + Clone), bus: &MemoryBus, limits: Limits) -> Relay {
    let (store, bus) = (Arc::new(store.clone()), Arc::new(bus.clone()));
    Relay::open(store, bus, "test", SOURCE, limits).await.unwrap()
}

/// Steps until everything is out; failures are tried again.
async fn drain(relay: &mut Relay, store: &impl EventStore) {
    for _ in 0..10_000 {
        let stepped = relay.step().await;
        if stepped.is_ok() && relay.position() == store.head().await.unwrap() {
            return;
        }
    }
    unreachable!("the relay never comes to the end of the log");
}

fn positions(bus: &MemoryBus) -> Vec<u64> {
    bus.messages().iter().map(|message| message.position.0).collect()
}

/// How far the kept checkpoint says the bus holds the log.
async fn checkpoint(store: &MemoryStore) -> Position {
    store.load_snapshot("$relay.test", 1).await.unwrap().map_or(Position::START, |kept| kept.position)
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[tokio::test]
async fn every_event_goes_out_once_and_in_the_logs_order() {
    let (store, bus) = (log(), MemoryBus::new());
    append(&store, 100).await;
    let mut relay = relay(&store, &bus, limits()).await;
    drain(&mut relay, &store).await;
    append(&store, 3).await;
    drain(&mut relay, &store).await;
    assert_eq!(positions(&bus), (1..=103).collect::<Vec<_>>());
    assert_eq!(relay.status().borrow().published, 103);
}

#[tokio::test]
async fn a_message_is_a_cloud_event_and_says_nothing_of_who_asked() {
    let (store, bus) = (log(), MemoryBus::new());
    let metadata = br#"{"schema":2,"request_id":"00000000-0000-4000-8000-000000000001","body_hash":1,
        "actor":{"member":"00000000-0000-4000-8000-00000000feed"},
        "$correlationId":"00000000-0000-4000-8000-000000000002",
        "$causationId":"00000000-0000-4000-8000-000000000003","occurred_at":"2011-02-03T04:05:06Z"}"#;
    let id = Uuid::from_u128(7);
    let body = Bytes::from_static(br#"{"ship_to":{"sealed":"AAAA"}}"#);
    let event =
        NewEvent { id, kind: "order.placed".into(), data: body.clone(), metadata: Bytes::copy_from_slice(metadata) };
    let append = Append { recorded_at: None, stream: "order-a-b.c".into(), expected: 0, events: vec![event] };
    store.append(vec![append]).await.unwrap().remove(0).unwrap();
    drain(&mut relay(&store, &bus, limits()).await, &store).await;

    let message = bus.messages().remove(0);
    assert_eq!(message.subject, ["order", "placed", "a-b.c"]);
    assert_eq!((message.id, message.position, message.through), (id, Position(1), Position(1)));
    assert_eq!(message.payload, body, "the body goes out as it is stored");
    let headers: BTreeMap<&str, &str> = message.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let expected = [
        ("ce-specversion", "1.0"),
        ("ce-id", "00000000-0000-0000-0000-000000000007"),
        ("ce-source", SOURCE),
        ("ce-type", "order.placed"),
        ("ce-time", "2011-02-03T04:05:06Z"),
        ("ce-subject", "order-a-b.c"),
        ("ce-revision", "0"),
        ("ce-schemaversion", "2"),
        ("ce-correlationid", "00000000-0000-4000-8000-000000000002"),
        ("ce-causationid", "00000000-0000-4000-8000-000000000003"),
        ("content-type", "application/json"),
    ];
    assert_eq!(headers, BTreeMap::from(expected));
    assert!(!format!("{message:?}").contains("feed"), "who asked stays at home");
}

#[tokio::test]
async fn a_body_that_the_bus_cannot_carry_stays_in_the_log() {
    let (store, bus) = (log(), MemoryBus::new());
    let payload_max = bus.tail().await.unwrap().payload_max;
    for (n, size) in [payload_max, payload_max + 1].into_iter().enumerate() {
        let data = Bytes::from(vec![b'x'; size]);
        let event = NewEvent { id: Uuid::from_u128(n as u128), kind: "a.b".into(), data, metadata: Bytes::new() };
        let append = Append { recorded_at: None, stream: format!("a-{n}"), expected: 0, events: vec![event] };
        store.append(vec![append]).await.unwrap().remove(0).unwrap();
    }
    drain(&mut relay(&store, &bus, limits()).await, &store).await;
    let [fits, larger] = bus.messages().try_into().unwrap();
    let omitted = |message: &Message| message.headers.iter().any(|(name, _)| *name == "ce-omittedbytes");
    assert_eq!((fits.payload.len(), omitted(&fits)), (payload_max, false));
    assert_eq!((larger.payload.len(), omitted(&larger)), (0, true));
    assert!(larger.headers.contains(&("ce-omittedbytes", (payload_max + 1).to_string())));
}

/// Again and again something happens: a step, a failure, a crash of the relay, a bus that loses its end or everything.
#[tokio::test]
async fn whatever_happens_the_checkpoint_is_never_ahead_and_nothing_is_out_of_order() {
    for seed in 0..10 {
        let (store, bus, mut dice) = (log(), MemoryBus::new(), Dice(seed));
        append(&store, 30).await;
        let mut at = relay(&store, &bus, limits()).await;
        let mut held = Position::START;
        for _ in 0..300 {
            match dice.throw(20) {
                0 => append(&store, dice.throw(20)).await,
                1 => bus.fail_next(Failure::Lost(usize::try_from(dice.throw(8)).unwrap())),
                2 => bus.fail_next(Failure::Short(usize::try_from(dice.throw(8)).unwrap())),
                3 => bus.fail_next(Failure::Full),
                4 => at = relay(&store, &bus, limits()).await,
                5 => bus.lose_newest(usize::try_from(dice.throw(10)).unwrap()),
                6 if dice.throw(5) == 0 => bus.wipe(),
                _ => drop(at.step().await),
            }
            // What it has acknowledged a bus may lose before the checkpoint is kept; never held is never kept.
            held = held.max(bus.messages().last().map_or(Position::START, |newest| newest.through));
            let kept = checkpoint(&store).await;
            assert!(kept <= held, "seed {seed}: kept {kept}, the bus held {held}");
            let positions = positions(&bus);
            let dense: Vec<u64> = (1..=positions.len() as u64).collect();
            assert_eq!(positions, dense, "seed {seed}: the bus holds a first part of the log, each event once");
        }
        drain(&mut at, &store).await;
        assert_eq!(positions(&bus).len() as u64, store.head().await.unwrap().0, "seed {seed}");
    }
}

#[tokio::test]
async fn a_wipe_is_noticed_by_an_idle_relay_and_by_one_that_was_down() {
    let (store, bus) = (log(), MemoryBus::new());
    append(&store, 30).await;
    let mut at = relay(&store, &bus, limits()).await;
    drain(&mut at, &store).await;
    for _ in 0..3 {
        at.step().await.unwrap();
    }
    bus.wipe();
    for _ in 0..20 {
        at.step().await.unwrap();
    }
    assert_eq!(positions(&bus), (1..=30).collect::<Vec<_>>(), "nobody bought anything, and yet it is full again");
    assert_eq!(checkpoint(&store).await, Position(30));
    drop(at);
    bus.wipe();
    drain(&mut relay(&store, &bus, limits()).await, &store).await;
    assert_eq!(positions(&bus).len(), 30);
}

#[tokio::test]
async fn of_two_relays_each_event_goes_out_once() {
    let (store, bus) = (log(), MemoryBus::new());
    append(&store, 200).await;
    let (mut one, mut other) = (relay(&store, &bus, limits()).await, relay(&store, &bus, limits()).await);
    let mut moved = 0;
    while positions(&bus).len() < 200 {
        for relay in [&mut one, &mut other] {
            match relay.step().await {
                Err(Error::Bus(bus::Error::Moved { .. })) => moved += 1,
                stepped => stepped.unwrap(),
            }
        }
    }
    assert!(moved > 0, "they have met");
    assert_eq!(positions(&bus), (1..=200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_bus_of_another_log_is_left_alone() {
    let (store, other, bus) = (log(), log(), MemoryBus::new());
    append(&store, 30).await;
    drain(&mut relay(&store, &bus, limits()).await, &store).await;
    append(&other, 10).await;
    let refused = relay(&other, &bus, limits()).await.step().await;
    assert!(matches!(refused, Err(Error::Foreign { position: Position(30), .. })), "{refused:?}");
    assert_eq!(positions(&bus).len(), 30);
}

#[tokio::test]
async fn a_comparison_finds_and_fills_what_the_bus_lacks() {
    for unseen_events_max in [1_000, 20, 8, 1] {
        let (store, bus) = (log(), MemoryBus::new());
        append(&store, 100).await;
        let mut at = relay(&store, &bus, Limits { unseen_events_max, ..limits() }).await;
        let report = at.reconcile(Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(report, Report { events: 100, messages: 100, appended: 100, ..Report::default() });

        let gone = |position: Position| position.0 <= 3 || position.0 % 10 == 5 || (40..=70).contains(&position.0);
        bus.remove(|message| gone(message.position));
        let end = bus.tail().await.unwrap().sequence;
        let twice = bus.messages().into_iter().nth(20).unwrap();
        let twice = Message { through: Position(100), ..twice };
        let stranger = Message { id: Uuid::from_u128(99), position: Position(55), ..twice.clone() };
        bus.publish(end, &[stranger, twice]).await.unwrap();

        let report = at.reconcile(Timestamp::UNIX_EPOCH).await.unwrap();
        let lacking = (1..=100).filter(|n| gone(Position(*n))).count() as u64;
        let found = Report {
            events: 100,
            messages: 102 - lacking,
            filled: lacking,
            repeats: 1,
            strangers: 1,
            ..Report::default()
        };
        assert_eq!(report, found, "with {unseen_events_max} unseen at most");
        let there: BTreeSet<u64> = positions(&bus).into_iter().collect();
        assert_eq!(there, (1..=100).collect(), "nothing is missing");

        // Another relay takes over: all it knows of the bus is its newest message.
        at = relay(&store, &bus, Limits { unseen_events_max, ..limits() }).await;
        append(&store, 5).await;
        drain(&mut at, &store).await;
        assert_eq!(positions(&bus)[102..], [101, 102, 103, 104, 105], "filled gaps do not set the relay back");
        let report = at.reconcile(Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!((report.filled, report.appended, report.repeats), (0, 0, 1), "once filled, it is full");
    }
}

#[tokio::test]
async fn a_log_that_finds_only_its_newest_events_by_their_ids_goes_out_and_is_compared() {
    let (log, bus) = (log(), MemoryBus::new());
    let store = Vague { log: log.clone(), found_max: 3, distance: 0 };
    append(&log, 100).await;
    drain(&mut relay(&store, &bus, limits()).await, &store).await;
    // While nobody relayed, more was sold than the log finds.
    append(&log, 20).await;
    let mut at = relay(&store, &bus, limits()).await;
    drain(&mut at, &store).await;
    let places = |numbers: std::ops::RangeInclusive<u64>| numbers.map(|n| n * STRIDE).collect::<Vec<_>>();
    assert_eq!(positions(&bus), places(1..=120));

    let gone = |position: Position| matches!(position.0 / STRIDE, 1..=3 | 50 | 52..=80 | 120);
    let there = bus.messages();
    bus.remove(|message| gone(message.position));
    let end = bus.tail().await.unwrap().sequence;
    let through = Position(120 * STRIDE);
    let twice = Message { through, ..there[20].clone() };
    let strangers = [
        Message { id: Uuid::from_u128(99), ..twice.clone() },
        Message { position: there[21].position, ..twice.clone() },
        Message { headers: Vec::new(), ..twice.clone() },
    ];
    bus.publish(end, &[&strangers[..], &[twice]].concat()).await.unwrap();
    let report = at.reconcile(Timestamp::UNIX_EPOCH).await.unwrap();
    let lacking = there.iter().filter(|message| gone(message.position)).count() as u64;
    let found =
        Report { events: 120, messages: 124 - lacking, filled: lacking, repeats: 1, strangers: 3, ..Report::default() };
    assert_eq!(report, found);
    let filled: BTreeSet<u64> = positions(&bus).into_iter().collect();
    assert_eq!(filled.into_iter().collect::<Vec<_>>(), places(1..=120), "nothing is missing");
}

#[tokio::test]
async fn a_message_whose_event_is_elsewhere_is_another_logs_also_where_ids_are_not_found() {
    let (log, bus) = (log(), MemoryBus::new());
    let store = Vague { log: log.clone(), found_max: 0, distance: 0 };
    append(&log, 30).await;
    drain(&mut relay(&store, &bus, limits()).await, &store).await;
    let newest = bus.messages().remove(29);
    let of = |name: &'static str, value: &str| {
        let headers =
            newest.headers.iter().map(|(at, old)| (*at, if *at == name { value.into() } else { old.clone() }));
        Message { headers: headers.collect(), ..newest.clone() }
    };
    let foreign = [
        Message { id: Uuid::from_u128(99), ..newest.clone() },
        Message { position: Position(29 * STRIDE), ..newest.clone() },
        of("ce-revision", "4"),
        of("ce-revision", "1000"),
        of("ce-revision", "-"),
        of("ce-subject", "order-none"),
        of("ce-subject", "%ff"),
    ];
    for message in foreign {
        bus.wipe();
        bus.publish(0, std::slice::from_ref(&message)).await.unwrap();
        let refused = relay(&store, &bus, limits()).await.step().await;
        assert!(matches!(refused, Err(Error::Foreign { .. })), "{message:?}: {refused:?}");
    }
    bus.wipe();
    bus.publish(0, &[newest]).await.unwrap();
    relay(&store, &bus, limits()).await.step().await.unwrap();
}

#[tokio::test]
async fn a_comparison_after_a_wipe_publishes_everything_in_order() {
    let (store, bus) = (log(), MemoryBus::new());
    append(&store, 100).await;
    let mut relay = relay(&store, &bus, limits()).await;
    drain(&mut relay, &store).await;
    bus.wipe();
    let report = relay.reconcile(Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(report, Report { events: 100, messages: 100, appended: 100, ..Report::default() });
    assert_eq!(positions(&bus), (1..=100).collect::<Vec<_>>());
}
