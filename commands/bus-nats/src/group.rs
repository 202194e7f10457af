//! Work on events shared by several workers, each aggregate in order.
//!
//! A durable consumer hands out of order what it has to hand out again, and a queue of workers has no order at all.
//! So a group has a stream of its own that takes its messages from the event stream and puts a partition into their
//! subject, a hash of aggregate and id; and a consumer per partition with one message under way. What is not done
//! comes again before anything else of its partition, to whichever worker asks: no leases, no assignment, no election.
//! Every worker asks for every partition; a partition's speed is one message per round trip, so take more partitions
//! than workers. (With batches instead, what a dead worker left undone is overtaken by what was published since.)
//!
//! What is done leaves the group's stream, so it holds only what is open. Another number of partitions is another
//! group, which begins at the beginning.
//!
//! A worker that takes longer than `ack_wait` is taken for dead, and its message is worked on twice: whoever works
//! keeps, with what it made of it, the position or the revision (`ce-revision`) it has come to.

use async_nats::{
    HeaderMap,
    jetstream::{AckKind, Message, consumer::PullConsumer},
};
use bytes::Bytes;
use futures::StreamExt as _;
use ports::bus::Held;
use tokio::time::timeout;

use crate::{Error, Nats, held, subject};

/// Workers that share the events among them.
#[derive(Debug, Clone)]
pub struct Group {
    nats: Nats,
    name: String,
    partitions: u32,
}

impl Nats {
    /// The group of workers `name`, whose work is divided into so many partitions.
    ///
    /// # Errors
    /// [`Error::Settings`] when the name is not a short plain word, or there is no partition.
    pub fn group(&self, name: &str, partitions: u32) -> Result<Group, Error> {
        if !subject::is_name(name) || !(1..=1_024).contains(&partitions) {
            return Err(Error::Settings(format!("a group {name:?} of {partitions} partitions")));
        }
        Ok(Group { nats: self.clone(), name: name.to_owned(), partitions })
    }
}

impl Group {
    /// The partitions; every worker takes all of them and works on them side by side.
    #[must_use]
    pub fn partitions(&self) -> Vec<Partition> {
        (0..self.partitions).map(|number| Partition { group: self.clone(), number, consumer: None }).collect()
    }

    /// Makes what the group needs. Workers do so themselves; done before, it tells what is wrong.
    ///
    /// # Errors
    /// An [`Error`] that says what is wrong.
    pub async fn check(&self) -> Result<(), Error> {
        self.nats.shared(&self.name, self.partitions).await.map(|_| ())
    }
}

/// A part of the group's work, handed out one by one.
#[derive(Debug)]
pub struct Partition {
    group: Group,
    number: u32,
    consumer: Option<PullConsumer>,
}

impl Partition {
    /// The next event of the partition that is not done, or nothing within a while.
    ///
    /// # Errors
    /// An [`Error`]; the next call makes what may be missing.
    pub async fn next(&mut self) -> Result<Option<Job>, Error> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => self.consumer().await?,
        };
        let job = self.take(&consumer).await?;
        self.consumer = Some(consumer);
        Ok(job)
    }

    async fn consumer(&self) -> Result<PullConsumer, Error> {
        let Group { nats, name, partitions } = &self.group;
        let stream = nats.shared(name, *partitions).await?;
        let filter = format!("{}.grp.{name}.{}.>", nats.settings.prefix, self.number);
        nats.have_consumer(&stream, nats.strictly_one_by_one(format!("partition-{}", self.number), filter)).await
    }

    async fn take(&self, consumer: &PullConsumer) -> Result<Option<Job>, Error> {
        let limits = &self.group.nats.limits;
        let asked = consumer.batch().max_messages(1).expires(limits.idle_max).messages();
        let failed = |error: &dyn std::fmt::Display| Error::Failed(error.to_string());
        let mut answer = asked.await.map_err(|error| failed(&error))?;
        match timeout(limits.idle_max + limits.request_max, answer.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(message)) => Ok(Some(Job { message: message.map_err(|error| failed(&error))? })),
            Err(_) => Err(Error::Unreachable("a partition is silent".to_owned())),
        }
    }
}

/// An event to be worked on. Dropped without a word it comes again after `ack_wait`.
#[derive(Debug)]
pub struct Job {
    message: Message,
}

impl Job {
    /// Which event it is; nothing if it is not one of the relay's.
    #[must_use]
    pub fn event(&self) -> Option<Held> {
        let sequence = self.message.info().ok()?.stream_sequence;
        held::of(self.message.headers.as_ref()?, sequence)
    }

    /// A header, e.g. `ce-type`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.message.headers.as_ref().and_then(|headers: &HeaderMap| headers.get(name)).map(AsRef::as_ref)
    }

    /// The body, as it is stored.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// How often it was handed out, this time included.
    #[must_use]
    pub fn attempt(&self) -> u64 {
        self.message.info().map_or(1, |info| info.delivered.unsigned_abs())
    }

    /// It is done; the next of its partition may come. Returns when the server knows.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the server did not say so: it may come again.
    pub async fn done(self) -> Result<(), Error> {
        self.message.double_ack().await.map_err(|error| Error::Unreachable(error.to_string()))
    }

    /// Not now: it comes again at once, to whoever asks.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when that could not be said: it comes again later.
    pub async fn again(self) -> Result<(), Error> {
        self.message.ack_with(AckKind::Nak(None)).await.map_err(|error| Error::Unreachable(error.to_string()))
    }
}
