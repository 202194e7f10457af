//! The event store over the calls: what it remembers, and the port's methods.

use std::{
    fmt,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use eventstore::{ClientSettings, StreamPosition, SubscribeToAllOptions, SubscriptionEvent};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use ports::store::{Append, Appended, Error, EventStore, Position, Recorded, Refused, Revision, Snapshot};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{Limits, calls::Calls, read::ours, window::Window};

/// A connection string that is none.
#[derive(Debug, thiserror::Error)]
#[error("{connection} is no EventStoreDB connection string: {why}")]
pub struct Invalid {
    connection: String,
    why: String,
}

/// The event store on an EventStoreDB or KurrentDB server.
pub struct EventStoreDb {
    pub(crate) calls: Calls,
    pub(crate) limits: Limits,
    window: Mutex<Window>,
    /// One at a time reads the end of the log.
    looking: tokio::sync::Mutex<()>,
    /// The newest position that was ever seen here.
    newest: watch::Sender<Position>,
    /// Whoever waits and holds this listens for all who wait.
    tail: tokio::sync::Mutex<Option<Tail>>,
}

/// A subscription that can be waited for and left again: what has begun inside goes on the next time.
struct Tail {
    messages: Pin<Box<dyn Stream<Item = Result<SubscriptionEvent, eventstore::Error>> + Send>>,
    client: u64,
}

impl EventStoreDb {
    /// The store behind a connection string, e.g. `esdb://admin:changeit@localhost:2113?tls=false`. Connects when first
    /// asked something.
    ///
    /// # Errors
    /// [`Invalid`] when the connection string is none.
    pub fn new(connection: &str, limits: Limits) -> Result<Self, Invalid> {
        let settings: ClientSettings = connection.parse().map_err(|why: eventstore::ClientSettingsParseError| {
            // What it says may hold the password; what stands before it does not.
            let connection = connection.rsplit('@').next().unwrap_or_default().to_owned();
            Invalid { connection, why: why.error().map(ToString::to_string).unwrap_or_default() }
        })?;
        Ok(Self {
            calls: Calls::new(settings, &limits),
            window: Mutex::new(Window::new(&limits)),
            looking: tokio::sync::Mutex::new(()),
            newest: watch::Sender::new(Position::START),
            tail: tokio::sync::Mutex::new(None),
            limits,
        })
    }

    pub(crate) fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest position that was ever seen here.
    pub(crate) fn newest(&self) -> Position {
        *self.newest.borrow()
    }

    pub(crate) fn saw(&self, position: Position) {
        self.newest.send_if_modified(|newest| {
            let newer = position > *newest;
            *newest = position.max(*newest);
            newer
        });
    }

    /// Remembers the ids and positions of events that were read.
    fn learn(&self, events: &[Recorded]) {
        self.window().learn(events);
        if let Some(newest) = events.iter().map(|event| event.position).max() {
            self.saw(newest);
        }
    }

    /// Learns the newest ids of the log, the first time.
    pub(crate) async fn look_back(&self) -> Result<(), Error> {
        if self.window().complete.is_some() {
            return Ok(());
        }
        let _alone = self.looking.lock().await;
        if self.window().complete.is_some() {
            return Ok(());
        }
        let (mut before, mut newest, mut left) = (None, Position::START, self.limits.ids_max);
        while left > 0 {
            let page = self.limits.page_events.clamp(1, left);
            let events = self.calls.all_back(before, page).await?;
            newest = newest.max(events.first().map_or(newest, |event| event.position));
            self.learn(&events);
            left -= events.len();
            before = events.last().map(|event| event.position);
            if events.len() < page {
                break;
            }
        }
        self.window().complete = Some(newest);
        Ok(())
    }

    /// Learns what has been written since the ids were last complete.
    pub(crate) async fn catch_up(&self) -> Result<(), Error> {
        self.look_back().await?;
        let _alone = self.looking.lock().await;
        let page = self.limits.page_events.max(1);
        loop {
            let after = self.window().complete.unwrap_or_default();
            let events = self.calls.all(after, page).await?;
            self.learn(&events);
            if let Some(last) = events.last() {
                self.window().complete = Some(last.position);
            }
            if events.len() < page {
                return Ok(());
            }
        }
    }

    /// Learns the newest ids of a stream, the first time it is appended to.
    pub(crate) async fn look_at(&self, stream: &str) -> Result<(), Error> {
        if self.window().watches(stream) {
            return Ok(());
        }
        let events = self.calls.stream_back(stream, self.limits.stream_ids_max.max(1)).await?;
        self.window().watch(stream, &events);
        Ok(())
    }

    /// The event with this id, read anew, if its place is known.
    async fn fetch(&self, id: Uuid) -> Result<Option<Recorded>, Error> {
        let Some(place) = self.window().find(&id).cloned() else { return Ok(None) };
        let found = self.calls.stream(&place.stream, place.revision, 1).await?.pop();
        match found.filter(|found| found.id == id) {
            Some(found) => Ok(Some(found)),
            None => Err(Error::Corrupt(format!("event {id} is no longer in stream {}", place.stream))),
        }
    }

    /// Waits for the next message of the one subscription; begins it when there is none.
    async fn listen(&self) -> Result<(), Error> {
        let mut tail = self.tail.lock().await;
        let listening = match &mut *tail {
            Some(listening) => listening,
            None => {
                let (number, client) = self.calls.client()?;
                let options = SubscribeToAllOptions::default().position(StreamPosition::End).filter(ours());
                let subscription = client.subscribe_to_all(&options).await;
                let messages = stream::unfold(subscription, async |mut subscription| {
                    Some((subscription.next_subscription_event().await, subscription))
                });
                tail.insert(Tail { messages: messages.boxed(), client: number })
            }
        };
        match listening.messages.next().await {
            Some(Ok(SubscriptionEvent::EventAppeared(event))) => {
                if let Some(event) = event.event {
                    self.saw(Position(event.position.commit));
                }
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => {
                self.calls.discard(listening.client);
                *tail = None;
                return Err(Error::Unavailable("the subscription has ended".to_owned()));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for EventStoreDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStoreDb").field("newest", &self.newest()).finish_non_exhaustive()
    }
}

#[async_trait]
impl EventStore for EventStoreDb {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Result<Appended, Refused>>, Error> {
        self.write(batch).await
    }

    async fn read_stream(&self, stream: &str, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        let events = self.calls.stream(stream, from, limit).await?;
        self.learn(&events);
        Ok(events)
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error> {
        let events = self.calls.all(after, limit).await?;
        self.learn(&events);
        Ok(events)
    }

    async fn find(&self, ids: &[Uuid]) -> Result<Vec<Option<Recorded>>, Error> {
        self.look_back().await?;
        let missing = {
            let window = self.window();
            ids.iter().any(|id| window.find(id).is_none())
        };
        if missing {
            self.catch_up().await?;
        }
        let at_once = self.limits.finds_in_flight_max.max(1);
        stream::iter(ids.to_vec()).map(|id| self.fetch(id)).buffered(at_once).try_collect().await
    }

    async fn head(&self) -> Result<Position, Error> {
        let newest = self.calls.all_back(None, 1).await?;
        self.learn(&newest);
        Ok(newest.first().map_or(Position::START, |event| event.position))
    }

    async fn distance(&self, from: Position, to: Position) -> Result<u64, Error> {
        let Limits { page_events, distance_exact_max, .. } = self.limits;
        if to <= from {
            return Ok(0);
        }
        self.calls.distance(from, to, page_events, distance_exact_max).await
    }

    async fn wait(&self, after: Position) {
        loop {
            // The truth; what follows only says when to ask again.
            if self.newest() > after || self.head().await.is_ok_and(|head| head > after) {
                return;
            }
            let seen = async {
                let mut newest = self.newest.subscribe();
                timeout(self.limits.poll_every, newest.wait_for(|newest| *newest > after))
                    .await
                    .is_ok_and(|seen| seen.is_ok())
            };
            let failed = tokio::select! {
                _ = seen => false,
                heard = self.listen() => heard.is_err(),
            };
            if failed {
                sleep(self.limits.poll_every).await;
            }
        }
    }

    async fn load_snapshot(&self, name: &str, fold: u32) -> Result<Option<Snapshot>, Error> {
        self.load(name, fold).await
    }

    async fn save_snapshot(&self, name: &str, snapshot: Snapshot) -> Result<(), Error> {
        self.save(name, snapshot).await
    }
}
