//! Checking a view against the log: every row and every index entry, compared with a fresh fold.
//!
//! A view equals a fresh fold of the log at its position, whatever batches and restarts made it. This is the
//! promise's auditor, so it shares nothing with the engine but the view's own fold: one event at a time,
//! rows in a plain map, no cache, no batch. The fresh rows are held in memory.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use ports::{
    store::{self, EventStore, Position},
    views::{self, Direction, Key, Range, ViewStore},
};

use crate::{
    event::{Entry, Fact},
    key::key,
    view::{Fault, Scope, Stopped, Touch, Touched, View},
};

/// How many events or rows are read at a time.
const PAGE: usize = 2048;

/// How many differences are told one by one; all are counted.
pub const DIFFERENCES_TOLD_MAX: usize = 20;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Where the view stands.
    pub position: Position,
    /// How many rows a fresh fold yields.
    pub rows: u64,
    /// How many index entries a fresh fold yields.
    pub entries: u64,
    /// How many rows and index entries differ.
    pub differing: u64,
    /// The first [`DIFFERENCES_TOLD_MAX`] of them.
    pub differences: Vec<Difference>,
}

/// A row or index entry that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The index, or `None` for a row itself.
    pub index: Option<&'static str>,
    /// The row's key.
    pub key: Key,
    /// What the view store has, if anything.
    pub stored: Option<String>,
    /// What a fresh fold has, if anything.
    pub fresh: Option<String>,
}

/// Why a view could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] store::Error),
    /// The view store cannot be read.
    #[error(transparent)]
    Views(#[from] views::Error),
    /// A fresh fold comes upon an event that it cannot fold.
    #[error(transparent)]
    Stopped(Box<Stopped>),
    /// The view was folded further meanwhile: try again, or pause the engine.
    #[error("the view moved from {from} to {to} while it was being checked")]
    Moved {
        /// Where it stood at first.
        from: Position,
        /// Where it stood at last.
        to: Position,
    },
}

/// A fold of one view in memory, one fact at a time.
pub struct Fresh<V: View> {
    /// The rows.
    pub rows: HashMap<V::Key, V::Row>,
}

impl<V: View> Default for Fresh<V> {
    fn default() -> Self {
        Self { rows: HashMap::new() }
    }
}

impl<V: View> fmt::Debug for Fresh<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fresh").field("rows", &self.rows.len()).finish()
    }
}

impl<V: View> Fresh<V> {
    /// Folds a fact into the rows that it touches.
    ///
    /// # Errors
    /// Where and why it cannot be folded.
    pub fn fold(&mut self, fact: &Fact) -> Result<(), Box<Stopped>> {
        let stop = |scope, fault| Box::new(Stopped::unfoldable(V::id(), fact, scope, fault));
        let mut touched = Touched::default();
        V::touch(fact, &mut touched).map_err(|fault| stop(Scope::Stream, fault))?;
        for Touch { key: row, change, .. } in touched.rows {
            let before = self.rows.remove(&row);
            let after = V::apply(&row, before, change, fact)
                .map_err(|fault| stop(Scope::Row { key: key(&row), shown: format!("{row:?}") }, fault))?;
            if let Some(after) = after {
                self.rows.insert(row, after);
            }
        }
        Ok(())
    }

    /// Folds the log up to a position.
    ///
    /// # Errors
    /// [`Error::Log`] or [`Error::Stopped`].
    pub async fn up_to(log: &dyn EventStore, to: Position) -> Result<Self, Error> {
        let mut fresh = Self::default();
        let mut at = Position::START;
        while at < to {
            let batch = log.read_all(at, PAGE).await?;
            let Some(last) = batch.last() else { break };
            at = last.position;
            let within = batch.into_iter().filter(|recorded| recorded.position <= to);
            for entry in within.filter_map(|recorded| Entry::read(recorded, V::READS)) {
                match &entry.fact {
                    Ok(fact) => fresh.fold(fact).map_err(Error::Stopped)?,
                    Err(event) => {
                        let stopped = Stopped::unreadable(V::id(), entry.position, event);
                        return Err(Error::Stopped(Box::new(stopped)));
                    }
                }
            }
        }
        Ok(fresh)
    }

    /// The rows as a view store should have them.
    ///
    /// # Errors
    /// A [`Fault`] when one cannot be written.
    pub fn stored(&self) -> Result<BTreeMap<Key, Vec<u8>>, Fault> {
        let write = |row| serde_json::to_vec(row).map_err(|cause| Fault::Row(cause.to_string()));
        self.rows.iter().map(|(name, row)| Ok((key(name), write(row)?))).collect()
    }

    /// The entries of an index as a view store should have them: index key, then row key.
    #[must_use]
    pub fn entries(&self, index: &str) -> BTreeSet<(Key, Key)> {
        let entries = self
            .rows
            .iter()
            .flat_map(|(name, row)| V::indexes(row).into_iter().map(move |(index, entry)| (index, (entry, key(name)))));
        entries.filter(|(found, _)| *found == index).map(|(_, entry)| entry).collect()
    }
}

/// Checks every row and index entry of a view.
///
/// # Errors
/// An [`Error`] when the check itself could not be done; what differs is in [`Verified`].
pub async fn verify<V: View>(log: &dyn EventStore, rows: &dyn ViewStore) -> Result<Verified, Error> {
    let view = V::id();
    let position = rows.position(&view).await?;
    let fresh = Fresh::<V>::up_to(log, position).await?;
    let mut verified = Verified { position, ..Verified::default() };

    let expected = fresh.stored().map_err(|fault| views::Error::Failed(fault.to_string()))?;
    verified.rows = expected.len() as u64;
    let mut found = BTreeMap::new();
    walk(rows, &view, None, |entry| {
        found.insert(entry.key, entry.row.to_vec());
    })
    .await?;
    verified.compare(None, &found, &expected);

    for index in V::INDEXES {
        let expected = fresh.entries(index);
        verified.entries += expected.len() as u64;
        // What a walk shows is which row comes where; the keys themselves are the store's affair.
        let mut found = BTreeMap::new();
        walk(rows, &view, Some(index), |entry| {
            let place = found.len().to_be_bytes().to_vec();
            found.insert(place, entry.key);
        })
        .await?;
        let places = expected.into_iter().enumerate();
        let expected = places.map(|(place, (_, row))| (place.to_be_bytes().to_vec(), row)).collect();
        verified.compare(Some(index), &found, &expected);
    }

    match rows.position(&view).await? {
        now if now == position => Ok(verified),
        now => Err(Error::Moved { from: position, to: now }),
    }
}

/// Shows every entry of an index, or every row, in order.
async fn walk(
    rows: &dyn ViewStore,
    view: &str,
    index: Option<&'static str>,
    mut see: impl FnMut(views::Entry) + Send,
) -> Result<(), views::Error> {
    let mut after = Key::new();
    loop {
        let range = Range {
            view: view.to_owned(),
            index,
            from: Key::new(),
            to: Key::new(),
            after,
            direction: Direction::Forward,
            limit: PAGE,
        };
        let page = rows.range(range).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.at.clone();
        page.into_iter().for_each(&mut see);
    }
}

impl Verified {
    /// True when nothing differs.
    #[must_use]
    pub const fn sound(&self) -> bool {
        self.differing == 0
    }

    fn compare(
        &mut self,
        index: Option<&'static str>,
        found: &BTreeMap<Key, Vec<u8>>,
        expected: &BTreeMap<Key, Vec<u8>>,
    ) {
        let text = |value: Option<&Vec<u8>>| value.map(|value| String::from_utf8_lossy(value).into_owned());
        let keys: BTreeSet<&Key> = found.keys().chain(expected.keys()).collect();
        for key in keys {
            let (stored, fresh) = (found.get(key), expected.get(key));
            if stored == fresh {
                continue;
            }
            self.differing += 1;
            if self.differences.len() < DIFFERENCES_TOLD_MAX {
                self.differences.push(Difference { index, key: key.clone(), stored: text(stored), fresh: text(fresh) });
            }
        }
    }
}
