//! Reading: streams and the log, forward and back, and counting.

use std::time::Duration;

use eventstore::{
    Position as Place, ReadAllOptions, ReadStream, ReadStreamOptions, StreamPosition, SubscriptionFilter,
};
use ports::store::{Error, Position, Recorded, Revision};
use tokio::time::timeout;

use crate::{
    calls::{Answer, Calls, Fault},
    event::incoming,
};

/// What the server counts in.
const POSITION_MAX: u64 = i64::MAX as u64;

/// All that is not the server's own: its types begin with `$`, and so do those of snapshots.
pub fn ours() -> SubscriptionFilter {
    SubscriptionFilter::on_event_type().exclude_system_events()
}

fn place(position: Position) -> Place {
    Place { commit: position.0, prepare: position.0 }
}

/// Takes all that a read yields; each event has its own time to come.
async fn collect(mut read: ReadStream, silence: Duration) -> Result<Vec<Recorded>, Fault> {
    let mut events = Vec::new();
    while let Some(event) = timeout(silence, read.next()).await.map_err(|_elapsed| Fault::Silent)?? {
        if let Some(event) = event.event {
            events.push(incoming(event)?);
        }
    }
    Ok(events)
}

impl Calls {
    /// Up to `limit` events of a stream from a revision (inclusive); an unknown stream is empty.
    pub async fn stream(&self, name: &str, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        if limit == 0 || from > POSITION_MAX {
            return Ok(Vec::new());
        }
        let options = ReadStreamOptions::default().forwards().position(StreamPosition::Position(from));
        let events = self.read_stream(name, options.max_count(limit)).await?;
        match events.iter().zip(from..).find(|(event, revision)| event.revision != *revision) {
            Some((_, missing)) => Err(Error::Corrupt(format!("revision {missing} of {name} is missing"))),
            None => Ok(events),
        }
    }

    /// The newest events of a stream, newest first.
    pub async fn stream_back(&self, name: &str, limit: usize) -> Result<Vec<Recorded>, Error> {
        let options = ReadStreamOptions::default().backwards().position(StreamPosition::End);
        self.read_stream(name, options.max_count(limit)).await
    }

    async fn read_stream(&self, name: &str, options: ReadStreamOptions) -> Result<Vec<Recorded>, Error> {
        let silence = self.timeout();
        let read = |client: eventstore::Client| {
            let (name, options) = (name.to_owned(), options.clone());
            async move {
                let opened = timeout(silence, client.read_stream(name, &options)).await;
                let read = opened.map_err(|_elapsed| Fault::Silent)??;
                collect(read, silence).await
            }
        };
        match self.call(false, read).await? {
            Ok(events) => Ok(events),
            Err(Answer::NotFound) => Ok(Vec::new()),
            Err(Answer::Conflict(_) | Answer::Known) => Err(Error::Failed("a read has no conflicts".to_owned())),
        }
    }

    /// Up to `limit` events of the log after a position (exclusive).
    pub async fn all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error> {
        if limit == 0 || after.0 > POSITION_MAX {
            return Ok(Vec::new());
        }
        let from = match after {
            Position::START => StreamPosition::Start,
            after => StreamPosition::Position(place(after)),
        };
        // A forward read begins with the event at its position.
        let options = ReadAllOptions::default().forwards().position(from).max_count(limit.saturating_add(1));
        let mut events = self.read_all(options).await?;
        events.retain(|event| event.position > after);
        events.truncate(limit);
        Ok(events)
    }

    /// Up to `limit` events of the log before a position (exclusive) or from its end, newest first.
    pub async fn all_back(&self, before: Option<Position>, limit: usize) -> Result<Vec<Recorded>, Error> {
        let from = before.map_or(StreamPosition::End, |before| StreamPosition::Position(place(before)));
        self.read_all(ReadAllOptions::default().backwards().position(from).max_count(limit)).await
    }

    async fn read_all(&self, options: ReadAllOptions) -> Result<Vec<Recorded>, Error> {
        let options = options.filter(ours());
        let silence = self.timeout();
        let read = |client: eventstore::Client| {
            let options = options.clone();
            async move {
                let opened = timeout(silence, client.read_all(&options)).await;
                let read = opened.map_err(|_elapsed| Fault::Silent)??;
                collect(read, silence).await
            }
        };
        let events = self.call(false, read).await?;
        events.map_err(|_answer| Error::Failed("the whole log could not be read".to_owned()))
    }

    /// How many events lie after `from` up to `to`: counted up to `exact_max`, then estimated by their density.
    pub async fn distance(&self, from: Position, to: Position, page: usize, exact_max: u64) -> Result<u64, Error> {
        let (mut counted, mut at) = (0, from);
        while counted < exact_max {
            let events = self.all(at, page.max(1)).await?;
            counted += events.iter().filter(|event| event.position <= to).count() as u64;
            match events.last() {
                Some(last) if last.position < to && events.len() >= page => at = last.position,
                _ => return Ok(counted),
            }
        }
        let newest = self.all_back(None, 1).await?.first().map_or(at, |event| event.position);
        let (seen, unseen) = (at.0.saturating_sub(from.0).max(1), to.min(newest).0.saturating_sub(at.0));
        let more = u128::from(unseen) * u128::from(counted) / u128::from(seen);
        Ok(counted.saturating_add(u64::try_from(more).unwrap_or(u64::MAX)))
    }
}
