//! Following for ever: what is there already, then what comes.
//!
//! A subscription reads pages behind its position; an empty page means that it has caught up, and then it waits for the log to
//! grow, looking again now and then because a wake-up may be lost. It holds one page: a client that reads too slowly
//! is not buffered for, it falls behind, and is told so when it is read to again. What it is told is each event once, in
//! order, so its own memory of the last one is enough to go on after a restart.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use ports::{
    clock::Clock,
    store::{EventStore, Position, Recorded, Revision},
};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::timeout,
};

use crate::{
    append::random_id,
    envelope::{self, Spelling},
    error::Failure,
    filter::Filter,
    read::Terms,
    state::{Streams, TOMBSTONE},
    wire::{
        self,
        streams::{ReadResp, read_req, read_resp},
    },
};

/// What is followed, and how far.
enum Place {
    Stream { stream: String, next: Revision },
    All { after: Position },
}

/// A subscription.
pub struct Following {
    store: Arc<dyn EventStore>,
    clock: Arc<dyn Clock>,
    place: Place,
    filter: Option<Filter>,
    spelling: Spelling,
    page_events: usize,
    poll_every: Duration,
    ready: VecDeque<ReadResp>,
    /// Events looked at since the last checkpoint.
    looked: u64,
    live: bool,
    stop: watch::Receiver<bool>,
    _seat: OwnedSemaphorePermit,
}

/// What every subscription needs from the server.
pub struct World {
    pub clock: Arc<dyn Clock>,
    pub poll_every: Duration,
    pub stop: watch::Receiver<bool>,
}

impl Following {
    /// Follows one stream, behind a revision; it need not exist.
    pub async fn stream(
        streams: &Streams,
        name: String,
        from: Option<read_req::stream::From>,
        terms: Terms,
        world: World,
    ) -> Result<Self, Failure> {
        use read_req::stream::From;
        let state = streams.state(&name).await?;
        if state.ended {
            return Err(Failure::Deleted { stream: name });
        }
        let next = match from {
            Some(From::Revision(revision)) => revision.saturating_add(1),
            Some(From::Start(_)) | None => 0,
            Some(From::End(_)) => state.length,
        };
        // What a deletion hides stays hidden; what comes behind it will be seen.
        let next = next.max(state.visible.min(state.length));
        Self::new(Arc::clone(streams.store()), Place::Stream { stream: name, next }, terms, world)
    }

    /// Follows the whole log, behind a position.
    pub async fn all(
        store: &Arc<dyn EventStore>,
        from: Option<read_req::all::From>,
        terms: Terms,
        world: World,
    ) -> Result<Self, Failure> {
        use read_req::all::From;
        let after = match from {
            Some(From::Position(position)) => Position(position.commit),
            Some(From::Start(_)) | None => Position::START,
            Some(From::End(_)) => store.head().await?,
        };
        Self::new(Arc::clone(store), Place::All { after }, terms, world)
    }

    fn new(store: Arc<dyn EventStore>, place: Place, terms: Terms, world: World) -> Result<Self, Failure> {
        let Terms { filter, spelling, page_events, place: seat } = terms;
        let World { clock, poll_every, stop } = world;
        let confirmation = read_resp::Confirmation { subscription_id: random_id()?.to_string() };
        let ready = VecDeque::from([said(read_resp::Content::Confirmation(confirmation))]);
        let (looked, live) = (0, false);
        Ok(Self {
            store,
            clock,
            place,
            filter,
            spelling,
            page_events,
            poll_every,
            ready,
            looked,
            live,
            stop,
            _seat: seat,
        })
    }

    /// The next message; it ends only by a failure.
    pub async fn next(&mut self) -> Result<ReadResp, Failure> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(message);
            }
            if *self.stop.borrow() {
                return Err(Failure::Stopping);
            }
            // Asked before the page is read, so that nothing can slip in between unseen.
            let head = self.store.head().await?;
            let page = self.page().await?;
            if page.is_empty() {
                self.idle(head).await;
            } else {
                self.take(page)?;
                tokio::task::yield_now().await;
            }
        }
    }

    async fn page(&self) -> Result<Vec<Recorded>, Failure> {
        let limit = self.page_events.max(1);
        Ok(match &self.place {
            Place::Stream { stream, next } => self.store.read_stream(stream, *next, limit).await?,
            Place::All { after } => self.store.read_all(*after, limit).await?,
        })
    }

    /// Says that there is no more, once; then waits.
    async fn idle(&mut self, head: Position) {
        if !self.live {
            self.live = true;
            if self.looked > 0 {
                self.checkpoint();
            }
            self.ready.push_back(said(read_resp::Content::CaughtUp(self.whereabouts())));
            return;
        }
        let after = match &self.place {
            Place::Stream { .. } => head,
            Place::All { after } => head.max(*after),
        };
        tokio::select! {
            _ = timeout(self.poll_every, self.store.wait(after)) => {}
            // An error means that nobody is left who could stop it.
            _ = self.stop.changed() => {}
        }
    }

    fn take(&mut self, page: Vec<Recorded>) -> Result<(), Failure> {
        if self.live && page.len() >= self.page_events {
            self.live = false;
            self.ready.push_back(said(read_resp::Content::FellBehind(self.whereabouts())));
        }
        for event in page {
            match &mut self.place {
                Place::Stream { stream, .. } if event.kind == TOMBSTONE => {
                    return Err(Failure::Deleted { stream: stream.clone() });
                }
                Place::Stream { next, .. } => *next = event.revision + 1,
                Place::All { after } => *after = event.position,
            }
            let wanted = self.filter.as_ref().map_or(Ok(true), |filter| filter.wants(&event))?;
            if wanted {
                self.ready.push_back(envelope::recorded(event, self.spelling));
            }
            if let Some(filter) = &self.filter {
                self.looked += 1;
                if self.looked >= filter.checkpoint_every {
                    self.checkpoint();
                }
            }
        }
        Ok(())
    }

    /// Tells a filtered subscription how far it has looked, so that it need not look there again.
    fn checkpoint(&mut self) {
        self.looked = 0;
        if let Place::All { after } = &self.place {
            let (commit, prepare) = (after.0, after.0);
            let checkpoint = read_resp::Checkpoint { commit, prepare, timestamp: self.now() };
            self.ready.push_back(said(read_resp::Content::Checkpoint(checkpoint)));
        }
    }

    fn whereabouts(&self) -> read_resp::Live {
        let (revision, position) = match &self.place {
            Place::Stream { next, .. } => (next.checked_sub(1).and_then(|last| i64::try_from(last).ok()), None),
            Place::All { after } => (None, Some(after.0).filter(|after| *after > 0)),
        };
        let position = position.map(|at| wire::Position { commit: at, prepare: at });
        read_resp::Live { timestamp: self.now(), revision, position }
    }

    fn now(&self) -> Option<prost_types::Timestamp> {
        let now = self.clock.now();
        Some(prost_types::Timestamp { seconds: now.as_second(), nanos: now.subsec_nanosecond() })
    }
}

const fn said(content: read_resp::Content) -> ReadResp {
    ReadResp { content: Some(content) }
}
