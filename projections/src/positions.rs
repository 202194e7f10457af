//! Where each view stands, for everybody who must read what they wrote.
//!
//! A command answers with a position of the log; a query that names it waits until its view has folded
//! that far. The handle is cheap to clone and never blocks the engine. It sets no deadline: the caller's
//! request has one.
//!
//! Where the engine runs in this process, it tells. Where another process folds, a [`Follower`] asks the view store.

use std::{collections::BTreeMap, sync::Arc};

use ports::{
    store::Position,
    views::{self, ViewStore},
};
use tokio::sync::watch;

use crate::{fold::AnyView, view::Stopped};

/// What is known about a view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Every event up to here is in its rows.
    pub position: Position,
    /// Why it goes no further, if it does not.
    pub stopped: Option<Arc<Stopped>>,
}

/// Why a view will not reach a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreached {
    /// No view of the engine has this name.
    #[error("there is no view {0}")]
    Unknown(String),
    /// The view came upon an event that it cannot fold.
    #[error(transparent)]
    Stopped(Arc<Stopped>),
    /// The engine is gone.
    #[error("the views are not being folded any more")]
    Ended,
}

/// A handle on the positions of all views of an engine.
#[derive(Debug, Clone)]
pub struct Positions {
    views: Arc<BTreeMap<&'static str, watch::Receiver<Standing>>>,
}

impl Positions {
    pub(crate) fn new(views: impl IntoIterator<Item = (&'static str, watch::Receiver<Standing>)>) -> Self {
        Self { views: Arc::new(views.into_iter().collect()) }
    }

    /// Waits until `view` (its name) has folded every event up to `position`, or never can. It does not end by
    /// itself otherwise: bound it with the request's deadline.
    ///
    /// # Errors
    /// [`Unreached`].
    pub async fn reached(&self, view: &str, position: Position) -> Result<(), Unreached> {
        let receiver = self.views.get(view).ok_or_else(|| Unreached::Unknown(view.to_owned()))?;
        let mut receiver = receiver.clone();
        let standing = receiver
            .wait_for(|standing| standing.position >= position || standing.stopped.is_some())
            .await
            .map_err(|_| Unreached::Ended)?;
        match &standing.stopped {
            Some(stopped) if standing.position < position => Err(Unreached::Stopped(Arc::clone(stopped))),
            _ => Ok(()),
        }
    }

    /// Where each view stands now, by name.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, Standing)> {
        self.views.iter().map(|(name, receiver)| (*name, receiver.borrow().clone())).collect()
    }

    /// Where one view stands now; `None` for a view that the engine does not have.
    #[must_use]
    pub fn of(&self, view: &str) -> Option<Standing> {
        self.views.get(view).map(|receiver| receiver.borrow().clone())
    }
}

/// Learns from the view store where the views stand that another process folds. Somebody must [`Follower::step`] it.
pub struct Follower {
    rows: Arc<dyn ViewStore>,
    views: Vec<(String, watch::Sender<Standing>)>,
    positions: Positions,
}

impl Follower {
    /// A follower of these views.
    #[must_use]
    pub fn new(rows: Arc<dyn ViewStore>, views: &[Box<dyn AnyView>]) -> Self {
        let told: Vec<_> =
            views.iter().map(|view| (view.id().to_owned(), watch::Sender::new(Standing::default()))).collect();
        let named = views.iter().zip(&told).map(|(view, (_, told))| (view.name(), told.subscribe()));
        Self { rows, positions: Positions::new(named), views: told }
    }

    /// Where the views stand, for queries that wait.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.positions.clone()
    }

    /// Asks once where each view stands. (Why one goes no further is known only to the process that folds it; who waits
    /// for it here waits until the deadline.)
    ///
    /// # Errors
    /// [`views::Error`] when the view store cannot be read; who waits goes on waiting.
    pub async fn step(&mut self) -> Result<(), views::Error> {
        for (id, told) in &self.views {
            let position = self.rows.position(id).await?;
            told.send_if_modified(|standing| std::mem::replace(&mut standing.position, position) != position);
        }
        Ok(())
    }
}
