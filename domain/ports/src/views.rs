//! The view store port: rows under ordered keys, their index entries and the view's checkpoint.
//!
//! A row is bytes under an order-preserving key; an index entry is a second key that leads to the row. What a
//! row means is the view's business, how it is kept is the adapter's: no SQL leaves a vendor crate.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::store::Position;

/// An order-preserving key: bytes that compare as the values they encode.
pub type Key = Vec<u8>;

/// What becomes of one row in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// The row's key.
    pub key: Key,
    /// The new row (JSON), or `None` to remove it.
    pub row: Option<Bytes>,
    /// The view has no row under this key, as far as its writer knows. A hint that spares a store to look: if it is wrong, the
    /// row is replaced all the same.
    pub new: bool,
    /// Index entries to remove: (index name, index key). They were made by the row's former value.
    pub unindex: Vec<(&'static str, Key)>,
    /// Index entries to add.
    pub index: Vec<(&'static str, Key)>,
}

/// Rows and checkpoint of one view, committed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewCommit {
    /// The view's name and fold version, e.g. `orders.3`: another version is another view.
    pub view: String,
    /// Where the view must stand; another writer has moved it otherwise.
    pub from: Position,
    /// Where the view stands afterwards.
    pub to: Position,
    /// Every row that changed, each key at most once.
    pub changes: Vec<RowChange>,
}

/// The direction of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Ascending by key.
    Forward,
    /// Descending by key.
    Backward,
}

/// A part of an index (or of the rows themselves), for paging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The view's name and fold version.
    pub view: String,
    /// The index to walk, or `None` to walk the rows by their own key.
    pub index: Option<&'static str>,
    /// The first key, inclusive.
    pub from: Key,
    /// The end, exclusive; empty means no end.
    pub to: Key,
    /// Where to go on, exclusive: the [`Entry::at`] of the last entry seen; empty means from the beginning.
    pub after: Key,
    /// Which way.
    pub direction: Direction,
    /// At most so many entries.
    pub limit: usize,
}

/// One entry of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the walk: pass it as [`Range::after`] to go on behind it. Unique within the index, even
    /// where several rows share an index key.
    pub at: Key,
    /// The row's own key.
    pub key: Key,
    /// The row (JSON).
    pub row: Bytes,
}

/// Why a view store could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The view does not stand where the commit began, or is not the one that stood there: another writer moved or replaced
    /// it. Nothing was written.
    #[error("view {view} stands at {actual}, not at {expected}")]
    Moved {
        /// The view.
        view: String,
        /// Where the commit expected it.
        expected: Position,
        /// Where it stands.
        actual: Position,
    },
    /// The store cannot be reached, or has too much to do, at the moment. Nothing was written, or it was written whole: read
    /// the position again.
    #[error("the view store is not available: {0}")]
    Unavailable(String),
    /// Anything else. Nothing was written, or it was written whole: read the position again.
    #[error("the view store failed: {0}")]
    Failed(String),
}

/// Rows, index entries and checkpoints of all views.
#[async_trait]
pub trait ViewStore: Send + Sync + 'static {
    /// Where a view stands: every event up to there is folded into its rows, none after. A view that was
    /// never committed stands at [`Position::START`].
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Failed`].
    async fn position(&self, view: &str) -> Result<Position, Error>;

    /// Writes the commits in one transaction: rows, index entries and checkpoints together, or nothing. After a
    /// crash inside, all or nothing is there. It need not be durable at once (the log can fold it again), but
    /// never torn, and never a checkpoint without its rows.
    ///
    /// # Errors
    /// [`Error::Moved`] when a view does not stand at its `from`; [`Error::Unavailable`], [`Error::Failed`].
    async fn commit(&self, commits: Vec<ViewCommit>) -> Result<(), Error>;

    /// The rows under these keys, in the order asked.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Failed`].
    async fn get_many(&self, view: &str, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error>;

    /// A part of an index or of the rows.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Failed`].
    async fn range(&self, range: Range) -> Result<Vec<Entry>, Error>;

    /// Puts the view `with` in the place of `view`: rows, index entries and checkpoint in one transaction. A reader sees the
    /// old view whole or the new one whole; afterwards there is no view `with`, and what the old one held goes. Whoever
    /// has committed to the old one through another call is told [`Error::Moved`] once, even where both stand at the same
    /// position: what it remembers of the rows is of no more use. A crash inside leaves both, or the new one alone.
    ///
    /// # Errors
    /// [`Error::Moved`] when `with` does not stand at least where `view` stands: fold it further. [`Error::Unavailable`],
    /// [`Error::Failed`].
    async fn replace(&self, view: &str, with: &str) -> Result<(), Error>;

    /// Removes everything a view holds, its checkpoint included.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Failed`].
    async fn drop_view(&self, view: &str) -> Result<(), Error>;
}

/// Which edition of each view a handle has committed to, for adapters: each number stands for the rows that a view had between
/// two replacements.
#[derive(Debug, Default)]
pub struct Editions(Mutex<HashMap<String, i64>>);

impl Editions {
    /// These are known already.
    #[must_use]
    pub fn of(views: impl IntoIterator<Item = (String, i64)>) -> Self {
        Self(Mutex::new(views.into_iter().collect()))
    }

    /// Whether the view was replaced behind the handle's back. It is told so once.
    pub fn is_replaced(&self, view: &str, edition: i64) -> bool {
        let mut known = self.known();
        let replaced = known.get(view).is_some_and(|known| *known != edition);
        if replaced {
            known.remove(view);
        }
        replaced
    }

    /// The handle has committed to this edition.
    pub fn committed(&self, view: &str, edition: i64) {
        let mut known = self.known();
        match known.get_mut(view) {
            Some(known) => *known = edition,
            None => drop(known.insert(view.to_owned(), edition)),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
