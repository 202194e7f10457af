//! Snapshots, in a file of their own: a cache that never waits for a disk and never holds the log up.
//!
//! Nothing here is synced, so a power cut may leave anything behind. Each row carries a checksum and a row that
//! fails it does not exist; a file that SQLite cannot read is thrown away.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};
use ports::store::{Error, Position, Snapshot};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::{
    Limits,
    error::{is_damage, is_full},
};

/// The snapshots inside the folder.
const FILE: &str = "snapshots.sqlite";

/// States lie beside the index of names, not in it: a search must never read through a large one. (Where a row is its own
/// index entry, SQLite fetches all of it to compare its first column.)
const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS snapshots(
        name TEXT PRIMARY KEY,
        fold INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        position INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        state BLOB NOT NULL
    );
";

/// The newest snapshot under each name.
#[derive(Clone)]
pub struct Snapshots(Arc<Mutex<Connection>>);

impl Snapshots {
    /// Opens the cache, or begins a new one.
    pub fn open(folder: &Path, limits: &Limits) -> Result<Self, crate::Error> {
        let path = folder.join(FILE);
        let conn = open(&path, limits).or_else(|error| {
            tracing::warn!(%error, "the snapshots do not open; they begin anew");
            discard(&path);
            open(&path, limits)
        });
        let conn = conn.map_err(|source| crate::Error::Sqlite { path, source })?;
        Ok(Self(Arc::new(Mutex::new(conn))))
    }

    /// [`Self::load`] here and now, unless somebody else is using the file: it is one lookup in a small file, and
    /// handing that to another thread would cost several times the lookup.
    pub fn glance(&self, name: &str, fold: u32) -> Option<Result<Option<Snapshot>, Error>> {
        Some(load(&*self.0.try_lock().ok()?, name, fold))
    }

    /// [`ports::store::EventStore::load_snapshot`].
    pub fn load(&self, name: &str, fold: u32) -> Result<Option<Snapshot>, Error> {
        load(&self.0.lock().unwrap_or_else(PoisonError::into_inner), name, fold)
    }

    /// [`ports::store::EventStore::save_snapshot`].
    pub fn save(&self, name: &str, snapshot: &Snapshot) -> Result<(), Error> {
        let (revision, position) = (snapshot.revision.cast_signed(), snapshot.position.0.cast_signed());
        let sum = checksum(name, snapshot.fold, revision, position, &snapshot.state);
        let replace = "INSERT INTO snapshots(name, fold, revision, position, checksum, state) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                       ON CONFLICT(name) DO UPDATE SET fold = ?2, revision = ?3, position = ?4, checksum = ?5, state = ?6";
        let row = params![name, snapshot.fold, revision, position, sum, &*snapshot.state];
        let conn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let saved = conn.prepare_cached(replace).and_then(|mut replace| replace.execute(row));
        saved.map(drop).map_err(|error| if is_full(&error) { Error::Full } else { Error::Failed(error.to_string()) })
    }
}

fn load(conn: &Connection, name: &str, fold: u32) -> Result<Option<Snapshot>, Error> {
    let query = "SELECT revision, position, checksum, state FROM snapshots WHERE name = ?1 AND fold = ?2";
    let read = |row: &rusqlite::Row<'_>| {
        let (revision, position): (i64, i64) = (row.get(0)?, row.get(1)?);
        let state = row.get_ref(3)?.as_bytes()?;
        let whole = row.get::<_, i64>(2)? == i64::from(checksum(name, fold, revision, position, state));
        let state = Bytes::copy_from_slice(state);
        let (revision, position) = (revision.cast_unsigned(), Position(position.cast_unsigned()));
        Ok(whole.then_some(Snapshot { fold, revision, position, state }))
    };
    let found = conn.prepare_cached(query).and_then(|mut query| query.query_row(params![name, fold], read).optional());
    match found {
        Ok(found) => Ok(found.flatten()),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(Error::Failed(error.to_string())),
    }
}

fn open(path: &Path, limits: &Limits) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(limits.busy_wait)?;
    // The one connection needs no index file, for which a full disk would have no room.
    conn.pragma_update(None, "locking_mode", "exclusive")?;
    conn.pragma_update(None, "journal_mode", "wal")?;
    conn.pragma_update(None, "synchronous", "off")?;
    conn.execute_batch(TABLE)?;
    Ok(conn)
}

/// Removes the cache and what SQLite keeps beside it; what cannot be removed shows when it is opened again.
fn discard(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let _ = fs::remove_file(PathBuf::from(name));
    }
}

fn checksum(name: &str, fold: u32, revision: i64, position: i64, state: &[u8]) -> u32 {
    let sum = crc32c(name.as_bytes());
    let sum = crc32c_append(sum, &fold.to_be_bytes());
    let sum = crc32c_append(sum, &revision.to_be_bytes());
    crc32c_append(crc32c_append(sum, &position.to_be_bytes()), state)
}
