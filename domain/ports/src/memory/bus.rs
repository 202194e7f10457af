//! The bus in memory: a vector of messages, and a channel for wake-ups.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::watch;

use super::lock;
use crate::{
    bus::{Announcements, Bus, Error, Held, Message, Page, Place, Published, Tail},
    store::Position,
};

/// The largest body, in bytes: a mebibyte, as brokers have it.
const PAYLOAD_MAX: usize = 1 << 20;

/// A bus in memory. A clone is the same bus. It can be made to fail, the way a broker does.
#[derive(Debug, Clone)]
pub struct MemoryBus {
    stream: Arc<Mutex<Stream>>,
    head: watch::Sender<Position>,
}

#[derive(Debug, Default)]
struct Stream {
    sequence: u64,
    messages: Vec<(u64, Message)>,
    failure: Option<Failure>,
}

/// How the next publishing fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The connection is lost after so many messages of the batch; nobody hears of them.
    Lost(usize),
    /// Only so many messages of the batch are taken, and it says so.
    Short(usize),
    /// There is no space.
    Full,
}

impl MemoryBus {
    /// An empty bus.
    #[must_use]
    pub fn new() -> Self {
        Self { stream: Arc::default(), head: watch::Sender::new(Position::START) }
    }

    /// Everything it holds, in order.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        lock(&self.stream).messages.iter().map(|(_, message)| message.clone()).collect()
    }

    /// Forgets everything, as a broker whose disk was replaced.
    pub fn wipe(&self) {
        *lock(&self.stream) = Stream::default();
    }

    /// Removes the messages that `which` names; the sequence goes on.
    pub fn remove(&self, which: impl Fn(&Message) -> bool) {
        lock(&self.stream).messages.retain(|(_, message)| !which(message));
    }

    /// Loses the newest messages and the memory of them, as a broker that acknowledged before it synced.
    pub fn lose_newest(&self, count: usize) {
        let mut stream = lock(&self.stream);
        let left = stream.messages.len().saturating_sub(count);
        stream.messages.truncate(left);
        stream.sequence = stream.messages.last().map_or(0, |(sequence, _)| *sequence);
    }

    /// Lets the next publishing fail.
    pub fn fail_next(&self, failure: Failure) {
        lock(&self.stream).failure = Some(failure);
    }
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

impl Stream {
    fn push(&mut self, messages: &[Message]) {
        for message in messages {
            self.sequence += 1;
            self.messages.push((self.sequence, message.clone()));
        }
    }
}

fn held(entry: &(u64, Message)) -> Held {
    let (sequence, message) = entry;
    let header = |name| {
        message.headers.iter().find(|(header, _)| *header == name).map(|(_, value): &(_, String)| value.as_str())
    };
    let place = Place::read(header);
    Held { sequence: *sequence, id: message.id, position: message.position, through: message.through, place }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn tail(&self) -> Result<Tail, Error> {
        let stream = lock(&self.stream);
        let newest = stream.messages.last().map(held);
        Ok(Tail { sequence: stream.sequence, newest, payload_max: PAYLOAD_MAX, keeps: None })
    }

    async fn publish(&self, after: u64, batch: &[Message]) -> Result<Published, Error> {
        let mut stream = lock(&self.stream);
        if stream.sequence != after {
            return Err(Error::Moved { after });
        }
        let count = match stream.failure.take() {
            Some(Failure::Full) => return Err(Error::Full("on demand".to_owned())),
            Some(Failure::Lost(count)) => {
                stream.push(&batch[..count.min(batch.len())]);
                return Err(Error::Unknown("on demand".to_owned()));
            }
            Some(Failure::Short(count)) => count.clamp(1, batch.len()),
            None => batch.len(),
        };
        stream.push(&batch[..count]);
        Ok(Published { count, sequence: stream.sequence })
    }

    async fn held(&self, after: u64, limit: usize) -> Result<Page, Error> {
        let stream = lock(&self.stream);
        let behind = stream.messages.iter().filter(|(sequence, _)| *sequence > after);
        let held: Vec<Held> = behind.take(limit).map(held).collect();
        Ok(Page { next: held.last().map(|last| last.sequence), held })
    }

    async fn announce(&self, head: Position) -> Result<(), Error> {
        self.head.send_replace(head);
        Ok(())
    }

    async fn listen(&self) -> Result<Box<dyn Announcements>, Error> {
        Ok(Box::new(Ear(self.head.subscribe())))
    }
}

struct Ear(watch::Receiver<Position>);

#[async_trait]
impl Announcements for Ear {
    async fn next(&mut self) -> Result<Position, Error> {
        self.0.changed().await.map_err(|_| Error::Failed("the bus is gone".to_owned()))?;
        Ok(*self.0.borrow_and_update())
    }
}
