//! Partner feeds: each message is one request at the shop's own door, in the name of the member that the configuration
//! gives the partner, so that nothing is allowed to a feed that is not allowed to a client.
//!
//! The request id is derived from the feed and the partner's id of the message. So a message that comes again, after a
//! crash between its effect and its acknowledgement for one, is answered with what it did the first time.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bus_nats::{Inlet, Nats};
use commands::outage::Outage;
use domain::ids::RequestId;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use ports::{
    bus::{Intake, Parcel, Verdict},
    clock::Clock,
};
use serde_json::{Map, Value};
use tonic::{Code, body::Body};
use uuid::Uuid;

use crate::{
    auth::{KeyError, Roles, Signer},
    config::{Config, Feed},
    server::Door,
};

/// How long a token for one request is good: longer than any request takes.
const TOKEN_TTL: Duration = Duration::from_secs(60);
/// The most of an answer that is looked at, in bytes.
const ANSWER_MAX: usize = 64 << 10;
/// How long to wait after a step that failed.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Why a feed cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// NATS cannot be used.
    #[error("a feed cannot be taken from NATS")]
    Nats(#[from] bus_nats::Error),
    /// The shop has nothing at its path, or not for its role.
    #[error("the feed {feed} cannot post to {post}: {why}")]
    Refused {
        /// The feed.
        feed: String,
        /// Its path.
        post: String,
        /// What the door said.
        why: String,
    },
    /// No token can be made for it.
    #[error(transparent)]
    Token(#[from] KeyError),
}

/// A feed with everything that its messages need.
pub(super) struct Served {
    inlet: Inlet,
    counter: Counter,
}

/// Where a feed's messages are taken.
struct Counter {
    feed: Feed,
    door: Arc<Door>,
    signer: Arc<Signer>,
    clock: Arc<dyn Clock>,
}

/// Opens every feed; NATS need not be there yet.
///
/// # Errors
/// [`Error`] when one could never be served.
pub(super) fn open(
    config: &Config,
    nats: &Nats,
    door: &Arc<Door>,
    signer: &Arc<Signer>,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<Served>, Error> {
    let open = |(name, feed): (&String, &Feed)| {
        let (door, signer, clock) = (Arc::clone(door), Arc::clone(signer), Arc::clone(clock));
        let counter = Counter { feed: feed.clone(), door, signer, clock };
        counter.check(name)?;
        Ok(Served { inlet: nats.inlet(name)?, counter })
    };
    config.nats.feeds.iter().map(open).collect()
}

impl Served {
    /// Takes messages for ever; failures are waited out.
    pub(super) async fn run(mut self) {
        let outage = Outage::new("a partner's feed cannot be taken");
        loop {
            match self.inlet.step(&self.counter).await {
                Ok(_) => outage.worked(),
                Err(error) => {
                    outage.failed(&error);
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
        }
    }
}

impl Counter {
    /// Whether the door would let such a request in at all.
    fn check(&self, name: &str) -> Result<(), Error> {
        let mut asked = Request::new(());
        asked.headers_mut().insert(header::AUTHORIZATION, self.authorization()?);
        self.door.would_admit(&Method::POST, &self.feed.post, asked.headers()).map_err(|status| Error::Refused {
            feed: name.to_owned(),
            post: self.feed.post.clone(),
            why: status.message().to_owned(),
        })
    }

    fn authorization(&self) -> Result<http::HeaderValue, KeyError> {
        let roles = Roles::of(&[self.feed.role]);
        let token = self.signer.issue(self.feed.member, roles, self.clock.now(), TOKEN_TTL)?;
        // A token is base64 with dots.
        Ok(http::HeaderValue::try_from(format!("Bearer {token}")).unwrap_or(http::HeaderValue::from_static("")))
    }

    fn request(&self, parcel: &Parcel, body: Map<String, Value>) -> Result<Request<Body>, Verdict> {
        let authorization = self.authorization().map_err(|error| Verdict::Again(error.to_string()))?;
        let body = Body::new(Full::from(Value::Object(with_request_id(body, parcel)).to_string()));
        let request = Request::post(&self.feed.post)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, authorization);
        request.body(body).map_err(|error| Verdict::Never(error.to_string()))
    }
}

#[async_trait]
impl Intake for Counter {
    async fn take(&self, parcel: &Parcel) -> Verdict {
        let Ok(Value::Object(body)) = serde_json::from_slice(&parcel.payload) else {
            return Verdict::Never("the message is not a JSON object".to_owned());
        };
        let request = match self.request(parcel, body) {
            Ok(request) => request,
            Err(verdict) => return verdict,
        };
        let response = self.door.handle(request).await;
        let status = response.status();
        let answer = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let answer = answer.map(|answer| answer.to_bytes()).unwrap_or_default();
        judge(status, &answer)
    }
}

/// The partner's id of the message says which request it is; whatever its body says does not count.
fn with_request_id(mut body: Map<String, Value>, parcel: &Parcel) -> Map<String, Value> {
    body.remove("requestId");
    let id = RequestId::derived(Uuid::nil(), &[b"feed", parcel.feed.as_bytes(), parcel.id.as_bytes()]);
    body.insert("request_id".to_owned(), Value::String(id.to_string()));
    body
}

/// What an answer of the door means to the one who waits for it.
fn judge(status: StatusCode, answer: &[u8]) -> Verdict {
    if status.is_success() {
        return Verdict::Done;
    }
    let said: Option<Value> = serde_json::from_slice(answer).ok();
    let message = said.as_ref().and_then(|said| said.get("message")?.as_str()).unwrap_or("no reason was given");
    let why = format!("{}: {message}", status.as_u16());
    // One HTTP status stands for several codes: what exists already never passes, what was contended for does.
    let code = said.as_ref().and_then(|said| said.get("code")?.as_i64()).map(|code| Code::from(code as i32));
    match code {
        Some(Code::Unavailable | Code::ResourceExhausted | Code::Unauthenticated) => Verdict::Away(why),
        Some(Code::Aborted | Code::DeadlineExceeded | Code::Internal | Code::Unknown | Code::Cancelled) | None => {
            Verdict::Again(why)
        }
        Some(_) => Verdict::Never(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel(feed: &str, id: &str) -> Parcel {
        Parcel { feed: feed.to_owned(), id: id.to_owned(), attempt: 1, payload: bytes::Bytes::new() }
    }

    fn id_of(feed: &str, id: &str, typed: &Value) -> String {
        let typed = typed.as_object().expect("an object").clone();
        let body = with_request_id(typed, &parcel(feed, id));
        assert!(!body.contains_key("requestId"), "one name only");
        body["request_id"].as_str().expect("text").to_owned()
    }

    #[test]
    fn the_partners_message_id_is_the_request_whatever_the_body_says() {
        let none = serde_json::json!({});
        let first = id_of("dhl", "7", &none);
        for typed in [serde_json::json!({ "request_id": "mine" }), serde_json::json!({ "requestId": "mine" }), none] {
            assert_eq!(id_of("dhl", "7", &typed), first);
        }
        let others =
            [("dhl", "8"), ("ups", "7"), ("dh", "l7")].map(|(feed, id)| id_of(feed, id, &Value::Object(Map::new())));
        assert!(others.iter().all(|other| *other != first), "another message is another request");
    }

    #[test]
    fn what_may_pass_comes_again_and_what_cannot_does_not() {
        assert_eq!(judge(StatusCode::OK, b"{}"), Verdict::Done);
        let refused = |code: Code| {
            let said = serde_json::json!({ "code": i32::from(code), "message": "why" }).to_string();
            judge(StatusCode::CONFLICT, said.as_bytes())
        };
        for away in [Code::Unavailable, Code::ResourceExhausted, Code::Unauthenticated] {
            assert_eq!(refused(away), Verdict::Away("409: why".to_owned()), "{away:?}");
        }
        for passing in [Code::Aborted, Code::DeadlineExceeded, Code::Internal, Code::Unknown] {
            assert_eq!(refused(passing), Verdict::Again("409: why".to_owned()), "{passing:?}");
        }
        let lasting = [Code::InvalidArgument, Code::AlreadyExists, Code::NotFound, Code::PermissionDenied];
        for lasting in lasting.into_iter().chain([Code::FailedPrecondition, Code::OutOfRange, Code::Unimplemented]) {
            assert_eq!(refused(lasting), Verdict::Never("409: why".to_owned()), "{lasting:?}");
        }
        let said = judge(StatusCode::BAD_REQUEST, b"\xff");
        assert_eq!(said, Verdict::Again("400: no reason was given".to_owned()), "whatever that was");
    }
}
