//! What the files promise beyond the port: damage is seen, a second process is kept out, the log only grows, its
//! WAL does not, and whoever has the `sqlite3` shell can read it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use ports::{
    keys::Keys,
    memory::ManualClock,
    store::{Append, Error, EventStore, NewEvent, Position, Snapshot},
};
use rusqlite::Connection;
use store_sqlite::{Limits, SqliteKeys, SqliteStore};
use tempfile::TempDir;
use uuid::Uuid;

const START: Timestamp = Timestamp::constant(1_700_000_000, 123_456_000);

fn open(folder: &Path) -> Result<SqliteStore, store_sqlite::Error> {
    SqliteStore::open(folder, Arc::new(ManualClock::new(START)), &Limits::default())
}

fn event(n: u128) -> NewEvent {
    let data = Bytes::from(format!(r#"{{"n":{n}}}"#));
    NewEvent { id: Uuid::from_u128(n), kind: "thing.happened".into(), data, metadata: Bytes::from_static(b"{}") }
}

/// Writes events numbered from 1 to `thing-1`.
async fn write(store: &SqliteStore, count: u64) {
    for n in 0..count {
        let append = Append {
            recorded_at: None,
            stream: "thing-1".to_owned(),
            expected: n,
            events: vec![event(u128::from(n) + 1)],
        };
        store.append(vec![append]).await.unwrap()[0].clone().unwrap();
    }
}

/// The log, opened behind the store's back.
fn behind(folder: &Path) -> Connection {
    let conn = Connection::open(folder.join("log.sqlite")).unwrap();
    conn.execute_batch(
        "DROP TRIGGER events_are_never_changed; DROP TRIGGER events_are_never_deleted;
         DROP TRIGGER streams_are_never_changed; DROP TRIGGER streams_are_never_deleted;",
    )
    .unwrap();
    conn
}

#[tokio::test]
async fn a_change_of_any_column_is_seen_by_every_read() {
    let changes = [
        "UPDATE events SET data = replace(data, '3', '4') WHERE position = 3",
        "UPDATE events SET metadata = '{ }' WHERE position = 3",
        "UPDATE events SET data = '{\"n\":3}{', metadata = '}' WHERE position = 3",
        "UPDATE events SET kind = 'thing.undone' WHERE position = 3",
        "UPDATE events SET recorded_at = recorded_at + 1 WHERE position = 3",
        "UPDATE events SET checksum = checksum + 1 WHERE position = 3",
        "UPDATE events SET checksum = NULL WHERE position = 3",
        "UPDATE events SET data = 3 WHERE position = 3",
        "UPDATE events SET event_id = x'00112233445566778899aabbccddeeff' WHERE position = 3",
        "UPDATE events SET stream_id = 77 WHERE position = 3",
        "UPDATE events SET revision = 77 WHERE position = 3",
        "UPDATE events SET position = 77 WHERE position = 3",
        "UPDATE streams SET name = 'thing-2'",
        "DELETE FROM streams",
        "DELETE FROM events WHERE position = 3",
    ];
    for change in changes {
        let folder = TempDir::new().unwrap();
        let store = open(folder.path()).unwrap();
        write(&store, 5).await;
        assert_eq!(store.read_all(Position::START, 100).await.unwrap().len(), 5);
        let conn = behind(folder.path());
        // NOT NULL does not stop a flipped bit either.
        conn.execute_batch("PRAGMA writable_schema = on; UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '')")
            .unwrap();
        drop(conn);
        let conn = Connection::open(folder.path().join("log.sqlite")).unwrap();
        assert!(conn.execute(change, []).unwrap() > 0, "{change}");
        let all = store.read_all(Position::START, 100).await;
        assert!(matches!(all, Err(Error::Corrupt(_))), "{change}: {all:?}");
        if !change.contains("streams") {
            let stream = store.read_stream("thing-1", 0, 100).await;
            assert!(matches!(stream, Err(Error::Corrupt(_))), "{change}: {stream:?}");
            assert!(all.unwrap_err().to_string().contains("position 3"), "{change}: the place is named");
            assert_eq!(store.read_all(Position(3), 1).await.unwrap().len(), 1, "{change}: the rest can be read");
        }
    }
}

#[tokio::test]
async fn a_damaged_event_is_not_found_by_its_id() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).unwrap();
    write(&store, 3).await;
    behind(folder.path()).execute("UPDATE events SET data = '{}' WHERE position = 2", []).unwrap();
    let found = store.find(&[Uuid::from_u128(2)]).await;
    assert!(matches!(found, Err(Error::Corrupt(_))), "{found:?}");
    assert!(store.find(&[Uuid::from_u128(3)]).await.unwrap()[0].is_some());
}

#[tokio::test]
async fn nobody_can_change_or_remove_what_was_written() {
    let folder = TempDir::new().unwrap();
    write(&open(folder.path()).unwrap(), 3).await;
    let conn = Connection::open(folder.path().join("log.sqlite")).unwrap();
    for change in [
        "UPDATE events SET data = '{}'",
        "DELETE FROM events WHERE position = 3",
        "UPDATE streams SET name = 'other'",
        "DELETE FROM streams",
    ] {
        let refused = conn.execute(change, []).unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{change}: {refused}");
    }
}

#[tokio::test]
async fn the_log_is_readable_with_a_shell() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).unwrap();
    write(&store, 2).await;
    // As an analyst would, while the shop runs.
    let conn = Connection::open(folder.path().join("log.sqlite")).unwrap();
    let read = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get::<_, i64>(3)?))
    };
    let query = "SELECT stream, event_id, recorded_at, data ->> 'n' FROM log WHERE position = 2 AND revision = 1";
    let (stream, id, recorded_at, n) = conn.query_row(query, [], read).unwrap();
    assert_eq!((stream.as_str(), n), ("thing-1", 2));
    assert_eq!(id, Uuid::from_u128(2).to_string());
    assert_eq!(recorded_at, "2023-11-14T22:13:20.123456Z");
    assert_eq!(recorded_at.parse::<Timestamp>().unwrap(), START);
}

#[tokio::test]
async fn events_are_dated_by_the_clock_to_the_microsecond() {
    let folder = TempDir::new().unwrap();
    let clock = ManualClock::new(START + SignedDuration::from_nanos(789));
    let store = SqliteStore::open(folder.path(), Arc::new(clock.clone()), &Limits::default()).unwrap();
    write(&store, 1).await;
    clock.advance(SignedDuration::from_secs(1));
    let append = Append { recorded_at: None, stream: "thing-2".to_owned(), expected: 0, events: vec![event(9)] };
    store.append(vec![append]).await.unwrap()[0].clone().unwrap();
    let dates: Vec<_> = store.read_all(Position::START, 9).await.unwrap().iter().map(|e| e.recorded_at).collect();
    assert_eq!(dates, [START, START + SignedDuration::from_secs(1)]);
}

#[tokio::test]
async fn one_process_holds_a_log() {
    let folder = TempDir::new().unwrap();
    let first = open(folder.path()).unwrap();
    let second = open(folder.path()).unwrap_err();
    assert!(matches!(second, store_sqlite::Error::Locked(_)), "{second:?}");
    assert!(second.to_string().contains("another process"), "{second}");
    drop(first);
    open(folder.path()).unwrap();
}

#[tokio::test]
async fn one_process_holds_the_keys() {
    let folder = TempDir::new().unwrap();
    let limits = Limits { busy_wait: std::time::Duration::ZERO, ..Limits::default() };
    let first = SqliteKeys::open(folder.path(), &limits).unwrap();
    let second = SqliteKeys::open(folder.path(), &limits).unwrap_err();
    assert!(matches!(second, store_sqlite::Error::Locked(_)), "{second:?}");
    drop(first);
    SqliteKeys::open(folder.path(), &limits).unwrap();
}

#[tokio::test]
async fn a_newer_or_foreign_file_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    write(&open(folder.path()).unwrap(), 1).await;
    let conn = Connection::open(folder.path().join("log.sqlite")).unwrap();
    conn.execute_batch("PRAGMA user_version = 99").unwrap();
    let newer = open(folder.path()).unwrap_err();
    assert!(matches!(newer, store_sqlite::Error::Newer { found: 99, .. }), "{newer:?}");
    conn.execute_batch("PRAGMA application_id = 7; PRAGMA user_version = 1").unwrap();
    let foreign = open(folder.path()).unwrap_err();
    assert!(matches!(foreign, store_sqlite::Error::Foreign(_)), "{foreign:?}");
    let events: i64 = conn.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    assert_eq!(events, 1);
    fs::write(folder.path().join("log.sqlite"), "not a database, but long enough to look like one: ".repeat(100))
        .unwrap();
    let nonsense = open(folder.path()).unwrap_err();
    assert!(matches!(nonsense, store_sqlite::Error::Sqlite { .. }), "{nonsense:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_wal_starts_over_under_load() {
    let limits = Limits { checkpoint_wal_bytes: 256 << 10, restart_wal_bytes: 512 << 10, ..Limits::default() };
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(folder.path(), Arc::new(ManualClock::default()), &limits).unwrap();
    let store = Arc::new(store);
    let reader = {
        let store = Arc::clone(&store);
        tokio::task::JoinSet::from_iter([async move {
            while store.head().await.unwrap().0 < 4_000 {
                store.read_all(Position::START, 500).await.unwrap();
            }
        }])
    };
    for n in 0..400 {
        let events = (0..10).map(|i| NewEvent { data: "x".repeat(2_000).into(), ..event(n * 10 + i + 1) }).collect();
        let append = Append { recorded_at: None, stream: format!("thing-{n}"), expected: 0, events };
        store.append(vec![append]).await.unwrap()[0].clone().unwrap();
    }
    reader.join_all().await;
    let wal = fs::metadata(folder.path().join("log.sqlite-wal")).unwrap().len();
    let log = fs::metadata(folder.path().join("log.sqlite")).unwrap().len();
    assert!(log > 6 << 20, "most of 8 MB has been copied into the log: {log} bytes");
    assert!(wal < 3 << 20, "the WAL started over again and again: {wal} bytes");
}

#[tokio::test]
async fn a_snapshot_from_the_future_or_with_a_flipped_bit_does_not_exist() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).unwrap();
    write(&store, 3).await;
    let snapshot = |position| Snapshot { fold: 1, revision: 3, position: Position(position), state: "state".into() };
    for (name, position) in [("fine", 3), ("flipped", 3), ("moved", 3), ("future", 4)] {
        store.save_snapshot(name, snapshot(position)).await.unwrap();
    }
    assert!(!folder.path().join("snapshots.sqlite-shm").exists(), "a full disk would have no room for it");
    drop(store);
    let conn = Connection::open(folder.path().join("snapshots.sqlite")).unwrap();
    conn.execute("UPDATE snapshots SET state = CAST('stale' AS BLOB) WHERE name = 'flipped'", []).unwrap();
    conn.execute("UPDATE snapshots SET revision = 2 WHERE name = 'moved'", []).unwrap();
    drop(conn);
    let store = open(folder.path()).unwrap();
    assert_eq!(store.load_snapshot("fine", 1).await.unwrap(), Some(snapshot(3)));
    for name in ["flipped", "moved", "future"] {
        assert_eq!(store.load_snapshot(name, 1).await.unwrap(), None, "{name}");
    }
}

#[tokio::test]
async fn ruined_snapshots_begin_anew() {
    let folder = TempDir::new().unwrap();
    write(&open(folder.path()).unwrap(), 1).await;
    fs::write(folder.path().join("snapshots.sqlite"), "not a database, but as long as one: ".repeat(200)).unwrap();
    let store = open(folder.path()).unwrap();
    assert_eq!(store.load_snapshot("thing-1", 1).await.unwrap(), None);
    let snapshot = Snapshot { fold: 1, revision: 1, position: Position(1), state: "state".into() };
    store.save_snapshot("thing-1", snapshot.clone()).await.unwrap();
    assert_eq!(store.load_snapshot("thing-1", 1).await.unwrap(), Some(snapshot));
}

#[tokio::test]
async fn no_byte_of_a_forgotten_key_is_left() {
    let folder = TempDir::new().unwrap();
    let keys = SqliteKeys::open(folder.path(), &Limits::default()).unwrap();
    let member = |n: u32| Uuid::from_u128(u128::from(n.wrapping_mul(2_654_435_769)) << 90 | u128::from(n));
    let mut made = Vec::new();
    for n in 0..400 {
        made.push(keys.key(member(n)).await.unwrap().0);
    }
    let files = || {
        let entries = fs::read_dir(folder.path()).unwrap();
        entries.flat_map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect::<Vec<u8>>()
    };
    // Any eight bytes of a key would be as telling as the whole.
    let left = |key: &[u8; 32], files: &[u8]| key.chunks(8).any(|part| files.windows(8).any(|window| window == part));
    let before = files();
    assert!(left(&made[5], &before), "a key that is in use is in the files");
    for n in [5, 100, 399] {
        keys.forget(member(n)).await.unwrap();
        assert!(!left(&made[n as usize], &files()), "key {n} is gone when forget returns");
    }
    drop(keys);
    assert!(left(&made[6], &files()));
    assert!(![5, 100, 399].iter().any(|&n| left(&made[n], &files())));
}
