//! What an append writes and what it answers.

#![expect(clippy::expect_used, reason = "a suite fails by panicking")]

use bytes::Bytes;
use jiff::Timestamp;

use super::{Harness, Store, all, append, event, holds, id, stream, write, written};
use crate::store::{Append, EventStore, Position, Refused, Revision};

pub async fn an_empty_log_answers_every_question(store: &Store) {
    assert_eq!(store.head().await.expect("the head reads"), Position::START);
    assert_eq!(all(store).await, []);
    assert_eq!(stream(store, "none-1").await, []);
    assert_eq!(store.find(&[id(1)]).await.expect("ids can be sought"), [None]);
    assert_eq!(store.find(&[]).await.expect("no ids can be sought"), []);
    assert_eq!(store.distance(Position::START, Position::START).await.expect("distance reads"), 0);
    assert_eq!(store.load_snapshot("none-1", 1).await.expect("snapshots read"), None);
    assert_eq!(store.append(Vec::new()).await.expect("an empty batch is no fault"), []);
    let hollow = append("thing-1", 0, []);
    assert!(store.append(vec![hollow]).await.is_err(), "an append without events is a fault");
    assert_eq!(store.head().await.expect("the head reads"), Position::START);
}

pub async fn revisions_and_positions_increase_and_contents_come_back(harness: &dyn Harness<dyn EventStore>) {
    let store = harness.open().await;
    let mut last = Position::START;
    for round in 0..20_u32 {
        for (number, name) in [(0, "left-1"), (1, "right-1")] {
            let first = round * 10 + number * 5;
            let appended =
                written(&store, append(name, Revision::from(round) * 3, (first..first + 3).map(u128::from))).await;
            assert!(appended.last_position > last, "positions increase");
            last = appended.last_position;
            assert_eq!(store.head().await.expect("the head reads"), last);
        }
    }
    let before = all(&store).await;
    let store = harness.reopen(store).await;
    let events = all(&store).await;
    assert_eq!(events, before, "the log after a restart is the log before");
    assert_eq!(events.len(), 120);
    assert!(events.windows(2).all(|pair| pair[0].position < pair[1].position), "positions increase");
    assert!(events.windows(2).all(|pair| pair[0].recorded_at <= pair[1].recorded_at), "time never runs backward");
    for name in ["left-1", "right-1"] {
        let own: Vec<_> = events.iter().filter(|event| event.stream == name).cloned().collect();
        assert_eq!(stream(&store, name).await, own, "a stream is the part of the log that names it");
        assert!(own.iter().zip(0..).all(|(event, revision)| event.revision == revision), "revisions are contiguous");
        for stored in &own {
            let sent = event(stored.id.as_u128() & 0xffff);
            assert_eq!((stored.id, stored.kind.as_str()), (sent.id, &*sent.kind));
            assert_eq!((&stored.data, &stored.metadata), (&sent.data, &sent.metadata));
        }
    }
    assert_eq!(store.head().await.expect("the head reads"), last, "the head survives a restart");
    let after = written(&store, append("left-1", 60, [900])).await;
    assert!(after.last_position > last, "positions increase after a restart");
}

/// Before any clock of a test, to the microsecond: the finest that every engine keeps.
const EARLIER: Timestamp = Timestamp::constant(-2_000_000_000, -123_457_000);
const LATER: Timestamp = Timestamp::constant(-2_000_000_000, -123_456_000);

pub async fn a_copied_event_keeps_its_time(harness: &dyn Harness<dyn EventStore>) {
    let store = harness.open().await;
    let copied = |recorded_at, append| Append { recorded_at: Some(recorded_at), ..append };
    let batch = vec![
        copied(EARLIER, append("thing-1", 0, [1, 2])),
        copied(LATER, append("thing-2", 0, [3])),
        copied(LATER, append("thing-1", 2, [4])),
        append("thing-1", 3, [5]),
    ];
    for answer in store.append(batch).await.expect("a batch may hold copies") {
        assert!(answer.expect("nothing speaks against it").fresh);
    }
    let store = harness.reopen(store).await;
    let events = all(&store).await;
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5].map(id), "a batch is written in its order");
    let times: Vec<_> = events.iter().map(|event| event.recorded_at).collect();
    assert_eq!(times[..4], [EARLIER, EARLIER, LATER, LATER], "a copy keeps its time");
    assert!(times[4] > LATER, "what is new has the time of its writing");
    let own = stream(&store, "thing-1").await;
    let sent = [1, 2, 4, 5].map(event);
    let bytes = |data: &Bytes, metadata: &Bytes| (data.clone(), metadata.clone());
    let kept: Vec<_> = own.iter().map(|stored| bytes(&stored.data, &stored.metadata)).collect();
    assert_eq!(kept, sent.each_ref().map(|sent| bytes(&sent.data, &sent.metadata)), "and its contents");
    let found = store.find(&[id(3)]).await.expect("ids can be sought");
    assert_eq!(found[0].as_ref().map(|event| event.recorded_at), Some(LATER));
}

pub async fn a_wrong_expectation_is_a_conflict(store: &Store) {
    written(store, append("thing-1", 0, [1, 2])).await;
    // Each alone: nothing else in its batch leads the store to look at the stream.
    for (name, actual) in [("thing-1", 2), ("new-1", 0)] {
        for expected in (0..5).chain([u64::from(u32::MAX)]).filter(|expected| *expected != actual) {
            let answer = write(store, append(name, expected, [9])).await;
            assert_eq!(answer, Err(Refused::Conflict { expected, actual }), "{name} holds {actual} events");
        }
    }
    holds(store, "thing-1", &[1, 2]).await;
    holds(store, "new-1", &[]).await;
}

pub async fn a_conflict_leaves_the_rest_of_its_batch(store: &Store) {
    written(store, append("taken-1", 0, [1, 2])).await;
    let batch = vec![
        append("first-1", 0, [3]),
        append("taken-1", 0, [4]),
        append("taken-1", 3, [5]),
        append("new-1", 1, [6]),
        append("last-1", 0, [7, 8]),
    ];
    let answers = store.append(batch).await.expect("a conflict is no failure");
    assert!(answers[0].as_ref().is_ok_and(|appended| appended.fresh));
    assert_eq!(answers[1], Err(Refused::Conflict { expected: 0, actual: 2 }), "the stream is longer");
    assert_eq!(answers[2], Err(Refused::Conflict { expected: 3, actual: 2 }), "the stream is shorter");
    assert_eq!(answers[3], Err(Refused::Conflict { expected: 1, actual: 0 }), "the stream does not exist");
    assert!(answers[4].as_ref().is_ok_and(|appended| appended.fresh));
    for (name, numbers) in [("first-1", &[3][..]), ("taken-1", &[1, 2]), ("new-1", &[]), ("last-1", &[7, 8])] {
        holds(store, name, numbers).await;
    }
    written(store, append("new-1", 0, [6])).await;
    assert_eq!(all(store).await.len(), 6, "a refused event may be written later");
}

pub async fn a_batch_may_write_a_stream_twice(store: &Store) {
    let batch = vec![append("thing-1", 0, [1]), append("thing-1", 1, [2, 3]), append("thing-1", 1, [4])];
    let answers = store.append(batch).await.expect("the store takes the batch");
    let places: Vec<_> = answers.iter().flatten().map(|appended| appended.first_revision).collect();
    assert_eq!(places, [0, 1], "a later append of a batch sees the earlier ones");
    assert_eq!(answers[2], Err(Refused::Conflict { expected: 1, actual: 3 }));
    holds(store, "thing-1", &[1, 2, 3]).await;
}

pub async fn sizes_from_nothing_to_a_mebibyte_fit(harness: &dyn Harness<dyn EventStore>) {
    let store = harness.open().await;
    let many: Vec<Append> = (0..2_000).map(|n| append(&format!("many-{}", n % 50), n / 50, [u128::from(n)])).collect();
    let answers = store.append(many).await.expect("a batch of 2,000 appends fits");
    assert_eq!(answers.len(), 2_000);
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|appended| appended.fresh)));
    written(&store, append("long-1", 0, 10_000..11_500)).await;
    let mut large = append("large-1", 0, [20_000]);
    let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(1 << 20));
    large.events[0].data = Bytes::from(body.clone());
    written(&store, large).await;
    let store = harness.reopen(store).await;
    assert_eq!(all(&store).await.len(), 3_501);
    assert_eq!(stream(&store, "many-49").await.len(), 40);
    assert_eq!(stream(&store, "long-1").await.len(), 1_500);
    assert_eq!(stream(&store, "large-1").await[0].data, body, "a large body comes back");
}

pub async fn streams_may_have_any_name(harness: &dyn Harness<dyn EventStore>) {
    let store = harness.open().await;
    let long = format!("long-{}", "n".repeat(295));
    let longer = format!("{long}n");
    let names = [
        "thing-1",
        "Thing-1",
        "thing-1 ",
        "thing_1",
        "thing%1",
        "thing",
        "상품-사과",
        "🍎-1",
        "it's \"quoted\"-1",
        "back\\slash-1",
        "line\nbreak-1",
        "$system-1",
        &long,
        &longer,
    ];
    for (name, n) in names.iter().zip(1..) {
        assert!(write(&store, append(name, 0, [n])).await.is_ok(), "a stream may be called {name:?}");
    }
    let store = harness.reopen(store).await;
    for (name, n) in names.iter().zip(1..) {
        holds(&store, name, &[n]).await;
        assert_eq!(stream(&store, name).await[0].stream, *name);
    }
}
