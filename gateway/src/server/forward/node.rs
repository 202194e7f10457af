//! One node that decides, as a gateway sees it: whether it is well, and what it answers.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use commands::outage::Outage;
use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use http::{Request, Response, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use tokio::{sync::watch, time::Instant};
use tonic::{
    Status,
    body::Body,
    transport::{Channel, Endpoint, Uri},
};
use tower::ServiceExt as _;

use super::Limits;
use crate::error::{self, Reason};

/// A connection, or one on its way, which everybody who needs it waits for together.
#[derive(Clone)]
struct Connection {
    channel: Shared<BoxFuture<'static, Result<Channel, Failure>>>,
    /// Nobody is to wait on it any more. A channel connects again by itself, for one call after the other: of many that wait
    /// for a host that is down, each would wait for all before it.
    lost: Arc<watch::Sender<bool>>,
}

/// Why a node has not answered.
#[derive(Debug, Clone, thiserror::Error)]
enum Failure {
    /// There is no connection to it, or none any more.
    #[error("no connection: {0}")]
    Connection(Arc<str>),
    /// Time went by.
    #[error("it does not answer")]
    Silent,
    /// It says that it cannot be asked now.
    #[error("it cannot decide now: {0}")]
    Away(Arc<str>),
    /// It is of an older version than this gateway.
    #[error("it does not know the method")]
    Older,
    /// It answers what no node that decides would.
    #[error("it is no node that decides for this gateway, or has another key: {0}")]
    Stranger(Arc<str>),
}

/// A node.
pub(super) struct Node {
    name: String,
    endpoint: Endpoint,
    limits: Limits,
    connection: Mutex<Option<Connection>>,
    health: Mutex<Health>,
    outage: Outage,
}

/// How a node is.
#[derive(Default)]
struct Health {
    /// When it was asked last, and since when nothing was heard of it though it was asked again and again.
    asked: Option<Instant>,
    silent_since: Option<Instant>,
    rest: Option<Rest>,
}

/// A node that has failed: others are asked first.
struct Rest {
    /// How often, since it answered last.
    times: u32,
    until: Instant,
    /// It has rested, and somebody tries it.
    tried: bool,
}

impl Node {
    pub(super) fn new(url: &Uri, limits: &Limits) -> Self {
        let endpoint = Endpoint::from(url.clone())
            .connect_timeout(limits.connect_max)
            .http2_keep_alive_interval(limits.ping_every)
            .keep_alive_timeout(limits.ping_max)
            .keep_alive_while_idle(true);
        Self {
            name: url.to_string(),
            endpoint,
            limits: limits.clone(),
            connection: Mutex::default(),
            health: Mutex::default(),
            outage: Outage::new("a node that decides does not answer"),
        }
    }

    /// Its address.
    #[cfg(test)]
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How much this node is the one for what a request is about: the same at every gateway, and in every version of it.
    pub(super) fn score(&self, about: &str) -> [u8; 32] {
        Sha256::new_with_prefix(&self.name).chain_update([0]).chain_update(about).finalize().into()
    }

    /// Whether it is to be asked now. When it has rested, whoever comes first tries it, and the others ask others until it
    /// has answered.
    pub(super) fn is_well(&self) -> bool {
        let now = Instant::now();
        match &mut self.health().rest {
            None => true,
            Some(rest) if now < rest.until => false,
            Some(rest) => {
                (rest.until, rest.tried) = (now + self.limits.answer_max, true);
                true
            }
        }
    }

    /// The node's answer, if it has one: whole, for one that breaks off is none.
    pub(super) async fn ask(&self, request: Request<Body>) -> Option<Response<Body>> {
        let asked = Asked::begin(self);
        let mut call = pin!(self.call(request));
        let soon = tokio::time::timeout(self.limits.answer_max, &mut call).await;
        let answer = match soon {
            Ok(answer) => answer,
            Err(_elapsed) => {
                self.failed(&Failure::Silent);
                call.await
            }
        };
        match answer {
            Ok(response) => {
                asked.answered();
                Some(response)
            }
            Err((Failure::Older, response)) => {
                asked.answered();
                response
            }
            Err((failure, response)) => {
                asked.failed(&failure);
                response
            }
        }
    }

    /// What it says; with a failure, too, where that is an answer to the caller.
    async fn call(&self, request: Request<Body>) -> Result<Response<Body>, (Failure, Option<Response<Body>>)> {
        let connection = self.connection();
        let asked = async {
            let broken = |error: &dyn std::error::Error| Failure::Connection(chain(error).into());
            let channel = connection.channel.clone().await?;
            let (head, body) = channel.oneshot(request).await.map_err(|error| broken(&error))?.into_parts();
            Ok((head, body.collect().await.map_err(|error| broken(&error))?))
        };
        let mut lost = connection.lost.subscribe();
        let gone = async {
            drop(lost.wait_for(|lost| *lost).await);
            // What was sent already may still be answered: a node that stops finishes what it has begun.
            tokio::time::sleep(self.limits.answer_max).await;
        };
        let answered = tokio::select! {
            biased;
            answered = asked => answered,
            () = gone => Err(Failure::Connection("it is lost".into())),
        };
        let (head, body) = answered.map_err(|failure| {
            self.disconnect(&connection);
            (failure, None)
        })?;
        let response = Response::from_parts(head, Body::new(body));
        match complaint(&response) {
            None => Ok(response),
            Some(failure @ (Failure::Away(_) | Failure::Silent)) => Err((failure, Some(response))),
            Some(failure) => Err((failure, None)),
        }
    }

    fn connection(&self) -> Connection {
        let connect = || {
            let endpoint = self.endpoint.clone();
            let connect = async move { endpoint.connect().await };
            let connect = connect.map(|done| done.map_err(|error| Failure::Connection(chain(&error).into())));
            Connection { channel: connect.boxed().shared(), lost: Arc::default() }
        };
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(connect).clone()
    }

    /// Who waits on it goes elsewhere, and the next who asks connects anew.
    fn disconnect(&self, connection: &Connection) {
        connection.lost.send_replace(true);
        let mut now = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        now.take_if(|now| Arc::ptr_eq(&now.lost, &connection.lost));
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, failure: &Failure) {
        let now = Instant::now();
        let mut health = self.health();
        health.silent_since = None;
        // Of one cause many calls fail together.
        let counted = health.rest.as_ref().is_some_and(|rest| now < rest.until && !rest.tried);
        if !counted {
            let times = health.rest.as_ref().map_or(0, |rest| rest.times);
            let span = self.limits.rest_min.saturating_mul(1 << times.min(16)).min(self.limits.rest_max);
            health.rest = Some(Rest { times: times + 1, until: now + span, tried: false });
        }
        drop(health);
        self.outage.failed(&format_args!("{}: {failure}", self.name));
    }
}

/// Something that a node was asked, until it has answered or nobody waits any more.
struct Asked<'n> {
    node: &'n Node,
    since: Instant,
    open: bool,
}

impl<'n> Asked<'n> {
    fn begin(node: &'n Node) -> Self {
        let since = Instant::now();
        let mut health = node.health();
        let before = health.asked.replace(since);
        if before.is_none_or(|before| since - before > node.limits.answer_max) {
            health.silent_since = None;
        }
        health.silent_since.get_or_insert(since);
        drop(health);
        Self { node, since, open: true }
    }

    fn answered(mut self) {
        self.open = false;
        *self.node.health() = Health::default();
        self.node.outage.worked();
    }

    fn failed(mut self, failure: &Failure) {
        self.open = false;
        self.node.failed(failure);
    }
}

impl Drop for Asked<'_> {
    /// The caller's time is over, or they have gone: was it the node's fault?
    fn drop(&mut self) {
        let patience = self.node.limits.answer_max;
        if !self.open || self.since.elapsed() >= patience {
            return;
        }
        // Callers who all go sooner than that would never find out.
        let health = self.node.health();
        if health.silent_since.is_some_and(|since| since.elapsed() >= patience) {
            drop(health);
            self.node.failed(&Failure::Silent);
        }
    }
}

/// What an answer says about the node rather than about the request. That it has too much to do is none of that: others would
/// soon have that, too.
fn complaint(response: &Response<Body>) -> Option<Failure> {
    let headers = response.headers();
    if !headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return Some(Failure::Stranger(response.status().as_str().into()));
    }
    // Refusals have their status in the head.
    let status = headers.get("grpc-status").and_then(|_| Status::from_header_map(headers))?;
    let why = || status.message().into();
    match error::reason_of(&status)? {
        // The gateway has checked the caller and the path: the node knows other keys, or fewer methods, or does not decide.
        Reason::UnauthenticatedCaller | Reason::CommandsAway => Some(Failure::Stranger(why())),
        Reason::UnknownMethod => Some(Failure::Older),
        // It has less patience than this gateway has.
        Reason::Deadline => Some(Failure::Silent),
        Reason::StorageAway | Reason::StorageStopped | Reason::OutcomeUnknown | Reason::ShuttingDown => {
            Some(Failure::Away(why()))
        }
        _ => None,
    }
}

/// An error with all that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn node() -> Node {
        Node::new(&Uri::from_static("http://one:1"), &Limits::default())
    }

    fn fail(node: &Node) {
        Asked::begin(node).failed(&Failure::Silent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_fails_rests_longer_each_time_and_then_one_request_tries_it() {
        let node = node();
        assert!(node.is_well());
        for rest in [1, 2, 4, 8, 16, 30, 30] {
            // Many calls that fail together are one failure.
            (0..10).for_each(|_| fail(&node));
            tokio::time::advance(rest * SECOND - Duration::from_millis(1)).await;
            assert!(!node.is_well(), "it rests for {rest} s");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(node.is_well() && !node.is_well(), "one tries it, the others do not wait for that");
        }
        Asked::begin(&node).answered();
        assert!(node.is_well() && node.is_well());
        fail(&node);
        tokio::time::advance(SECOND).await;
        assert!(node.is_well(), "what was is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_on_a_node_that_says_nothing_lets_it_rest() {
        let node = node();
        let asked = Asked::begin(&node);
        tokio::time::advance(SECOND).await;
        drop(asked);
        assert!(node.is_well(), "they had little patience");
        let asked = Asked::begin(&node);
        tokio::time::advance(SECOND).await;
        drop(asked);
        assert!(!node.is_well(), "nobody has heard anything for two seconds");
        Asked::begin(&node).answered();
        let (slow, quick) = (Asked::begin(&node), Asked::begin(&node));
        tokio::time::advance(SECOND).await;
        quick.answered();
        tokio::time::advance(SECOND).await;
        drop(slow);
        assert!(node.is_well(), "others have heard of it");
    }

    #[test]
    fn an_answer_tells_what_is_the_request_s_fault_and_what_the_node_s() {
        let refused = |reason| error::status(reason, "so", []).into_http::<Body>();
        for passed in [Reason::OutOfStock, Reason::Overloaded, Reason::TokenExpired, Reason::Internal] {
            assert!(complaint(&refused(passed)).is_none(), "{passed:?}");
        }
        for away in [Reason::StorageAway, Reason::StorageStopped, Reason::OutcomeUnknown, Reason::ShuttingDown] {
            assert!(matches!(complaint(&refused(away)), Some(Failure::Away(_))), "{away:?}");
        }
        assert!(matches!(complaint(&refused(Reason::Deadline)), Some(Failure::Silent)));
        assert!(matches!(complaint(&refused(Reason::UnknownMethod)), Some(Failure::Older)));
        for strange in [Reason::UnauthenticatedCaller, Reason::CommandsAway] {
            assert!(matches!(complaint(&refused(strange)), Some(Failure::Stranger(_))), "{strange:?}");
        }
        let balancer = Response::builder().status(503).body(Body::empty()).expect("an answer");
        assert!(matches!(complaint(&balancer), Some(Failure::Stranger(_))));
    }
}
