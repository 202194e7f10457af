//! What a group of appends comes to: which events are written where, and what everybody is answered.
//!
//! A plan is made from beliefs and is worth nothing until the database has confirmed them under its lock: how long
//! each stream is, and that no id of what is written is taken. At first everybody is believed: a stream is as long as
//! the first append to it expects, and every id is new. That is almost always so, and costs no question. A refusal is
//! never given on belief alone.

use std::{borrow::Cow, collections::HashMap};

use jiff::Timestamp;
use ports::store::{Append, Appended, NewEvent, Position, Refused, Revision};
use uuid::Uuid;

/// The answer to one append.
pub type Answer = Result<Appended, Refused>;

/// What is known of the streams and ids of a group.
#[derive(Debug, Default)]
pub struct Known<'a> {
    /// How many events each stream holds.
    pub lengths: HashMap<&'a str, Revision>,
    /// Where the ids that are taken are.
    pub places: HashMap<Uuid, Place<'a>>,
    /// It was looked up for the whole group; otherwise everybody is believed.
    pub looked_up: bool,
}

/// Where an event is.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// Its stream.
    pub stream: Cow<'a, str>,
    /// Its revision.
    pub revision: Revision,
    /// Its position.
    pub at: At,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// It is there.
    Stored(Position),
    /// It is the n-th event that this plan writes, from 0.
    Planned(u64),
}

impl At {
    fn position(self, base: Position) -> Position {
        match self {
            Self::Stored(position) => position,
            Self::Planned(n) => Position(base.0 + n + 1),
        }
    }
}

/// An event and where it goes in its stream.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// The stream.
    pub stream: &'a str,
    /// Its revision.
    pub revision: Revision,
    /// The event.
    pub event: &'a NewEvent,
    /// When another log recorded it.
    pub recorded_at: Option<Timestamp>,
}

#[derive(Debug)]
enum Draft {
    Done { first_revision: Revision, last: At, fresh: bool },
    Refused(Refused),
}

/// What is written and answered, if the beliefs hold.
#[derive(Debug)]
pub struct Plan<'a> {
    /// How long each stream of the group must be before the write.
    pub lengths: Vec<(&'a str, Revision)>,
    /// What is written, in order.
    pub writes: Vec<Write<'a>>,
    drafts: Vec<Draft>,
    looked_up: bool,
}

impl<'a> Plan<'a> {
    /// Decides one append after the other, each seeing the ones before.
    pub fn make(appends: &[&'a Append], known: Known<'a>) -> Self {
        let Known { lengths, places, looked_up } = known;
        let mut plan = Planner { believed: lengths.clone(), lengths, places, looked_up, writes: Vec::new() };
        let drafts = appends.iter().map(|append| plan.decide(append)).collect();
        Self { lengths: plan.believed.into_iter().collect(), writes: plan.writes, drafts, looked_up }
    }

    /// Whether it refuses somebody of whom nothing was looked up.
    pub fn is_guess(&self) -> bool {
        !self.looked_up && self.drafts.iter().any(|draft| matches!(draft, Draft::Refused(_)))
    }

    /// The answers, once the events stand behind position `base`.
    pub fn answers(self, base: Position) -> Vec<Answer> {
        let answer = |draft| match draft {
            Draft::Refused(refused) => Err(refused),
            Draft::Done { first_revision, last, fresh } => {
                Ok(Appended { first_revision, last_position: last.position(base), fresh })
            }
        };
        self.drafts.into_iter().map(answer).collect()
    }
}

struct Planner<'a> {
    /// As the group found them.
    believed: HashMap<&'a str, Revision>,
    /// As the appends so far leave them.
    lengths: HashMap<&'a str, Revision>,
    places: HashMap<Uuid, Place<'a>>,
    looked_up: bool,
    writes: Vec<Write<'a>>,
}

impl<'a> Planner<'a> {
    fn decide(&mut self, append: &'a Append) -> Draft {
        let stream = append.stream.as_str();
        let believed = if self.looked_up { 0 } else { append.expected };
        let actual = *self.lengths.entry(stream).or_insert_with(|| {
            self.believed.insert(stream, believed);
            believed
        });
        if let Some(draft) = self.known(append) {
            return draft;
        }
        if actual != append.expected {
            return Draft::Refused(Refused::Conflict { expected: append.expected, actual });
        }
        if let Some(id) = repeated(&append.events) {
            return Draft::Refused(Refused::Known { id });
        }
        let mut last = At::Stored(Position::START);
        for (event, revision) in append.events.iter().zip(actual..) {
            last = At::Planned(self.writes.len() as u64);
            self.places.insert(event.id, Place { stream: Cow::Borrowed(stream), revision, at: last });
            let recorded_at = append.recorded_at;
            self.writes.push(Write { stream, revision, event, recorded_at });
        }
        self.lengths.insert(stream, actual + append.events.len() as u64);
        Draft::Done { first_revision: actual, last, fresh: true }
    }

    /// The answer to an append of which at least one event is in the log already.
    fn known(&self, append: &Append) -> Option<Draft> {
        let place = |event: &NewEvent| self.places.get(&event.id);
        let id = append.events.iter().find(|event| place(event).is_some())?.id;
        let first_revision = append.events.first().and_then(place).map(|place| place.revision);
        let last = append.events.last().and_then(place).map(|place| place.at);
        let (Some(first_revision), Some(last)) = (first_revision, last) else {
            return Some(Draft::Refused(Refused::Known { id }));
        };
        let follows = |(event, revision)| {
            place(event).is_some_and(|place| place.stream == append.stream && place.revision == revision)
        };
        let whole = append.events.iter().zip(first_revision..).all(follows);
        Some(if whole {
            Draft::Done { first_revision, last, fresh: false }
        } else {
            Draft::Refused(Refused::Known { id })
        })
    }
}

/// The first id that occurs a second time.
fn repeated(events: &[NewEvent]) -> Option<Uuid> {
    if events.len() < 2 {
        return None;
    }
    let mut seen = std::collections::HashSet::with_capacity(events.len());
    events.iter().map(|event| event.id).find(|id| !seen.insert(*id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(stream: &str, expected: Revision, ids: &[u128]) -> Append {
        let event = |id: &u128| NewEvent {
            id: Uuid::from_u128(*id),
            kind: "thing.happened".into(),
            data: "{}".into(),
            metadata: "{}".into(),
        };
        Append { recorded_at: None, stream: stream.to_owned(), expected, events: ids.iter().map(event).collect() }
    }

    fn plan<'a>(appends: &'a [Append], known: Known<'a>) -> Plan<'a> {
        Plan::make(&appends.iter().collect::<Vec<_>>(), known)
    }

    #[test]
    fn at_first_everybody_is_believed_and_the_beliefs_are_handed_on_to_be_checked() {
        let appends = [append("a", 7, &[1, 2]), append("b", 0, &[3]), append("a", 9, &[4])];
        let plan = plan(&appends, Known::default());
        assert!(!plan.is_guess());
        let mut lengths = plan.lengths.clone();
        lengths.sort_unstable();
        assert_eq!(lengths, [("a", 7), ("b", 0)], "each stream as its first append expects it");
        assert_eq!(plan.writes.iter().map(|write| write.revision).collect::<Vec<_>>(), [7, 8, 0, 9]);
        let places: Vec<_> = plan.answers(Position(100)).into_iter().map(|answer| answer.unwrap()).collect();
        assert_eq!(places.iter().map(|place| place.last_position.0).collect::<Vec<_>>(), [102, 103, 104]);
    }

    #[test]
    fn nobody_is_refused_on_belief_alone() {
        // The second may be a repeat of what the log has; only a look there can tell.
        for second in [append("a", 3, &[2]), append("a", 5, &[3, 3]), append("b", 0, &[1, 9])] {
            let appends = [append("a", 4, &[1]), second];
            assert!(plan(&appends, Known::default()).is_guess());
            assert!(!plan(&appends, Known { looked_up: true, ..Known::default() }).is_guess());
        }
        let appends = [append("a", 4, &[1]), append("a", 4, &[1])];
        assert!(!plan(&appends, Known::default()).is_guess(), "a repeat within the group stands and falls with it");
    }

    #[test]
    fn the_streams_of_refused_appends_are_checked_too() {
        let lengths = HashMap::from([("a", 2)]);
        let appends = [append("a", 1, &[1]), append("b", 0, &[2])];
        let plan = plan(&appends, Known { lengths, looked_up: true, ..Known::default() });
        assert_eq!(plan.lengths.len(), 2, "a conflict is only one while the stream is as long as it was");
        assert_eq!(plan.writes.len(), 1);
    }
}
