//! The shop as our own commands call it: the public gRPC API, with patience.
//!
//! Every call carries its own request id, so sending it again is harmless: whatever is unavailable, overloaded or
//! late is asked again with growing pauses, for as long as [`PATIENCE`]. Some answers only say *not yet* (a
//! delivery that is not booked, an order that is not delivered): the processes behind the door are still at it, so
//! these are asked again too. What is left is either the shop's refusal, with its reason, or the end of the run.

use std::{fmt::Display, fs, future::Future, io, path::PathBuf, sync::Arc, time::Duration};

use domain::ids::{RequestId, derive};
use ports::clock::Clock as _;
use proto::v1::{
    catalog_service_client::CatalogServiceClient, delivery_service_client::DeliveryServiceClient,
    order_service_client::OrderServiceClient, return_service_client::ReturnServiceClient,
};
use tokio::time::Instant;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use uuid::Uuid;

use crate::{
    clock::SystemClock,
    error::{Reason, reason_of},
};

/// How long one thing is asked for before the run gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(30);
/// The first and the longest pause after the shop could not answer.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// The first and the longest pause after the shop said *not yet*.
const NOT_YET: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(250));
/// The largest answer that is read, in bytes: an order of 2,000 lines comes back whole.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Which shop is asked, and who asks.
#[derive(Debug, clap::Args)]
pub(super) struct Address {
    /// The shop.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:50051")]
    pub(super) endpoint: String,
    /// An operator's token; see `cartulary token`.
    #[arg(long, env = "CARTULARY_TOKEN", hide_env_values = true, required_unless_present = "token_file")]
    token: Option<String>,
    /// A file that holds it.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
}

impl Address {
    /// The token, from wherever it is.
    ///
    /// # Errors
    /// [`Error::TokenFile`].
    pub(super) fn token(&self) -> Result<String, Error> {
        match (&self.token, &self.token_file) {
            (Some(token), _) => Ok(token.clone()),
            (None, Some(path)) => {
                fs::read_to_string(path).map_err(|source| Error::TokenFile { path: path.display().to_string(), source })
            }
            (None, None) => Ok(String::new()),
        }
    }
}

/// A request id that begins with the time, like a UUIDv7, so that what is stored under it lies together.
pub(super) fn request_id(what: &[&[u8]]) -> RequestId {
    let mut parent = [0; 16];
    let millis = u64::try_from(SystemClock.now().as_millisecond()).unwrap_or(0);
    parent[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    RequestId(derive(Uuid::from_bytes(parent), "request", what))
}

/// Why the shop cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token's file cannot be read.
    #[error("the token file {path}")]
    TokenFile {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Not an address.
    #[error("{0:?} is not an address such as http://127.0.0.1:50051")]
    Endpoint(String),
    /// Not a token.
    #[error("the token holds characters that no token has")]
    Token,
    /// Nobody answers.
    #[error("no shop answers at {endpoint}: {why}")]
    Unreachable {
        /// The address.
        endpoint: String,
        /// What the connection said.
        why: String,
    },
    /// The shop cannot go on, or does not let this caller.
    #[error("{what}: {reason}: {detail}")]
    Stopped {
        /// What was asked.
        what: String,
        /// The reason, by its name.
        reason: String,
        /// The shop's words.
        detail: String,
    },
}

type Door = InterceptedService<Channel, Bearer>;

/// A connection to the shop.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) catalog: CatalogServiceClient<Door>,
    pub(super) orders: OrderServiceClient<Door>,
    pub(super) deliveries: DeliveryServiceClient<Door>,
    pub(super) returns: ReturnServiceClient<Door>,
}

/// What the shop does not want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The reason, by its name in the registry.
    pub(super) reason: Arc<str>,
    /// The shop's words.
    pub(super) detail: String,
}

impl Refusal {
    /// Whether it has this reason.
    pub(super) fn is(&self, reason: Reason) -> bool {
        &*self.reason == reason.name()
    }
}

/// Puts the token on each request, and the time it may take.
#[derive(Clone)]
pub(super) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        request.set_timeout(ATTEMPT);
        Ok(request)
    }
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`Error::Endpoint`], [`Error::Token`] or [`Error::Unreachable`].
    pub(super) async fn connect(endpoint: &str, token: &str) -> Result<Self, Error> {
        let bearer = format!("Bearer {}", token.trim()).parse().map_err(|_| Error::Token)?;
        let wrong = |_| Error::Endpoint(endpoint.to_owned());
        let channel = Endpoint::from_shared(endpoint.to_owned()).map_err(wrong)?;
        let channel = channel.tcp_nodelay(true).connect_timeout(ATTEMPT).connect().await;
        let channel =
            channel.map_err(|error| Error::Unreachable { endpoint: endpoint.to_owned(), why: chain(&error) })?;
        let door = InterceptedService::new(channel, Bearer(bearer));
        Ok(Self {
            catalog: CatalogServiceClient::new(door.clone()),
            orders: OrderServiceClient::new(door.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
            deliveries: DeliveryServiceClient::new(door.clone()),
            returns: ReturnServiceClient::new(door).max_decoding_message_size(ANSWER_BYTES_MAX),
        })
    }
}

/// Asks until there is an answer: a value, or a refusal that stands. `not_yet` names the reason that will pass.
///
/// # Errors
/// [`Error::Stopped`] when the shop cannot go on, or [`PATIENCE`] is over.
pub(super) async fn ask<T, F>(
    what: impl Display,
    not_yet: Option<Reason>,
    mut call: impl FnMut() -> F,
) -> Result<Result<T, Refusal>, Error>
where
    F: Future<Output = Result<tonic::Response<T>, Status>>,
{
    let until = Instant::now() + PATIENCE;
    let (mut backoff, mut wait) = (BACKOFF.0, NOT_YET.0);
    loop {
        let status = match call().await {
            Ok(answer) => return Ok(Ok(answer.into_inner())),
            Err(status) => status,
        };
        let reason = reason_of(&status);
        let pause = if reason.is_some() && reason == not_yet && !hopeless(&status) {
            doubled(&mut wait, NOT_YET.1)
        } else if passing(&status, reason) {
            doubled(&mut backoff, BACKOFF.1)
        } else if let Some(reason) = refused(&status, reason) {
            return Ok(Err(Refusal { reason: reason.into(), detail: status.message().to_owned() }));
        } else {
            return Err(stopped(&what, &status));
        };
        if Instant::now() + pause >= until {
            return match refused(&status, reason) {
                Some(reason) => Ok(Err(Refusal { reason: reason.into(), detail: status.message().to_owned() })),
                None => Err(stopped(&what, &status)),
            };
        }
        tokio::time::sleep(pause).await;
    }
}

/// Whether a *not yet* will never pass, because the order has ended.
fn hopeless(status: &Status) -> bool {
    use tonic_types::StatusExt as _;
    let situation = status.get_details_error_info().and_then(|mut info| info.metadata.remove("situation"));
    matches!(situation.as_deref(), Some("ending" | "closed"))
}

/// Whether the same request may be sent again by itself.
fn passing(status: &Status, reason: Option<Reason>) -> bool {
    match (status.code(), reason) {
        (_, Some(reason)) if reason.retry_after().is_some() => true,
        (Code::Unavailable | Code::DeadlineExceeded, _) => true,
        // Nobody's reason: the connection broke or was closed under the request.
        (Code::Unknown | Code::Cancelled | Code::Internal, None) => true,
        _ => false,
    }
}

/// The reason, if it is about the request and not about who asks or how the shop is.
fn refused(status: &Status, reason: Option<Reason>) -> Option<&'static str> {
    let about_the_request = matches!(
        status.code(),
        Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted
    );
    reason.filter(|_| about_the_request).map(Reason::name)
}

fn doubled(pause: &mut Duration, most: Duration) -> Duration {
    let now = *pause;
    *pause = most.min(now * 2);
    now
}

fn stopped(what: &impl Display, status: &Status) -> Error {
    let reason = reason_of(status).map_or_else(|| format!("{:?}", status.code()), |reason| reason.name().to_owned());
    Error::Stopped { what: what.to_string(), reason, detail: status.message().to_owned() }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::status;

    /// Asks a shop that answers so, one answer after the other; says how often it was asked.
    async fn asked(
        not_yet: Option<Reason>,
        answers: Vec<Result<u8, Status>>,
    ) -> (usize, Result<Result<u8, Refusal>, Error>) {
        let (mut count, mut answers) = (0, answers.into_iter());
        let answer = ask("a thing", not_yet, || {
            count += 1;
            let answer = answers.next().unwrap_or(Ok(0)).map(tonic::Response::new);
            async move { answer }
        });
        let answer = answer.await;
        (count, answer)
    }

    fn no(reason: Reason) -> Result<u8, Status> {
        Err(status(reason, "no", []))
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_asked_again_and_a_refusal_stands() {
        let (count, answer) = asked(None, vec![no(Reason::Overloaded), no(Reason::Deadline), Ok(7)]).await;
        assert_eq!((count, answer.unwrap().unwrap()), (3, 7));
        let (count, answer) = asked(None, vec![no(Reason::OutOfStock)]).await;
        assert!(count == 1 && answer.unwrap().unwrap_err().is(Reason::OutOfStock));
        let broken = Err(Status::unknown("transport error"));
        assert_eq!(asked(None, vec![broken, Ok(1)]).await.0, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn not_yet_is_waited_for_unless_the_order_has_ended() {
        let soon = || no(Reason::DeliveryNotReady);
        let (count, answer) = asked(Some(Reason::DeliveryNotReady), vec![soon(), soon(), Ok(1)]).await;
        assert_eq!((count, answer.unwrap().unwrap()), (3, 1));
        let ended = Err(status(Reason::DeliveryNotReady, "no", [("situation", "closed".to_owned())]));
        let (count, answer) = asked(Some(Reason::DeliveryNotReady), vec![ended]).await;
        assert!(count == 1 && answer.unwrap().unwrap_err().is(Reason::DeliveryNotReady));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shop_that_cannot_go_on_ends_the_run() {
        for reason in [Reason::StorageFull, Reason::RoleForbidden, Reason::TokenExpired, Reason::Internal] {
            let (count, answer) = asked(None, vec![no(reason)]).await;
            assert!(count == 1 && answer.unwrap_err().to_string().contains(reason.name()));
        }
        let (count, answer) = asked(None, (0..1_000).map(|_| no(Reason::StorageStopped)).collect()).await;
        assert!(count < 100 && answer.is_err(), "patience ends: {count}");
    }
}
