//! The view store in memory: two ordered maps per view.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Bound,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;

use super::lock;
use crate::{
    store::Position,
    views::{Direction, Editions, Entry, Error, Key, Range, RowChange, ViewCommit, ViewStore},
};

/// A view store in memory. A clone is the same store.
#[derive(Clone, Default)]
pub struct MemoryViews {
    views: Arc<Mutex<BTreeMap<String, View>>>,
    editions: Arc<Editions>,
}

#[derive(Clone, Default)]
struct View {
    edition: i64,
    position: Position,
    rows: BTreeMap<Key, Bytes>,
    indexes: BTreeMap<&'static str, BTreeSet<Place>>,
}

/// A place in a walk: the index key, then the row's key. The rows themselves are walked as an index whose
/// every key is empty.
type Place = (Key, Key);

impl MemoryViews {
    /// A store without views.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of the store that goes its own way.
    #[must_use]
    pub fn fork(&self) -> Self {
        let views = Arc::new(Mutex::new(lock(&self.views).clone()));
        Self { views, editions: Arc::default() }
    }
}

impl fmt::Debug for MemoryViews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let views = lock(&self.views);
        f.debug_map().entries(views.iter().map(|(name, view)| (name, view.position))).finish()
    }
}

impl View {
    fn change(&mut self, change: RowChange) {
        for (index, key) in change.unindex {
            if let Some(entries) = self.indexes.get_mut(index) {
                entries.remove(&(key, change.key.clone()));
            }
        }
        for (index, key) in change.index {
            self.indexes.entry(index).or_default().insert((key, change.key.clone()));
        }
        match change.row {
            Some(row) => self.rows.insert(change.key, row),
            None => self.rows.remove(&change.key),
        };
    }

    fn rows(&self, range: &Range, after: Option<&Place>) -> Vec<Entry> {
        let lower = lower(&range.from, after.map(|(_, key)| key), range.direction);
        let upper = upper(&range.to, after.map(|(_, key)| key), range.direction);
        if is_empty(&lower, &upper) {
            return Vec::new();
        }
        let walk = self.rows.range((lower, upper));
        let entry = |(key, row): (&Key, &Bytes)| Entry { at: at(&[], key), key: key.clone(), row: row.clone() };
        match range.direction {
            Direction::Forward => walk.take(range.limit).map(entry).collect(),
            Direction::Backward => walk.rev().take(range.limit).map(entry).collect(),
        }
    }

    fn index(&self, index: &str, range: &Range, after: Option<&Place>) -> Vec<Entry> {
        let from = (range.from.clone(), Key::new());
        let to = if range.to.is_empty() { Place::default() } else { (range.to.clone(), Key::new()) };
        let lower = lower(&from, after, range.direction);
        let upper = upper(&to, after, range.direction);
        let Some(entries) = self.indexes.get(index).filter(|_| !is_empty(&lower, &upper)) else {
            return Vec::new();
        };
        let walk = entries.range((lower, upper));
        let entry = |(index_key, key): &Place| {
            let row = self.rows.get(key)?.clone();
            Some(Entry { at: at(index_key, key), key: key.clone(), row })
        };
        match range.direction {
            Direction::Forward => walk.filter_map(entry).take(range.limit).collect(),
            Direction::Backward => walk.rev().filter_map(entry).take(range.limit).collect(),
        }
    }
}

/// Where a walk begins in ascending order: at `from`, or behind `after` when it goes forward.
fn lower<K: Ord + Clone>(from: &K, after: Option<&K>, direction: Direction) -> Bound<K> {
    match after {
        Some(after) if direction == Direction::Forward && after >= from => Bound::Excluded(after.clone()),
        _ => Bound::Included(from.clone()),
    }
}

/// Where a walk ends in ascending order: before `to` (the smallest value means no end), or before `after` when
/// it goes backward.
fn upper<K: Ord + Clone + Default>(to: &K, after: Option<&K>, direction: Direction) -> Bound<K> {
    let endless = *to == K::default();
    match after {
        Some(after) if direction == Direction::Backward && (endless || after < to) => Bound::Excluded(after.clone()),
        _ if endless => Bound::Unbounded,
        _ => Bound::Excluded(to.clone()),
    }
}

/// A map panics when asked for a range that ends before it begins.
fn is_empty<K: Ord>(lower: &Bound<K>, upper: &Bound<K>) -> bool {
    match (lower, upper) {
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to)) => from >= to,
        _ => false,
    }
}

/// [`Entry::at`]: the length of the index key, the index key, the row's key. Never empty, since an empty
/// [`Range::after`] means the beginning.
fn at(index_key: &[u8], key: &[u8]) -> Key {
    let length = u32::try_from(index_key.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), index_key, key].concat()
}

/// Reads what [`at`] wrote; it may come from outside, inside a page token.
fn place(at: &[u8]) -> Result<Option<Place>, Error> {
    if at.is_empty() {
        return Ok(None);
    }
    let read = || {
        let (length, rest) = at.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        rest.split_at_checked(length)
    };
    let (index_key, key) = read().ok_or_else(|| Error::Failed("not a place in an index".to_owned()))?;
    Ok(Some((index_key.to_vec(), key.to_vec())))
}

#[async_trait]
impl ViewStore for MemoryViews {
    async fn position(&self, view: &str) -> Result<Position, Error> {
        Ok(lock(&self.views).get(view).map(|view| view.position).unwrap_or_default())
    }

    async fn commit(&self, commits: Vec<ViewCommit>) -> Result<(), Error> {
        let mut views = lock(&self.views);
        let mut moved: BTreeMap<&str, Position> = BTreeMap::new();
        for commit in &commits {
            let stored = views.get(&commit.view).map(|view| view.position).unwrap_or_default();
            let replaced =
                views.get(&commit.view).is_some_and(|view| self.editions.is_replaced(&commit.view, view.edition));
            let actual = moved.insert(&commit.view, commit.to).unwrap_or(stored);
            if replaced || actual != commit.from {
                return Err(Error::Moved { view: commit.view.clone(), expected: commit.from, actual });
            }
        }
        for commit in commits {
            let view = views.entry(commit.view.clone()).or_default();
            self.editions.committed(&commit.view, view.edition);
            view.position = commit.to;
            commit.changes.into_iter().for_each(|change| view.change(change));
        }
        Ok(())
    }

    async fn get_many(&self, view: &str, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        let views = lock(&self.views);
        let rows = views.get(view).map(|view| &view.rows);
        Ok(keys.iter().map(|key| rows.and_then(|rows| rows.get(key)).cloned()).collect())
    }

    async fn range(&self, range: Range) -> Result<Vec<Entry>, Error> {
        let after = place(&range.after)?;
        let views = lock(&self.views);
        Ok(match (views.get(&range.view), range.index) {
            (None, _) => Vec::new(),
            (Some(view), None) => view.rows(&range, after.as_ref()),
            (Some(view), Some(index)) => view.index(index, &range, after.as_ref()),
        })
    }

    async fn replace(&self, view: &str, with: &str) -> Result<(), Error> {
        let mut views = lock(&self.views);
        let old = views.get(view).map(|old| (old.position, old.edition)).unwrap_or_default();
        let new = views.remove(with).unwrap_or_default();
        if new.position < old.0 {
            let (expected, actual) = (new.position, old.0);
            views.insert(with.to_owned(), new);
            return Err(Error::Moved { view: view.to_owned(), expected, actual });
        }
        views.insert(view.to_owned(), View { edition: old.1 + 1, ..new });
        Ok(())
    }

    async fn drop_view(&self, view: &str) -> Result<(), Error> {
        lock(&self.views).remove(view);
        Ok(())
    }
}
