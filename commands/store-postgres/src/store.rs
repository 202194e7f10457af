//! The event store over its sequencer and its readers.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use ports::{
    clock::Clock,
    store::{Append, Appended, Error, EventStore, Position, Recorded, Refused, Revision, Snapshot},
};
use ports_postgres::{Address, Server, Trouble};
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    time::{Instant, sleep},
};
use uuid::Uuid;

use crate::{
    Limits,
    read::{self, sql},
    schema::SCHEMA,
    sequencer::{Job, Sequencer},
    snapshots,
    streams::{Ask, FEW, Streams},
};

/// The event store on a PostgreSQL server. Whatever is queued when it is dropped is still written.
pub struct PostgresStore {
    queue: mpsc::Sender<Job>,
    asks: mpsc::Sender<Ask>,
    /// The newest position that this process knows of; another may have written since.
    head: Arc<watch::Sender<Position>>,
    readers: Server,
    /// Held by the one of those who wait that looks at the log.
    look: Mutex<()>,
    limits: Limits,
}

impl PostgresStore {
    /// Connects to a database, and makes its tables if need be or brings them forward; it dates its events by `clock`. Its
    /// task belongs to the runtime that calls.
    ///
    /// # Errors
    /// [`crate::Error`] when the server cannot be reached within [`Limits::connect_max`], or its tables are a newer
    /// program's.
    pub async fn connect(
        address: impl Into<Address>,
        clock: Arc<dyn Clock>,
        limits: &Limits,
    ) -> Result<Self, crate::Error> {
        let address = address.into();
        let (writer, readers) = (Server::new(&address, &limits.writer())?, Server::new(&address, &limits.reader())?);
        SCHEMA.prepare(&writer, limits.migrate_max).await?;
        warn_of_amnesia(&readers).await?;
        let rows = readers.query(read::HEAD, &[]).await?;
        let head = Arc::new(watch::Sender::new(read::head(&rows)));
        let (queue, jobs) = mpsc::channel(limits.queue_batches_max.max(1));
        let sequencer = Sequencer {
            queue: jobs,
            writer,
            readers: readers.within(limits.append_max),
            head: Arc::clone(&head),
            clock,
            limits: limits.clone(),
            failing: false,
        };
        #[expect(clippy::disallowed_methods, reason = "group commit is this adapter's own, as its connections are")]
        drop(tokio::spawn(sequencer.run()));
        let (asks, asked) = mpsc::channel(limits.queue_batches_max.max(1));
        let streams = Streams { queue: asked, readers: readers.within(limits.append_max) };
        #[expect(clippy::disallowed_methods, reason = "reads that share a query outlive the one who asked first")]
        drop(tokio::spawn(streams.run()));
        Ok(Self { queue, asks, head, readers, look: Mutex::new(()), limits: limits.clone() })
    }

    /// Refuses what could never be written or read back whole.
    fn check(&self, batch: &[Append]) -> Result<(), Error> {
        let Limits { event_bytes_max, batch_bytes_max, stream_bytes_max, .. } = self.limits;
        let mut whole = 0;
        for append in batch {
            let stream = &append.stream;
            if append.events.is_empty() {
                return Err(Error::Failed(format!("an append to {stream} has no events")));
            }
            if stream.len() > stream_bytes_max {
                return Err(Error::Failed(format!("a stream's name has more than {stream_bytes_max} bytes")));
            }
            for event in &append.events {
                let bytes = event.data.len() + event.metadata.len();
                whole += bytes;
                if bytes > event_bytes_max {
                    return Err(Error::Failed(format!("an event for {stream} has more than {event_bytes_max} bytes")));
                }
            }
        }
        if whole > batch_bytes_max {
            return Err(Error::Failed(format!("a batch has more than {batch_bytes_max} bytes")));
        }
        Ok(())
    }

    /// A short read, together with others.
    async fn read_few(&self, stream: &str, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        // The server takes no such name, and would refuse the others' reads with it.
        if limit == 0 || i64::try_from(from).is_err() || stream.contains('\0') {
            return Ok(Vec::new());
        }
        let (answer, answered) = oneshot::channel();
        let gone = |_| Error::Stopped("nobody reads its streams any more".to_owned());
        self.asks.send(Ask { stream: stream.to_owned(), from, limit, answer }).await.map_err(|_closed| gone(()))?;
        answered.await.map_err(|_dropped| gone(()))?
    }

    /// A long read by itself.
    async fn read_many(&self, stream: &str, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        let rows = self.readers.query(read::STREAM, &[&stream, &sql(from), &sql(limit as u64)]).await;
        read::stream(&rows.map_err(|trouble| trouble.of_read())?, stream, from)
    }

    /// The newest position there is, which those who wait learn too.
    async fn newest(&self) -> Result<Position, Error> {
        let rows = self.readers.query(read::HEAD, &[]).await;
        let newest = read::head(&rows.map_err(|trouble| trouble.of_read())?);
        self.head.send_if_modified(|head| {
            let grown = newest > *head;
            *head = newest.max(*head);
            grown
        });
        Ok(newest)
    }
}

/// A server that does not sync its disk breaks the store's first promise; a test may want that, a shop does not.
async fn warn_of_amnesia(readers: &Server) -> Result<(), Trouble> {
    let rows = readers.query("SELECT current_setting('fsync')", &[]).await?;
    if rows.first().is_some_and(|row| row.get::<_, &str>(0) == "off") {
        tracing::warn!("PostgreSQL runs with fsync=off: what it acknowledges may be lost with its machine");
    }
    Ok(())
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("head", &*self.head.borrow()).finish_non_exhaustive()
    }
}

#[async_trait]
impl EventStore for PostgresStore {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Result<Appended, Refused>>, Error> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        self.check(&batch)?;
        let (answer, answered) = oneshot::channel();
        let job = Job { batch, answer, since: Instant::now() };
        self.queue.send(job).await.map_err(|_closed| Error::Stopped("its sequencer is gone".to_owned()))?;
        // A sequencer that panicked may have committed before.
        answered.await.map_err(|_dropped| Error::Unknown("its sequencer is gone".to_owned()))?
    }

    async fn read_stream(&self, stream: &str, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        let few = limit.min(FEW);
        let mut events = self.read_few(stream, from, few).await?;
        if events.len() == few && limit > few {
            let rest = self.read_many(stream, from.saturating_add(few as u64), limit - few).await?;
            events.extend(rest);
        }
        Ok(events)
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error> {
        let Ok(first) = i64::try_from(after.0) else { return Ok(Vec::new()) };
        let rows = self.readers.query(read::ALL, &[&first, &sql(limit as u64)]).await;
        read::all(&rows.map_err(|trouble| trouble.of_read())?, after)
    }

    async fn find(&self, ids: &[Uuid]) -> Result<Vec<Option<Recorded>>, Error> {
        let rows = self.readers.query(read::BY_IDS, &[&ids]).await;
        read::found(&rows.map_err(|trouble| trouble.of_read())?, ids)
    }

    async fn head(&self) -> Result<Position, Error> {
        self.newest().await
    }

    async fn distance(&self, from: Position, to: Position) -> Result<u64, Error> {
        // Positions are dense.
        let known = *self.head.borrow();
        let head = if to <= known { known } else { self.newest().await? };
        Ok(to.min(head).0.saturating_sub(from.0))
    }

    async fn wait(&self, after: Position) {
        let mut head = self.head.subscribe();
        let looks = async {
            // One looks for all; when it is done waiting, the next one does.
            let _look = self.look.lock().await;
            loop {
                // What cannot be seen now can be seen later; the caller bounds its wait.
                if self.newest().await.is_ok_and(|newest| newest > after) {
                    return;
                }
                sleep(self.limits.poll_every).await;
            }
        };
        tokio::select! {
            biased;
            _grown = head.wait_for(|head| *head > after) => {}
            () = looks => {}
        }
    }

    async fn load_snapshot(&self, name: &str, fold: u32) -> Result<Option<Snapshot>, Error> {
        snapshots::load(&self.readers, name, fold).await
    }

    async fn save_snapshot(&self, name: &str, snapshot: Snapshot) -> Result<(), Error> {
        snapshots::save(&self.readers, name, &snapshot).await
    }
}
