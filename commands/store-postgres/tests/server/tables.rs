//! What the tables promise beyond the port: damage is seen, they only grow, a newer program's are left alone, people can
//! read them, and nobody's mistake harms a neighbour.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use ports::{
    keys::Keys,
    memory::ManualClock,
    store::{Error, EventStore, NewEvent, Position, Snapshot},
};
use store_postgres::{Limits, PostgresKeys, PostgresStore};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{SOON, append, audit, connect, event, server};

fn run(url: &str, sql: &str) -> Result<(), String> {
    audit::with(url, |client| {
        client.batch_execute(sql).map_err(|error| error.as_db_error().map_or(error.to_string(), ToString::to_string))
    })
}

async fn with_events(url: &str, count: u64) -> PostgresStore {
    let store = connect(url, &Limits::default()).await.unwrap();
    for n in 0..count {
        store.append(vec![append("thing-1", n, [u128::from(n) + 1])]).await.unwrap()[0].clone().unwrap();
    }
    store
}

#[tokio::test]
async fn a_change_of_any_column_is_seen_by_every_read() {
    let Some(server) = server() else { return };
    let changes = [
        "UPDATE cartulary.events SET data = '{\"n\":4}' WHERE position = 3",
        "UPDATE cartulary.events SET data = '{ \"n\":3}' WHERE position = 3",
        "UPDATE cartulary.events SET metadata = '[]' WHERE position = 3",
        "UPDATE cartulary.events SET kind = 'thing.undone' WHERE position = 3",
        "UPDATE cartulary.events SET checksum = checksum + 1 WHERE position = 3",
        "UPDATE cartulary.events SET event_id = gen_random_uuid() WHERE position = 3",
        "UPDATE cartulary.events SET stream = 'thing-2' WHERE position = 3",
        "UPDATE cartulary.events SET revision = 77 WHERE position = 3",
        "UPDATE cartulary.events SET position = 77 WHERE position = 3",
        "DELETE FROM cartulary.events WHERE position = 3",
    ];
    for change in changes {
        let url = server.fresh_database().unwrap();
        let store = with_events(&url, 5).await;
        run(&url, "ALTER TABLE cartulary.events DISABLE TRIGGER ALL").unwrap();
        run(&url, change).unwrap();
        let all = store.read_all(Position::START, 100).await;
        assert!(matches!(all, Err(Error::Corrupt(_))), "{change}: {all:?}");
        assert!(all.unwrap_err().to_string().contains("position 3"), "{change}: the place is named");
        assert_eq!(store.read_all(Position(3), 1).await.unwrap().len(), 1, "{change}: the rest can be read");
        if !change.contains("SET position") {
            let stream = store.read_stream("thing-1", 0, 100).await;
            assert!(matches!(stream, Err(Error::Corrupt(_))), "{change}: {stream:?}");
        }
    }
}

#[tokio::test]
async fn nobody_can_change_or_remove_what_was_written() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    let _store = with_events(&url, 3).await;
    for change in [
        "UPDATE cartulary.events SET data = '{}'",
        "DELETE FROM cartulary.events WHERE position = 3",
        "TRUNCATE cartulary.events",
    ] {
        let refused = run(&url, change).unwrap_err();
        assert!(refused.contains("append-only"), "{change}: {refused}");
    }
}

#[tokio::test]
async fn people_read_the_log_with_psql() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    let clock = ManualClock::new(Timestamp::constant(1_700_000_000, 123_456_789));
    let store = PostgresStore::connect(&url, Arc::new(clock.clone()), &Limits::default()).await.unwrap();
    let exact = Bytes::from_static(br#"{ "b": 1.10, "a": 1, "a": 2, "total": 255 }"#);
    let new = NewEvent { data: exact.clone(), ..event(1) };
    let placed =
        ports::store::Append { recorded_at: None, stream: "order-7".to_owned(), expected: 0, events: vec![new] };
    store.append(vec![placed]).await.unwrap()[0].clone().unwrap();
    clock.advance(SignedDuration::from_secs(1));
    store.append(vec![append("order-7", 1, [2])]).await.unwrap()[0].clone().unwrap();
    let events = store.read_all(Position::START, 9).await.unwrap();
    assert_eq!(events[0].data, exact, "bytes come back as they were, spaces, order, repeats and digits");
    assert_eq!(events[0].recorded_at, Timestamp::constant(1_700_000_000, 123_456_000), "to the microsecond");
    assert_eq!(events[1].recorded_at, Timestamp::constant(1_700_000_001, 123_456_000));
    audit::with(&url, |client| {
        let sql = "SELECT category, data ->> 'total', data @> '{\"a\": 2}', recorded_at::text FROM cartulary.log \
                   WHERE stream = 'order-7' AND revision = 0";
        client.batch_execute("SET timezone = 'UTC'").unwrap();
        let row = client.query_one(sql, &[]).unwrap();
        assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1), row.get::<_, bool>(2)), ("order", "255", true));
        assert_eq!(row.get::<_, &str>(3), "2023-11-14 22:13:20.123456+00");
        let row = client.query_one("SELECT events, last_position FROM cartulary.streams", &[]).unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 2));
        let silent = "SELECT c.relname || '.' || a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
                      WHERE c.oid = 'cartulary.events'::regclass AND a.attnum > 0 \
                      AND col_description(c.oid, a.attnum) IS NULL";
        assert_eq!(client.query(silent, &[]).unwrap().len(), 0, "every column of the log says what it is");
    });
}

#[tokio::test]
async fn a_newer_or_foreign_schema_is_refused_and_left_alone() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    drop(with_events(&url, 1).await);
    run(&url, "INSERT INTO cartulary.migrations(version) VALUES (99)").unwrap();
    let newer = connect(&url, &Limits::default()).await.unwrap_err();
    assert!(matches!(newer, store_postgres::Error::Newer { found: 99, .. }), "{newer:?}");
    assert_eq!(audit::audit(&url).len(), 1);
    let url = server.fresh_database().unwrap();
    run(&url, "CREATE SCHEMA cartulary; CREATE TABLE cartulary.events(other text)").unwrap();
    let foreign = connect(&url, &Limits::default()).await.unwrap_err();
    assert!(matches!(foreign, store_postgres::Error::Foreign(_)), "{foreign:?}");
    run(&url, "INSERT INTO cartulary.events VALUES ('theirs')").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_that_start_together_make_the_tables_once() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    let mut starts = JoinSet::new();
    for _ in 0..8 {
        let url = url.clone();
        starts.spawn(async move { connect(&url, &Limits::default()).await.map(drop) });
    }
    for start in starts.join_all().await {
        start.unwrap();
    }
    let steps = audit::with(&url, |client| client.query("SELECT FROM cartulary.migrations", &[]).unwrap().len());
    assert_eq!(steps, 2, "each step was done once");
}

/// A database as the first release left it.
#[tokio::test]
async fn older_tables_are_brought_forward_with_what_they_hold() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    drop(with_events(&url, 3).await);
    run(&url, "DROP TABLE cartulary.member_keys; DELETE FROM cartulary.migrations WHERE version > 1").unwrap();
    let store = connect(&url, &Limits::default()).await.unwrap();
    assert_eq!(store.read_all(Position::START, 9).await.unwrap().len(), 3);
    run(&url, "SELECT FROM cartulary.member_keys").unwrap();
}

#[tokio::test]
async fn no_byte_of_a_forgotten_key_is_left_in_the_tables() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    let (keys, other) = (
        PostgresKeys::connect(&url, &Limits::default()).await.unwrap(),
        PostgresKeys::connect(&url, &Limits::default()).await.unwrap(),
    );
    let mut made = Vec::new();
    for n in 0..300 {
        made.push(keys.key(Uuid::from_u128(n)).await.unwrap().0);
    }
    // The files themselves, as they are on the disk.
    let files = || {
        audit::with(&url, |client| {
            client.batch_execute("CHECKPOINT").unwrap();
            let files = "SELECT pg_read_binary_file(pg_relation_filepath(c.oid)) FROM pg_class c \
                         WHERE c.relnamespace = 'cartulary'::regnamespace AND c.relkind IN ('r', 'i') \
                         AND c.relname LIKE 'member_keys%'";
            let files = client.query(files, &[]).unwrap();
            files.iter().flat_map(|row| row.get::<_, Vec<u8>>(0)).collect::<Vec<u8>>()
        })
    };
    // Any eight bytes of a key would be as telling as the whole.
    let left = |key: &[u8; 32], files: &[u8]| key.chunks(8).any(|part| files.windows(8).any(|window| window == part));
    assert!(left(&made[5], &files()), "a key that is in use is in the files");
    for n in [5, 100, 299] {
        keys.forget(Uuid::from_u128(n)).await.unwrap();
        assert!(other.existing(Uuid::from_u128(n)).await.unwrap().is_none(), "no other process has it any more");
    }
    let files = files();
    assert!(![5, 100, 299].iter().any(|&n| left(&made[n], &files)));
    assert!(left(&made[6], &files));
}

#[tokio::test]
async fn a_url_that_cannot_be_used_says_why() {
    let closed = servers::free_port().unwrap();
    let unreachable = format!("postgres://postgres@127.0.0.1:{closed}/none");
    let cases = [
        ("nonsense", "URL"),
        ("postgres://postgres@127.0.0.1/none?sslmode=allow", "sslmode"),
        (&unreachable, "no connection"),
    ];
    for (url, why) in cases {
        let error = connect(url, &Limits::default()).await.unwrap_err().to_string();
        assert!(error.contains(why), "{url}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_can_never_be_written_fails_by_itself() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    let limits = Limits { event_bytes_max: 1_000, batch_bytes_max: 3_000, stream_bytes_max: 100, ..Limits::default() };
    let store = Arc::new(connect(&url, &limits).await.unwrap());
    let with = |data: String| {
        let mut append = append("bad-1", 0, [1]);
        append.events[0].data = data.into();
        append
    };
    let bad = [
        ("no JSON", vec![with("{".to_owned())]),
        ("no text", vec![with("\"\0\"".to_owned())]),
        ("too large an event", vec![with(format!("\"{}\"", "x".repeat(1_000)))]),
        ("too large a batch", (0..4).map(|_| with(format!("\"{}\"", "x".repeat(900)))).collect()),
        ("a zero byte in a name", vec![append("bad\0-1", 0, [1])]),
        ("too long a name", vec![append(&"x".repeat(101), 0, [1])]),
    ];
    for (n, (what, batch)) in (0_u128..).zip(bad) {
        let mut all = JoinSet::new();
        for neighbour in 0..8 {
            let (store, n) = (Arc::clone(&store), 100 + n * 8 + neighbour);
            all.spawn(async move { store.append(vec![append(&format!("good-{n}"), 0, [n])]).await });
        }
        let failed = store.append(batch).await;
        assert!(matches!(failed, Err(Error::Failed(_))), "{what}: {failed:?}");
        for good in all.join_all().await {
            assert!(good.unwrap()[0].is_ok(), "{what}: its neighbours are written");
        }
    }
    assert_eq!(audit::audit(&url).len(), 48);
}

/// Somebody holds the log's lock and never lets go: the server gives up waiting before we do, and so for certain.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_waits_in_vain_for_the_log_has_written_nothing() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    let limits = Limits { statement_max: Duration::from_millis(200), append_max: SOON, ..Limits::default() };
    let store = connect(&url, &limits).await.unwrap();
    let held = "BEGIN; SELECT cartulary.append('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', now());";
    let mut holder = std::thread::scope(|scope| {
        let hold = || {
            let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
            client.batch_execute(held).unwrap();
            client
        };
        scope.spawn(hold).join().unwrap()
    });
    let failed = store.append(vec![append("thing-1", 0, [1])]).await;
    assert!(matches!(failed, Err(Error::Unavailable(_))), "{failed:?}");
    tokio::task::block_in_place(|| std::thread::scope(|scope| scope.spawn(|| holder.batch_execute("COMMIT")).join()))
        .unwrap()
        .unwrap();
    assert_eq!(audit::audit(&url).len(), 0);
    store.append(vec![append("thing-1", 0, [1])]).await.unwrap()[0].clone().unwrap();
    // The client's own runtime must not end inside this one.
    std::thread::spawn(move || drop(holder)).join().unwrap();
}

#[tokio::test]
async fn a_snapshot_with_a_flipped_bit_does_not_exist_and_an_older_one_replaces_none() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    let store = with_events(&url, 3).await;
    let snapshot = |fold, revision| Snapshot { fold, revision, position: Position(3), state: "state".into() };
    for name in ["fine", "flipped"] {
        store.save_snapshot(name, snapshot(2, 3)).await.unwrap();
        store.save_snapshot(name, snapshot(2, 2)).await.unwrap();
        store.save_snapshot(name, snapshot(1, 9)).await.unwrap();
    }
    run(&url, "UPDATE cartulary.snapshots SET state = 'stale' WHERE name = 'flipped'").unwrap();
    assert_eq!(store.load_snapshot("fine", 2).await.unwrap(), Some(snapshot(2, 3)));
    assert_eq!(store.load_snapshot("flipped", 2).await.unwrap(), None);
    assert_eq!(store.find(&[Uuid::from_u128(2)]).await.unwrap().len(), 1);
}
