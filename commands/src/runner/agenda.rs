//! When to look at which process next; kept beside the log as a checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use ports::store::{self, EventStore, Position, Snapshot};
use serde::{Deserialize, Serialize};

use super::Key;

/// The checkpoint's name among the snapshots, and the version of its form.
const NAME: &str = "$process-runner";
const FORM: u32 = 1;

/// Every process that is not at its end, by the moment to look at it.
#[derive(Debug, Default)]
pub struct Agenda {
    due: BTreeSet<(Timestamp, Key)>,
    entries: BTreeMap<Key, Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    at: Timestamp,
    /// Whether the world is to be asked again, because its message may have been lost.
    chase: bool,
    /// How often it failed in a row.
    failures: u32,
}

#[derive(Serialize, Deserialize)]
struct Checkpoint {
    open: Vec<(Key, Timestamp)>,
}

impl Agenda {
    /// Reads the checkpoint: the agenda and the position up to which it holds.
    pub(super) async fn load(store: &dyn EventStore) -> Result<(Self, Position), store::Error> {
        let Some(snapshot) = store.load_snapshot(NAME, FORM).await? else {
            return Ok((Self::default(), Position::START));
        };
        let Ok(checkpoint) = serde_json::from_slice::<Checkpoint>(&snapshot.state) else {
            return Ok((Self::default(), Position::START));
        };
        let mut agenda = Self::default();
        for (key, at) in checkpoint.open {
            agenda.note(key, at, true);
        }
        Ok((agenda, snapshot.position))
    }

    /// Keeps the agenda as of `position`; processes that are being driven right now are in it.
    pub(super) async fn save(&self, store: &dyn EventStore, position: Position) -> Result<(), store::Error> {
        let open = self.entries.iter().map(|(key, entry)| (*key, entry.at)).collect();
        let state = serde_json::to_vec(&Checkpoint { open }).map_err(|why| store::Error::Failed(why.to_string()))?;
        let snapshot = Snapshot { fold: FORM, revision: 0, position, state: Bytes::from(state) };
        store.save_snapshot(NAME, snapshot).await
    }

    /// Something happened: look at the process at `at`, or earlier if that was planned.
    pub(super) fn note(&mut self, key: Key, at: Timestamp, chase: bool) {
        let entry = match self.entries.get(&key) {
            Some(known) => Entry { at: known.at.min(at), chase: known.chase || chase, failures: known.failures },
            None => Entry { at, chase, failures: 0 },
        };
        self.put(key, entry);
    }

    /// It went as far as it goes: look again at `until`, if time alone can make something due.
    pub(super) fn wait(&mut self, key: Key, until: Option<Timestamp>) {
        if let Some(at) = until {
            self.put(key, Entry { at, chase: true, failures: 0 });
        } else if let Some(entry) = self.entries.remove(&key) {
            self.due.remove(&(entry.at, key));
        }
    }

    /// It failed: look again after a while, longer each time. Answers how often it has failed in a row.
    pub(super) fn retry(&mut self, key: Key, now: Timestamp, min: SignedDuration, max: SignedDuration) -> u32 {
        let failures = self.entries.get(&key).map_or(0, |entry| entry.failures);
        let wait = min.saturating_mul(1_i32 << failures.min(16)).min(max);
        let at = now.checked_add(wait).unwrap_or(now);
        let failures = failures.saturating_add(1);
        self.put(key, Entry { at, chase: true, failures });
        failures
    }

    /// Takes the first process that is due, and whether to chase it. It stays an open process until it is
    /// told how it went.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<(Key, bool)> {
        let (at, key) = *self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.remove(&(at, key));
        let chase = self.entries.get(&key).is_some_and(|entry| entry.chase);
        Some((key, chase))
    }

    /// The moment of the first process.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// How many processes are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when nothing is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn put(&mut self, key: Key, entry: Entry) {
        if let Some(old) = self.entries.insert(key, entry) {
            self.due.remove(&(old.at, key));
        }
        self.due.insert((entry.at, key));
    }
}
