//! What a lane reads of the log: states to begin with, and what earlier requests had come to.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use domain::{decider::Decider, ids::EventId};
use futures::future::{BoxFuture, FutureExt as _};
use ports::{
    keys::Keys,
    store::{EventStore, Recorded, Snapshot},
};
use uuid::Uuid;

use super::{
    CONTESTED, Entry,
    pile::{Pile, Verdict},
};
use crate::{
    codec,
    desk::{Answered, Error, Outcome, Stats},
    request::Request,
};

/// How many events are read at a time to rebuild an answer; hardly any request causes more.
const REPLAY_PAGE: usize = 16;

/// Requests that had their effect before, by the id of their first event.
pub(super) type Known<D> = Result<HashMap<Uuid, Recorded>, Error<<D as Decider>::Rejection>>;

/// The log as a lane reads it.
pub(super) struct History {
    pub(super) store: Arc<dyn EventStore>,
    /// How many events are read at a time when a state is loaded.
    pub(super) page: usize,
    pub(super) stats: Arc<Stats>,
}

impl History {
    /// Decides everything that waits for a stream, on the state that is remembered, assumed to be new, or read. A pile that
    /// cannot be decided is told so, and gone.
    pub(super) async fn decide<D: Decider>(
        &self,
        remembered: Option<Entry<D>>,
        mut pile: Pile<D>,
        keys: &dyn Keys,
    ) -> Option<(Pile<D>, Entry<D>)> {
        match self.plan(remembered, &mut pile, keys).await {
            Ok(entry) => Some((pile, entry)),
            Err(error) => {
                pile.fail(&error);
                None
            }
        }
    }

    async fn plan<D: Decider>(
        &self,
        remembered: Option<Entry<D>>,
        pile: &mut Pile<D>,
        keys: &dyn Keys,
    ) -> Result<Entry<D>, Error<D::Rejection>> {
        let is_old = remembered.is_some();
        let mut entry = match remembered {
            Some(entry) => entry,
            None if pile.creates() => Entry::empty(true),
            None => self.load(&pile.stream).await?,
        };
        if std::mem::take(&mut entry.stale) {
            self.catch_up(&pile.stream, &mut entry).await?;
        }
        if pile.rounds > 0 && !self.store.sole_writer() {
            entry.contested = CONTESTED;
        }
        // A large state costs less to copy each time than to read again when somebody else was faster.
        pile.before = (entry.contested > 0).then(|| entry.copy());
        let mut entry = pile.plan(entry, keys).await?;
        // An append that is accepted proves that what was remembered is so. Nothing proves a refusal, an "already
        // so" or a look: where others write the log, too, they must not rest on what was so some time ago.
        if is_old && !pile.appended && !self.store.sole_writer() {
            let before = entry.revision;
            self.catch_up(&pile.stream, &mut entry).await?;
            if entry.revision > before {
                entry = pile.plan(entry, keys).await?;
            }
        }
        Ok(entry)
    }

    /// Folds a state from the newest snapshot and what came after it.
    async fn load<D: Decider>(&self, stream: &str) -> Result<Entry<D>, Error<D::Rejection>> {
        self.stats.loads.fetch_add(1, Ordering::Relaxed);
        let mut entry = Entry::<D>::empty(false);
        if let Some(snapshot) = self.store.load_snapshot(stream, D::FOLD).await? {
            // A snapshot that does not read is a lost cache: the stream itself has everything.
            if let Ok(state) = serde_json::from_slice(&snapshot.state) {
                let Snapshot { revision, position, .. } = snapshot;
                entry = Entry { state, revision, position, snapshot: revision, ..entry };
            }
        }
        self.catch_up(stream, &mut entry).await?;
        Ok(entry)
    }

    /// Saves a snapshot. It is only a cache, so whatever goes wrong is told to the log of the program.
    pub(super) fn save(&self, stream: String, snapshot: Snapshot) -> BoxFuture<'static, ()> {
        let store = Arc::clone(&self.store);
        let save = async move {
            if let Err(error) = store.save_snapshot(&stream, snapshot).await {
                tracing::warn!(%error, stream, "a snapshot could not be kept; loading will take longer");
            }
        };
        save.boxed()
    }

    /// Folds what the stream holds beyond the state.
    async fn catch_up<D: Decider>(&self, stream: &str, entry: &mut Entry<D>) -> Result<(), Error<D::Rejection>> {
        loop {
            let page = self.store.read_stream(stream, entry.revision, self.page).await?;
            for recorded in &page {
                entry.fold(&codec::decode(recorded)?, EventId(recorded.id));
                entry.position = recorded.position;
            }
            if page.len() < self.page {
                return Ok(());
            }
        }
    }

    /// Reads the requests that may have had their effect before, in one call.
    pub(super) async fn look_up<D: Decider>(&self, ids: Vec<Uuid>) -> Known<D> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let found = self.store.find(&ids).await?;
        Ok(ids.into_iter().zip(found).filter_map(|(id, recorded)| Some((id, recorded?))).collect())
    }

    /// Answers a pile whose events are durable. What was put off behind a twin that then came to nothing
    /// is given back.
    pub(super) async fn answer<D: Decider>(
        &self,
        pile: Pile<D>,
        entry: &Entry<D>,
        known: &Known<D>,
    ) -> Option<Pile<D>> {
        let mut rest = Pile::new(pile.id.clone());
        rest.rounds = pile.rounds;
        for mut decided in pile.decided {
            let first = decided.request.event_id(&pile.stream, 0).0;
            let known = known.as_ref().map(|known| known.get(&first));
            let answered = match (std::mem::replace(&mut decided.verdict, Verdict::Suspect), known) {
                (Verdict::Planned { events, revision }, _) => {
                    Ok(Outcome { position: entry.position, revision, events, replayed: false })
                }
                (_, Err(error)) => Err(error.clone()),
                (_, Ok(Some(recorded))) => self.replay::<D>(&decided.request, &pile.stream, recorded).await,
                (Verdict::Already { revision }, Ok(None)) => {
                    Ok(Outcome { position: entry.position, revision, events: Vec::new(), replayed: false })
                }
                (Verdict::Refused(error), Ok(None)) => Err(error),
                (Verdict::Suspect, Ok(None)) => {
                    rest.put_back(decided);
                    continue;
                }
            };
            (decided.answer)(answered.map(|outcome| (outcome, entry.seen())));
        }
        for inspect in pile.inspects {
            inspect(Ok(entry.seen()));
        }
        (!rest.is_empty()).then_some(rest)
    }

    /// Rebuilds the answer to a request from the events it had caused.
    async fn replay<D: Decider>(&self, request: &Request, stream: &str, first: &Recorded) -> Answered<D> {
        if codec::metadata(first)?.body_hash != request.body_hash {
            return Err(Error::Reused);
        }
        let mut outcome =
            Outcome { position: first.position, revision: first.revision, events: Vec::new(), replayed: true };
        loop {
            let page = self.store.read_stream(stream, outcome.revision, REPLAY_PAGE).await?;
            let full = page.len() == REPLAY_PAGE;
            for recorded in page {
                let n = u32::try_from(outcome.events.len()).unwrap_or(u32::MAX);
                if recorded.id != request.event_id(stream, n).0 {
                    return Ok(outcome);
                }
                outcome.events.push(codec::decode(&recorded)?);
                outcome.position = recorded.position;
                outcome.revision = recorded.revision + 1;
            }
            if !full {
                return Ok(outcome);
            }
        }
    }
}
