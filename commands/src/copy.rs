//! Moving a shop: a log and its members' keys, copied from one engine to another.
//!
//! Ids, streams, revisions, order and times stay as they are; only positions belong to the engine. What the target has
//! already must be how the source begins: so a copy that was interrupted goes on where it ended, and nothing is ever
//! mixed with another shop's past. At the end both logs are read once more and must come to the same hash.
//!
//! What is decided here is decided by what was read. A log's own distances only say how far it is: some estimate them.

use std::sync::Arc;

use ports::{
    keys::{self, Keys},
    store::{self, Append, EventStore, NewEvent, Position, Recorded, Refused},
};
use sha2::{Digest as _, Sha256};

/// How many events, or members, are read at a time.
const PAGE: usize = 2_000;

/// Why a copy did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of the logs cannot be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// One of the key stores cannot be read or written.
    #[error(transparent)]
    Keys(#[from] keys::Error),
    /// The target holds something else than the source at the same place.
    #[error("event {number} of the target is not that of the source: it holds another shop, or was written to since")]
    Different {
        /// Which event, from 1.
        number: u64,
    },
    /// The target holds more than the source.
    #[error("the target holds more than the {events} events of the source")]
    Longer {
        /// How many the source has.
        events: u64,
    },
    /// The target refuses an event: somebody else writes to it.
    #[error("the target refuses an event of stream {stream}: {refused}")]
    Refused {
        /// Whose event.
        stream: String,
        /// Why.
        refused: Refused,
    },
    /// Both were read to the end and are not the same.
    #[error("the copy differs: {source_hash} became {target_hash}")]
    Hash {
        /// Of the source.
        source_hash: String,
        /// Of the target.
        target_hash: String,
    },
}

/// What a copy does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Compares what the target has with how the source begins.
    Compare,
    /// Writes what the target lacks.
    Copy,
    /// Reads both once more.
    Verify,
    /// Nothing more.
    Done,
}

/// A copy on its way. Call [`LogCopy::step`] until it is done.
pub struct LogCopy {
    source: Cursor,
    target: Cursor,
    /// What is copied: the source as it was at the beginning.
    until: Position,
    /// How many events that is: about, until all of them were read.
    events: u64,
    /// How many of them the target has already: about, until all of those were read.
    compared: u64,
    copied: u64,
    phase: Phase,
}

/// What a copy came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Events of the source.
    pub events: u64,
    /// How many of them were written now; the others were there already.
    pub copied: u64,
    /// SHA-256 over everything but the positions, of source and target alike.
    pub sha256: String,
}

/// A reader of a log that counts and sums up what it has read.
struct Cursor {
    log: Arc<dyn EventStore>,
    at: Position,
    count: u64,
    sum: Sha256,
}

impl Cursor {
    fn new(log: Arc<dyn EventStore>) -> Self {
        Self { log, at: Position::START, count: 0, sum: Sha256::new() }
    }

    fn rewind(&mut self) {
        (self.at, self.count, self.sum) = (Position::START, 0, Sha256::new());
    }

    async fn read(&mut self, limit: usize, until: Position) -> Result<Vec<Recorded>, Error> {
        let mut page = self.log.read_all(self.at, limit).await?;
        page.truncate(page.partition_point(|event| event.position <= until));
        for event in &page {
            self.at = event.position;
            self.count += 1;
            add(&mut self.sum, event);
        }
        Ok(page)
    }

    fn hash(&self) -> String {
        self.sum.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Adds all of an event but its position. Lengths are part of the sum, so nothing can move from one field to the next.
fn add(sum: &mut Sha256, event: &Recorded) {
    for text in [event.stream.as_bytes(), event.kind.as_bytes(), &event.data, &event.metadata] {
        sum.update((text.len() as u64).to_be_bytes());
        sum.update(text);
    }
    sum.update(event.revision.to_be_bytes());
    sum.update(event.id.as_bytes());
    sum.update(event.recorded_at.as_microsecond().to_be_bytes());
}

impl LogCopy {
    /// Looks at both logs; nothing is written yet.
    ///
    /// # Errors
    /// [`Error`] when one cannot be read.
    pub async fn begin(source: Arc<dyn EventStore>, target: Arc<dyn EventStore>) -> Result<Self, Error> {
        let until = source.head().await?;
        let events = source.distance(Position::START, until).await?;
        let compared = target.distance(Position::START, target.head().await?).await?;
        let (source, target) = (Cursor::new(source), Cursor::new(target));
        Ok(Self { source, target, until, events, compared, copied: 0, phase: Phase::Compare })
    }

    /// What it does next, and over about how many events.
    #[must_use]
    pub const fn phase(&self) -> (Phase, u64) {
        let events = match self.phase {
            Phase::Compare => self.compared,
            Phase::Copy => self.events.saturating_sub(self.compared),
            Phase::Verify => self.events,
            Phase::Done => 0,
        };
        (self.phase, events)
    }

    /// Does a part of the phase. Answers with how many events it has dealt with.
    ///
    /// # Errors
    /// [`Error`]; begin again to go on.
    pub async fn step(&mut self) -> Result<u64, Error> {
        let done = match self.phase {
            Phase::Compare => self.compare().await?,
            Phase::Copy => self.copy().await?,
            Phase::Verify => self.verify().await?,
            Phase::Done => 0,
        };
        if done == 0 {
            self.phase = match self.phase {
                Phase::Compare => {
                    self.compared = self.target.count;
                    Phase::Copy
                }
                Phase::Copy => {
                    self.events = self.source.count;
                    self.source.rewind();
                    self.target.rewind();
                    Phase::Verify
                }
                Phase::Verify | Phase::Done => Phase::Done,
            };
        }
        Ok(done)
    }

    /// Ends the copy.
    ///
    /// # Errors
    /// [`Error::Hash`] when the two logs are not the same.
    pub fn finish(self) -> Result<Copied, Error> {
        let (source_hash, target_hash) = (self.source.hash(), self.target.hash());
        if source_hash != target_hash || self.phase != Phase::Done {
            return Err(Error::Hash { source_hash, target_hash });
        }
        Ok(Copied { events: self.source.count, copied: self.copied, sha256: source_hash })
    }

    /// Reads as much of both as the target has.
    async fn compare(&mut self) -> Result<u64, Error> {
        let there = self.target.read(PAGE, Position(u64::MAX)).await?;
        let here = self.source.read(there.len(), self.until).await?;
        let same =
            |(ours, theirs): (&Recorded, &Recorded)| Recorded { position: theirs.position, ..ours.clone() } == *theirs;
        match here.iter().zip(&there).position(|pair| !same(pair)) {
            Some(at) => Err(Error::Different { number: self.source.count - (here.len() - at) as u64 + 1 }),
            None if here.len() < there.len() => Err(Error::Longer { events: self.source.count }),
            None => Ok(there.len() as u64),
        }
    }

    /// The same once more, and what the source has beyond it: then the hashes are not the same.
    async fn verify(&mut self) -> Result<u64, Error> {
        match self.compare().await? {
            0 => Ok(self.source.read(PAGE, self.until).await?.len() as u64),
            done => Ok(done),
        }
    }

    /// Writes what comes next.
    async fn copy(&mut self) -> Result<u64, Error> {
        let page = self.source.read(PAGE, self.until).await?;
        let events = page.len() as u64;
        let appends = appends(page);
        let streams: Vec<String> = appends.iter().map(|append| append.stream.clone()).collect();
        if appends.is_empty() {
            return Ok(0);
        }
        for (stream, answer) in streams.into_iter().zip(self.target.log.append(appends).await?) {
            answer.map_err(|refused| Error::Refused { stream, refused })?;
        }
        self.copied += events;
        Ok(events)
    }
}

/// Events as appends: one for each run of a stream's events that were recorded together.
fn appends(page: Vec<Recorded>) -> Vec<Append> {
    let mut appends: Vec<Append> = Vec::new();
    for event in page {
        let Recorded { stream, revision, id, kind, recorded_at, data, metadata, .. } = event;
        let event = NewEvent { id, kind: kind.into(), data, metadata };
        match appends.last_mut().filter(|last| last.stream == stream && last.recorded_at == Some(recorded_at)) {
            Some(last) => last.events.push(event),
            None => {
                let recorded_at = Some(recorded_at);
                appends.push(Append { stream, expected: revision, events: vec![event], recorded_at });
            }
        }
    }
    appends
}

/// Copies every member's key, and who was forgotten. Answers with how many members there are.
///
/// # Errors
/// [`Error::Keys`] also when the target knows a member otherwise.
pub async fn keys(source: &dyn Keys, target: &dyn Keys) -> Result<u64, Error> {
    let (mut members, mut after) = (0, None);
    loop {
        let page = source.page(after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(members) };
        after = Some(*last);
        members += page.len() as u64;
        for (member, key) in page {
            match key {
                Some(key) => target.adopt(member, key).await?,
                None => target.forget(member).await?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::{SignedDuration, Timestamp};
    use ports::memory::{ManualClock, MemoryKeys, MemoryStore};
    use uuid::Uuid;

    use super::*;
    use crate::vague::Vague;

    const START: Timestamp = Timestamp::constant(1_700_000_000, 123_456_000);

    fn store(start: Timestamp) -> (Arc<dyn EventStore>, ManualClock) {
        let clock = ManualClock::new(start);
        (Arc::new(MemoryStore::new(Arc::new(clock.clone()))), clock)
    }

    fn append(stream: &str, expected: u64, numbers: std::ops::Range<u128>) -> Append {
        let event = |n| NewEvent {
            id: Uuid::from_u128(n),
            kind: "thing.happened".into(),
            data: Bytes::from(format!(r#"{{"n":{n}}}"#)),
            metadata: Bytes::from_static(b"{}"),
        };
        Append { stream: stream.into(), expected, events: numbers.map(event).collect(), recorded_at: None }
    }

    /// 5,000 events of two streams that alternate, a second apart.
    async fn past() -> Arc<dyn EventStore> {
        let (log, clock) = store(START);
        for n in 0..500_u64 {
            clock.advance(SignedDuration::from_secs(1));
            let (first, expected) = (u128::from(n) * 10 + 1, n / 2 * 10);
            let append = append(&format!("thing-{}", n % 2), expected, first..first + 10);
            log.append(vec![append]).await.unwrap()[0].clone().unwrap();
        }
        log
    }

    async fn copy(source: &Arc<dyn EventStore>, target: &Arc<dyn EventStore>) -> Result<Copied, Error> {
        let mut copy = LogCopy::begin(Arc::clone(source), Arc::clone(target)).await?;
        while copy.phase().0 != Phase::Done {
            copy.step().await?;
        }
        copy.finish()
    }

    async fn all(log: &Arc<dyn EventStore>) -> Vec<Recorded> {
        log.read_all(Position::START, usize::MAX).await.unwrap()
    }

    #[tokio::test]
    async fn a_copy_has_everything_in_its_order_at_its_time_and_is_made_once() {
        let (source, (target, _)) = (past().await, store(START));
        let copied = copy(&source, &target).await.unwrap();
        assert_eq!((copied.events, copied.copied), (5_000, 5_000));
        assert_eq!(all(&target).await, all(&source).await);
        let again = copy(&source, &target).await.unwrap();
        assert_eq!((again.copied, &again.sha256), (0, &copied.sha256));
        let (empty, (target, _)) = (store(START).0, store(START));
        assert_eq!(copy(&empty, &target).await.unwrap().events, 0);
    }

    #[tokio::test]
    async fn an_interrupted_copy_goes_on_and_one_of_a_living_shop_takes_what_is_there() {
        let (source, (target, _)) = (past().await, store(START));
        let mut begun = LogCopy::begin(Arc::clone(&source), Arc::clone(&target)).await.unwrap();
        assert_eq!((begun.step().await.unwrap(), begun.step().await.unwrap()), (0, PAGE as u64));
        drop(begun);
        let mut rest = LogCopy::begin(Arc::clone(&source), Arc::clone(&target)).await.unwrap();
        assert_eq!(rest.phase(), (Phase::Compare, PAGE as u64));
        source.append(vec![append("late-1", 0, 9_000..9_001)]).await.unwrap()[0].clone().unwrap();
        while rest.phase().0 != Phase::Done {
            rest.step().await.unwrap();
        }
        assert_eq!(rest.finish().unwrap().copied, 5_000 - PAGE as u64);
        assert_eq!(copy(&source, &target).await.unwrap().copied, 1);
        assert_eq!(all(&target).await, all(&source).await);
    }

    #[tokio::test]
    async fn another_past_a_longer_one_and_other_times_are_refused() {
        let (source, (target, _)) = (past().await, store(START));
        target.append(vec![append("thing-0", 0, 1..2)]).await.unwrap()[0].clone().unwrap();
        assert!(matches!(copy(&source, &target).await, Err(Error::Different { number: 1 })), "at another time");
        let (empty, _) = store(START);
        assert!(matches!(copy(&empty, &target).await, Err(Error::Longer { events: 0 })));
        let (target, _) = store(START);
        let mut begun = LogCopy::begin(Arc::clone(&source), Arc::clone(&target)).await.unwrap();
        begun.step().await.unwrap();
        target.append(vec![append("thing-0", 0, 7_000..7_001)]).await.unwrap()[0].clone().unwrap();
        assert!(matches!(begun.step().await, Err(Error::Refused { .. })), "somebody else writes to it");
        assert!(matches!(begun.finish(), Err(Error::Hash { .. })), "nothing unfinished is a copy");
    }

    /// The same log, with distances that are wrong.
    fn wrong(log: &MemoryStore, distance: u64) -> Arc<dyn EventStore> {
        Arc::new(Vague { log: log.clone(), found_max: 0, distance })
    }

    #[tokio::test]
    async fn whatever_logs_take_their_distances_for_a_copy_counts_what_it_reads() {
        let past = all(&past().await).await;
        let clock = Arc::new(ManualClock::new(START));
        for (here, there) in [(0, 9_000), (9_000, 0), (3, u64::MAX), (5_000, 5_000)] {
            let (source, target) = (MemoryStore::new(clock.clone()), MemoryStore::new(clock.clone()));
            source.append(appends(past.clone())).await.unwrap();
            let (source, target) = (wrong(&source, here), wrong(&target, there));
            let first = copy(&source, &target).await.unwrap();
            assert_eq!((first.events, first.copied), (5_000, 5_000), "{here} and {there}");
            let again = copy(&source, &target).await.unwrap();
            assert_eq!((again.events, again.copied, again.sha256), (5_000, 0, first.sha256), "{here} and {there}");
            // What is wrong is still found, and named by its number.
            target.append(vec![append("late-1", 0, 9_000..9_001)]).await.unwrap()[0].clone().unwrap();
            assert!(matches!(copy(&source, &target).await, Err(Error::Longer { events: 5_000 })));
            source.append(vec![append("late-2", 0, 9_001..9_002)]).await.unwrap()[0].clone().unwrap();
            assert!(matches!(copy(&source, &target).await, Err(Error::Different { number: 5_001 })));
        }
    }

    #[tokio::test]
    async fn a_target_that_loses_its_end_meanwhile_is_no_copy() {
        let (source, (target, _)) = (past().await, store(START));
        let mut begun = LogCopy::begin(Arc::clone(&source), target).await.unwrap();
        while begun.phase().0 != Phase::Verify {
            begun.step().await.unwrap();
        }
        // A disk that was set back to what it held some time ago.
        let (less, _) = store(START);
        less.append(appends(source.read_all(Position::START, 3_000).await.unwrap())).await.unwrap();
        begun.target.log = less;
        while begun.phase().0 != Phase::Done {
            begun.step().await.unwrap();
        }
        assert!(matches!(begun.finish(), Err(Error::Hash { .. })));
    }

    #[tokio::test]
    async fn keys_move_with_those_who_were_forgotten() {
        let (source, target) = (MemoryKeys::new(1), MemoryKeys::new(2));
        let member = |n: u128| Uuid::from_u128(n);
        let key = source.key(member(1)).await.unwrap();
        source.key(member(2)).await.unwrap();
        source.forget(member(2)).await.unwrap();
        assert_eq!(keys(&source, &target).await.unwrap(), 2);
        assert_eq!(target.existing(member(1)).await.unwrap(), Some(key));
        assert!(target.key(member(2)).await.is_err(), "forgotten there, too");
        target.key(member(3)).await.unwrap();
        source.key(member(3)).await.unwrap();
        assert!(keys(&source, &target).await.is_err(), "nobody's key is replaced");
    }
}
