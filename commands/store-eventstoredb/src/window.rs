//! The newest events of the log by their ids.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use ports::store::{Append, Appended, Position, Recorded, Refused, Revision};
use uuid::Uuid;

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

/// The newest events of the log by their ids; older ones make way for newer ones, by position.
#[derive(Debug)]
pub struct Window {
    places: HashMap<Uuid, Place>,
    by_position: BTreeMap<Position, Uuid>,
    max: usize,
    /// Up to here nothing of the window is missing.
    pub complete: Option<Position>,
}

impl Window {
    /// An empty window on at most `max` events.
    pub fn new(max: usize) -> Self {
        Self { places: HashMap::new(), by_position: BTreeMap::new(), max: max.max(1), complete: None }
    }

    /// Remembers where events are, as far as they belong to the newest.
    pub fn learn<'e>(&mut self, events: impl IntoIterator<Item = &'e Recorded>) {
        for event in events {
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

    /// Where the event with this id is, if it is one of the newest.
    pub fn find(&self, id: &Uuid) -> Option<&Place> {
        self.places.get(id)
    }

    /// The answer to an append of which at least one event is known already.
    pub fn known(&self, append: &Append) -> Option<Result<Appended, Refused>> {
        let places: Vec<Option<&Place>> = append.events.iter().map(|event| self.places.get(&event.id)).collect();
        let (first, id) = places.iter().zip(&append.events).find_map(|(place, event)| Some(((*place)?, event.id)))?;
        let whole = places.iter().zip(first.revision..).all(|(place, revision)| {
            place.is_some_and(|place| place.stream == append.stream && place.revision == revision)
        });
        Some(match places.last() {
            Some(Some(last)) if whole => {
                Ok(Appended { first_revision: first.revision, last_position: last.position, fresh: false })
            }
            _ => Err(Refused::Known { id }),
        })
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

    #[test]
    fn the_newest_events_are_kept_in_whatever_order_they_are_learned() {
        let mut window = Window::new(3);
        window.learn(&[event(5), event(1), event(4)]);
        window.learn(&[event(2), event(6), event(5), event(3)]);
        let kept: Vec<u64> = (1..=6).filter(|n| window.find(&Uuid::from_u128((*n).into())).is_some()).collect();
        assert_eq!(kept, [4, 5, 6]);
        assert_eq!((window.places.len(), window.by_position.len()), (3, 3));
    }

    #[test]
    fn only_the_first_is_told_that_it_wrote() {
        let mut window = Window::new(3);
        window.learn(&[event(1), event(2)]);
        let id = |n: u128| Uuid::from_u128(n);
        assert!(window.tell([id(1), id(2)]));
        assert!(!window.tell([id(1), id(2)]));
        assert!(!window.tell([id(2)]), "nor is a part of it");
    }
}
