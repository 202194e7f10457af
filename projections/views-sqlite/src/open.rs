//! Opening the file: pragmas and schema.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use crate::Limits;

/// The views inside the folder.
pub const FILE: &str = "views.sqlite";

/// The newest schema this program knows.
const SCHEMA: i64 = 1;
/// `CARV`: marks the file as views of this program.
const APPLICATION: i64 = 0x4341_5256;
/// Rows live inside their index; larger pages keep rows of up to 2 KB whole.
const PAGE_BYTES: i64 = 8_192;

/// A view that lost its name is being dropped. An index belongs to one view, so its entries need not name it.
const TABLES: &str = "
    CREATE TABLE views(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT UNIQUE,
        position INTEGER NOT NULL
    );
    CREATE TABLE indexes(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        view_id INTEGER NOT NULL,
        name TEXT NOT NULL,
        UNIQUE(view_id, name)
    );
    CREATE TABLE rows(
        view_id INTEGER NOT NULL,
        key BLOB NOT NULL,
        row TEXT NOT NULL,
        PRIMARY KEY(view_id, key)
    ) WITHOUT ROWID;
    CREATE TABLE entries(
        index_id INTEGER NOT NULL,
        index_key BLOB NOT NULL,
        key BLOB NOT NULL,
        PRIMARY KEY(index_id, index_key, key)
    ) WITHOUT ROWID;
";

/// Why the views cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file was written by a newer program.
    #[error("{} has schema {found}, this program knows schemas up to {known}: it needs a newer program", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest schema this program knows.
        known: i64,
    },
    /// The file is an SQLite database, but not this one.
    #[error("{} is not the file it should be", .0.display())]
    Foreign(PathBuf),
    /// The folder or a file in it cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// SQLite refuses the file.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

/// Opens the file for commits, making it and its folder if need be.
pub fn writer(folder: &Path, limits: &Limits) -> Result<Connection, Error> {
    fs::create_dir_all(folder).map_err(|source| Error::Io { path: folder.to_owned(), source })?;
    let path = folder.join(FILE);
    let conn = writable(&path, OpenFlags::SQLITE_OPEN_CREATE, limits);
    let conn = conn.map_err(|source| Error::Sqlite { path: path.clone(), source })?;
    prepare_schema(&conn, &path)?;
    Ok(conn)
}

/// Opens the file for copying its WAL into it, and for nothing else.
pub fn checkpointer(folder: &Path, limits: &Limits) -> Result<Connection, Error> {
    let path = folder.join(FILE);
    let conn = writable(&path, OpenFlags::empty(), limits);
    conn.map_err(|source| Error::Sqlite { path, source })
}

fn writable(path: &Path, create: OpenFlags, limits: &Limits) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(limits.busy_wait)?;
    conn.pragma_update(None, "page_size", PAGE_BYTES)?;
    conn.pragma_update(None, "journal_mode", "wal")?;
    // Synced at checkpoints only: a commit may be lost in a power cut, never torn.
    conn.pragma_update(None, "synchronous", "normal")?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    cache(&conn, limits.writer_cache_bytes)?;
    Ok(conn)
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

/// Opens the file for reading.
pub fn reader(path: &Path, cache_bytes: usize, busy_wait: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(busy_wait)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    cache(&conn, cache_bytes)?;
    // Every combination of bounds and directions is a statement of its own.
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

fn cache(conn: &Connection, bytes: usize) -> rusqlite::Result<()> {
    // Negative means KiB instead of pages.
    let kib = i64::try_from(bytes / 1024).unwrap_or(i64::MAX);
    conn.pragma_update(None, "cache_size", -kib)
}

/// Runs one checkpoint of the given mode and answers how many bytes the WAL holds.
pub fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<u64> {
    let pages: i64 = conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(1))?;
    Ok(u64::try_from(pages * PAGE_BYTES).unwrap_or(0))
}
