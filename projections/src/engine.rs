//! The engine: folds the log into all views, one batch per step.
//!
//! Rows and checkpoints of a batch are committed in one transaction, so a view is at every moment exactly the
//! fold of the log up to its position, whatever the batch size and wherever a crash fell. Each event is
//! decoded once for all views that stand at the same place. A view that is far behind (a new one) is caught
//! up beside the others, batch by batch, and joins them when it reaches them; it never holds them back.
//!
//! The engine is a value with `step()`: it knows no loop, signal or clock. Whoever runs it waits on the log
//! when a step says that it has caught up.

use std::{future::ready, sync::Arc, task::Poll};

use futures::{
    future::{BoxFuture, FutureExt as _},
    poll,
};
use ports::{
    store::{self, EventStore, Position, Recorded},
    views::{self, ViewStore},
};

use crate::{
    event::{Category, Entry},
    fold::AnyView,
    positions::Positions,
};

mod running;

use running::{Hurdle, Running};

/// The engine's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most events read, folded and committed at a time. A larger batch folds a hot row fewer times, a
    /// smaller one shows its events sooner.
    pub batch_events_max: usize,
    /// The most bytes of events folded before a commit, when the end of the log is far. What is held until then, and while
    /// it is stored, takes two to three times as much memory.
    pub load_bytes_max: usize,
    /// The most bytes of stored rows kept decoded at hand, over all views.
    pub cached_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { batch_events_max: 2048, load_bytes_max: 128 << 20, cached_bytes_max: 64 << 20 }
    }
}

/// How many batches are committed one by one after a load that failed.
const CAREFUL_BATCHES: u32 = 64;
/// So many batches before the log's end a view is loaded; nearer it is followed, and each batch is seen at once. (By
/// positions: in a log whose positions are bytes a view is loaded whenever a batch is full.)
const FAR_BATCHES: u64 = 8;

/// Why a step did not happen. The next one begins again from what is stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] store::Error),
    /// The view store failed.
    #[error(transparent)]
    Views(#[from] views::Error),
    /// A view has folded events that this log does not hold: the two files do not belong together.
    #[error("view {view} stands at {position}, behind the end of the log at {head}")]
    Ahead {
        /// The view's name and version.
        view: String,
        /// Where it stands.
        position: Position,
        /// Where the log ends.
        head: Position,
    },
    /// No view can go on; each says why in [`Positions::all`].
    #[error("every view has stopped")]
    AllStopped,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// How many events of the log it went through.
    pub events: usize,
    /// True when the log held no more: wait on it behind [`Step::position`] before the next step.
    pub caught_up: bool,
    /// Where the foremost view stands.
    pub position: Position,
}

/// A part of the log, read after a position.
struct Batch {
    after: Position,
    recorded: Vec<Recorded>,
}

/// Folds the log into views.
pub struct Engine {
    log: Arc<dyn EventStore>,
    rows: Arc<dyn ViewStore>,
    views: Vec<Running>,
    positions: Positions,
    limits: Limits,
    /// Whether every view's `stored` is what the view store has.
    located: bool,
    /// The batch that comes next, read while the last one was being folded.
    ahead: Option<Batch>,
    /// What is being stored while more is folded.
    commit: Option<BoxFuture<'static, Result<(), views::Error>>>,
    /// So many batches are committed each by itself: one of them may hold an event that a view cannot fold, or too much for
    /// the view store. And the first one is, for whoever opens waits for it.
    careful: u32,
}

impl Engine {
    /// An engine over a log and a view store. It is the only writer of its views.
    #[must_use]
    pub fn new(
        log: Arc<dyn EventStore>,
        rows: Arc<dyn ViewStore>,
        views: Vec<Box<dyn AnyView>>,
        limits: Limits,
    ) -> Self {
        let views: Vec<Running> = views.into_iter().map(Running::new).collect();
        let positions = Positions::new(views.iter().map(|running| (running.view.name(), running.told.subscribe())));
        Self { log, rows, views, positions, limits, located: false, ahead: None, commit: None, careful: 1 }
    }

    /// Where the views stand, for queries that wait.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.positions.clone()
    }

    /// Folds the next batch into every view. Views that stand far apart get a batch each.
    ///
    /// # Errors
    /// An [`Error`]; whatever was committed stays, and the next step goes on from there.
    pub async fn step(&mut self) -> Result<Step, Error> {
        let hurdle = match self.advance().await {
            Ok(step) => return Ok(step),
            Err(hurdle) => hurdle,
        };
        self.careful = CAREFUL_BATCHES;
        self.forget().await;
        match hurdle {
            Hurdle::Error(Error::Views(views::Error::Moved { view, expected, actual })) => {
                tracing::warn!(%view, %expected, %actual, "another writer moved the view");
            }
            Hurdle::Error(error) => return Err(error),
            Hurdle::Behind => {}
        }
        Ok(Step { events: 0, caught_up: false, position: self.foremost() })
    }

    async fn advance(&mut self) -> Result<Step, Hurdle> {
        self.locate().await?;
        let mut step = Step { events: 0, caught_up: true, position: Position::START };
        let mut next = self.rearmost(None).ok_or(Error::AllStopped)?;
        loop {
            let to = self.load(next, &mut step).await?;
            match self.rearmost(Some(to)) {
                Some(further) => next = further,
                None => break,
            }
        }
        if step.caught_up {
            self.stored().await?;
        }
        step.position = self.foremost();
        self.careful = if step.caught_up { 0 } else { self.careful.saturating_sub(1) };
        Ok(step)
    }

    /// Folds a batch behind `next` into the views that stand within it, or many, and commits what it comes to. Answers
    /// where the last one ended.
    async fn load(&mut self, next: Position, step: &mut Step) -> Result<Position, Hurdle> {
        let (mut to, mut bytes) = (next, 0);
        let mut batch = self.read(next).await?;
        loop {
            step.events += batch.recorded.len();
            bytes += batch.recorded.iter().map(|event| event.data.len() + event.metadata.len()).sum::<usize>();
            to = batch.recorded.last().map_or(to, |last| last.position);
            let full = batch.recorded.len() >= self.limits.batch_events_max;
            let (log, limit) = (Arc::clone(&self.log), self.limits.batch_events_max);
            let more = full && self.careful == 0 && bytes < self.limits.load_bytes_max;
            let more = more && log.head().await?.0.saturating_sub(to.0) / FAR_BATCHES > limit as u64;
            let read = async { if full { Some(log.read_all(to, limit).await) } else { None } };
            // What comes next is read while this is folded.
            let (ahead, folded) = tokio::join!(read, self.fold(batch, to));
            folded?;
            let ahead = ahead.transpose()?.map(|recorded| Batch { after: to, recorded });
            match ahead {
                Some(ahead) if more => batch = ahead,
                ahead => {
                    // A short batch is read again: by then the log may hold more.
                    self.ahead = ahead.filter(|ahead| ahead.recorded.len() >= limit);
                    step.caught_up &= !full;
                    break;
                }
            }
        }
        self.stored().await?;
        self.commit().await?;
        Ok(to)
    }

    /// Asks the view store where the views stand, unless that is known.
    async fn locate(&mut self) -> Result<(), Error> {
        if self.located {
            return Ok(());
        }
        let head = self.log.head().await?;
        for running in &mut self.views {
            let position = self.rows.position(running.view.id()).await?;
            if position > head {
                return Err(Error::Ahead { view: running.view.id().to_owned(), position, head });
            }
            running.place(position);
        }
        self.located = true;
        Ok(())
    }

    /// The position of the rearmost view that can go on, among those further than `beyond`.
    fn rearmost(&self, beyond: Option<Position>) -> Option<Position> {
        let going = self.views.iter().filter(|running| !running.stopped).map(|running| running.at);
        going.filter(|at| beyond.is_none_or(|beyond| *at > beyond)).min()
    }

    fn foremost(&self) -> Position {
        self.views.iter().map(|running| running.at).max().unwrap_or_default()
    }

    async fn read(&mut self, after: Position) -> Result<Batch, Error> {
        match self.ahead.take() {
            Some(batch) if batch.after == after => Ok(batch),
            _ => {
                let recorded = self.log.read_all(after, self.limits.batch_events_max).await?;
                Ok(Batch { after, recorded })
            }
        }
    }

    /// Folds a batch that ends at `to` into the views that stand within it.
    async fn fold(&mut self, batch: Batch, to: Position) -> Result<(), Hurdle> {
        let Batch { after, recorded } = batch;
        let mut within: Vec<_> = self.views.iter_mut().filter(|running| running.is_within(after, to)).collect();
        let wanted: Vec<Category> = within.iter().flat_map(|running| running.view.reads()).copied().collect();
        let positions: Vec<Position> = recorded.iter().map(|recorded| recorded.position).collect();
        let entries: Vec<Entry> = recorded.into_iter().filter_map(|recorded| Entry::read(recorded, &wanted)).collect();
        for running in &mut within {
            let behind = entries.partition_point(|entry| entry.position <= running.at);
            running.fold(&entries[behind..], &positions, self.rows.as_ref(), self.careful > 0).await?;
        }
        Ok(())
    }

    /// Begins to store all that is folded and not stored yet, or stores it: far from the log's end the next load is folded
    /// meanwhile.
    async fn commit(&mut self) -> Result<(), Hurdle> {
        let mut commits = Vec::new();
        for running in self.views.iter_mut().filter(|running| running.at > running.stored) {
            commits.push(running.send()?);
        }
        let rows = Arc::clone(&self.rows);
        let mut commit = async move { if commits.is_empty() { Ok(()) } else { rows.commit(commits).await } }.boxed();
        // A future does nothing before it is asked.
        let waits = match poll!(&mut commit) {
            Poll::Ready(done) => {
                commit = ready(done).boxed();
                false
            }
            Poll::Pending => self.careful == 0 && self.ahead.is_some(),
        };
        self.commit = Some(commit);
        if waits { Ok(()) } else { self.stored().await }
    }

    /// Waits until what is being stored is.
    async fn stored(&mut self) -> Result<(), Hurdle> {
        let Some(commit) = self.commit.take() else { return Ok(()) };
        commit.await?;
        let share = self.limits.cached_bytes_max / self.views.len().max(1);
        for running in &mut self.views {
            if running.settle(share) {
                self.careful = 0;
            }
        }
        Ok(())
    }

    /// What the views hold is not known for certain any more.
    async fn forget(&mut self) {
        if let Some(commit) = self.commit.take() {
            // Where the views stand afterwards is asked, whatever it says.
            drop(commit.await);
        }
        self.located = false;
        self.ahead = None;
        for running in &mut self.views {
            running.forget();
        }
    }
}

#[cfg(test)]
mod tests;
