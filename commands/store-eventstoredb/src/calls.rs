//! Calls over a client that may die: deadlines, repeats, and a new client in place of one that failed.
//!
//! The client never recovers from a first connect that failed, and knows nothing of a server that is frozen. So whatever
//! fails in a way that may be the connection's fault makes the next call begin with a new client; a number tells
//! which client that was, so that a hundred calls that fail together make one new client and not a hundred.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use eventstore::{Client, ClientSettings};
use ports::store::Error;
use tokio::time::sleep;

use crate::Limits;

/// What the client says; the cases that callers ask for, apart from failures.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The stream is not as it was expected to be; how many events it holds.
    Conflict(u64),
    /// There is no such stream.
    NotFound,
    /// The server has an index of ids, and one of these is in it.
    Known,
}

/// Why a call failed.
enum Problem {
    /// It may work the next time. `sent` when the server may have done it.
    Again {
        why: String,
        sent: bool,
        client: Health,
    },
    Final(Error),
}

#[derive(PartialEq, Eq)]
enum Health {
    Good,
    Suspect,
}

/// The client, replaced whenever it fails.
pub struct Calls {
    settings: ClientSettings,
    current: Mutex<(u64, Option<Client>)>,
    timeout: Duration,
    attempts_max: u32,
    pause: Duration,
}

impl Calls {
    pub fn new(settings: ClientSettings, limits: &Limits) -> Self {
        let (timeout, pause) = (limits.call_timeout, limits.retry_pause);
        Self { settings, current: Mutex::new((0, None)), timeout, attempts_max: limits.attempts_max.max(1), pause }
    }

    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Makes a call until it is answered, or has failed too often; its deadlines are its own. A failure is [`Error::Unknown`] when `writes` and the
    /// server may have done it once.
    pub async fn call<T, F>(&self, writes: bool, call: impl Fn(Client) -> F) -> Result<Result<T, Answer>, Error>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let mut perhaps = false;
        let mut last = String::new();
        for attempt in 1..=self.attempts_max {
            let (number, client) = self.client()?;
            let problem = match call(client).await {
                Ok(done) => return Ok(Ok(done)),
                Err(fault) => match sorted(fault) {
                    Ok(answer) => return Ok(Err(answer)),
                    Err(problem) => problem,
                },
            };
            match problem {
                Problem::Final(error) if !(writes && perhaps) => return Err(error),
                Problem::Final(error) => return Err(Error::Unknown(error.to_string())),
                Problem::Again { why, sent, client } => {
                    tracing::debug!(attempt, why, "a call to the event store failed");
                    perhaps |= sent;
                    last = why;
                    if client == Health::Suspect {
                        self.discard(number);
                    }
                }
            }
            if attempt < self.attempts_max {
                sleep(self.pause * attempt).await;
            }
        }
        Err(if writes && perhaps { Error::Unknown(last) } else { Error::Unavailable(last) })
    }

    /// The client and its number.
    pub fn client(&self) -> Result<(u64, Client), Error> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let (number, Some(client)) = &*current {
            return Ok((*number, client.clone()));
        }
        let client = Client::new(self.settings.clone()).map_err(|why| Error::Failed(why.to_string()))?;
        current.0 += 1;
        current.1 = Some(client.clone());
        Ok((current.0, client))
    }

    /// Forgets the client with this number.
    pub fn discard(&self, number: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 == number {
            current.1 = None;
        }
    }
}

/// What can go wrong inside a call.
pub enum Fault {
    Client(eventstore::Error),
    /// No answer, or no next event of a read, came in time.
    Silent,
    Store(Error),
}

impl From<eventstore::Error> for Fault {
    fn from(error: eventstore::Error) -> Self {
        Self::Client(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// Sorts what the client says into answers and problems.
fn sorted(fault: Fault) -> Result<Answer, Problem> {
    use eventstore::{CurrentRevision, Error as Client};
    let again = |why: &dyn ToString, sent, client| Problem::Again { why: why.to_string(), sent, client };
    let error = match fault {
        Fault::Client(error) => error,
        Fault::Silent => return Err(again(&"no answer in time", true, Health::Suspect)),
        Fault::Store(error) => return Err(Problem::Final(error)),
    };
    Err(match error {
        Client::WrongExpectedVersion { current: CurrentRevision::Current(last), .. } => {
            return Ok(Answer::Conflict(last.saturating_add(1)));
        }
        Client::WrongExpectedVersion { current: CurrentRevision::NoStream, .. } => return Ok(Answer::Conflict(0)),
        Client::ResourceNotFound => return Ok(Answer::NotFound),
        Client::ResourceAlreadyExists => return Ok(Answer::Known),
        // Said before anything was sent.
        Client::ConnectionClosed | Client::GrpcConnectionError(_) => again(&error, false, Health::Suspect),
        Client::NotLeaderException(_) => again(&error, false, Health::Good),
        Client::ServerError(_) | Client::DeadlineExceeded => again(&error, true, Health::Suspect),
        Client::Grpc { code, ref message } => match i32::from(code) {
            RESOURCE_EXHAUSTED | ABORTED => again(&error, false, Health::Good),
            CANCELLED => again(&error, true, Health::Suspect),
            _ => Problem::Final(Error::Failed(message.clone())),
        },
        Client::ResourceDeleted => Problem::Final(Error::Failed("the stream was ended by a tombstone".to_owned())),
        Client::AccessDenied
        | Client::UnsupportedFeature
        | Client::InternalParsingError(_)
        | Client::InternalClientError
        | Client::InitializationError(_)
        | Client::IllegalStateError(_) => Problem::Final(Error::Failed(error.to_string())),
    })
}

/// gRPC's codes by number: the client's tonic is not ours.
const CANCELLED: i32 = 1;
const RESOURCE_EXHAUSTED: i32 = 8;
const ABORTED: i32 = 10;
