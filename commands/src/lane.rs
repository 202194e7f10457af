//! A lane: the owner of some streams' states, and the loop that turns waiting commands into one append.
//!
//! A step takes what waits in the mailbox, sorts it by stream, decides each stream's commands one after another
//! against the state in memory, appends all the streams' events in one call, and only then answers. Another
//! writer's append, or a request that had its effect before, sends that stream's commands (and no others)
//! through another round with a freshly loaded state.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use domain::{decider::Decider, ids::EventId};
use lru::LruCache;
use ports::{
    keys::Keys,
    store::{Appended, EventStore, Position, Recorded, Refused, Revision, Snapshot},
};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    codec,
    desk::{Answered, Error, Job, Limits, Outcome, Seen, Stats},
    request::Request,
};

mod pile;

use pile::{Pile, Verdict};

/// How many events are read at a time to rebuild an answer; hardly any request causes more.
const REPLAY_PAGE: usize = 16;

/// Requests that had their effect before, by the id of their first event.
type Known<D> = Result<HashMap<Uuid, Recorded>, Error<<D as Decider>::Rejection>>;

/// The name of an aggregate's stream.
pub(crate) fn stream_name<D: Decider>(id: &D::Id) -> String {
    format!("{}-{id}", D::CATEGORY)
}

/// A state in memory and where it stands in its stream.
struct Entry<D: Decider> {
    state: D::State,
    revision: Revision,
    position: Position,
    /// Up to which revision a snapshot exists.
    snapshot: Revision,
    /// The last event folded in, if it is known.
    cause: Option<EventId>,
    /// True when nobody looked: a new aggregate is assumed to be new, and the append will tell.
    assumed: bool,
}

impl<D: Decider> Entry<D> {
    fn empty(assumed: bool) -> Self {
        Self { state: D::State::default(), revision: 0, position: Position::START, snapshot: 0, cause: None, assumed }
    }

    const fn seen(&self) -> Seen<'_, D> {
        Seen { state: &self.state, revision: self.revision, position: self.position, cause: self.cause }
    }

    fn fold(&mut self, event: &D::Event, id: EventId) {
        self.state = D::evolve(std::mem::take(&mut self.state), event);
        self.cause = Some(id);
        self.revision += 1;
    }
}

/// The owner of some streams' states. Somebody must [`Lane::run`] it, or call [`Lane::step`].
pub struct Lane<D: Decider> {
    mailbox: mpsc::Receiver<Job<D>>,
    store: Arc<dyn EventStore>,
    keys: Arc<dyn Keys>,
    limits: Limits,
    stats: Arc<Stats>,
    states: LruCache<D::Id, Entry<D>>,
}

impl<D: Decider> Lane<D> {
    pub(crate) fn new(
        mailbox: mpsc::Receiver<Job<D>>,
        store: Arc<dyn EventStore>,
        keys: Arc<dyn Keys>,
        limits: Limits,
        stats: Arc<Stats>,
    ) -> Self {
        let states = LruCache::new(limits.states_max);
        Self { mailbox, store, keys, limits, stats, states }
    }

    /// Works until every handle of the desk is gone and the mailbox is empty.
    pub async fn run(mut self) {
        while self.step().await {}
    }

    /// Waits for commands and handles one batch of them. False when there will never be another.
    pub async fn step(&mut self) -> bool {
        let mut jobs = Vec::new();
        let taken = self.mailbox.recv_many(&mut jobs, self.limits.batch_commands_max).await;
        let mut piles: Vec<_> = sort(jobs).into_iter().filter_map(|pile| self.glance(pile)).collect();
        for _ in 0..self.limits.conflict_rounds_max {
            if piles.is_empty() {
                break;
            }
            piles = self.round(piles).await;
        }
        for pile in piles {
            pile.fail(&Error::Contention);
        }
        taken > 0
    }

    /// Answers looks at a state in memory at once; gives back a pile with anything more to do.
    fn glance(&mut self, pile: Pile<D>) -> Option<Pile<D>> {
        if !pile.is_empty() || !self.store.sole_writer() {
            return Some(pile);
        }
        let Some(entry) = self.states.get(&pile.id) else { return Some(pile) };
        for inspect in pile.inspects {
            inspect(Ok(entry.seen()));
        }
        None
    }

    /// Decides and appends once. Answers what it can and gives back what needs another round.
    async fn round(&mut self, piles: Vec<Pile<D>>) -> Vec<Pile<D>> {
        let mut planned = Vec::with_capacity(piles.len());
        for mut pile in piles {
            match self.decide(&mut pile).await {
                Ok(entry) => planned.push((pile, entry)),
                Err(error) => pile.fail(&error),
            }
        }
        let appends: Vec<_> = planned.iter_mut().filter_map(|(pile, _)| pile.append()).collect();
        self.count(&planned, &appends);
        let results = match appends.is_empty() {
            true => Ok(Vec::new()),
            false => self.store.append(appends).await,
        };
        match results {
            Ok(results) => self.settle(planned, results).await,
            Err(error) => {
                for (pile, _) in planned {
                    pile.fail(&Error::Store(error.clone()));
                }
                Vec::new()
            }
        }
    }

    /// Opens a stream's state and decides everything that waits for it.
    async fn decide(&mut self, pile: &mut Pile<D>) -> Result<Entry<D>, Error<D::Rejection>> {
        let (id, stream, creates) = (pile.id.clone(), pile.stream.clone(), pile.creates());
        let (entry, remembered) = self.open(&id, &stream, creates).await?;
        let mut entry = pile.plan(entry, self.keys.as_ref()).await?;
        // An append that is accepted proves that what was remembered is so. Nothing proves a refusal, an "already
        // so" or a look: where others write the log, too, they must not rest on what was so some time ago.
        if remembered && !pile.appended && !self.store.sole_writer() {
            let before = entry.revision;
            self.catch_up(&stream, &mut entry).await?;
            if entry.revision > before {
                entry = pile.plan(entry, self.keys.as_ref()).await?;
            }
        }
        Ok(entry)
    }

    fn count(&self, planned: &[(Pile<D>, Entry<D>)], appends: &[ports::store::Append]) {
        let commands: usize = planned.iter().map(|(pile, _)| pile.decided.len()).sum();
        let events: usize = appends.iter().map(|append| append.events.len()).sum();
        self.stats.commands.fetch_add(commands as u64, Ordering::Relaxed);
        self.stats.appends.fetch_add(appends.len() as u64, Ordering::Relaxed);
        self.stats.events.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// Answers the piles whose append was accepted; the others come back for another round.
    async fn settle(
        &mut self,
        planned: Vec<(Pile<D>, Entry<D>)>,
        results: Vec<Result<Appended, Refused>>,
    ) -> Vec<Pile<D>> {
        let lookups = planned.iter().flat_map(|(pile, _)| pile.lookups()).collect();
        // When the look fails, only those who were to be looked up hear of it: the others' events are written.
        let known = self.look_up(lookups).await;
        let mut again = Vec::new();
        let mut results = results.into_iter();
        for (mut pile, mut entry) in planned {
            let result = if pile.appended { results.next() } else { None };
            match result {
                None => {}
                Some(Ok(appended)) if appended.fresh => {
                    entry.position = appended.last_position;
                    entry.assumed = false;
                }
                Some(Ok(_)) => {
                    // Every event was there already: all of these requests are repeats.
                    pile.suspect(|_| true);
                    again.push(pile);
                    continue;
                }
                Some(Err(refused)) => {
                    self.stats.conflicts.fetch_add(1, Ordering::Relaxed);
                    if let Refused::Known { id } = refused {
                        pile.suspect(|ids| ids.contains(&id));
                    }
                    again.push(pile);
                    continue;
                }
            }
            let id = pile.id.clone();
            again.extend(self.answer(pile, &entry, &known).await);
            if !entry.assumed {
                self.keep(id, entry).await;
            }
        }
        again
    }

    /// Answers a pile whose events are durable. What was put off behind a twin that then came to nothing
    /// is given back.
    async fn answer(&self, pile: Pile<D>, entry: &Entry<D>, known: &Known<D>) -> Option<Pile<D>> {
        let mut rest = Pile::new(pile.id.clone());
        for decided in pile.decided {
            let first = decided.request.event_id(&pile.stream, 0).0;
            let known = known.as_ref().map(|known| known.get(&first));
            let answered = match (decided.verdict, known) {
                (Verdict::Planned { events, revision }, _) => {
                    Ok(Outcome { position: entry.position, revision, events, replayed: false })
                }
                (_, Err(error)) => Err(error.clone()),
                (_, Ok(Some(recorded))) => self.replay(&decided.request, &pile.stream, recorded).await,
                (Verdict::Already { revision }, Ok(None)) => {
                    Ok(Outcome { position: entry.position, revision, events: Vec::new(), replayed: false })
                }
                (Verdict::Refused(error), Ok(None)) => Err(error),
                (Verdict::Suspect, Ok(None)) => {
                    rest.push_execute(decided.command, decided.request, decided.answer);
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
    async fn replay(&self, request: &Request, stream: &str, first: &Recorded) -> Answered<D> {
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

    /// Takes a state out of memory, assumes that it is new, or folds it from the store. True when it was remembered.
    async fn open(&mut self, id: &D::Id, stream: &str, creates: bool) -> Result<(Entry<D>, bool), Error<D::Rejection>> {
        match self.states.pop(id) {
            Some(entry) => Ok((entry, true)),
            None if creates => Ok((Entry::empty(true), false)),
            None => Ok((self.load(stream).await?, false)),
        }
    }

    async fn load(&self, stream: &str) -> Result<Entry<D>, Error<D::Rejection>> {
        self.stats.loads.fetch_add(1, Ordering::Relaxed);
        let mut entry = Entry::<D>::empty(false);
        if let Some(snapshot) = self.store.load_snapshot(stream, D::FOLD).await? {
            // A snapshot that does not read is a lost cache: the stream itself has everything.
            if let Ok(state) = serde_json::from_slice(&snapshot.state) {
                let Snapshot { revision, position, .. } = snapshot;
                entry = Entry { state, revision, position, snapshot: revision, cause: None, assumed: false };
            }
        }
        self.catch_up(stream, &mut entry).await?;
        Ok(entry)
    }

    /// Folds what the stream holds beyond the state.
    async fn catch_up(&self, stream: &str, entry: &mut Entry<D>) -> Result<(), Error<D::Rejection>> {
        loop {
            let page = self.store.read_stream(stream, entry.revision, self.limits.load_events_max).await?;
            for recorded in &page {
                entry.fold(&codec::decode(recorded)?, EventId(recorded.id));
                entry.position = recorded.position;
            }
            if page.len() < self.limits.load_events_max {
                return Ok(());
            }
        }
    }

    /// Keeps a state in memory, and as a snapshot when enough has happened since the last.
    async fn keep(&mut self, id: D::Id, mut entry: Entry<D>) {
        // The distance grows with the stream, so that all snapshots together cost a constant share.
        let distance = self.limits.snapshot_events.max(entry.snapshot / 2);
        if entry.revision >= entry.snapshot + distance {
            if let Ok(state) = serde_json::to_vec(&entry.state) {
                let (revision, position) = (entry.revision, entry.position);
                let snapshot = Snapshot { fold: D::FOLD, revision, position, state: Bytes::from(state) };
                if let Err(error) = self.store.save_snapshot(&stream_name::<D>(&id), snapshot).await {
                    tracing::warn!(%error, "a snapshot could not be kept; loading will take longer");
                }
            }
            entry.snapshot = entry.revision;
        }
        self.states.push(id, entry);
    }

    /// Reads the requests that may have had their effect before, in one call.
    async fn look_up(&self, ids: Vec<Uuid>) -> Known<D> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let found = self.store.find(&ids).await?;
        Ok(ids.into_iter().zip(found).filter_map(|(id, recorded)| Some((id, recorded?))).collect())
    }
}

/// Sorts jobs by stream, keeping their order within each.
fn sort<D: Decider>(jobs: Vec<Job<D>>) -> Vec<Pile<D>> {
    let mut piles: Vec<Pile<D>> = Vec::new();
    let mut index: HashMap<D::Id, usize> = HashMap::new();
    for job in jobs {
        let at = *index.entry(job.id.clone()).or_insert_with(|| {
            piles.push(Pile::new(job.id.clone()));
            piles.len() - 1
        });
        piles[at].push(job.work);
    }
    piles
}
