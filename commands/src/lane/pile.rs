//! One stream's waiting commands, and what a round decided for each of them.

use std::collections::HashSet;

use domain::decider::Decider;
use ports::{
    keys::Keys,
    store::{Append, NewEvent, Revision},
};
use uuid::Uuid;

use super::{Entry, stream_name};
use crate::{
    codec,
    desk::{Answer, Error, Inspect, Keep, Work},
    request::Request,
};

/// What a round decided for one command.
pub(super) enum Verdict<D: Decider> {
    /// These events are in the round's append.
    Planned {
        events: Vec<D::Event>,
        /// How many events the stream holds after them.
        revision: Revision,
    },
    /// It is so already, at this revision. A repeat is answered as before.
    Already { revision: Revision },
    /// It is refused. A repeat of what was once accepted is answered as before.
    Refused(Error<D::Rejection>),
    /// It may be a repeat: look before deciding.
    Suspect,
}

/// A command with its verdict.
pub(super) struct Decided<D: Decider> {
    pub(super) command: D::Command,
    pub(super) request: Request,
    pub(super) keep: Keep<D>,
    pub(super) answer: Answer<D>,
    pub(super) verdict: Verdict<D>,
}

/// One stream's work.
pub(super) struct Pile<D: Decider> {
    pub(super) id: D::Id,
    pub(super) stream: String,
    pub(super) decided: Vec<Decided<D>>,
    pub(super) inspects: Vec<Inspect<D>>,
    /// How often it was decided in vain.
    pub(super) rounds: u32,
    /// The state as this round found it, if another writer is to be expected.
    pub(super) before: Option<Entry<D>>,
    /// Whether this round appends to the stream.
    pub(super) appended: bool,
    /// How many events the stream must hold for the append.
    expected: Revision,
    events: Vec<NewEvent>,
    /// First event ids of requests that are known to the log.
    suspects: HashSet<Uuid>,
}

impl<D: Decider> Pile<D> {
    pub(super) fn new(id: D::Id) -> Self {
        let stream = stream_name::<D>(&id);
        Self {
            id,
            stream,
            decided: Vec::new(),
            inspects: Vec::new(),
            rounds: 0,
            before: None,
            appended: false,
            expected: 0,
            events: Vec::new(),
            suspects: HashSet::new(),
        }
    }

    pub(super) fn push(&mut self, work: Work<D>) {
        match work {
            Work::Execute { command, request, keep, answer } => {
                self.decided.push(Decided { command, request, keep, answer, verdict: Verdict::Suspect });
            }
            Work::Inspect(inspect) => self.inspects.push(inspect),
        }
    }

    /// Takes a command back for another round.
    pub(super) fn put_back(&mut self, decided: Decided<D>) {
        self.decided.push(decided);
    }

    /// Adds what came later.
    pub(super) fn join(&mut self, mut later: Self) {
        self.decided.append(&mut later.decided);
        self.inspects.append(&mut later.inspects);
    }

    /// How many commands and looks there are.
    pub(super) const fn len(&self) -> usize {
        self.decided.len() + self.inspects.len()
    }

    /// True when there is nothing to do.
    pub(super) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when nothing can change the stream.
    pub(super) const fn only_looks(&self) -> bool {
        self.decided.is_empty()
    }

    /// True when the stream may be assumed to be new without a look; after a round that went wrong, never.
    pub(super) fn creates(&self) -> bool {
        !self.appended && self.inspects.is_empty() && self.decided.iter().all(|decided| D::creates(&decided.command))
    }

    /// Decides every command against `entry` and what the earlier ones made of it.
    pub(super) async fn plan(&mut self, mut entry: Entry<D>, keys: &dyn Keys) -> Result<Entry<D>, Error<D::Rejection>> {
        self.expected = entry.revision;
        self.events.clear();
        let mut seen = self.suspects.clone();
        for decided in &mut self.decided {
            let first = decided.request.event_id(&self.stream, 0).0;
            decided.verdict = if seen.contains(&first) {
                Verdict::Suspect
            } else {
                judge(&decided.command, &decided.request, &entry)
            };
            if let Verdict::Planned { events, revision } = &mut decided.verdict {
                seen.insert(first);
                for (n, event) in (0_u32..).zip(events) {
                    let id = decided.request.event_id(&self.stream, n);
                    codec::seal(event, id, keys).await?;
                    let encoded = codec::encode(event, id, &decided.request);
                    self.events.push(encoded.map_err(|why| Error::Encode(why.to_string()))?);
                    entry.fold(event, id);
                }
                *revision = entry.revision;
                if let Some(keep) = &mut decided.keep {
                    keep(&entry.state);
                }
            }
        }
        self.appended = !self.events.is_empty();
        Ok(entry)
    }

    /// The round's append, if the stream has one.
    pub(super) fn append(&mut self) -> Option<Append> {
        let events = std::mem::take(&mut self.events);
        self.appended.then(|| Append {
            recorded_at: None,
            stream: self.stream.clone(),
            expected: self.expected,
            events,
        })
    }

    /// First event ids of the commands that had no effect in this round: they may have had it before.
    pub(super) fn lookups(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.decided
            .iter()
            .filter(|decided| !matches!(decided.verdict, Verdict::Planned { .. }))
            .map(|decided| decided.request.event_id(&self.stream, 0).0)
    }

    /// Marks commands for a look before they are decided again: those whose planned event ids `known` picks.
    pub(super) fn suspect(&mut self, known: impl Fn(&[Uuid]) -> bool) {
        for decided in &self.decided {
            let Verdict::Planned { events, .. } = &decided.verdict else {
                continue;
            };
            let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
            let ids: Vec<Uuid> = (0..count).map(|n| decided.request.event_id(&self.stream, n).0).collect();
            if known(&ids) {
                self.suspects.extend(ids.first());
            }
        }
    }

    /// Answers everything with an error.
    pub(super) fn fail(self, error: &Error<D::Rejection>) {
        for decided in self.decided {
            (decided.answer)(Err(error.clone()));
        }
        for inspect in self.inspects {
            inspect(Err(error.clone()));
        }
    }
}

/// Decides one command.
fn judge<D: Decider>(command: &D::Command, request: &Request, entry: &Entry<D>) -> Verdict<D> {
    if let Some(expected) = request.if_match.filter(|expected| *expected != entry.revision) {
        return Verdict::Refused(Error::Stale { expected, actual: entry.revision });
    }
    match D::decide(&entry.state, command) {
        Ok(events) if events.is_empty() => Verdict::Already { revision: entry.revision },
        Ok(events) => Verdict::Planned { events, revision: 0 },
        Err(rejection) => Verdict::Refused(Error::Rejected(rejection)),
    }
}
