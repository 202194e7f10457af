//! Opening the log: pragmas, schema, recovery.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ports::store::Position;
use rusqlite::{Connection, OpenFlags};

use crate::{Error, Limits, error::is_full};

/// The log inside the folder.
pub const LOG: &str = "log.sqlite";

/// The newest schema this program knows; a file of an older one is brought forward, a newer one is refused.
const SCHEMA: i64 = 1;
/// `CART`: marks the file as a log of this program.
const APPLICATION: i64 = 0x4341_5254;
/// Two typical events to a page: measured, smaller pages split them and larger ones inflate the WAL, which
/// holds whole pages.
const PAGE_BYTES: i64 = 4_096;

/// Small columns come first, so that looking at them never touches the pages of a large body.
const TABLES: &str = "
    CREATE TABLE streams(
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    );
    CREATE TABLE events(
        position INTEGER PRIMARY KEY,
        stream_id INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        event_id BLOB NOT NULL,
        recorded_at INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        kind TEXT NOT NULL,
        data TEXT NOT NULL,
        metadata TEXT NOT NULL,
        UNIQUE(stream_id, revision),
        UNIQUE(event_id)
    );
    CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
    CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
    CREATE TRIGGER streams_are_never_changed BEFORE UPDATE ON streams
        BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
    CREATE TRIGGER streams_are_never_deleted BEFORE DELETE ON streams
        BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
    -- For people with the sqlite3 shell.
    CREATE VIEW log AS
        SELECT e.position, s.name AS stream, e.revision,
            lower(printf('%s-%s-%s-%s-%s', substr(hex(e.event_id), 1, 8), substr(hex(e.event_id), 9, 4),
                substr(hex(e.event_id), 13, 4), substr(hex(e.event_id), 17, 4), substr(hex(e.event_id), 21)))
                AS event_id,
            e.kind,
            strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch')
                || printf('.%06dZ', e.recorded_at % 1000000) AS recorded_at,
            e.data, e.metadata
        FROM events e JOIN streams s ON s.id = e.stream_id;
";

/// Whether a folder holds a log.
#[must_use]
pub fn is_there(folder: &Path) -> bool {
    folder.join(LOG).is_file()
}

/// Opens the log for its one writer: makes it if need be and finishes what a crash interrupted.
pub fn writer(folder: &Path, limits: &Limits) -> Result<Connection, Error> {
    let path = folder.join(LOG);
    let sqlite = |source| Error::Sqlite { path: path.clone(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(&path, flags).map_err(sqlite)?;
    settle(&conn, limits).map_err(sqlite)?;
    prepare_schema(&conn, &path)?;
    Ok(conn)
}

/// Pragmas of the writing connection.
fn settle(conn: &Connection, limits: &Limits) -> rusqlite::Result<()> {
    conn.busy_timeout(limits.busy_wait)?;
    conn.pragma_update(None, "page_size", PAGE_BYTES)?;
    conn.pragma_update(None, "journal_mode", "wal")?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    cache(conn, limits.writer_cache_bytes)?;
    // After a failed fsync the WAL may hold pages that are in memory only, although they read well. Copying
    // all of it into the log and syncing that makes whatever was recovered durable before it is shown. On a
    // full disk it must wait: what is there can still be read.
    match checkpoint(conn, "TRUNCATE") {
        Err(error) if is_full(&error) => tracing::warn!(%error, "the log's WAL could not be copied"),
        done => drop(done?),
    }
    Ok(())
}

fn prepare_schema(conn: &Connection, path: &Path) -> Result<(), Error> {
    let sqlite = |source| Error::Sqlite { path: path.to_owned(), source };
    let pragma = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(sqlite);
    match (pragma("application_id")?, pragma("user_version")?) {
        (APPLICATION, SCHEMA) => Ok(()),
        (APPLICATION, found) if found > SCHEMA => Err(Error::Newer { path: path.to_owned(), found, known: SCHEMA }),
        (0, 0) => {
            let marks = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA};");
            conn.execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} {marks} COMMIT;")).map_err(sqlite)
        }
        _ => Err(Error::Foreign(path.to_owned())),
    }
}

/// The newest position of the log.
pub fn head(conn: &Connection) -> rusqlite::Result<Position> {
    let position: i64 = conn.query_row("SELECT ifnull(max(position), 0) FROM events", [], |row| row.get(0))?;
    Ok(Position(position.cast_unsigned()))
}

/// Opens the log for reading.
pub fn reader(path: &Path, cache_bytes: usize, busy_wait: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(busy_wait)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    cache(&conn, cache_bytes)?;
    Ok(conn)
}

/// Opens the log for copying its WAL into it, and for nothing else.
pub fn checkpointer(folder: &Path, busy_wait: Duration) -> Result<Connection, Error> {
    let path: PathBuf = folder.join(LOG);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let conn = Connection::open_with_flags(&path, flags)?;
        conn.busy_timeout(busy_wait)?;
        conn.pragma_update(None, "wal_autocheckpoint", 0)?;
        conn.pragma_update(None, "synchronous", "full")?;
        Ok(conn)
    };
    open().map_err(|source| Error::Sqlite { path: path.clone(), source })
}

fn cache(conn: &Connection, bytes: usize) -> rusqlite::Result<()> {
    // Negative means KiB instead of pages.
    let kib = i64::try_from(bytes / 1024).unwrap_or(i64::MAX);
    conn.pragma_update(None, "cache_size", -kib)
}

/// How far a checkpoint came.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Readers or writers were in its way.
    pub busy: bool,
    /// Bytes the WAL holds.
    pub wal_bytes: u64,
}

/// Runs one checkpoint of the given mode.
pub fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<Progress> {
    conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let pages: i64 = row.get(1)?;
        let wal_bytes = u64::try_from(pages * PAGE_BYTES).unwrap_or(0);
        Ok(Progress { busy: row.get::<_, i64>(0)? != 0, wal_bytes })
    })
}
