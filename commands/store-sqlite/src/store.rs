//! The event store over its threads and files.

use std::{fmt, path::Path, sync::Arc, thread};

use async_trait::async_trait;
use ports::{
    clock::Clock,
    store::{Append, Appended, Error, EventStore, Position, Recorded, Refused, Revision, Snapshot},
};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::{
    Limits, checkpoint,
    fence::Fence,
    open,
    pool::Pool,
    read,
    snapshots::Snapshots,
    writer::{Job, Writer},
};

/// The event store inside the process. Dropping it waits until everything accepted is written.
pub struct SqliteStore {
    /// `None` only while dropping.
    queue: Option<mpsc::Sender<Job>>,
    threads: Vec<thread::JoinHandle<()>>,
    head: watch::Receiver<Position>,
    readers: Pool,
    snapshots: Snapshots,
    event_bytes_max: usize,
    /// Let go of last.
    _fence: Fence,
}

impl SqliteStore {
    /// Opens the log in `folder`, making both if need be; it dates its events by `clock`. Blocks while it
    /// finishes what a crash interrupted.
    ///
    /// # Errors
    /// [`crate::Error`] when the folder is held by another process, was written by a newer program or cannot
    /// be used.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>, limits: &Limits) -> Result<Self, crate::Error> {
        let fence = Fence::take(folder)?;
        let io = |source| crate::Error::Io { path: folder.to_owned(), source };
        let conn = open::writer(folder, limits)?;
        let checkpointer = open::checkpointer(folder, limits.busy_wait)?;
        let snapshots = Snapshots::open(folder, limits)?;
        let start = open::head(&conn).map_err(|source| crate::Error::Sqlite { path: folder.to_owned(), source })?;
        let (queue, jobs) = mpsc::channel(limits.queue_batches_max.max(1));
        let (head_sender, head) = watch::channel(start);
        let (signal, checkpoint_thread) = checkpoint::start(checkpointer, limits.clone()).map_err(io)?;
        let writer = Writer { conn, queue: jobs, head: head_sender, signal, clock, limits: limits.clone() };
        let threads = vec![writer.start().map_err(io)?, checkpoint_thread];
        Ok(Self {
            queue: Some(queue),
            threads,
            head,
            readers: Pool::new(&folder.join(open::LOG), limits),
            snapshots,
            event_bytes_max: limits.event_bytes_max,
            _fence: fence,
        })
    }

    /// Refuses what could never be written or read back whole.
    fn check(&self, batch: &[Append]) -> Result<(), Error> {
        for append in batch {
            if append.events.is_empty() {
                return Err(Error::Failed(format!("an append to {} has no events", append.stream)));
            }
            let largest = append.events.iter().map(|event| event.data.len() + event.metadata.len()).max();
            if largest.is_some_and(|bytes| bytes > self.event_bytes_max) {
                let max = self.event_bytes_max;
                return Err(Error::Failed(format!("an event for {} has more than {max} bytes", append.stream)));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("head", &*self.head.borrow()).finish_non_exhaustive()
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // The closed queue ends the writer, whose signal ends the checkpoint thread.
        self.queue = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the event store has panicked");
            }
        }
    }
}

#[async_trait]
impl EventStore for SqliteStore {
    fn sole_writer(&self) -> bool {
        // The fence keeps every other process away from the folder.
        true
    }

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Result<Appended, Refused>>, Error> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        self.check(&batch)?;
        let gone = || Error::Stopped("its writer is gone".to_owned());
        let (answer, answered) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(gone)?;
        queue.send(Job { batch, answer }).await.map_err(|_closed| gone())?;
        // A writer that panicked may have committed before.
        answered.await.map_err(|_dropped| Error::Unknown("its writer is gone".to_owned()))?
    }

    async fn read_stream(&self, stream: &str, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        // Every new stream is first looked for: an answer that is almost always "none".
        if let Some(Ok(None)) = self.readers.glance(|conn| read::stream_id(conn, stream)) {
            return Ok(Vec::new());
        }
        let stream = stream.to_owned();
        self.readers.read(move |conn| read::stream(conn, &stream, from, limit)).await
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error> {
        self.readers.read(move |conn| read::all(conn, after, limit)).await
    }

    async fn find(&self, ids: &[Uuid]) -> Result<Vec<Option<Recorded>>, Error> {
        let ids = ids.to_vec();
        self.readers.read(move |conn| read::find(conn, &ids)).await
    }

    async fn head(&self) -> Result<Position, Error> {
        Ok(*self.head.borrow())
    }

    async fn distance(&self, from: Position, to: Position) -> Result<u64, Error> {
        // Positions are dense.
        Ok(to.min(*self.head.borrow()).0.saturating_sub(from.0))
    }

    async fn wait(&self, after: Position) {
        // An error means that the writer is gone and nothing will ever come; the caller bounds its wait.
        if self.head.clone().wait_for(|head| *head > after).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn load_snapshot(&self, name: &str, fold: u32) -> Result<Option<Snapshot>, Error> {
        let loaded = match self.snapshots.glance(name, fold) {
            Some(loaded) => loaded?,
            None => {
                let (snapshots, name) = (self.snapshots.clone(), name.to_owned());
                blocking(move || snapshots.load(&name, fold)).await?
            }
        };
        // After the log was restored from a copy, a snapshot may know more than the log does.
        Ok(loaded.filter(|snapshot| snapshot.position <= *self.head.borrow()))
    }

    async fn save_snapshot(&self, name: &str, snapshot: Snapshot) -> Result<(), Error> {
        let (snapshots, name) = (self.snapshots.clone(), name.to_owned());
        blocking(move || snapshots.save(&name, &snapshot)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|gone| Error::Failed(gone.to_string()))?
}
