//! A lane: the owner of some streams' states, and the loop that turns waiting commands into few appends.
//!
//! A step takes what waits in the mailbox, sorts it by stream, decides each stream's commands one after another
//! against the state in memory, and begins one append of all the streams' events; it answers when that is durable.
//! Meanwhile other streams' commands are decided and written beside it; what comes for a stream that is being written
//! waits, and makes up that stream's next part of an append. Another writer's append, or a request that had its effect
//! before, sends that stream's commands (and no others) through another round with a freshly loaded state.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use domain::{decider::Decider, ids::EventId};
use futures::{
    StreamExt as _,
    future::{self, BoxFuture, FutureExt as _},
    stream::{self, FuturesUnordered},
};
use lru::LruCache;
use ports::{
    keys::Keys,
    store::{self, Appended, EventStore, Position, Refused, Revision, Snapshot},
};
use tokio::sync::mpsc;

use crate::desk::{Error, Job, Limits, Seen, Stats};

mod history;
mod pile;

use history::History;
use pile::Pile;

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
    /// How many more appends to expect another writer for.
    contested: u8,
    /// The stream is known to hold more.
    stale: bool,
}

/// After another writer's append, as many of ours are prepared for another one.
const CONTESTED: u8 = 32;

impl<D: Decider> Entry<D> {
    fn empty(assumed: bool) -> Self {
        let (state, position) = (D::State::default(), Position::START);
        Self { state, revision: 0, position, snapshot: 0, cause: None, assumed, contested: 0, stale: false }
    }

    /// The same to go back to.
    fn copy(&self) -> Self {
        Self { state: self.state.clone(), ..*self }
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

/// Streams with what was decided for each, and the state that it leads to.
type Planned<D> = Vec<(Pile<D>, Entry<D>)>;
/// What became of an append.
type Written<D> = (Planned<D>, Result<Vec<Result<Appended, Refused>>, store::Error>);

/// The owner of some streams' states. Somebody must [`Lane::run`] it, or call [`Lane::step`].
pub struct Lane<D: Decider> {
    mailbox: mpsc::Receiver<Job<D>>,
    history: History,
    keys: Arc<dyn Keys>,
    limits: Limits,
    stats: Arc<Stats>,
    states: LruCache<D::Id, Entry<D>>,
    /// Appends under way; no two of them write the same stream.
    writing: FuturesUnordered<BoxFuture<'static, Written<D>>>,
    /// The streams that are being written, with what waits for each.
    waiting: HashMap<D::Id, Pile<D>>,
    /// How much waits in all of them.
    parked: usize,
    /// The snapshot that is being saved, if any: the lane goes on meanwhile.
    saving: FuturesUnordered<BoxFuture<'static, ()>>,
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
        let (writing, waiting, saving) = (FuturesUnordered::new(), HashMap::new(), FuturesUnordered::new());
        let history = History { store, page: limits.load_events_max, stats: Arc::clone(&stats) };
        Self { mailbox, history, keys, limits, stats, states, writing, waiting, parked: 0, saving }
    }

    /// Works until every handle of the desk is gone and the mailbox is empty.
    pub async fn run(mut self) {
        while self.step().await {}
    }

    /// Waits for commands or for an append, and does what either makes possible. False when there will never be more.
    pub async fn step(&mut self) -> bool {
        let mut jobs = Vec::new();
        let room = match self.writing.len() < self.limits.appends_max.get() {
            true => self.limits.batch_commands_max.saturating_sub(self.parked),
            false => 0,
        };
        tokio::select! {
            biased;
            Some(()) = self.saving.next() => {}
            Some(written) = self.writing.next() => self.written(written).await,
            taken = self.mailbox.recv_many(&mut jobs, room), if room > 0 => match taken {
                0 => match self.writing.next().await {
                    Some(written) => self.written(written).await,
                    None => return false,
                },
                _ => self.begin(sort(jobs)).await,
            },
        }
        true
    }

    /// Decides, begins to write what has to be written, and answers what has not.
    async fn begin(&mut self, mut piles: Vec<Pile<D>>) {
        while !piles.is_empty() {
            let (mut admitted, mut later, mut streams) = (Vec::with_capacity(piles.len()), Vec::new(), HashSet::new());
            for pile in piles {
                let Some(pile) = self.admit(pile) else { continue };
                // Of one stream, what goes through another round comes before what has waited for it.
                if streams.insert(pile.id.clone()) { admitted.push(pile) } else { later.push(pile) }
            }
            let (write, done) = self.decide(admitted).await.into_iter().partition(|(pile, _)| pile.appended);
            self.write(write);
            piles = self.settle(done, Vec::new()).await;
            piles.append(&mut later);
        }
    }

    /// Gives back a pile that can be decided now. Looks at a state in memory are answered at once; what is for a stream
    /// that is being written waits for that.
    fn admit(&mut self, pile: Pile<D>) -> Option<Pile<D>> {
        if pile.rounds >= self.limits.conflict_rounds_max {
            pile.fail(&Error::Contention);
            return None;
        }
        if let Some(waiting) = self.waiting.get_mut(&pile.id) {
            self.parked += pile.len();
            waiting.join(pile);
            return None;
        }
        if !pile.only_looks() || !self.history.store.sole_writer() {
            return Some(pile);
        }
        let Some(entry) = self.states.get(&pile.id) else { return Some(pile) };
        for inspect in pile.inspects {
            inspect(Ok(entry.seen()));
        }
        None
    }

    fn write(&mut self, mut planned: Planned<D>) {
        if planned.is_empty() {
            return;
        }
        self.waiting.extend(planned.iter().map(|(pile, _)| (pile.id.clone(), Pile::new(pile.id.clone()))));
        let appends: Vec<_> = planned.iter_mut().filter_map(|(pile, _)| pile.append()).collect();
        let events: usize = appends.iter().map(|append| append.events.len()).sum();
        self.stats.appends.fetch_add(appends.len() as u64, Ordering::Relaxed);
        self.stats.events.fetch_add(events as u64, Ordering::Relaxed);
        let store = Arc::clone(&self.history.store);
        self.writing.push(async move { (planned, store.append(appends).await) }.boxed());
    }

    /// Answers what was written, and begins what waited for it.
    async fn written(&mut self, (planned, results): Written<D>) {
        let ids: Vec<_> = planned.iter().map(|(pile, _)| pile.id.clone()).collect();
        let mut piles = match results {
            Ok(results) => self.settle(planned, results).await,
            Err(error) => {
                for (pile, _) in planned {
                    pile.fail(&Error::Store(error.clone()));
                }
                Vec::new()
            }
        };
        // What goes through another round comes before what has waited for it.
        for pile in ids.iter().filter_map(|id| self.waiting.remove(id)).filter(|pile| !pile.is_empty()) {
            self.parked -= pile.len();
            piles.push(pile);
        }
        self.begin(piles).await;
    }

    /// Decides everything that waits for these streams, beside each other: while one state is read the others go on.
    async fn decide(&mut self, piles: Vec<Pile<D>>) -> Planned<D> {
        let opened: Vec<_> = piles.into_iter().map(|pile| (self.states.pop(&pile.id), pile)).collect();
        let (history, keys) = (&self.history, self.keys.as_ref());
        let decided = stream::iter(opened).map(|(remembered, pile)| history.decide(remembered, pile, keys));
        decided.buffered(self.limits.reads_max.get()).filter_map(future::ready).collect().await
    }

    /// Answers the piles whose append was accepted; the others come back for another round.
    async fn settle(&mut self, planned: Planned<D>, results: Vec<Result<Appended, Refused>>) -> Vec<Pile<D>> {
        let commands: usize = planned.iter().map(|(pile, _)| pile.decided.len()).sum();
        self.stats.commands.fetch_add(commands as u64, Ordering::Relaxed);
        let lookups = planned.iter().flat_map(|(pile, _)| pile.lookups()).collect();
        // When the look fails, only those who were to be looked up hear of it: the others' events are written.
        let known = self.history.look_up::<D>(lookups).await;
        let mut again = Vec::new();
        let mut results = results.into_iter();
        for (mut pile, mut entry) in planned {
            let result = if pile.appended { results.next() } else { None };
            match result {
                None => {}
                Some(Ok(appended)) if appended.fresh => {
                    entry.position = appended.last_position;
                    entry.assumed = false;
                    entry.contested = entry.contested.saturating_sub(1);
                }
                Some(Ok(_)) => {
                    // Every event was there already: all of these requests are repeats.
                    pile.suspect(|_| true);
                    self.go_back(&mut pile);
                    again.push(pile);
                    continue;
                }
                Some(Err(refused)) => {
                    self.stats.conflicts.fetch_add(1, Ordering::Relaxed);
                    if let Refused::Known { id } = refused {
                        pile.suspect(|ids| ids.contains(&id));
                    }
                    self.go_back(&mut pile);
                    again.push(pile);
                    continue;
                }
            }
            // A stream that is being written meanwhile has a newer state to come.
            let outdated = !pile.appended && self.waiting.contains_key(&pile.id);
            let id = pile.id.clone();
            again.extend(self.history.answer(pile, &entry, &known).await);
            if !entry.assumed && !outdated {
                self.keep(id, entry);
            }
        }
        again.iter_mut().for_each(|pile| pile.rounds += 1);
        again
    }

    /// Another writer was faster: the state as it was before this round is what the next one goes on from.
    fn go_back(&mut self, pile: &mut Pile<D>) {
        if let Some(before) = pile.before.take() {
            self.states.push(pile.id.clone(), Entry { contested: CONTESTED, stale: true, ..before });
        }
    }

    /// Keeps a state in memory, and as a snapshot when enough has happened since the last.
    fn keep(&mut self, id: D::Id, mut entry: Entry<D>) {
        // The distance grows with the stream, so that all snapshots together cost a constant share.
        let distance = self.limits.snapshot_events.max(entry.snapshot / 2);
        // One at a time: a disk that is slower than the snapshots delays the next, and collects none of them.
        if entry.revision >= entry.snapshot + distance && self.saving.is_empty() {
            if let Ok(state) = serde_json::to_vec(&entry.state) {
                let (revision, position) = (entry.revision, entry.position);
                let snapshot = Snapshot { fold: D::FOLD, revision, position, state: Bytes::from(state) };
                self.saving.push(self.history.save(stream_name::<D>(&id), snapshot));
            }
            entry.snapshot = entry.revision;
        }
        self.states.push(id, entry);
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
