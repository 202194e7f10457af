//! The members' keys, in a file of their own, where forgetting leaves no byte behind.
//!
//! A key is written once, at the end of its table, and never moved: the table is in order of arrival, and the
//! members' index leads to rows without holding keys. Forgetting overwrites the 32 bytes in place and then
//! empties the WAL, which held the page before. The row stays as a tombstone: a forgotten member
//! gets no new key. New members who come while the disk is busy get their keys in one transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    num::NonZeroUsize,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use lru::LruCache;
use ports::keys::{Error, Keys, MemberKey};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use uuid::Uuid;

use crate::{Limits, error::is_full, fence::make_durable, open};

/// The keys inside the folder.
const FILE: &str = "keys.sqlite";

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS keys(
        id INTEGER PRIMARY KEY,
        member BLOB NOT NULL UNIQUE,
        forgotten INTEGER NOT NULL,
        key BLOB NOT NULL
    );
";

/// Every member's key in an SQLite file.
#[derive(Clone)]
pub struct SqliteKeys(Arc<Inner>);

struct Inner {
    conn: Mutex<Connection>,
    /// Filled and emptied only while `conn` is locked, so that a key being forgotten cannot slip back in.
    cache: Mutex<LruCache<Uuid, MemberKey>>,
    /// Members whose key was asked for and not in memory. Whoever has the connection next sees to all of them; no more
    /// than there are callers who wait.
    wanted: Mutex<BTreeSet<Uuid>>,
}

/// What the file knows of a member.
enum Known {
    Key(MemberKey),
    Forgotten,
}

impl SqliteKeys {
    /// Opens the keys in `folder`, making both if need be. One process at a time holds them.
    ///
    /// # Errors
    /// [`crate::Error`] when the file is held by another process or cannot be used.
    pub fn open(folder: &Path, limits: &Limits) -> Result<Self, crate::Error> {
        make_durable(folder)?;
        let path = folder.join(FILE);
        let conn = open(&path, limits).map_err(|source| {
            if crate::error::is_busy(&source) {
                crate::Error::Locked(path.clone())
            } else {
                crate::Error::Sqlite { path: path.clone(), source }
            }
        })?;
        let cached_max = NonZeroUsize::new(limits.keys_cached_max).unwrap_or(NonZeroUsize::MIN);
        let cache = Mutex::new(LruCache::sparse(cached_max));
        Ok(Self(Arc::new(Inner { conn: Mutex::new(conn), cache, wanted: Mutex::default() })))
    }

    /// Runs `work` where it may wait for the disk.
    async fn blocking<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.map_err(|gone| Error::Failed(gone.to_string()))?
    }
}

impl fmt::Debug for SqliteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqliteKeys(…)")
    }
}

impl Inner {
    fn conn(&self) -> MutexGuard<'_, Connection> {
        self.conn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache(&self) -> MutexGuard<'_, LruCache<Uuid, MemberKey>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeSet<Uuid>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn existing(&self, member: Uuid) -> Result<Option<MemberKey>, Error> {
        let conn = self.conn();
        let Some(Known::Key(key)) = find(&conn, member).map_err(failed)? else { return Ok(None) };
        self.cache().put(member, key.clone());
        Ok(Some(key))
    }

    fn key(&self, member: Uuid) -> Result<MemberKey, Error> {
        let mut conn = self.conn();
        // Whoever had the connection before may have seen to this member as well.
        let seen_to = self.cache().get(&member).cloned();
        if let Some(key) = seen_to {
            return Ok(key);
        }
        let alone = BTreeSet::from([member]);
        let wanted: BTreeSet<Uuid> = std::mem::take(&mut *self.wanted()).union(&alone).copied().collect();
        let keys = match keys(&mut conn, &wanted) {
            // It may be another's row that is damaged; the others ask for theirs themselves.
            Err(_) if wanted.len() > 1 => keys(&mut conn, &alone)?,
            keys => keys?,
        };
        let mut cache = self.cache();
        for (member, key) in &keys {
            cache.put(*member, key.clone());
        }
        keys.get(&member).cloned().ok_or_else(|| Error::forgotten(member))
    }

    fn adopt(&self, member: Uuid, key: &MemberKey) -> Result<(), Error> {
        let conn = self.conn();
        match find(&conn, member).map_err(failed)? {
            None => insert(&conn, member, Some(key)).map_err(failed),
            Some(Known::Key(had)) if had == *key => Ok(()),
            Some(Known::Key(_)) => Err(Error::other_key(member)),
            Some(Known::Forgotten) => Err(Error::forgotten(member)),
        }
    }

    fn forget(&self, member: Uuid) -> Result<(), Error> {
        let conn = self.conn();
        self.cache().pop(&member);
        let overwrite = "UPDATE keys SET key = zeroblob(32), forgotten = 1 WHERE member = ?1";
        let known = conn.execute(overwrite, params![member.as_bytes()]).map_err(failed)? > 0;
        if !known {
            insert(&conn, member, None).map_err(failed)?;
        }
        match open::checkpoint(&conn, "TRUNCATE").map_err(failed)? {
            open::Progress { busy: false, .. } => Ok(()),
            open::Progress { busy: true, .. } => Err(Error::Failed("the WAL still holds the key".to_owned())),
        }
    }
}

#[async_trait]
impl Keys for SqliteKeys {
    async fn key(&self, member: Uuid) -> Result<MemberKey, Error> {
        let cached = self.0.cache().get(&member).cloned();
        match cached {
            Some(key) => Ok(key),
            None => {
                self.0.wanted().insert(member);
                self.blocking(move |inner| inner.key(member)).await
            }
        }
    }

    async fn existing(&self, member: Uuid) -> Result<Option<MemberKey>, Error> {
        let cached = self.0.cache().get(&member).cloned();
        match cached {
            Some(key) => Ok(Some(key)),
            None => self.blocking(move |inner| inner.existing(member)).await,
        }
    }

    async fn forget(&self, member: Uuid) -> Result<(), Error> {
        self.blocking(move |inner| inner.forget(member)).await
    }

    async fn page(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<(Uuid, Option<MemberKey>)>, Error> {
        self.blocking(move |inner| page(&inner.conn(), after, limit).map_err(failed)).await
    }

    async fn adopt(&self, member: Uuid, key: MemberKey) -> Result<(), Error> {
        self.blocking(move |inner| inner.adopt(member, &key)).await
    }
}

fn open(path: &Path, limits: &Limits) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(limits.busy_wait)?;
    // Held from the first access on, and its WAL needs no index file that others could map.
    conn.pragma_update(None, "locking_mode", "exclusive")?;
    conn.pragma_update(None, "journal_mode", "wal")?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "secure_delete", true)?;
    conn.execute_batch(TABLE)?;
    // A crash may have come between overwriting a key and emptying the WAL. On a full disk the keys can be read all the same:
    // whoever was forgetting somebody then had no answer, and asks again.
    match open::checkpoint(&conn, "TRUNCATE") {
        Err(error) if is_full(&error) => tracing::warn!(%error, "the keys' WAL could not be copied"),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    Ok(conn)
}

fn find(conn: &Connection, member: Uuid) -> rusqlite::Result<Option<Known>> {
    let mut query = conn.prepare_cached("SELECT forgotten, key FROM keys WHERE member = ?1")?;
    let known = |row: &rusqlite::Row<'_>| {
        Ok(if row.get::<_, bool>(0)? { Known::Forgotten } else { Known::Key(MemberKey(row.get(1)?)) })
    };
    query.query_row([member.as_bytes()], known).optional()
}

/// These members' keys, made where they have none: in one transaction, which waits for the disk once. The forgotten are
/// left out.
fn keys(conn: &mut Connection, members: &BTreeSet<Uuid>) -> Result<BTreeMap<Uuid, MemberKey>, Error> {
    let mut keys = BTreeMap::new();
    let transaction = conn.transaction().map_err(failed)?;
    for member in members {
        let key = match find(&transaction, *member).map_err(failed)? {
            Some(Known::Key(key)) => key,
            Some(Known::Forgotten) => continue,
            None => {
                let mut key = MemberKey([0; 32]);
                getrandom::fill(&mut key.0).map_err(|error| Error::Failed(error.to_string()))?;
                insert(&transaction, *member, Some(&key)).map_err(failed)?;
                key
            }
        };
        keys.insert(*member, key);
    }
    transaction.commit().map_err(failed)?;
    Ok(keys)
}

/// Members after one, in the order of their ids.
fn page(conn: &Connection, after: Option<Uuid>, limit: usize) -> rusqlite::Result<Vec<(Uuid, Option<MemberKey>)>> {
    let wanted = "SELECT member, forgotten, key FROM keys WHERE ?1 IS NULL OR member > ?1 ORDER BY member LIMIT ?2";
    let mut query = conn.prepare_cached(wanted)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let known = |row: &rusqlite::Row<'_>| {
        let key = if row.get(1)? { None } else { Some(MemberKey(row.get(2)?)) };
        Ok((Uuid::from_bytes(row.get(0)?), key))
    };
    query.query_map(params![after.as_ref().map(Uuid::as_bytes), limit], known)?.collect()
}

/// Adds a member with their key, or as forgotten.
fn insert(conn: &Connection, member: Uuid, key: Option<&MemberKey>) -> rusqlite::Result<()> {
    let bytes = key.map_or([0; 32], |key| key.0);
    let mut insert = conn.prepare_cached("INSERT INTO keys(member, forgotten, key) VALUES (?1, ?2, ?3)")?;
    insert.execute(params![member.as_bytes(), key.is_none(), bytes]).map(drop)
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn failed(error: rusqlite::Error) -> Error {
    if is_full(&error) { Error::Full } else { Error::Failed(error.to_string()) }
}

#[cfg(test)]
mod tests {
    use tokio::{runtime, task::yield_now};

    use super::*;

    /// How many transactions the WAL holds: the frames that end one tell the size of the file after it.
    fn transactions(folder: &Path) -> usize {
        let wal = std::fs::read(folder.join("keys.sqlite-wal")).unwrap();
        let Some((header, frames)) = wal.split_at_checked(32) else { return 0 };
        let page = u32::from_be_bytes(header[8..12].try_into().unwrap()) as usize;
        frames.chunks_exact(24 + page).filter(|frame| frame[4..8] != [0; 4]).count()
    }

    /// Asks for all of these at once, while the disk is busy with something else.
    fn ask(keys: &SqliteKeys, members: impl Iterator<Item = Uuid>) -> Vec<Result<MemberKey, Error>> {
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        let busy = keys.0.conn();
        let asked: Vec<_> = members
            .map(|member| {
                let keys = keys.clone();
                runtime.spawn(async move { keys.key(member).await })
            })
            .collect();
        while keys.0.wanted().len() < asked.len() {
            runtime.block_on(yield_now());
        }
        drop(busy);
        asked.into_iter().map(|asked| runtime.block_on(asked).unwrap()).collect()
    }

    #[test]
    fn two_hundred_new_members_who_come_at_once_are_one_transaction() {
        let folder = tempfile::tempdir().unwrap();
        let keys = SqliteKeys::open(folder.path(), &Limits::default()).unwrap();
        assert_eq!(transactions(folder.path()), 0);
        let members = || (1..=200).map(Uuid::from_u128);
        let made: BTreeSet<[u8; 32]> = ask(&keys, members()).into_iter().map(|key| key.unwrap().0).collect();
        assert_eq!((made.len(), transactions(folder.path())), (200, 1));
        // They are in the file, not only in memory.
        drop(keys);
        let keys = SqliteKeys::open(folder.path(), &Limits::default()).unwrap();
        let kept: BTreeSet<[u8; 32]> = ask(&keys, members()).into_iter().map(|key| key.unwrap().0).collect();
        assert_eq!((kept, transactions(folder.path())), (made, 0));
    }

    #[test]
    fn of_those_who_come_at_once_nobody_suffers_for_another() {
        let folder = tempfile::tempdir().unwrap();
        let keys = SqliteKeys::open(folder.path(), &Limits::default()).unwrap();
        let (forgotten, damaged) = (Uuid::from_u128(2), Uuid::from_u128(3));
        keys.0.forget(forgotten).unwrap();
        let damage = "INSERT INTO keys(member, forgotten, key) VALUES (?1, 0, x'00')";
        keys.0.conn().execute(damage, params![damaged.as_bytes()]).unwrap();
        let members = [Uuid::from_u128(1), forgotten, damaged, Uuid::from_u128(4)];
        let got: Vec<bool> = ask(&keys, members.into_iter()).iter().map(Result::is_ok).collect();
        assert_eq!(got, [true, false, false, true]);
    }
}
