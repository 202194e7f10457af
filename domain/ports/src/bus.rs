//! The bus port: events on their way to the outside, and wake-ups between nodes.
//!
//! A bus is a wake-up and an outlet, never the record. Whatever it loses the relay publishes again from the log, and
//! whoever consumes it keeps the log's position and ignores what it has seen. What every adapter guarantees (and
//! [`crate::conformance`] tests):
//! - messages lie in one order, by sequence, and a batch is published in its order: whatever fails in the midst of it,
//!   nothing later of it is there without everything earlier;
//! - [`Bus::publish`] names the sequence it goes on behind, and nothing is published when the bus ends elsewhere: of
//!   two relays, or of a relay and its own late messages, one wins and the other looks again;
//! - what is answered as published is held as safely as the bus holds anything, which may be less than for ever.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use crate::store::{Position, Revision};

/// The header in which an adapter carries [`Message::position`]; named as an attribute of a CloudEvent.
pub const POSITION_HEADER: &str = "ce-position";
/// The header in which an adapter carries [`Message::through`], where it is not the position itself.
pub const THROUGH_HEADER: &str = "ce-through";
/// The header of a message that names its event's stream, percent-encoded.
pub const STREAM_HEADER: &str = "ce-subject";
/// The header of a message that names its event's revision in the stream.
pub const REVISION_HEADER: &str = "ce-revision";

/// A message to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The parts of its subject; the adapter joins and escapes them. Nothing personal.
    pub subject: Vec<String>,
    /// The event's id: consumers, and the bus for a while, recognise a repeat by it.
    pub id: Uuid,
    /// The event's place in the log.
    pub position: Position,
    /// How far the bus holds the log once it holds this message: its own position, or a later one when it fills a gap.
    pub through: Position,
    /// Further headers, printable ASCII.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty when it is larger than [`Tail::payload_max`].
    pub payload: Bytes,
}

/// Where a bus ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The sequence of the newest message there ever was; 0 for a bus that never had one.
    pub sequence: u64,
    /// The newest message that it holds, if it holds any.
    pub newest: Option<Held>,
    /// The largest body it carries, in bytes.
    pub payload_max: usize,
    /// After which time messages leave it by themselves; nothing means never.
    pub keeps: Option<Duration>,
}

/// A message that a bus holds, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its place on the bus.
    pub sequence: u64,
    /// The event's id.
    pub id: Uuid,
    /// The event's place in the log.
    pub position: Position,
    /// See [`Message::through`].
    pub through: Position,
    /// The event's place in its stream, if the message names it.
    pub place: Option<Place>,
}

/// An event's place in its stream, as a message's headers name it: not every log finds every event by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What [`STREAM_HEADER`] says, percent-encoded as it is there.
    pub stream: String,
    /// What [`REVISION_HEADER`] says.
    pub revision: Revision,
}

impl Place {
    /// Reads the headers of a message.
    pub fn read<'h>(header: impl Fn(&'static str) -> Option<&'h str>) -> Option<Self> {
        let revision = header(REVISION_HEADER)?.parse().ok()?;
        Some(Self { stream: header(STREAM_HEADER)?.to_owned(), revision })
    }
}

/// A part of what a bus holds, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The messages; those that are not the relay's are left out.
    pub held: Vec<Held>,
    /// Where to go on; nothing when the bus held no more.
    pub next: Option<u64>,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// How many of its first messages the bus holds now. At least one.
    pub count: usize,
    /// Where the bus ends now.
    pub sequence: u64,
}

/// Why a bus could not do what it was asked. After any of them [`Bus::tail`] tells what is there.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The bus does not end where the batch was to begin: somebody else published, or it has lost something. Nothing of
    /// the batch is there by this call.
    #[error("the bus does not end at {after}")]
    Moved {
        /// Where it was to end.
        after: u64,
    },
    /// The outcome is unknown (no answer in time, a lost connection): the first messages of the batch may be there.
    #[error("the bus did not answer for certain: {0}")]
    Unknown(String),
    /// The bus takes the message for a repeat, and yet does not hold it: somebody removed it. It takes it later.
    #[error("the bus takes {id} for a repeat, but does not hold it")]
    Withheld {
        /// The message.
        id: Uuid,
    },
    /// Its space is used up; it takes more when it has more.
    #[error("the bus is full: {0}")]
    Full(String),
    /// The server, or what is set there, is not what this needs: somebody has to change it.
    #[error("the bus is not fit: {0}")]
    Unfit(String),
    /// Anything else; nothing of the batch is there.
    #[error("the bus failed: {0}")]
    Failed(String),
}

/// Durable fan-out in one order, and wake-ups.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Makes what the bus needs, if it is not there, checks it, and says where the bus ends.
    ///
    /// # Errors
    /// [`Error::Unknown`] when the bus cannot be reached, [`Error::Unfit`], [`Error::Failed`].
    async fn tail(&self) -> Result<Tail, Error>;

    /// Publishes a batch behind sequence `after`, pipelined, in its order. After a crash inside, a first part of it is
    /// there. A message that the bus recognises as one that it holds counts as published.
    ///
    /// # Errors
    /// An [`Error`] when not even the first message is known to be there.
    async fn publish(&self, after: u64, batch: &[Message]) -> Result<Published, Error>;

    /// Up to `limit` messages behind sequence `after`.
    ///
    /// # Errors
    /// [`Error::Unknown`] when not everything came, [`Error::Failed`].
    async fn held(&self, after: u64, limit: usize) -> Result<Page, Error>;

    /// Tells every node how far the log goes. Nobody need hear it.
    ///
    /// # Errors
    /// An [`Error`] when it was certainly not told.
    async fn announce(&self, head: Position) -> Result<(), Error>;

    /// Hears announcements from now on.
    ///
    /// # Errors
    /// An [`Error`] when the bus does not listen.
    async fn listen(&self) -> Result<Box<dyn Announcements>, Error>;
}

/// What [`Bus::announce`] told, as far as it was heard. A wake-up only: announcements may be lost, repeated or
/// overtaken, so whoever waits for one reads the log anyway after a while.
#[async_trait]
pub trait Announcements: Send {
    /// Waits for the next announcement; of several that wait already, the furthest.
    ///
    /// # Errors
    /// [`Error::Failed`] when no more will come: listen again.
    async fn next(&mut self) -> Result<Position, Error>;
}

/// A message from a partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// The feed it came by.
    pub feed: String,
    /// The partner's id of it: the same id is the same message, however often it comes.
    pub id: String,
    /// How many times it was handed over, this one included.
    pub attempt: u64,
    /// The body.
    pub payload: Bytes,
}

/// What became of a parcel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It had its effect, now or earlier.
    Done,
    /// Nobody can take anything now, and why: it is offered until somebody can, however long that is.
    Away(String),
    /// Not now, and why; it comes again, but not for ever.
    Again(String),
    /// Never, and why; it does not come again.
    Never(String),
}

/// Takes partners' messages.
///
/// A parcel may come more than once, whatever happened before: it is the intake that makes it happen once. It derives
/// its request id from (feed, parcel id), and the log refuses what it has.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Takes a parcel. Its effect is durable when this returns [`Verdict::Done`].
    async fn take(&self, parcel: &Parcel) -> Verdict;
}
