//! Typed reading of a view: rows by key, and pages of an index.
//!
//! This is all that a service needs of a view; what an index means is said by the query functions in the
//! view's own file.

use std::{marker::PhantomData, sync::Arc};

use ports::views::{self, Direction, Key, Range, ViewStore};

use crate::{
    key::{Part, after_prefix, key},
    view::View,
};

/// Why rows could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The view store failed.
    #[error(transparent)]
    Store(#[from] views::Error),
    /// A stored row is not what the view's version promises.
    #[error("a row of {view} does not decode: {cause}")]
    Row {
        /// The view's name and version.
        view: String,
        /// What the JSON reader said.
        cause: serde_json::Error,
    },
}

/// Which rows of `V`, in which order.
pub struct Query<V> {
    index: Option<&'static str>,
    from: Key,
    to: Key,
    direction: Direction,
    view: PhantomData<fn() -> V>,
}

impl<V> Clone for Query<V> {
    fn clone(&self) -> Self {
        Self {
            index: self.index,
            from: self.from.clone(),
            to: self.to.clone(),
            direction: self.direction,
            view: PhantomData,
        }
    }
}

impl<V: View> Query<V> {
    /// All rows, by their own key.
    #[must_use]
    pub const fn rows() -> Self {
        Self { index: None, from: Key::new(), to: Key::new(), direction: Direction::Forward, view: PhantomData }
    }

    /// All rows that have an entry in `index`, by their index keys.
    #[must_use]
    pub const fn index(index: &'static str) -> Self {
        Self { index: Some(index), from: Key::new(), to: Key::new(), direction: Direction::Forward, view: PhantomData }
    }

    /// Only keys that begin with these parts.
    #[must_use]
    pub fn under(mut self, parts: &(impl Part + ?Sized)) -> Self {
        self.from = key(parts);
        self.to = after_prefix(&self.from);
        self
    }

    /// Only keys from `from` (inclusive) up to `to` and whatever begins with it (inclusive).
    #[must_use]
    pub fn between(mut self, from: &(impl Part + ?Sized), to: &(impl Part + ?Sized)) -> Self {
        self.from = key(from);
        self.to = after_prefix(&key(to));
        self
    }

    /// From the end to the beginning.
    #[must_use]
    pub const fn backward(mut self) -> Self {
        self.direction = Direction::Backward;
        self
    }
}

/// Some rows of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<Row> {
    /// The rows, in the query's order.
    pub rows: Vec<Row>,
    /// Where the next page begins; `None` when there is nothing more. Opaque; it belongs to this query only.
    pub next: Option<Key>,
}

/// Reads rows of `V`.
pub struct Reader<V> {
    rows: Arc<dyn ViewStore>,
    id: Arc<str>,
    view: PhantomData<fn() -> V>,
}

impl<V> Clone for Reader<V> {
    fn clone(&self) -> Self {
        Self { rows: Arc::clone(&self.rows), id: Arc::clone(&self.id), view: PhantomData }
    }
}

impl<V: View> Reader<V> {
    /// A reader of the version of `V` that this code knows.
    #[must_use]
    pub fn new(rows: Arc<dyn ViewStore>) -> Self {
        Self { rows, id: V::id().into(), view: PhantomData }
    }

    /// The row under a key.
    ///
    /// # Errors
    /// An [`Error`] when it cannot be read.
    pub async fn get(&self, row: &V::Key) -> Result<Option<V::Row>, Error> {
        let rows = self.rows.get_many(&self.id, &[key(row)]).await?;
        rows.into_iter().flatten().next().map(|row| self.decode(&row)).transpose()
    }

    /// The rows under these keys, in the order asked, `None` where there is no row.
    ///
    /// # Errors
    /// An [`Error`] when one cannot be read.
    pub async fn get_many(&self, rows: &[V::Key]) -> Result<Vec<Option<V::Row>>, Error> {
        let keys: Vec<Key> = rows.iter().map(key).collect();
        let rows = self.rows.get_many(&self.id, &keys).await?;
        rows.into_iter().map(|row| row.map(|row| self.decode(&row)).transpose()).collect()
    }

    /// At most `limit` rows of a query, from its beginning or from where the page before ended.
    ///
    /// # Errors
    /// An [`Error`] when they cannot be read.
    pub async fn page(&self, query: &Query<V>, after: Option<&Key>, limit: usize) -> Result<Page<V::Row>, Error> {
        if !query.to.is_empty() && query.from >= query.to {
            return Ok(Page { rows: Vec::new(), next: None });
        }
        let range = Range {
            view: self.id.to_string(),
            index: query.index,
            from: query.from.clone(),
            to: query.to.clone(),
            after: after.cloned().unwrap_or_default(),
            direction: query.direction,
            // One more than asked for tells whether another page follows.
            limit: limit.saturating_add(1),
        };
        let mut entries = self.rows.range(range).await?;
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().filter(|_| more).map(|last| last.at.clone());
        let rows = entries.iter().map(|entry| self.decode(&entry.row)).collect::<Result<_, _>>()?;
        Ok(Page { rows, next })
    }

    fn decode(&self, row: &[u8]) -> Result<V::Row, Error> {
        serde_json::from_slice(row).map_err(|cause| Error::Row { view: self.id.to_string(), cause })
    }
}

#[cfg(test)]
mod tests;
