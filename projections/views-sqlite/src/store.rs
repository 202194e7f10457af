//! The view store over its connections.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use ports::{
    store::Position,
    views::{Editions, Entry, Error, Key, Range, ViewCommit, ViewStore},
};
use rusqlite::Connection;

use crate::{
    Limits,
    checkpoint::Checkpoints,
    commit,
    open::{self, FILE},
    pool::Pool,
    query::{self, Place},
};

/// The view store in an SQLite file.
pub struct SqliteViews {
    writer: Arc<Writer>,
    readers: Pool,
}

/// The one connection that writes.
struct Writer {
    conn: Mutex<Connection>,
    editions: Editions,
    checkpoints: Checkpoints,
    limits: Limits,
}

impl SqliteViews {
    /// Opens the views in `folder`, making both if need be.
    ///
    /// # Errors
    /// [`crate::Error`] when the file was written by a newer program or cannot be used.
    pub fn open(folder: &Path, limits: &Limits) -> Result<Self, crate::Error> {
        let conn = open::writer(folder, limits)?;
        let editions = commit::editions(&conn);
        let editions = editions.map_err(|source| crate::Error::Sqlite { path: folder.join(FILE), source })?;
        let checkpoints = Checkpoints::start(open::checkpointer(folder, limits)?, limits.clone());
        let checkpoints = checkpoints.map_err(|source| crate::Error::Io { path: folder.to_owned(), source })?;
        let writer = Arc::new(Writer { conn: Mutex::new(conn), editions, checkpoints, limits: limits.clone() });
        Ok(Self { writer, readers: Pool::new(&folder.join(FILE), limits) })
    }

    /// Runs `work` on the writing connection, where it may wait for the disk and for other writers.
    async fn write<F>(&self, work: F) -> Result<(), Error>
    where
        F: FnOnce(&Writer) -> Result<(), Error> + Send + 'static,
    {
        let writer = Arc::clone(&self.writer);
        let done = tokio::task::spawn_blocking(move || work(&writer)).await;
        done.map_err(|gone| Error::Failed(gone.to_string()))?
    }
}

impl fmt::Debug for SqliteViews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqliteViews(…)")
    }
}

impl Writer {
    /// A transaction that a panic left open was rolled back when it was dropped.
    fn conn(&self) -> MutexGuard<'_, Connection> {
        self.conn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit(&self, commits: &[ViewCommit]) -> Result<(), Error> {
        let mut conn = self.conn();
        commit::commit(&mut conn, commits, &self.editions)?;
        self.checkpoints.committed(&conn, &self.limits);
        Ok(())
    }

    fn drop_view(&self, view: &str) -> Result<(), Error> {
        commit::unname(&self.conn(), view)?;
        self.purge()
    }

    fn replace(&self, view: &str, with: &str) -> Result<(), Error> {
        commit::rename(&mut self.conn(), view, with)?;
        self.purge()
    }

    /// Removes what has no name any more.
    fn purge(&self) -> Result<(), Error> {
        // Commits of other views come in between.
        while !commit::purge(&mut self.conn(), self.limits.drop_rows_max)? {
            self.checkpoints.committed(&self.conn(), &self.limits);
        }
        Ok(())
    }
}

#[async_trait]
impl ViewStore for SqliteViews {
    async fn position(&self, view: &str) -> Result<Position, Error> {
        let view = view.to_owned();
        self.readers.read(move |conn| query::position(conn, &view)).await
    }

    async fn commit(&self, commits: Vec<ViewCommit>) -> Result<(), Error> {
        self.write(move |writer| writer.commit(&commits)).await
    }

    async fn get_many(&self, view: &str, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        let (view, keys) = (view.to_owned(), keys.to_vec());
        self.readers.read(move |conn| query::get_many(conn, &view, &keys)).await
    }

    async fn range(&self, range: Range) -> Result<Vec<Entry>, Error> {
        let after = Place::read(&range.after)?;
        self.readers.read(move |conn| query::range(conn, &range, after.as_ref())).await
    }

    async fn replace(&self, view: &str, with: &str) -> Result<(), Error> {
        let (view, with) = (view.to_owned(), with.to_owned());
        self.write(move |writer| writer.replace(&view, &with)).await
    }

    async fn drop_view(&self, view: &str) -> Result<(), Error> {
        let view = view.to_owned();
        self.write(move |writer| writer.drop_view(&view)).await
    }
}
