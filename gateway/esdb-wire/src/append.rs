//! Writing: from what a writer expects to the exact revision that the log asks for.
//!
//! An append that expects an exact revision goes straight to the log, which arbitrates. One that takes the stream as it is
//! (any, exists) has to look first, and looks again when somebody was faster; those wait for each other here, so
//! that they conflict with the log's other writers only. Deletions stand alone, so that no append of this server's
//! clients slips between what they checked and what they write.

use std::{
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    sync::Arc,
};

use ports::store::{Append, Appended, EventStore, NewEvent, Position, Refused, Revision};
use serde_json::Value;
use tokio::{
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::timeout,
};
use uuid::Uuid;

use crate::{
    Limits,
    error::Failure,
    expected::{Expected, Wrong},
    state::{METADATA, Metadata, State, Streams, TOMBSTONE, TRUNCATE_BEFORE, metadata_stream},
};

/// Streams share this many turns; two that share one merely wait for each other.
const TURNS: usize = 256;

/// Where a write has left its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The revision of its last event; `None` when it has none.
    pub revision: Option<Revision>,
    /// The position of that event; `None` when nothing had to be written.
    pub position: Option<Position>,
}

/// The writing end of the server.
pub struct Writer {
    pub streams: Streams,
    turns: Vec<RwLock<()>>,
    limits: Limits,
}

/// Held while a stream is written.
enum Turn<'a> {
    Shared(#[expect(dead_code, reason = "held until the write is done")] RwLockReadGuard<'a, ()>),
    Alone(#[expect(dead_code, reason = "held until the write is done")] RwLockWriteGuard<'a, ()>),
}

impl Writer {
    pub fn new(store: Arc<dyn EventStore>, limits: &Limits) -> Self {
        let turns = (0..TURNS).map(|_| RwLock::default()).collect();
        Self { streams: Streams::new(store, limits.hints_max), turns, limits: limits.clone() }
    }

    fn turns_of(&self, stream: &str) -> Option<&RwLock<()>> {
        let hash = BuildHasherDefault::<DefaultHasher>::new().hash_one(stream);
        self.turns.get(usize::try_from(hash % TURNS as u64).unwrap_or(0))
    }

    async fn turn(&self, stream: &str, alone: bool) -> Option<Turn<'_>> {
        let lock = self.turns_of(stream)?;
        Some(if alone { Turn::Alone(lock.write().await) } else { Turn::Shared(lock.read().await) })
    }

    /// Waits until no other write of this server is at the stream.
    pub(crate) async fn stand_alone(&self, stream: &str) -> impl Drop + use<'_> {
        AloneAt(self.turn(stream, true).await)
    }

    /// Appends, all or nothing. Events that are there already are answered with their old place.
    pub async fn append(&self, stream: &str, expected: Expected, events: Vec<NewEvent>) -> Result<Written, Failure> {
        let work = async {
            let _turn = self.turn(stream, !matches!(expected, Expected::Revision(_))).await;
            if expected == Expected::NoStream
                && let Some(written) = self.begin(stream, &events).await?
            {
                return Ok(written);
            }
            for _ in 0..self.limits.attempts_max {
                if let Some(written) = self.attempt(stream, expected, &events).await? {
                    return Ok(written);
                }
            }
            Err(Failure::Contended { stream: stream.to_owned() })
        };
        timeout(self.limits.append_timeout, work).await.map_err(|_elapsed| Failure::Late)?
    }

    /// Begins a stream without a look: events that are written afresh as its first prove that there was none. `None` when
    /// nothing was written, and only a look can say why.
    async fn begin(&self, stream: &str, events: &[NewEvent]) -> Result<Option<Written>, Failure> {
        if events.is_empty() || self.streams.knows(stream) {
            return Ok(None);
        }
        let append = Append { recorded_at: None, stream: stream.to_owned(), expected: 0, events: events.to_vec() };
        Ok(self
            .write(append)
            .await?
            .ok()
            .filter(|appended| appended.fresh)
            .map(|appended| behind(appended, events.len())))
    }

    /// One try; `None` when somebody else wrote the stream in between and it may be tried again.
    async fn attempt(&self, stream: &str, expected: Expected, events: &[NewEvent]) -> Result<Option<Written>, Failure> {
        let state = self.streams.state(stream).await?;
        if state.ended {
            return Err(Failure::Deleted { stream: stream.to_owned() });
        }
        let wrong = |current| Failure::Wrong(Wrong { stream: stream.to_owned(), expected, current });
        let next = match expected {
            Expected::Any => state.length,
            Expected::Exists => state.last().map(|_| state.length).ok_or_else(|| wrong(None))?,
            // Of a stream that exists the log says whether this is a repeat or a conflict.
            Expected::NoStream => {
                if state.last().is_none() {
                    state.length
                } else {
                    0
                }
            }
            Expected::Revision(revision) => revision.checked_add(1).ok_or_else(|| wrong(state.last()))?,
        };
        if events.is_empty() {
            return if next == state.length { Ok(Some(written(&state))) } else { Err(wrong(state.last())) };
        }
        if state.deleted() && next == state.length && !self.revive(stream, &state).await? {
            return Ok(None);
        }
        let append = Append { recorded_at: None, stream: stream.to_owned(), expected: next, events: events.to_vec() };
        match self.write(append).await? {
            Ok(appended) => Ok(Some(behind(appended, events.len()))),
            Err(Refused::Conflict { actual, .. }) => match expected {
                Expected::Any | Expected::Exists => Ok(None),
                Expected::NoStream if state.deleted() => Ok(None),
                Expected::NoStream | Expected::Revision(_) => Err(wrong(actual.checked_sub(1))),
            },
            Err(Refused::Known { .. }) if next != state.length => Err(wrong(state.length.checked_sub(1))),
            Err(Refused::Known { id }) => Err(Failure::Known { id }),
        }
    }

    /// Lets a deleted stream go on behind what it hides. Done before the append, so that no crash hides what was
    /// acknowledged; alone it changes nothing that anybody sees. False when the metadata changed meanwhile.
    async fn revive(&self, stream: &str, state: &State) -> Result<bool, Failure> {
        if state.metadata.keys.get(TRUNCATE_BEFORE).and_then(Value::as_u64) == Some(state.length) {
            return Ok(true);
        }
        Ok(self.hide_before(stream, &state.metadata, state.length).await?.is_some())
    }

    /// Hides all events of a stream before a revision. `None` when the metadata changed meanwhile.
    pub(crate) async fn hide_before(
        &self,
        stream: &str,
        metadata: &Metadata,
        revision: Revision,
    ) -> Result<Option<Written>, Failure> {
        let mut keys = metadata.keys.clone();
        keys.insert(TRUNCATE_BEFORE.to_owned(), Value::from(revision));
        let event = own_event(METADATA, &Value::Object(keys))?;
        let stream = metadata_stream(stream);
        self.write_own(stream, metadata.length, event).await
    }

    /// Ends a stream. `None` when it was written meanwhile.
    pub(crate) async fn end(&self, stream: &str, length: Revision) -> Result<Option<Written>, Failure> {
        let event = own_event(TOMBSTONE, &Value::Object(serde_json::Map::new()))?;
        self.write_own(stream.to_owned(), length, event).await
    }

    /// Writes an event of the server itself. `None` when the stream was written meanwhile.
    async fn write_own(&self, stream: String, expected: Revision, event: NewEvent) -> Result<Option<Written>, Failure> {
        let append = Append { recorded_at: None, stream, expected, events: vec![event] };
        Ok(self.write(append).await?.ok().map(|appended| behind(appended, 1)))
    }

    async fn write(&self, append: Append) -> Result<Result<Appended, Refused>, Failure> {
        let (stream, count) = (append.stream.clone(), append.events.len() as u64);
        let answer = self.streams.store().append(vec![append]).await?.pop();
        let answer = answer.ok_or_else(|| Failure::Bad("the log gave no answer".to_owned()))?;
        match &answer {
            Ok(appended) => self.streams.remember(&stream, appended.first_revision + count),
            Err(Refused::Conflict { actual, .. }) => self.streams.remember(&stream, *actual),
            Err(Refused::Known { .. }) => {}
        }
        Ok(answer)
    }

    pub(crate) const fn attempts_max(&self) -> u32 {
        self.limits.attempts_max
    }
}

/// A turn of its own, given back on drop.
struct AloneAt<'a>(Option<Turn<'a>>);

impl Drop for AloneAt<'_> {
    fn drop(&mut self) {
        self.0 = None;
    }
}

/// Where so many events have left their stream.
const fn behind(appended: Appended, count: usize) -> Written {
    let revision = (appended.first_revision + count as u64).checked_sub(1);
    Written { revision, position: Some(appended.last_position) }
}

const fn written(state: &State) -> Written {
    Written { revision: state.last(), position: None }
}

/// An event of the server itself.
fn own_event(kind: &'static str, data: &Value) -> Result<NewEvent, Failure> {
    let data = data.to_string().into();
    Ok(NewEvent { id: random_id()?, kind: kind.into(), data, metadata: "{}".into() })
}

/// An id that nobody else has: the server has no request to derive one from.
pub fn random_id() -> Result<Uuid, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|why| Failure::Store(ports::store::Error::Failed(why.to_string())))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}
