//! The newest events by their ids: of the whole log, and of each stream that is written here.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    num::NonZeroUsize,
};

use lru::LruCache;
use ports::store::{Append, Appended, Position, Recorded, Refused, Revision};
use uuid::Uuid;

use crate::Limits;

/// Where an event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its stream.
    pub stream: String,
    /// Its revision there.
    pub revision: Revision,
    /// Its position in the log.
    pub position: Position,
    /// An append of this process was told that it wrote it.
    told: bool,
}

/// The newest events of one stream.
type Newest = BTreeMap<Revision, (Uuid, Position)>;

/// The newest events by their ids; older ones make way for newer ones, in the log by position, in a stream by revision.
#[derive(Debug)]
pub struct Window {
    places: HashMap<Uuid, Place>,
    by_position: BTreeMap<Position, Uuid>,
    max: usize,
    streams: LruCache<String, Newest>,
    stream_max: usize,
    /// Up to here nothing of the log's window is missing.
    pub complete: Option<Position>,
}

impl Window {
    /// An empty window.
    pub fn new(limits: &Limits) -> Self {
        let streams = NonZeroUsize::new(limits.streams_known_max).unwrap_or(NonZeroUsize::MIN);
        Self {
            places: HashMap::new(),
            by_position: BTreeMap::new(),
            max: limits.ids_max.max(1),
            streams: LruCache::new(streams),
            stream_max: limits.stream_ids_max.max(1),
            complete: None,
        }
    }

    /// Remembers where events are, as far as they belong to the newest.
    pub fn learn<'e>(&mut self, events: impl IntoIterator<Item = &'e Recorded>) {
        for event in events {
            if let Some(newest) = self.streams.peek_mut(&event.stream) {
                note(newest, event, self.stream_max);
            }
            let too_old = self.by_position.len() >= self.max
                && self.by_position.first_key_value().is_some_and(|(oldest, _)| *oldest >= event.position);
            if too_old {
                continue;
            }
            if let Entry::Vacant(vacant) = self.places.entry(event.id) {
                let (stream, revision, position) = (event.stream.clone(), event.revision, event.position);
                vacant.insert(Place { stream, revision, position, told: false });
                self.by_position.insert(position, event.id);
            }
            while self.by_position.len() > self.max {
                if let Some((_, oldest)) = self.by_position.pop_first() {
                    self.places.remove(&oldest);
                }
            }
        }
    }

    /// Whether the newest events of a stream are remembered apart from the log's.
    pub fn watches(&mut self, stream: &str) -> bool {
        self.streams.get(stream).is_some()
    }

    /// Remembers the newest events of a stream from now on; `events` are those that are there already.
    pub fn watch(&mut self, stream: &str, events: &[Recorded]) {
        self.streams.put(stream.to_owned(), Newest::new());
        self.learn(events);
    }

    /// Where the event with this id is, if it is one of the log's newest.
    pub fn find(&self, id: &Uuid) -> Option<&Place> {
        self.places.get(id)
    }

    /// The answer to an append of which at least one event is known already.
    pub fn known(&self, append: &Append) -> Option<Result<Appended, Refused>> {
        let places: Vec<_> = append.events.iter().map(|event| self.at(&append.stream, &event.id)).collect();
        let (first, id) = places.iter().zip(&append.events).find_map(|(place, event)| Some(((*place)?, event.id)))?;
        let (_, first_revision, _) = first;
        let whole = places.iter().zip(first_revision..).all(|(place, expected)| {
            place.is_some_and(|(same_stream, revision, _)| same_stream && revision == expected)
        });
        Some(match places.last() {
            Some(Some((_, _, last_position))) if whole => {
                Ok(Appended { first_revision, last_position: *last_position, fresh: false })
            }
            _ => Err(Refused::Known { id }),
        })
    }

    /// Where in its stream an append would begin if it were a repeat, of which only some events are new enough to be
    /// known.
    pub fn beginning(&self, append: &Append) -> Option<Revision> {
        let mut known =
            append.events.iter().zip(0..).filter_map(|(event, n)| Some((self.at(&append.stream, &event.id)?, n)));
        let ((same_stream, revision, _), n) = known.next()?;
        revision.checked_sub(n).filter(|_| same_stream)
    }

    /// Whether an event is in this stream, its revision and its position.
    fn at(&self, stream: &str, id: &Uuid) -> Option<(bool, Revision, Position)> {
        let here = |(revision, (_, position)): (&Revision, &(Uuid, Position))| (true, *revision, *position);
        let of_log = self.places.get(id).map(|at| (at.stream == stream, at.revision, at.position));
        of_log.or_else(|| self.streams.peek(stream)?.iter().find(|(_, (known, _))| known == id).map(here))
    }

    /// True for the first who asks about these ids: the others wrote nothing.
    pub fn tell(&mut self, ids: impl IntoIterator<Item = Uuid>) -> bool {
        let mut first = true;
        for id in ids {
            if let Some(place) = self.places.get_mut(&id) {
                first &= !std::mem::replace(&mut place.told, true);
            }
        }
        first
    }
}

/// Notes one event of a stream; the oldest makes way.
fn note(newest: &mut Newest, event: &Recorded, max: usize) {
    newest.insert(event.revision, (event.id, event.position));
    while newest.len() > max {
        newest.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn event(n: u64) -> Recorded {
        Recorded {
            position: Position(n * 10),
            stream: "thing-1".into(),
            revision: n,
            id: Uuid::from_u128(n.into()),
            kind: "thing.happened".into(),
            recorded_at: Timestamp::UNIX_EPOCH,
            data: "{}".into(),
            metadata: "{}".into(),
        }
    }

    fn window(ids_max: usize) -> Window {
        Window::new(&Limits { ids_max, stream_ids_max: 2, ..Limits::default() })
    }

    #[test]
    fn the_newest_events_of_a_stream_are_known_beyond_the_logs() {
        let mut window = window(1);
        window.watch("thing-1", &[event(3), event(2), event(1)]);
        let repeat = |n: u64| {
            let Recorded { id, data, metadata, .. } = event(n);
            let event = ports::store::NewEvent { id, kind: "thing.happened".into(), data, metadata };
            Append { recorded_at: None, stream: "thing-1".into(), expected: 4, events: vec![event] }
        };
        let known: Vec<bool> = (1..=4).map(|n| window.known(&repeat(n)).is_some()).collect();
        assert_eq!(known, [false, true, true, false]);
        window.learn(&[event(4)]);
        let known: Vec<bool> = (1..=4).map(|n| window.known(&repeat(n)).is_some()).collect();
        assert_eq!(known, [false, false, true, true]);
    }

    #[test]
    fn the_newest_events_are_kept_in_whatever_order_they_are_learned() {
        let mut window = window(3);
        window.learn(&[event(5), event(1), event(4)]);
        window.learn(&[event(2), event(6), event(5), event(3)]);
        let kept: Vec<u64> = (1..=6).filter(|n| window.find(&Uuid::from_u128((*n).into())).is_some()).collect();
        assert_eq!(kept, [4, 5, 6]);
        assert_eq!((window.places.len(), window.by_position.len()), (3, 3));
    }

    #[test]
    fn only_the_first_is_told_that_it_wrote() {
        let mut window = window(3);
        window.learn(&[event(1), event(2)]);
        let id = |n: u128| Uuid::from_u128(n);
        assert!(window.tell([id(1), id(2)]));
        assert!(!window.tell([id(1), id(2)]));
        assert!(!window.tell([id(2)]), "nor is a part of it");
    }
}
