//! Appending: one append at a time per stream, and what the server does not tell about it.

use std::collections::{HashMap, HashSet};

use eventstore::{AppendToStreamOptions, StreamState, WriteResult};
use futures::{StreamExt as _, stream};
use ports::store::{Append, Appended, Error, Position, Refused, Revision};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    calls::{Answer, Calls, Fault},
    event::{is_same, outgoing},
    store::EventStoreDb,
};

/// The answer to one append.
type Answered = Result<Appended, Refused>;

impl EventStoreDb {
    /// Writes a batch: the appends to one stream one after another, different streams beside each other.
    pub(crate) async fn write(&self, batch: Vec<Append>) -> Result<Vec<Answered>, Error> {
        if let Some(empty) = batch.iter().find(|append| append.events.is_empty()) {
            return Err(Error::Failed(format!("an append to {} has no events", empty.stream)));
        }
        let count = batch.len();
        let groups = groups(batch);
        let at_once = self.limits.streams_in_flight_max.max(1);
        let written: Vec<_> =
            stream::iter(groups).map(|group| self.write_group(group)).buffer_unordered(at_once).collect().await;
        let mut answers: Vec<Option<Answered>> = vec![None; count];
        let mut failure = None;
        for (done, failed) in written {
            for (index, answer) in done {
                if let Some(place) = answers.get_mut(index) {
                    *place = Some(answer);
                }
            }
            failure = match failed {
                // One that may have been written makes the whole batch one.
                Some(Error::Unknown(_)) => failed,
                _ => failure.or(failed),
            };
        }
        match failure {
            None => answers.into_iter().map(|answer| answer.ok_or_else(lost)).collect(),
            // Of what the port promises after any other failure, nothing would be true.
            Some(error) if answers.iter().flatten().any(Result::is_ok) => Err(Error::Unknown(error.to_string())),
            Some(error) => Err(error),
        }
    }

    /// Writes appends one after another, up to the first that fails.
    async fn write_group(&self, group: Vec<(usize, Append)>) -> (Vec<(usize, Answered)>, Option<Error>) {
        let mut done = Vec::with_capacity(group.len());
        for (index, append) in group {
            match self.write_one(&append).await {
                Ok(answer) => done.push((index, answer)),
                Err(error) => return (done, Some(error)),
            }
        }
        (done, None)
    }

    async fn write_one(&self, append: &Append) -> Result<Answered, Error> {
        self.look_back().await?;
        if append.expected > 0 {
            self.look_at(&append.stream).await?;
        }
        if let Some(known) = self.repeat(append).await? {
            return Ok(known);
        }
        let mut seen = HashSet::new();
        if let Some(twice) = append.events.iter().find(|event| !seen.insert(event.id)) {
            return Ok(Err(Refused::Known { id: twice.id }));
        }
        let before = self.newest();
        match send(&self.calls, append).await? {
            Ok(accepted) => self.settle(append, &accepted, before).await.map(Ok),
            Err(Answer::Conflict(actual)) => {
                // Another node may have written these very events meanwhile, among others.
                let known = self.repeat(append).await?;
                Ok(known.unwrap_or(Err(Refused::Conflict { expected: append.expected, actual })))
            }
            Err(Answer::Known) => {
                self.catch_up().await?;
                let first = append.events.first().map_or(Uuid::nil(), |event| event.id);
                Ok(self.repeat(append).await?.unwrap_or(Err(Refused::Known { id: first })))
            }
            Err(Answer::NotFound) => Err(Error::Failed(format!("stream {} cannot be written", append.stream))),
        }
    }

    /// The answer to an append of which at least one event is known already. Where only some are, the others may be too
    /// old to be known, and the stream says whether they are there.
    async fn repeat(&self, append: &Append) -> Result<Option<Answered>, Error> {
        let (known, beginning) = {
            let window = self.window();
            (window.known(append), window.beginning(append))
        };
        let (Some(Err(Refused::Known { .. })), Some(first_revision)) = (&known, beginning) else { return Ok(known) };
        let count = append.events.len();
        let stored = self.calls.stream(&append.stream, first_revision, count).await?;
        let whole = stored.len() == count && stored.iter().zip(&append.events).all(|(old, new)| old.id == new.id);
        match stored.last() {
            Some(last) if whole => {
                Ok(Some(Ok(Appended { first_revision, last_position: last.position, fresh: false })))
            }
            _ => Ok(known),
        }
    }

    /// What an accepted append was: reads it back, because the server accepts repeats without a word.
    async fn settle(&self, append: &Append, accepted: &WriteResult, before: Position) -> Result<Appended, Error> {
        let count = append.events.len();
        let first_revision = (accepted.next_expected_version + 1).saturating_sub(count as u64);
        let unread = |why: Error| Error::Unknown(format!("written, but not read back: {why}"));
        let stored = self.calls.stream(&append.stream, first_revision, count).await.map_err(unread)?;
        let last = stored.last().filter(|_| stored.len() == count).ok_or_else(lost)?;
        let ours = stored.iter().zip(&append.events).all(|(stored, new)| is_same(stored, new));
        let late = stored.first().is_some_and(|first| first.position > before);
        let as_expected = first_revision == append.expected;
        let last_position = last.position;
        let mut window = self.window();
        window.learn(&stored);
        let told = window.tell(append.events.iter().map(|event| event.id));
        drop(window);
        self.saw(last_position);
        Ok(Appended { first_revision, last_position, fresh: ours && late && as_expected && told })
    }
}

/// Sends one append, as often as it takes.
async fn send(calls: &Calls, append: &Append) -> Result<Result<WriteResult, Answer>, Error> {
    let silence = calls.timeout();
    let options = AppendToStreamOptions::default().stream_state(state(append.expected));
    let events: Vec<_> = append.events.iter().map(|event| outgoing(event, append.recorded_at)).collect();
    let send = |client: eventstore::Client| {
        let (stream, options, events) = (append.stream.clone(), options.clone(), events.clone());
        async move {
            let answered = timeout(silence, client.append_to_stream(stream, &options, events)).await;
            Ok(answered.map_err(|_elapsed| Fault::Silent)??)
        }
    };
    calls.call(true, send).await
}

/// What the server calls a stream of this length.
fn state(expected: Revision) -> StreamState {
    expected.checked_sub(1).map_or(StreamState::NoStream, StreamState::StreamRevision)
}

fn lost() -> Error {
    Error::Unknown("what was written is not there".to_owned())
}

/// Appends by stream, each with its place in the batch. When an id occurs in two streams the order decides who has it, and
/// all are written one after another.
fn groups(batch: Vec<Append>) -> Vec<Vec<(usize, Append)>> {
    let mut owners: HashMap<Uuid, &str> = HashMap::new();
    let crossed = batch.iter().any(|append| {
        let stream = append.stream.as_str();
        append.events.iter().any(|event| *owners.entry(event.id).or_insert(stream) != stream)
    });
    // What is copied keeps its order also among streams.
    if crossed || batch.iter().any(|append| append.recorded_at.is_some()) {
        return vec![batch.into_iter().enumerate().collect()];
    }
    let mut groups: Vec<Vec<(usize, Append)>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (index, append) in batch.into_iter().enumerate() {
        let place = *places.entry(append.stream.clone()).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(place) {
            group.push((index, append));
        }
    }
    groups
}
