//! Many at once: writers against writers, readers behind writers, through one handle or as several processes would.

#![expect(clippy::expect_used, clippy::panic, reason = "a suite fails by panicking")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{task::JoinSet, time::timeout};

use super::{Store, all, append, holds, stream, write, written};
use crate::{
    conformance::SOON,
    store::{Appended, Position, Recorded, Refused, Revision},
};

const WRITERS: u128 = 16;
const ROUNDS: u64 = 50;

/// The n-th of those who come through these handles.
fn nth(stores: &[Store], n: u128) -> Store {
    Arc::clone(&stores[usize::try_from(n).expect("a small number") % stores.len()])
}

pub async fn one_of_sixteen_writers_wins(stores: &[Store]) {
    for round in 0..ROUNDS {
        let mut race = JoinSet::new();
        for writer in 0..WRITERS {
            let store = nth(stores, writer);
            let first = u128::from(round) * 100 + writer * 2;
            race.spawn(async move { write(&store, append("prize-1", round * 2, [first, first + 1])).await });
        }
        let answers = race.join_all().await;
        let wins: Vec<&Appended> = answers.iter().flatten().collect();
        assert_eq!(wins.len(), 1, "exactly one of {WRITERS} writers wins revision {}", round * 2);
        assert!(wins[0].fresh && wins[0].first_revision == round * 2);
        for lost in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            let conflict = Refused::Conflict { expected: round * 2, actual: round * 2 + 2 };
            assert_eq!(*lost, conflict, "a loser learns how long the stream is");
        }
    }
    let events = stream(&stores[0], "prize-1").await;
    assert_eq!(events.len(), 2 * usize::try_from(ROUNDS).expect("a small number"));
    let pairs = events.chunks(2).all(|pair| pair[0].id.as_u128() + 1 == pair[1].id.as_u128());
    assert!(pairs, "an append is written whole, nothing in between");
}

/// The same requests at all handles at once. Each process dates its events by itself, so the repeats are not the same to
/// the byte, and only what was written may count as fresh.
pub async fn sixteen_repeats_write_once(stores: &[Store]) {
    for round in 0..ROUNDS {
        let mut race = JoinSet::new();
        for writer in 0..WRITERS {
            let (store, process) = (nth(stores, writer), writer % stores.len() as u128);
            let first = u128::from(round) * 2;
            let mut repeat = append("same-1", round * 2, [first, first + 1]);
            repeat.events.iter_mut().for_each(|event| event.data = body(process));
            race.spawn(async move { (process, write(&store, repeat).await) });
        }
        let mut places: Vec<Appended> = Vec::new();
        let mut winners = Vec::new();
        for (process, answer) in race.join_all().await {
            let place = answer.expect("a repeat is no conflict");
            winners.extend(place.fresh.then_some(process));
            places.push(place);
        }
        assert_eq!(winners.len(), 1, "one of the repeats is the write");
        let written = stream(&stores[0], "same-1").await.split_off(usize::try_from(round * 2).expect("a small number"));
        assert!(written.iter().all(|event| event.data == body(winners[0])), "what was written is what counts as fresh");
        assert!(places.iter().all(|place| place.first_revision == round * 2), "all learn the same place");
        assert!(places.iter().all(|place| place.last_position == places[0].last_position));
    }
    let numbers: Vec<u128> = (0..u128::from(ROUNDS) * 2).collect();
    for store in stores {
        holds(store, "same-1", &numbers).await;
    }
}

/// What a process says in its repeat.
fn body(process: u128) -> Bytes {
    Bytes::from(format!(r#"{{"by":{process}}}"#))
}

/// The loop of every command: whoever loses learns how long the stream is and tries again.
pub async fn sixteen_writers_all_get_through(stores: &[Store]) {
    const EACH: u128 = 10;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = nth(stores, writer);
        writers.spawn(async move {
            let mut expected = 0;
            for n in 0..EACH {
                expected = loop {
                    match write(&store, append("busy-1", expected, [writer * 1_000 + n])).await {
                        Ok(appended) => break appended.first_revision + 1,
                        Err(Refused::Conflict { actual, .. }) => expected = actual,
                        Err(known @ Refused::Known { .. }) => panic!("nobody else has this id: {known}"),
                    }
                };
            }
        });
    }
    timeout(SOON * 4, writers.join_all()).await.expect("nobody is kept out for ever");
    let events = stream(&stores[0], "busy-1").await;
    assert_eq!(events.len() as u128, WRITERS * EACH);
    assert!((0..).zip(&events).all(|(revision, event)| event.revision == revision), "revisions are contiguous");
    let mut last: BTreeMap<u128, u128> = BTreeMap::new();
    for number in events.iter().map(|event| event.id.as_u128() & 0xffff_ffff) {
        let before = last.insert(number / 1_000, number);
        assert!(before.is_none_or(|before| before < number), "each writer's own events are in its order");
    }
}

pub async fn tailing_readers_neither_skip_nor_reorder(stores: &[Store]) {
    const APPENDERS: u128 = 6;
    const APPENDS: u128 = 150;
    let total = usize::try_from(APPENDERS * APPENDS * 2).expect("a small number");
    let mut readers = JoinSet::new();
    for (n, page) in [1, 3, 10, 500].into_iter().enumerate() {
        readers.spawn(tail(nth(stores, n as u128), page, total));
    }
    let mut appenders = JoinSet::new();
    for appender in 0..APPENDERS {
        let store = nth(stores, appender);
        appenders.spawn(async move {
            let name = format!("own-{appender}");
            for n in 0..APPENDS {
                let first = appender * 10_000 + n * 2;
                let expected = Revision::try_from(n * 2).expect("a small number");
                written(&store, append(&name, expected, [first, first + 1])).await;
            }
        });
    }
    appenders.join_all().await;
    let log = all(&stores[0]).await;
    assert_eq!(log.len(), total);
    let seen = timeout(SOON, readers.join_all()).await.expect("every reader comes to the end");
    for events in seen {
        assert!(events == log, "a reader behind the writers sees the log as it is, nothing skipped or reordered");
    }
    let mut next: BTreeMap<&str, Revision> = BTreeMap::new();
    for event in &log {
        let revision = next.entry(&event.stream).or_default();
        assert_eq!(event.revision, *revision, "the log has the revisions of {} in order", event.stream);
        *revision += 1;
    }
}

/// Follows the log from its beginning until it has seen `total` events.
async fn tail(store: Store, page: usize, total: usize) -> Vec<Recorded> {
    let mut events: Vec<Recorded> = Vec::new();
    while events.len() < total {
        let after = events.last().map_or(Position::START, |event| event.position);
        let more = store.read_all(after, page).await.expect("the log reads while it is written");
        if more.is_empty() {
            // A wake-up may be late, and the wait is the caller's to bound.
            let _ = timeout(Duration::from_millis(100), store.wait(after)).await;
        }
        events.extend(more);
    }
    events
}

pub async fn a_waiting_reader_is_woken(stores: &[Store]) {
    let first = written(&stores[0], append("thing-1", 0, [1])).await;
    let mut waiting = JoinSet::new();
    for reader in 0..4 {
        let store = nth(stores, reader);
        timeout(SOON, store.wait(Position::START)).await.expect("nobody waits for what is there");
        waiting.spawn(async move { store.wait(first.last_position).await });
    }
    let early = timeout(Duration::from_millis(50), waiting.join_next()).await;
    assert!(early.is_err(), "without a new event a reader waits, or every idle reader would spin");
    written(&stores[0], append("thing-1", 1, [2])).await;
    timeout(SOON, waiting.join_all()).await.expect("an append wakes every waiting reader");
}

/// Whoever gives up waiting, or dies, learns by repeating the append with the same ids what became of it.
pub async fn an_abandoned_append_is_there_whole_or_not_at_all(stores: &[Store]) {
    let mut expected = 0;
    for round in 0..ROUNDS {
        let first = u128::from(round) * 3;
        let (store, again) = (nth(stores, 0), nth(stores, u128::from(round)));
        let mine = append("left-1", expected, [first, first + 1, first + 2]);
        let given_up = timeout(Duration::from_micros(round * 20), store.append(vec![mine.clone()])).await;
        let appended = match given_up {
            Ok(answers) => answers.expect("the store takes an append").remove(0),
            Err(_given_up) => write(&again, mine).await,
        };
        let appended = appended.expect("a repeat is no conflict");
        assert_eq!(appended.first_revision, expected, "it has one place, whoever asked for it first");
        expected += 3;
    }
    let numbers: Vec<u128> = (0..u128::from(ROUNDS) * 3).collect();
    holds(&stores[0], "left-1", &numbers).await;
}
