//! Reading: pages, ids, distances.

#![expect(clippy::expect_used, reason = "a suite fails by panicking")]

use super::{Harness, Store, all, append, id, stream, written};
use crate::store::{EventStore, Position, Recorded, Revision};

/// A log of 40 events: four streams of ten, written in turns.
async fn forty(store: &Store) {
    for round in 0..5 {
        for number in 0..4 {
            let first = u128::from(round * 8 + number * 2);
            written(store, append(&format!("thing-{number}"), round * 2, [first, first + 1])).await;
        }
    }
}

pub async fn pages_of_every_size_add_up_to_the_whole(harness: &dyn Harness<dyn EventStore>) {
    let store = harness.open().await;
    forty(&store).await;
    let store = harness.reopen(store).await;
    let log = all(&store).await;
    let thing = stream(&store, "thing-2").await;
    assert_eq!((log.len(), thing.len()), (40, 10));
    for page in 1..=log.len() + 1 {
        let mut paged: Vec<Recorded> = Vec::new();
        loop {
            let after = paged.last().map_or(Position::START, |event| event.position);
            let more = store.read_all(after, page).await.expect("the log reads");
            assert!(more.len() == page.min(log.len() - paged.len()), "a page is full but for the last");
            if more.is_empty() {
                break;
            }
            paged.extend(more);
        }
        assert!(paged == log, "pages of {page} events add up to the log");
    }
    for page in 1..=thing.len() + 1 {
        let mut paged: Vec<Recorded> = Vec::new();
        loop {
            let from = paged.len() as Revision;
            let more = store.read_stream("thing-2", from, page).await.expect("the stream reads");
            if more.is_empty() {
                break;
            }
            assert!(more.len() <= page);
            paged.extend(more);
        }
        assert!(paged == thing, "pages of {page} events add up to the stream");
    }
    let head = store.head().await.expect("the head reads");
    for after in [head, Position(head.0 + 1), Position(u64::MAX)] {
        assert_eq!(store.read_all(after, 10).await.expect("the log reads"), [], "nothing is behind the end");
    }
    for from in [10, 11, u64::MAX] {
        assert_eq!(store.read_stream("thing-2", from, 10).await.expect("the stream reads"), []);
    }
    assert_eq!(store.read_all(Position::START, 0).await.expect("the log reads"), [], "a page of nothing");
    assert_eq!(store.read_stream("thing-2", 0, 0).await.expect("the stream reads"), [], "a page of nothing");
}

pub async fn events_are_found_in_the_order_asked(harness: &dyn Harness<dyn EventStore>) {
    let store = harness.open().await;
    forty(&store).await;
    let store = harness.reopen(store).await;
    let log = all(&store).await;
    let stored = |n: u128| log.iter().find(|event| event.id == id(n)).cloned();
    let asked = [39, 0, 777, 17, 17, 778, 3];
    let found = store.find(&asked.map(id)).await.expect("ids can be sought");
    assert_eq!(found, asked.map(stored), "what is found stands where it was asked for, and gaps are gaps");
    assert_eq!(found.iter().flatten().count(), 5);
    let many: Vec<_> = (0..2_000).map(id).collect();
    let found = store.find(&many).await.expect("many ids can be sought at once");
    assert_eq!((found.len(), found.iter().flatten().count()), (2_000, 40));
}

pub async fn distance_counts_events(harness: &dyn Harness<dyn EventStore>) {
    let store = harness.open().await;
    forty(&store).await;
    let store = harness.reopen(store).await;
    let log = all(&store).await;
    let head = store.head().await.expect("the head reads");
    assert_eq!(log.last().map(|event| event.position), Some(head), "the head is the newest event");
    for (index, event) in (1..).zip(&log) {
        let behind = store.distance(Position::START, event.position).await.expect("distance reads");
        let ahead = store.distance(event.position, head).await.expect("distance reads");
        assert_eq!((behind, ahead), (index, 40 - index), "distance counts what lies after and up to");
    }
    let backward = store.distance(head, Position::START).await.expect("distance reads");
    assert_eq!(backward, 0, "nothing lies between the end and the beginning");
}
