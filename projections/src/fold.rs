//! Folding batches into the rows of one view: plan, load, apply; then write down what changed.
//!
//! The facts of a batch are applied in log order to rows held in memory, so a row that many of them touch is
//! loaded once, folded through all of them, also of several batches, and written once. Rows that were folded lately stay in a bounded
//! cache, decoded; that is sound because the engine is the only writer of its views and empties the
//! cache whenever it cannot be sure what the store holds.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use lru::LruCache;
use ports::{
    store::EventStore,
    views::{self, Key, RowChange, ViewStore},
};

use crate::{
    event::{Category, Entry, Fact},
    key::key,
    verify::{self, Verified},
    view::{Fault, Scope, Stopped, Touch, Touched, View},
};

/// What a cached row costs beside its bytes, roughly: its key, its index entries and the map's own.
const ROW_OVERHEAD_BYTES: usize = 256;
/// What the name of a view that is folded beside another ends in.
const ASIDE: &str = ".rebuilt";

/// A view of any row type, as the engine handles it.
#[async_trait]
pub trait AnyView: Send {
    /// The view's name.
    fn name(&self) -> &'static str;

    /// The view's name and version: where its rows are stored.
    fn id(&self) -> &str;

    /// The same view under another name, so that it is folded from nothing beside this one.
    fn aside(&self) -> Box<dyn AnyView>;

    /// The categories it folds.
    fn reads(&self) -> &'static [Category];

    /// Folds entries of the log, in order. The rows are held until [`AnyView::keep`] says that they were stored; meanwhile
    /// more can be folded.
    ///
    /// # Errors
    /// [`Trouble`]; nothing may be stored then, and [`AnyView::forget`] must follow.
    async fn fold(&mut self, entries: &[Entry], store: &dyn ViewStore) -> Result<(), Trouble>;

    /// What became of the rows since this was asked last: to be stored, or forgotten. `entries` are all that was folded, to say which
    /// of them a row cannot be written down for; without them the answer is [`Trouble::Row`].
    ///
    /// # Errors
    /// [`Trouble`], as of [`AnyView::fold`].
    fn changes(&mut self, entries: &[Entry]) -> Result<Vec<RowChange>, Trouble>;

    /// What was changed, as it was asked last, is stored: keep rows at hand, up to `bytes_max` of stored bytes in all.
    fn keep(&mut self, bytes_max: usize);

    /// Forget every row at hand: what the store holds is not known for certain.
    fn forget(&mut self);

    /// Compares what is stored with a fresh fold of the log; see [`verify::verify`].
    ///
    /// # Errors
    /// When the check itself could not be done.
    async fn verify(&self, log: &dyn EventStore, store: &dyn ViewStore) -> Result<Verified, verify::Error>;
}

/// Why a batch could not be folded.
#[derive(Debug)]
pub enum Trouble {
    /// One entry cannot be folded; those before it can.
    Fault {
        /// How many entries come before it.
        entry: usize,
        /// Where and why.
        stopped: Box<Stopped>,
    },
    /// A row cannot be written down.
    Row,
    /// The rows could not be loaded.
    Store(views::Error),
}

/// A row on its way through a batch.
struct Slot<V: View> {
    key: V::Key,
    row: Option<V::Row>,
    /// The row's bytes as the view store has them.
    stored: Option<Bytes>,
    /// The index entries that the store has for it.
    indexes: Vec<(&'static str, Key)>,
    /// The entry that touched it last, in the last batch that did.
    last: usize,
}

/// One change, with its row's slot and its fact's entry in the batch.
struct Op<C> {
    slot: usize,
    entry: usize,
    change: C,
}

/// A batch sorted out: the rows it touches and the changes to them, in log order.
struct Plan<'a, V: View> {
    slots: Vec<Slot<V>>,
    ops: Vec<Op<V::Change<'a>>>,
    /// Slots whose row must come from the store, with their keys and the first entry that touches them.
    missing: Vec<(usize, usize)>,
    missing_keys: Vec<Key>,
}

/// Folds batches into the rows of `V`.
pub struct Folder<V: View> {
    id: String,
    /// Rows as they are stored, or on their way there: none goes before [`AnyView::keep`] says so.
    cache: LruCache<V::Key, Slot<V>>,
    cached_bytes: usize,
    /// Rows that were folded since changes were asked for.
    held: HashMap<V::Key, Slot<V>>,
}

/// A view for the engine.
#[must_use]
pub fn view<V: View>() -> Box<dyn AnyView> {
    Box::new(Folder::<V>::named(V::id()))
}

#[async_trait]
impl<V: View> AnyView for Folder<V> {
    fn name(&self) -> &'static str {
        V::NAME
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn aside(&self) -> Box<dyn AnyView> {
        Box::new(Self::named(format!("{}{ASIDE}", V::id())))
    }

    fn reads(&self) -> &'static [Category] {
        V::READS
    }

    async fn fold(&mut self, entries: &[Entry], store: &dyn ViewStore) -> Result<(), Trouble> {
        let mut plan = self.plan(entries)?;
        if !plan.missing_keys.is_empty() {
            let rows = store.get_many(&self.id, &plan.missing_keys).await.map_err(Trouble::Store)?;
            self.fill(&mut plan, rows, entries)?;
        }
        self.apply(&mut plan, entries)?;
        self.held.extend(plan.slots.into_iter().map(|slot| (slot.key.clone(), slot)));
        Ok(())
    }

    fn changes(&mut self, entries: &[Entry]) -> Result<Vec<RowChange>, Trouble> {
        let mut held = std::mem::take(&mut self.held);
        let changes = self.write_down(held.values_mut(), entries);
        for (key, slot) in held {
            self.cached_bytes += slot.weight();
            self.cache.put(key, slot);
        }
        changes
    }

    fn keep(&mut self, bytes_max: usize) {
        while self.cached_bytes > bytes_max {
            let Some((_, slot)) = self.cache.pop_lru() else {
                break;
            };
            self.cached_bytes -= slot.weight();
        }
    }

    fn forget(&mut self) {
        self.held.clear();
        self.cache.clear();
        self.cached_bytes = 0;
    }

    async fn verify(&self, log: &dyn EventStore, store: &dyn ViewStore) -> Result<Verified, verify::Error> {
        verify::verify::<V>(log, store).await
    }
}

impl<V: View> Folder<V> {
    fn named(id: String) -> Self {
        Self { id, cache: LruCache::unbounded(), cached_bytes: 0, held: HashMap::new() }
    }

    /// Names the rows that the batch touches and takes those at hand out of the cache.
    fn plan<'a>(&mut self, entries: &'a [Entry]) -> Result<Plan<'a, V>, Trouble> {
        let mut plan = Plan { slots: Vec::new(), ops: Vec::new(), missing: Vec::new(), missing_keys: Vec::new() };
        let mut places: HashMap<V::Key, usize> = HashMap::new();
        let mut touched = Touched::default();
        for (n, entry) in entries.iter().enumerate() {
            if !V::READS.contains(&entry.category) {
                continue;
            }
            let fact = match &entry.fact {
                Ok(fact) => fact,
                Err(event) => {
                    let stopped = Stopped::unreadable(self.id.clone(), entry.position, event);
                    return Err(Trouble::Fault { entry: n, stopped: Box::new(stopped) });
                }
            };
            V::touch(fact, &mut touched).map_err(|fault| self.stop(n, fact, Scope::Stream, fault))?;
            for Touch { key, change, fresh } in touched.rows.drain(..) {
                let slot = match places.get(&key) {
                    Some(slot) => *slot,
                    None => {
                        places.insert(key.clone(), plan.slots.len());
                        self.take(key, fresh, n, &mut plan)
                    }
                };
                plan.ops.push(Op { slot, entry: n, change });
            }
        }
        Ok(plan)
    }

    /// Adds a slot for a row: one that is held or cached, empty if the row cannot exist yet, or to be loaded.
    fn take(&mut self, row: V::Key, fresh: bool, entry: usize, plan: &mut Plan<'_, V>) -> usize {
        let place = plan.slots.len();
        if let Some(slot) = self.held.remove(&row) {
            plan.slots.push(slot);
            return place;
        }
        if let Some(slot) = self.cache.pop(&row) {
            self.cached_bytes -= slot.weight();
            plan.slots.push(slot);
            return place;
        }
        if !fresh {
            plan.missing.push((place, entry));
            plan.missing_keys.push(key(&row));
        }
        plan.slots.push(Slot { key: row, row: None, stored: None, indexes: Vec::new(), last: entry });
        place
    }

    /// Puts what the store answered into the slots that waited for it.
    fn fill(&self, plan: &mut Plan<'_, V>, rows: Vec<Option<Bytes>>, entries: &[Entry]) -> Result<(), Trouble> {
        for ((place, entry), stored) in plan.missing.iter().zip(rows) {
            let slot = &mut plan.slots[*place];
            let Some(stored) = stored else { continue };
            match serde_json::from_slice::<V::Row>(&stored) {
                Ok(row) => {
                    slot.indexes = V::indexes(&row);
                    slot.row = Some(row);
                    slot.stored = Some(stored);
                }
                Err(cause) => {
                    return Err(self.stop_at(entries, *entry, &slot.key, Fault::Row(cause.to_string())));
                }
            }
        }
        Ok(())
    }

    fn apply(&self, plan: &mut Plan<'_, V>, entries: &[Entry]) -> Result<(), Trouble> {
        for Op { slot, entry, change } in plan.ops.drain(..) {
            let slot = &mut plan.slots[slot];
            slot.last = entry;
            if let Ok(fact) = &entries[entry].fact {
                slot.row = V::apply(&slot.key, slot.row.take(), change, fact)
                    .map_err(|fault| self.stop_at(entries, entry, &slot.key, fault))?;
            }
        }
        Ok(())
    }

    /// Writes down what became of every row, and remembers that as stored.
    fn write_down<'s>(
        &self,
        slots: impl ExactSizeIterator<Item = &'s mut Slot<V>>,
        entries: &[Entry],
    ) -> Result<Vec<RowChange>, Trouble> {
        let mut changes = Vec::with_capacity(slots.len());
        for slot in slots {
            let row = match &slot.row {
                None => None,
                Some(row) => Some(Bytes::from(
                    serde_json::to_vec(row)
                        .map_err(|cause| self.stop_at(entries, slot.last, &slot.key, Fault::Row(cause.to_string())))?,
                )),
            };
            if row == slot.stored {
                continue;
            }
            let indexes = slot.row.as_ref().map(V::indexes).unwrap_or_default();
            let old = std::mem::replace(&mut slot.indexes, indexes);
            let new = slot.stored.is_none();
            slot.stored.clone_from(&row);
            changes.push(RowChange {
                key: key(&slot.key),
                row,
                new,
                index: slot.indexes.iter().filter(|entry| !old.contains(entry)).cloned().collect(),
                unindex: old.into_iter().filter(|entry| !slot.indexes.contains(entry)).collect(),
            });
        }
        Ok(changes)
    }

    fn stop_at(&self, entries: &[Entry], entry: usize, row: &V::Key, fault: Fault) -> Trouble {
        let scope = Scope::Row { key: key(row), shown: format!("{row:?}") };
        match entries.get(entry).map(|at| (at.position, &at.fact)) {
            None => Trouble::Row,
            Some((_, Ok(fact))) => self.stop(entry, fact, scope, fault),
            Some((position, Err(event))) => {
                let stopped = Stopped::unreadable(self.id.clone(), position, event);
                Trouble::Fault { entry, stopped: Box::new(stopped) }
            }
        }
    }

    fn stop(&self, entry: usize, fact: &Fact, scope: Scope, fault: Fault) -> Trouble {
        Trouble::Fault { entry, stopped: Box::new(Stopped::unfoldable(self.id.clone(), fact, scope, fault)) }
    }
}

impl<V: View> Slot<V> {
    fn weight(&self) -> usize {
        ROW_OVERHEAD_BYTES + self.stored.as_ref().map_or(0, Bytes::len)
    }
}
