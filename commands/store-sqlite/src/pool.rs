//! A few read-only connections, lent to one read at a time on a thread that may block.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ports::store::Error;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::{Limits, error::read_failed, open};

/// The readers of one file.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    path: PathBuf,
    cache_bytes: usize,
    busy_wait: Duration,
    readers_max: usize,
    places: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    /// Readers of `path`, opened when first needed.
    pub fn new(path: &Path, limits: &Limits) -> Self {
        Self(Arc::new(Inner {
            path: path.to_owned(),
            cache_bytes: limits.reader_cache_bytes,
            busy_wait: limits.busy_wait,
            readers_max: limits.readers_max.max(1),
            places: Semaphore::new(limits.readers_max.max(1)),
            idle: Mutex::default(),
        }))
    }

    /// Runs `glance` here and now, if a connection is idle: for a lookup so small that handing it to another
    /// thread would cost several times the lookup. `None` when no connection is idle.
    pub fn glance<T>(&self, glance: impl FnOnce(&Connection) -> T) -> Option<T> {
        let conn = self.0.idle().pop()?;
        let answer = glance(&conn);
        self.0.give_back(conn);
        Some(answer)
    }

    /// Runs `read` on a connection of its own.
    pub async fn read<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        // The semaphore is never closed, and a read that panicked has taken its connection with it.
        let _place = self.0.places.acquire().await.map_err(|closed| Error::Failed(closed.to_string()))?;
        let work = tokio::task::spawn_blocking(move || {
            let conn = inner.take().map_err(|error| read_failed(&error))?;
            let answer = read(&conn);
            inner.give_back(conn);
            answer
        });
        work.await.map_err(|gone| Error::Failed(gone.to_string()))?
    }
}

impl Inner {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A glance needs no place, so a read may have had to open one connection more than there are places.
    fn give_back(&self, conn: Connection) {
        let mut idle = self.idle();
        if idle.len() < self.readers_max {
            idle.push(conn);
        }
    }

    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle().pop();
        idle.map_or_else(|| open::reader(&self.path, self.cache_bytes, self.busy_wait), Ok)
    }
}
