//! A few read-only connections, lent to one read at a time on a thread that may block.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ports::views::Error;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::{Limits, open};

/// The readers of one file.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    path: PathBuf,
    cache_bytes: usize,
    busy_wait: Duration,
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
            places: Semaphore::new(limits.readers_max.max(1)),
            idle: Mutex::default(),
        }))
    }

    /// Runs `read` on a connection of its own.
    pub async fn read<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        // The semaphore is never closed, and a read that panicked has taken its connection with it.
        let _place = self.0.places.acquire().await.map_err(|closed| Error::Failed(closed.to_string()))?;
        let work = tokio::task::spawn_blocking(move || {
            let conn = inner.take()?;
            let answer = read(&conn);
            inner.idle().push(conn);
            answer
        });
        let done = work.await.map_err(|gone| Error::Failed(gone.to_string()))?;
        done.map_err(|error| Error::Failed(error.to_string()))
    }
}

impl Inner {
    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle().pop();
        idle.map_or_else(|| open::reader(&self.path, self.cache_bytes, self.busy_wait), Ok)
    }
}
