//! One view of an engine: what it has folded, what of that is on its way to the view store, and what is there.

use std::sync::Arc;

use ports::{
    store::Position,
    views::{RowChange, ViewCommit, ViewStore},
};
use tokio::sync::watch;

use super::Error;
use crate::{
    event::Entry,
    fold::{AnyView, Trouble},
    positions::Standing,
    view::Stopped,
};

/// A view with its place in the log.
pub(super) struct Running {
    pub(super) view: Box<dyn AnyView>,
    /// Up to here the log is folded into its rows.
    pub(super) at: Position,
    /// Up to here they are on their way to the view store.
    sent: Position,
    /// Up to here they are stored.
    pub(super) stored: Position,
    /// What it has come upon since then and cannot fold.
    fault: Option<Box<Stopped>>,
    /// What the last batch came to, where each is committed by itself.
    changes: Option<Vec<RowChange>>,
    pub(super) stopped: bool,
    pub(super) told: watch::Sender<Standing>,
}

/// Why a view could not be folded on.
pub(super) enum Hurdle {
    /// As for everybody.
    Error(Error),
    /// There is an event that it cannot fold, behind others that are not stored yet.
    Behind,
}

impl<E: Into<Error>> From<E> for Hurdle {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl From<Trouble> for Hurdle {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Store(error) => Self::Error(error.into()),
            Trouble::Fault { .. } | Trouble::Row => Self::Behind,
        }
    }
}

impl Running {
    /// A view of which nothing is known yet.
    pub(super) fn new(view: Box<dyn AnyView>) -> Self {
        let (at, told) = (Position::START, watch::Sender::new(Standing::default()));
        Self { view, at, sent: at, stored: at, fault: None, changes: None, stopped: false, told }
    }

    /// The view store has it there.
    pub(super) fn place(&mut self, position: Position) {
        (self.at, self.sent, self.stored) = (position, position, position);
        self.told.send_modify(|standing| standing.position = position);
    }

    /// Whether it folds something of a part of the log.
    pub(super) fn is_within(&self, after: Position, to: Position) -> bool {
        !self.stopped && self.fault.is_none() && self.at >= after && self.at < to
    }

    /// Folds entries; then it stands at the last of `positions`. If an entry cannot be folded, those before it are, and the
    /// view stops in front of it. `alone`: what they come to is committed by itself.
    pub(super) async fn fold(
        &mut self,
        entries: &[Entry],
        positions: &[Position],
        rows: &dyn ViewStore,
        alone: bool,
    ) -> Result<(), Hurdle> {
        let (mut entries, mut positions) = (entries, positions);
        loop {
            let folded = match self.view.fold(entries, rows).await {
                Ok(()) if alone => self.view.changes(entries).map(|changes| self.changes = Some(changes)),
                folded => folded,
            };
            match folded {
                Ok(()) => break,
                Err(Trouble::Fault { entry, stopped }) if self.at == self.stored => {
                    self.view.forget();
                    entries = &entries[..entry];
                    positions = &positions[..positions.partition_point(|position| *position < stopped.position)];
                    self.fault = Some(stopped);
                }
                Err(trouble) => return Err(trouble.into()),
            }
        }
        self.at = positions.last().map_or(self.at, |last| self.at.max(*last));
        Ok(())
    }

    /// What it has folded since what is stored.
    pub(super) fn send(&mut self) -> Result<ViewCommit, Hurdle> {
        let changes = self.changes.take().map_or_else(|| self.view.changes(&[]), Ok)?;
        self.sent = self.at;
        Ok(ViewCommit { view: self.view.id().to_owned(), from: self.stored, to: self.at, changes })
    }

    /// What was sent is stored: rows of so many bytes stay at hand. True when the view has stopped now.
    pub(super) fn settle(&mut self, bytes_max: usize) -> bool {
        let fault = self.fault.take_if(|_| self.at == self.sent);
        if self.sent == self.stored && fault.is_none() {
            return false;
        }
        self.view.keep(bytes_max);
        self.stored = self.sent;
        if let Some(stopped) = &fault {
            tracing::error!(view = self.view.id(), %stopped, "a view stopped");
            self.stopped = true;
        }
        let stops = fault.is_some();
        let stopped = fault.map(|stopped| Arc::new(*stopped));
        self.told.send_replace(Standing { position: self.stored, stopped });
        stops
    }

    /// What it holds is not known for certain any more.
    pub(super) fn forget(&mut self) {
        (self.fault, self.changes) = (None, None);
        self.view.forget();
    }
}
