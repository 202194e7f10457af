//! The command desk: the one load–decide–append–retry loop of the shop.
//!
//! A command goes to the lane that owns its stream. The lane decides everything that waits in its mailbox
//! against states it holds in memory, appends all the events at once and answers when they are durable. A
//! hot stream is therefore not a source of conflicts but of batching: a thousand claims on one coupon cost
//! one append. Nothing is ever locked.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use domain::{decider::Decider, ids::EventId};
use ports::{
    keys::{self, Keys},
    store::{self, EventStore, Position, Revision},
};
use tokio::sync::{mpsc, oneshot};

pub use crate::lane::Lane;
use crate::{codec::Unreadable, request::Request};

/// The desk's limits, each by name.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many lanes decide side by side.
    pub lanes: NonZeroUsize,
    /// How many commands may wait in a lane's mailbox before more are refused.
    pub mailbox_max: usize,
    /// How many commands are decided before an append, and how many may wait for streams that are being written.
    pub batch_commands_max: usize,
    /// How many appends of one lane may be under way, each for other streams.
    pub appends_max: NonZeroUsize,
    /// How many states each lane keeps in memory.
    pub states_max: NonZeroUsize,
    /// How many states of one lane are read at the same time.
    pub reads_max: NonZeroUsize,
    /// How often a command is decided anew after another writer's append.
    pub conflict_rounds_max: u32,
    /// How many events are read at a time when a state is loaded.
    pub load_events_max: usize,
    /// After how many events a state is first kept as a snapshot; later ones follow at growing distance.
    pub snapshot_events: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lanes: NonZeroUsize::new(2).unwrap_or(NonZeroUsize::MIN),
            mailbox_max: 16_384,
            batch_commands_max: 1_024,
            appends_max: NonZeroUsize::new(8).unwrap_or(NonZeroUsize::MIN),
            states_max: NonZeroUsize::new(50_000).unwrap_or(NonZeroUsize::MIN),
            reads_max: NonZeroUsize::new(64).unwrap_or(NonZeroUsize::MIN),
            conflict_rounds_max: 32,
            load_events_max: 1_000,
            snapshot_events: 500,
        }
    }
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome<E> {
    /// A position at which everything the command did can be read; of a command without events, the last
    /// of its stream.
    pub position: Position,
    /// How many events the stream held right after: the resource's etag.
    pub revision: Revision,
    /// What happened; empty when it was already so.
    pub events: Vec<E>,
    /// True when the same request had its effect before, and this is that answer again.
    pub replayed: bool,
}

/// Why a command has no outcome.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error<R: std::error::Error> {
    /// The rules refuse it; nothing has changed.
    #[error(transparent)]
    Rejected(R),
    /// The request id was used for another wish.
    #[error("this request id was already used for another request")]
    Reused,
    /// The stream is not as the caller believes (an etag).
    #[error("the resource is at revision {actual}, not {expected}")]
    Stale {
        /// What the caller said.
        expected: Revision,
        /// What it is.
        actual: Revision,
    },
    /// Other writers were faster, again and again.
    #[error("too many writers at once; nothing has changed")]
    Contention,
    /// Too many commands wait.
    #[error("the desk is overloaded; nothing has changed")]
    Overloaded,
    /// The desk is shutting down.
    #[error("the desk is closed; nothing has changed")]
    Closed,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The key store failed, so personal data could not be sealed.
    #[error(transparent)]
    Keys(#[from] keys::Error),
    /// A stored event cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// An event could not be written.
    #[error("{0}")]
    Encode(String),
}

impl<R: std::error::Error> Error<R> {
    /// The rejection, if the rules refused.
    pub const fn rejection(&self) -> Option<&R> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            _ => None,
        }
    }
}

/// Counts of what a desk has done, since it was opened.
#[derive(Debug, Default)]
pub struct Stats {
    pub(crate) commands: AtomicU64,
    pub(crate) appends: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    pub(crate) loads: AtomicU64,
}

/// A reading of [`Stats`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Commands decided.
    pub commands: u64,
    /// Stream appends: with one command at a time there would be one for each that had an effect.
    pub appends: u64,
    /// Events appended.
    pub events: u64,
    /// Appends that met another writer's.
    pub conflicts: u64,
    /// States loaded from the store.
    pub loads: u64,
}

/// Where commands for one kind of aggregate are handed in.
pub struct Desk<D: Decider> {
    lanes: Arc<[mpsc::Sender<Job<D>>]>,
    stats: Arc<Stats>,
}

impl<D: Decider> Clone for Desk<D> {
    fn clone(&self) -> Self {
        Self { lanes: Arc::clone(&self.lanes), stats: Arc::clone(&self.stats) }
    }
}

/// One thing for a lane to do with one stream.
pub(crate) struct Job<D: Decider> {
    pub(crate) id: D::Id,
    pub(crate) work: Work<D>,
}

pub(crate) enum Work<D: Decider> {
    Execute { command: D::Command, request: Request, keep: Keep<D>, answer: Answer<D> },
    Inspect(Inspect<D>),
}

/// A look at a state, or the reason why there is none.
pub(crate) type Inspect<D> = Box<dyn FnOnce(Result<Seen<'_, D>, Error<<D as Decider>::Rejection>>) + Send>;
pub(crate) type Answered<D> = Result<Outcome<<D as Decider>::Event>, Error<<D as Decider>::Rejection>>;
/// Sees the state exactly as a command leaves it, perhaps before that is durable: for the answer, if it becomes so.
pub(crate) type Keep<D> = Option<Box<dyn FnMut(&<D as Decider>::State) + Send>>;
/// Takes what a command came to, and the durable state that it was answered from.
pub(crate) type Answer<D> =
    Box<dyn FnOnce(Result<(Outcome<<D as Decider>::Event>, Seen<'_, D>), Error<<D as Decider>::Rejection>>) + Send>;

/// A durable state, as [`Desk::inspect`] shows it.
pub struct Seen<'a, D: Decider> {
    /// The state.
    pub state: &'a D::State,
    /// How many events are folded into it.
    pub revision: Revision,
    /// The position of the last of them.
    pub position: Position,
    /// The last of them, unless the state was just read from a snapshot.
    pub cause: Option<EventId>,
}

impl<D: Decider> Desk<D> {
    /// Opens a desk: the handle, and the lanes that somebody must run.
    pub fn open(store: &Arc<dyn EventStore>, keys: &Arc<dyn Keys>, limits: &Limits) -> (Self, Vec<Lane<D>>) {
        let stats = Arc::new(Stats::default());
        let (senders, lanes): (Vec<_>, Vec<_>) = (0..limits.lanes.get())
            .map(|_| {
                let (sender, mailbox) = mpsc::channel(limits.mailbox_max);
                let lane = Lane::new(mailbox, Arc::clone(store), Arc::clone(keys), limits.clone(), Arc::clone(&stats));
                (sender, lane)
            })
            .unzip();
        (Self { lanes: senders.into(), stats }, lanes)
    }

    /// Decides and stores one command. When it returns `Ok`, its events are durable.
    ///
    /// # Errors
    /// An [`Error`]; only [`store::Error::Unknown`] leaves open whether it had an effect, and sending the same
    /// request again settles that.
    pub async fn execute(&self, id: &D::Id, command: D::Command, request: Request) -> Answered<D> {
        Ok(self.execute_and_look(id, command, request, |_| ()).await?.0)
    }

    /// The same, with a look at the durable state that the answer was read from: one way to the lane instead of two.
    /// Commands that were decided together with this one are in that state, too.
    ///
    /// # Errors
    /// As [`Desk::execute`].
    pub async fn execute_and_look<T: Send + 'static>(
        &self,
        id: &D::Id,
        command: D::Command,
        request: Request,
        look: impl FnOnce(Seen<'_, D>) -> T + Send + 'static,
    ) -> Result<(Outcome<D::Event>, T), Error<D::Rejection>> {
        let (tell, told) = oneshot::channel();
        let answer: Answer<D> = Box::new(move |answered| {
            // The asker may have gone; the effect stays.
            let _gone = tell.send(answered.map(|(outcome, seen)| (outcome, look(seen))));
        });
        self.hand_in(id, Work::Execute { command, request, keep: None, answer })?;
        told.await.unwrap_or(Err(Error::Closed))
    }

    /// The same, with what `look` sees of the state exactly as this command left it, whatever was decided together with
    /// it; `None` when the command had no effect now.
    ///
    /// # Errors
    /// As [`Desk::execute`].
    pub async fn execute_and_keep<T: Send + 'static>(
        &self,
        id: &D::Id,
        command: D::Command,
        request: Request,
        look: impl Fn(&D::State) -> T + Send + 'static,
    ) -> Result<(Outcome<D::Event>, Option<T>), Error<D::Rejection>> {
        let kept = Arc::new(Mutex::new(None));
        let (tell, told) = oneshot::channel();
        let slot = Arc::clone(&kept);
        let keep: Keep<D> = Some(Box::new(move |state| {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(look(state));
        }));
        let answer: Answer<D> = Box::new(move |answered| {
            // The asker may have gone; the effect stays.
            let _gone = tell.send(answered.map(|(outcome, _)| outcome));
        });
        self.hand_in(id, Work::Execute { command, request, keep, answer })?;
        let outcome: Outcome<D::Event> = told.await.unwrap_or(Err(Error::Closed))?;
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let fresh = !outcome.replayed && !outcome.events.is_empty();
        Ok((outcome, kept.filter(|_| fresh)))
    }

    /// Looks at the durable state of one aggregate.
    ///
    /// # Errors
    /// An [`Error`] when it cannot be loaded.
    pub async fn inspect<T: Send + 'static>(
        &self,
        id: &D::Id,
        look: impl FnOnce(Seen<'_, D>) -> T + Send + 'static,
    ) -> Result<T, Error<D::Rejection>> {
        let (answer, answered) = oneshot::channel();
        let work = Work::Inspect(Box::new(move |seen| {
            // The asker may have gone; then nobody wants to know.
            let _gone = answer.send(seen.map(look));
        }));
        self.hand_in(id, work)?;
        answered.await.unwrap_or(Err(Error::Closed))
    }

    /// What the desk has done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            commands: read(&self.stats.commands),
            appends: read(&self.stats.appends),
            events: read(&self.stats.events),
            conflicts: read(&self.stats.conflicts),
            loads: read(&self.stats.loads),
        }
    }

    fn hand_in(&self, id: &D::Id, work: Work<D>) -> Result<(), Error<D::Rejection>> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let lane = usize::try_from(hasher.finish() % self.lanes.len() as u64).unwrap_or(0);
        self.lanes[lane].try_send(Job { id: id.clone(), work }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Error::Closed,
        })
    }
}

#[cfg(test)]
mod tests;
