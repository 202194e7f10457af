//! A server that freezes, and one that crashes: what was acknowledged is there once, what was not can be repeated. And what
//! is acknowledged was synced.

use std::{sync::Arc, time::Duration};

use ports::{
    keys::{self, Keys as _},
    store::{Append, Appended, Error, EventStore, Position, Refused},
};
use servers::{
    or_not_run,
    postgres::{Options, Postgres},
};
use store_postgres::{Limits, PostgresKeys, PostgresStore};
use tokio::{sync::watch, task::JoinSet, time::timeout};
use uuid::Uuid;

use crate::{
    SOON, append,
    audit::{self, audit},
    connect, own_server, server,
};

/// How many transactions are broken midway.
const BROKEN: i64 = 30;

/// Deadlines that a frozen server soon meets.
fn short() -> Limits {
    let soon = Duration::from_millis(500);
    Limits { append_max: soon, statement_max: soon * 4 / 5, connect_max: soon, read_max: soon, ..Limits::default() }
}

/// Repeats an append with the same ids until it is answered, as the desk would.
async fn persist(store: &PostgresStore, append: &Append) -> Result<Appended, Refused> {
    loop {
        match store.append(vec![append.clone()]).await {
            Ok(mut answers) => return answers.remove(0),
            Err(Error::Unknown(_) | Error::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(other) => panic!("an outage is {other}"),
        }
    }
}

/// Ends backends while they are in the midst of an append; how many they were.
fn break_transactions(client: &mut postgres::Client) -> i64 {
    let midway = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'active' AND query LIKE '%cartulary.append(%'
            AND pid <> pg_backend_pid()";
    let mut broken = 0;
    for _ in 0..4_000 {
        broken += client.query_one(midway, &[]).unwrap().get::<_, i64>(0);
        if broken >= BROKEN {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    broken
}

/// Each append is one transaction of the server, so a process that dies can at most leave it to its end; this ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_lose_their_transactions_midway_again_and_again_and_no_reader_skips() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    let (stop, stopped) = watch::channel(false);
    let mut writers = JoinSet::new();
    for writer in 1..=4_u128 {
        let (store, stopped) = (connect(&url, &Limits::default()).await.unwrap(), stopped.clone());
        writers.spawn(async move {
            let mut count = 0;
            while !*stopped.borrow() {
                let next = append(&format!("own-{writer}"), count, [writer << 64 | u128::from(count)]);
                let place = persist(&store, &next).await.unwrap();
                assert_eq!(place.first_revision, count);
                count += 1;
            }
            count
        });
    }
    let reader = connect(&url, &Limits::default()).await.unwrap();
    let mut reading = JoinSet::new();
    reading.spawn(async move {
        let mut seen: Vec<(Position, Uuid)> = Vec::new();
        while seen.last().is_none_or(|last| last.1 != Uuid::from_u128(1)) {
            let after = seen.last().map_or(Position::START, |last| last.0);
            // Its own connections are not broken, but the pool may hand out one that was.
            let more = reader.read_all(after, 7).await.unwrap_or_default();
            seen.extend(more.iter().map(|event| (event.position, event.id)));
        }
        seen.into_iter().map(|(_, id)| id).collect::<Vec<_>>()
    });
    let broken = tokio::task::block_in_place(|| audit::with(&url, break_transactions));
    stop.send_replace(true);
    let written: u64 = writers.join_all().await.into_iter().sum();
    assert!(broken >= BROKEN, "{broken} transactions were broken, beside {written} appends");
    let last = connect(&url, &Limits::default()).await.unwrap();
    persist(&last, &append("end-1", 0, [1])).await.unwrap();
    let seen = timeout(SOON, reading.join_all()).await.expect("the reader comes to the end").remove(0);
    let log: Vec<Uuid> = audit(&url).into_iter().map(|row| row.3).collect();
    assert_eq!(log.len() as u64, written + 1, "everything is there, once");
    assert!(seen == log, "the reader saw the log as it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_frozen_server_leaves_an_append_unknown_and_its_repeat_has_one_place() {
    let Some(server) = own_server() else { return };
    let url = server.fresh_database().unwrap();
    let store = connect(&url, &short()).await.unwrap();
    persist(&store, &append("thing-1", 0, [1])).await.unwrap();
    for round in 0..3 {
        let first = round * 2 + 1;
        let next = append("thing-1", first, [u128::from(first) + 1, u128::from(first) + 2]);
        server.freeze();
        let unknown = timeout(SOON, store.append(vec![next.clone()])).await.expect("it has a deadline of its own");
        assert!(matches!(unknown, Err(Error::Unknown(_))), "the server may still do it: {unknown:?}");
        let unsent = timeout(SOON, store.append(vec![append("other-1", 0, [99])])).await.expect("it has a deadline");
        assert!(matches!(unsent, Err(Error::Unavailable(_))), "what could not be sent was not done: {unsent:?}");
        let unread = timeout(SOON, store.read_all(Position::START, 9)).await.expect("a read has a deadline");
        assert!(matches!(unread, Err(Error::Unavailable(_))), "{unread:?}");
        server.thaw();
        let place = timeout(SOON, persist(&store, &next)).await.expect("a thawed server answers").unwrap();
        assert_eq!(place.first_revision, first);
    }
    let log = audit(&url);
    let ids: Vec<Uuid> = log.iter().map(|row| row.3).collect();
    assert_eq!(ids, (1..=7).map(Uuid::from_u128).collect::<Vec<_>>(), "everything once, in order, and nothing else");
}

/// Whoever asks again is never told to give up, and nobody hears that a member was forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_cannot_be_reached_is_unavailable_and_nothing_is_written() {
    let Some(mut server) = own_server() else { return };
    let url = server.fresh_database().unwrap();
    let store = connect(&url, &short()).await.unwrap();
    let keys = PostgresKeys::connect(&url, &short()).await.unwrap();
    let member = Uuid::from_u128(7);
    let key = keys.key(member).await.unwrap();
    persist(&store, &append("thing-1", 0, [1])).await.unwrap();
    // Its connections are those of a dead server, or none can be made.
    let asked = async {
        let mut heard = Vec::new();
        while heard.len() < 20 {
            heard.push((keys.existing(member).await, keys.key(member).await, store.read_all(Position::START, 9).await));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        heard
    };
    let restarted = async {
        server.freeze();
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.thaw();
        tokio::task::block_in_place(|| server.restart(true)).unwrap();
    };
    let (heard, ()) = timeout(SOON, async { tokio::join!(asked, restarted) }).await.expect("it comes again");
    let mut away = 0;
    for (existing, made, read) in heard {
        assert!(matches!(&existing, Ok(Some(had)) if *had == key) || gone(existing.as_ref().err()), "{existing:?}");
        assert!(matches!(&made, Ok(had) if *had == key) || gone(made.as_ref().err()), "{made:?}");
        assert!(matches!(&read, Ok(log) if log.len() == 1) || matches!(read, Err(Error::Unavailable(_))), "{read:?}");
        away += u32::from(gone(existing.as_ref().err()));
    }
    assert!(away > 0, "a frozen server does not answer");
}

fn gone(error: Option<&keys::Error>) -> bool {
    matches!(error, Some(keys::Error::Unavailable(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_acknowledged_is_there_once_after_crashes_of_the_server() {
    const WRITERS: u128 = 4;
    const EACH: u64 = 300;
    const CRASHES: u64 = 4;
    let Some(mut server) = own_server() else { return };
    let url = server.fresh_database().unwrap();
    let store = Arc::new(connect(&url, &short()).await.unwrap());
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            for n in 0..EACH {
                let numbers = [writer << 32 | u128::from(n) << 1, writer << 32 | u128::from(n) << 1 | 1];
                let append = append(&format!("thing-{writer}"), n * 2, numbers);
                let place = persist(&store, &append).await.unwrap();
                assert_eq!(place.first_revision, n * 2);
                acknowledged.push((place.last_position, append.events[1].id));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            acknowledged
        });
    }
    for crash in 1..=CRASHES {
        let due = EACH * WRITERS as u64 * 2 * crash / (CRASHES + 1);
        timeout(SOON, async {
            while store.head().await.map_or(0, |head| head.0) < due {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("the writers go on after a crash");
        server.restart(true).unwrap();
    }
    let acknowledged = timeout(SOON, writers.join_all()).await.expect("everybody gets through").concat();
    let log = audit(&url);
    assert_eq!(log.len() as u64, EACH * WRITERS as u64 * 2, "nothing is there twice");
    for (position, id) in acknowledged {
        let there = log.iter().filter(|row| row.0.cast_unsigned() == position.0 && row.3 == id).count();
        assert_eq!(there, 1, "{id} is where it was acknowledged");
    }
    let events = store.read_all(Position::START, usize::MAX).await.unwrap();
    assert_eq!(events.len(), log.len(), "the store that lived through it all reads all");
}

/// The database says that commits need not wait for the disk; ours do all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_commit_is_synced_whatever_the_database_says() {
    const APPENDS: u64 = 50;
    let durable = Options { durable: true, own: true, ..Options::default() };
    let Some(server) = or_not_run(Postgres::start(durable)) else { return };
    let url = server.fresh_database().unwrap();
    let careless =
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$";
    audit::with(&url, |client| client.batch_execute(careless)).unwrap();
    let store = connect(&url, &Limits::default()).await.unwrap();
    let syncs = || {
        let syncs = "SELECT wal_sync FROM pg_stat_wal";
        audit::with(&url, |client| client.query_one(syncs, &[]).unwrap().get::<_, i64>(0).cast_unsigned())
    };
    // What making the tables has synced is counted by then.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let before = syncs();
    for n in 0..APPENDS {
        persist(&store, &append("thing-1", n, [u128::from(n) + 1])).await.unwrap();
    }
    // The server counts now and then.
    let counted = async {
        while syncs() < before + APPENDS {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(SOON / 2, counted).await.expect("each append, one after the other, was synced");
}
