//! Rebuilding a view beside itself: the same version of the same fold, from nothing, under another name.
//!
//! The old rows go on serving, and go on being folded by whoever does, until the new ones have come as far; then one
//! transaction of the view store puts them in the old ones' place. A view whose rows were damaged, or were folded by a
//! program with a bug that its version does not tell, is well again without a moment in which nothing can be read. (A new
//! version of a fold needs none of this: it has a name of its own, and is folded beside the old one until that is dropped.)

use std::sync::Arc;

use ports::{
    store::{EventStore, Position},
    views::{self, ViewStore},
};

use crate::{
    engine::{self, Engine, Limits},
    fold::AnyView,
    view::Stopped,
};

/// How often the view may turn out to be a step further than the new rows, when these have come to the log's end. Each time
/// its engine was faster by a few events; so often means a machine that cannot fold as fast as the shop sells.
const OVERTAKEN_MAX: u32 = 1_000;

/// Why a view was not rebuilt. The old rows go on serving.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log cannot be folded.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// The view store failed.
    #[error(transparent)]
    Views(#[from] views::Error),
    /// The view comes upon an event that it cannot fold.
    #[error(transparent)]
    Stopped(Arc<Stopped>),
    /// The view is folded faster than it can be rebuilt.
    #[error("the view is always a little further: rebuild it where nobody else has so much to do")]
    Overtaken,
}

/// How far a rebuild has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// How many events of the log were folded.
    pub events: u64,
    /// True when the new rows have taken the old ones' place; there is nothing left to do.
    pub done: bool,
    /// Where the new rows stand.
    pub position: Position,
}

/// A view on its way to new rows.
pub struct Rebuild {
    rows: Arc<dyn ViewStore>,
    view: String,
    aside: String,
    engine: Engine,
    overtaken: u32,
}

impl Rebuild {
    /// Begins anew: what an earlier rebuild has left behind goes. Nobody else may be rebuilding this view.
    ///
    /// # Errors
    /// [`views::Error`] when the view store fails.
    pub async fn begin(
        log: Arc<dyn EventStore>,
        rows: Arc<dyn ViewStore>,
        view: &dyn AnyView,
        limits: Limits,
    ) -> Result<Self, views::Error> {
        let aside = view.aside();
        let (view, name) = (view.id().to_owned(), aside.id().to_owned());
        rows.drop_view(&name).await?;
        let engine = Engine::new(log, Arc::clone(&rows), vec![aside], limits);
        Ok(Self { rows, view, aside: name, engine, overtaken: 0 })
    }

    /// Folds the next batch; once there is no more, puts the new rows in the old ones' place.
    ///
    /// # Errors
    /// An [`Error`]. After [`Error::Engine`] and [`Error::Views`] it can go on.
    pub async fn step(&mut self) -> Result<Step, Error> {
        let folded = self.engine.step().await;
        let standings = self.engine.positions().all();
        if let Some(stopped) = standings.into_iter().find_map(|(_, standing)| standing.stopped) {
            return Err(Error::Stopped(stopped));
        }
        let folded = folded?;
        let mut step = Step { events: folded.events as u64, done: false, position: folded.position };
        if folded.caught_up {
            match self.rows.replace(&self.view, &self.aside).await {
                Ok(()) => step.done = true,
                // Somebody was faster; the next step folds what they have.
                Err(views::Error::Moved { .. }) if self.overtaken < OVERTAKEN_MAX => self.overtaken += 1,
                Err(views::Error::Moved { .. }) => return Err(Error::Overtaken),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(step)
    }
}

#[cfg(test)]
mod tests;
