//! The engine: folds the log into all views, one batch per step.
//!
//! Rows and checkpoints of a batch are committed in one transaction, so a view is at every moment exactly the
//! fold of the log up to its position, whatever the batch size and wherever a crash fell. Each event is
//! decoded once for all views that stand at the same place. A view that is far behind (a new one) is caught
//! up beside the others, batch by batch, and joins them when it reaches them; it never holds them back.
//!
//! The engine is a value with `step()`: it knows no task, signal or clock. Whoever runs it waits on the log
//! when a step says that it has caught up.

use std::sync::Arc;

use ports::{
    store::{self, EventStore, Position, Recorded},
    views::{self, ViewCommit, ViewStore},
};
use tokio::sync::watch;

use crate::{
    event::{Category, Entry},
    fold::{AnyView, Trouble},
    positions::{Positions, Standing},
    view::Stopped,
};

/// The engine's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most events read, folded and committed at a time. A larger batch folds a hot row fewer times, a
    /// smaller one shows its events sooner.
    pub batch_events_max: usize,
    /// The most bytes of stored rows kept decoded at hand, over all views.
    pub cached_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { batch_events_max: 2048, cached_bytes_max: 64 << 20 }
    }
}

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

/// A view with its place in the log.
struct Running {
    view: Box<dyn AnyView>,
    at: Position,
    stopped: bool,
    told: watch::Sender<Standing>,
}

/// A part of the log, read after a position.
struct Batch {
    after: Position,
    recorded: Vec<Recorded>,
}

/// What one view makes of a batch.
struct Folded {
    view: usize,
    to: Position,
    stopped: Option<Box<Stopped>>,
}

/// Folds the log into views.
pub struct Engine {
    log: Arc<dyn EventStore>,
    rows: Arc<dyn ViewStore>,
    views: Vec<Running>,
    positions: Positions,
    limits: Limits,
    /// Whether every view's `at` is what the view store has.
    located: bool,
    /// The batch that comes next, read while the last one was being committed.
    ahead: Option<Batch>,
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
        let views: Vec<Running> = views
            .into_iter()
            .map(|view| Running {
                view,
                at: Position::START,
                stopped: false,
                told: watch::Sender::new(Standing::default()),
            })
            .collect();
        let positions = Positions::new(views.iter().map(|running| (running.view.name(), running.told.subscribe())));
        Self { log, rows, views, positions, limits, located: false, ahead: None }
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
        match self.advance().await {
            Err(Error::Views(views::Error::Moved { view, expected, actual })) => {
                tracing::warn!(%view, %expected, %actual, "another writer moved the view");
                self.forget();
                Ok(Step { events: 0, caught_up: false, position: self.foremost() })
            }
            Err(error) => {
                self.forget();
                Err(error)
            }
            Ok(step) => Ok(step),
        }
    }

    async fn advance(&mut self) -> Result<Step, Error> {
        self.locate().await?;
        let mut step = Step { events: 0, caught_up: true, position: Position::START };
        let mut next = self.rearmost(None).ok_or(Error::AllStopped)?;
        loop {
            let batch = self.read(next).await?;
            step.events += batch.recorded.len();
            let full = batch.recorded.len() >= self.limits.batch_events_max;
            step.caught_up &= !full;
            let to = batch.recorded.last().map_or(next, |last| last.position);
            if to > next {
                self.fold(batch, to, full).await?;
            }
            match self.rearmost(Some(to)) {
                Some(further) => next = further,
                None => break,
            }
        }
        step.position = self.foremost();
        Ok(step)
    }

    /// Asks the view store where the views stand, unless that is known.
    async fn locate(&mut self) -> Result<(), Error> {
        if self.located {
            return Ok(());
        }
        let head = self.log.head().await?;
        for running in &mut self.views {
            running.at = self.rows.position(running.view.id()).await?;
            if running.at > head {
                return Err(Error::Ahead { view: running.view.id().to_owned(), position: running.at, head });
            }
            running.told.send_modify(|standing| standing.position = running.at);
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

    /// Folds a batch that ends at `to` into the views that stand within it, and commits them together.
    async fn fold(&mut self, batch: Batch, to: Position, full: bool) -> Result<(), Error> {
        let within = |running: &Running| !running.stopped && running.at >= batch.after && running.at < to;
        let wanted: Vec<Category> = self
            .views
            .iter()
            .filter(|running| within(running))
            .flat_map(|running| running.view.reads())
            .copied()
            .collect();
        let positions: Vec<Position> = batch.recorded.iter().map(|recorded| recorded.position).collect();
        let entries: Vec<Entry> =
            batch.recorded.into_iter().filter_map(|recorded| Entry::read(recorded, &wanted)).collect();

        let mut commits = Vec::new();
        let mut folded = Vec::new();
        for (n, running) in self.views.iter_mut().enumerate().filter(|(_, running)| within(running)) {
            let behind = entries.partition_point(|entry| entry.position <= running.at);
            let (outcome, commit) = fold_view(n, running, &entries[behind..], &positions, self.rows.as_ref()).await?;
            commits.extend(commit);
            folded.push(outcome);
        }
        self.commit(commits, to, full).await?;
        self.settle(folded);
        Ok(())
    }

    /// Commits, and meanwhile reads the batch that comes next if there surely is one.
    async fn commit(&mut self, commits: Vec<ViewCommit>, to: Position, full: bool) -> Result<(), Error> {
        let commit = async { if commits.is_empty() { Ok(()) } else { self.rows.commit(commits).await } };
        let read = async { if full { Some(self.log.read_all(to, self.limits.batch_events_max).await) } else { None } };
        let (committed, read) = tokio::join!(commit, read);
        committed?;
        // A short batch is read again: by then the log may hold more.
        let full = read.transpose()?.filter(|recorded| recorded.len() >= self.limits.batch_events_max);
        self.ahead = full.map(|recorded| Batch { after: to, recorded });
        Ok(())
    }

    /// Moves the views on, after their commit.
    fn settle(&mut self, folded: Vec<Folded>) {
        let share = self.limits.cached_bytes_max / self.views.len().max(1);
        for Folded { view, to, stopped } in folded {
            let running = &mut self.views[view];
            running.view.keep(share);
            running.at = to;
            running.stopped = stopped.is_some();
            if let Some(stopped) = &stopped {
                tracing::error!(view = running.view.id(), %stopped, "a view stopped");
            }
            running.told.send_replace(Standing { position: to, stopped: stopped.map(|stopped| Arc::new(*stopped)) });
        }
    }

    fn forget(&mut self) {
        self.located = false;
        for running in &mut self.views {
            running.view.forget();
        }
    }
}

/// Folds entries into one view, which then stands at the last of `positions`. If an entry cannot be folded,
/// those before it are, and the view stops in front of it.
async fn fold_view(
    n: usize,
    running: &mut Running,
    entries: &[Entry],
    positions: &[Position],
    rows: &dyn ViewStore,
) -> Result<(Folded, Option<ViewCommit>), Error> {
    let at = running.at;
    let last = |positions: &[Position]| positions.last().map_or(at, |last| at.max(*last));
    let mut folded = Folded { view: n, to: last(positions), stopped: None };
    let mut entries = entries;
    let changes = loop {
        match running.view.fold(entries, rows).await {
            Ok(changes) => break changes,
            Err(Trouble::Store(error)) => return Err(error.into()),
            Err(Trouble::Fault { entry, stopped }) => {
                running.view.forget();
                entries = &entries[..entry];
                let before = positions.partition_point(|position| *position < stopped.position);
                folded.to = last(&positions[..before]);
                folded.stopped = Some(stopped);
            }
        }
    };
    let view = running.view.id().to_owned();
    let commit = (folded.to > running.at).then(|| ViewCommit { view, from: running.at, to: folded.to, changes });
    Ok((folded, commit))
}

#[cfg(test)]
mod tests;
