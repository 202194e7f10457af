//! A view: a pure fold from facts to rows, and nothing else.
//!
//! A view says which rows a fact touches and what becomes of each. It never reads another row, a clock
//! or a port: whatever a row shows stood in the facts. That is what lets the engine fold any batch in
//! one go, fold it again after a crash, and check a stored view against a fresh fold of the log.
//! There is no sum without a row: what people count is kept as a row, not counted when they ask.

use std::{fmt, hash::Hash};

use domain::{ids::IdError, money::MoneyError};
use ports::{store::Position, views::Key};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    event::{Category, Fact, Unreadable},
    key::Part,
};

/// A read model: one row type under one key type, folded from the log.
pub trait View: Send + Sync + 'static {
    /// The view's name; queries and positions use it.
    const NAME: &'static str;
    /// The version of the fold. Rows are kept under `name.version`, so whoever changes what the fold
    /// yields raises it and gets a new view beside the old one, never a mixture.
    const VERSION: u32;
    /// The categories whose events the view folds; it never sees another.
    const READS: &'static [Category];
    /// Every index that [`Self::indexes`] may name.
    const INDEXES: &'static [&'static str];

    /// What names a row.
    type Key: Part + Clone + Eq + Hash + fmt::Debug + Send + Sync;
    /// What a row holds. Its JSON is the stored form and must depend on the value only, so maps are
    /// ordered ones.
    type Row: Serialize + DeserializeOwned + Send + Sync;
    /// What a fact means to one row.
    type Change<'a>: Send + Sync;

    /// Names the rows that a fact touches, with what it means to each. A row may be named repeatedly.
    ///
    /// # Errors
    /// A [`Fault`] when the fact cannot be understood.
    fn touch<'a>(fact: &'a Fact, touched: &mut Touched<'a, Self>) -> Result<(), Fault>
    where
        Self: Sized;

    /// Folds one change into a row; `None` is a row that is not there.
    ///
    /// # Errors
    /// A [`Fault`] when the change cannot be folded, for example because the row is missing.
    fn apply(
        key: &Self::Key,
        row: Option<Self::Row>,
        change: Self::Change<'_>,
        fact: &Fact,
    ) -> Result<Option<Self::Row>, Fault>;

    /// The index entries that lead to a row. Several rows may share an index key.
    fn indexes(row: &Self::Row) -> Vec<(&'static str, Key)>;

    /// The name under which the view's rows are stored.
    #[must_use]
    fn id() -> String
    where
        Self: Sized,
    {
        format!("{}.{}", Self::NAME, Self::VERSION)
    }
}

/// The rows that a fact touches.
pub struct Touched<'a, V: View> {
    pub(crate) rows: Vec<Touch<'a, V>>,
}

/// One row that a fact touches.
pub(crate) struct Touch<'a, V: View> {
    pub key: V::Key,
    pub change: V::Change<'a>,
    /// No earlier fact can have touched the row.
    pub fresh: bool,
}

impl<V: View> Default for Touched<'_, V> {
    fn default() -> Self {
        Self { rows: Vec::new() }
    }
}

impl<'a, V: View> Touched<'a, V> {
    /// The fact changes this row.
    pub fn row(&mut self, key: V::Key, change: V::Change<'a>) {
        self.rows.push(Touch { key, change, fresh: false });
    }

    /// The fact changes the one row that belongs to its stream alone. As no earlier fact can have touched
    /// that row, the first event of a stream spares the view store a question.
    pub fn own(&mut self, key: V::Key, change: V::Change<'a>, fact: &Fact) {
        self.rows.push(Touch { key, change, fresh: fact.revision == 0 });
    }
}

/// Why a fact could not be folded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The event cannot be read.
    #[error("the event cannot be read: {0}")]
    Unreadable(String),
    /// The event changes something that never began.
    #[error("there is no {what} that it could change")]
    Missing {
        /// The row that is missing.
        what: String,
    },
    /// The stream's name does not hold an id of its category.
    #[error("the stream is not named by its id: {0}")]
    Name(#[from] IdError),
    /// An amount cannot be computed.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// A count does not fit.
    #[error("{what} does not fit its type")]
    Count {
        /// What was counted.
        what: &'static str,
    },
    /// The stored row cannot be read, or the new one cannot be written.
    #[error("the row cannot be read or written: {0}")]
    Row(String),
}

impl Fault {
    /// The row that an event would change is not there.
    pub fn missing(what: &'static str, key: &(impl fmt::Display + ?Sized)) -> Self {
        Self::Missing { what: format!("{what} {key}") }
    }
}

/// What would have to be set aside so that a stopped view could go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One row: every later change to it depends on the one that failed.
    Row {
        /// Its key in the view store.
        key: Key,
        /// The same, readable.
        shown: String,
    },
    /// A whole stream: the event says too little to know which rows it touches.
    Stream,
}

/// A view that came upon a fact it cannot fold and stands in front of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("view {view} stopped at position {position} ({kind} in {stream}): {fault}")]
pub struct Stopped {
    /// The view's name and version.
    pub view: String,
    /// The event's place in the log.
    pub position: Position,
    /// The event's stream.
    pub stream: String,
    /// The event's stored type.
    pub kind: String,
    /// What the fault concerns.
    pub scope: Scope,
    /// What is wrong.
    pub fault: Fault,
}

impl Stopped {
    /// A view that stands in front of an event that cannot be read.
    #[must_use]
    pub fn unreadable(view: String, position: Position, event: &Unreadable) -> Self {
        Self {
            view,
            position,
            stream: event.stream.clone(),
            kind: event.kind.clone(),
            scope: Scope::Stream,
            fault: Fault::Unreadable(event.cause.clone()),
        }
    }

    /// A view that stands in front of a fact that it cannot fold.
    #[must_use]
    pub fn unfoldable(view: String, fact: &Fact, scope: Scope, fault: Fault) -> Self {
        Self {
            view,
            position: fact.position,
            stream: fact.stream.clone(),
            kind: fact.event.kind().to_owned(),
            scope,
            fault,
        }
    }
}
