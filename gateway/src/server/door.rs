//! What every request passes: protocol, policy, place, deadline; then its service.
//!
//! The order is the order of cost: an unknown path is refused by a map lookup, a full gateway by one atomic, a bad
//! token by a cache miss and a signature check, and only then is a byte of the body looked at. The JSON twin passes the
//! same [`Door::admit`] and [`Door::dispatch`], so nothing can be reached around the rules.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, Request, Response, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::{sync::watch, time::Instant};
use tonic::{Status, body::Body};
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, Service as _};

use super::{
    follow::Follow,
    meter::InUse,
    routes::{Route, Routes},
};
use crate::{
    auth::{Caller, Verifier},
    error::{self, Reason},
    limits::{Limits, Places},
    policy::{self, Rule, Shape},
    transcode::Transcoder,
};

/// The method with a deadline of its own.
const PROCESS_ORDER: &str = "/cartulary.v1.OrderService/ProcessOrder";

/// When the caller stops waiting; in the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

struct Method {
    rule: Rule,
    timeout: Duration,
    route: Arc<dyn Route>,
}

/// The door: every request comes through it.
pub struct Door {
    limits: Limits,
    verifier: Verifier,
    methods: HashMap<&'static str, Method>,
    transcoder: Transcoder,
    in_flight: Places,
    streams: Arc<Places>,
    overloaded: Status,
    /// The same as a gRPC answer has it: in a flood it is not made anew for everybody.
    overloaded_head: HeaderMap,
    closing: watch::Sender<bool>,
}

/// A request that may go on: who, until when, and the place it takes.
pub(crate) struct Admitted<'door> {
    method: &'door Method,
    caller: Caller,
    pub(crate) deadline: Instant,
    /// Whether the client itself set a deadline, which then holds for a whole stream.
    bounded: bool,
    place: Place<'door>,
}

enum Place<'door> {
    Always,
    /// Kept for its drop.
    Request(#[expect(dead_code, reason = "held until the answer is there")] RequestPlace<'door>),
    Stream(StreamPlace),
}

struct RequestPlace<'door>(&'door Places);

impl Drop for RequestPlace<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// A place among the streams; the stream's body keeps it.
pub(super) struct StreamPlace(Arc<Places>);

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Door {
    /// A door to `routes`, for callers that `verifier` knows.
    ///
    /// # Errors
    /// When the embedded descriptors are unreadable or hold an HTTP path that the JSON twin cannot serve.
    pub fn new(routes: Routes, verifier: Verifier) -> Result<Arc<Self>, crate::transcode::Unservable> {
        let pool = proto::descriptor_pool().map_err(crate::transcode::Unservable::Descriptors)?;
        let limits = &routes.limits;
        let timeout = |path: &str| {
            if path == PROCESS_ORDER { limits.order_deadline } else { limits.request_timeout }
        };
        let methods = policy::rules(&pool).into_iter().filter_map(|(path, rule)| {
            Some((path, Method { rule, timeout: timeout(path), route: routes.route(path)? }))
        });
        let methods: HashMap<_, _> = methods.collect();
        let transcoder = Transcoder::new(&pool, |path| methods.contains_key(path))?;
        let overloaded = error::status(Reason::Overloaded, "the gateway is full; try again soon", []);
        Ok(Arc::new(Self {
            methods,
            transcoder,
            in_flight: Places::new(limits.in_flight_max),
            streams: Arc::new(Places::new(limits.watch_streams_max)),
            overloaded_head: overloaded.clone().into_http::<Body>().into_parts().0.headers,
            overloaded,
            closing: watch::Sender::new(false),
            limits: routes.limits,
            verifier,
        }))
    }

    /// The limits in force.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Requests being worked on and streams being followed, now.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        (self.in_flight.taken(), self.streams.taken())
    }

    /// Ends all streams and takes no more connections' requests; what is being worked on goes on.
    pub(super) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Turns true when the door closes.
    pub(super) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Whether everybody who asks now is refused, but for those who always come in.
    pub(super) fn is_full(&self) -> bool {
        self.in_flight.taken() >= self.limits.in_flight_max
    }

    /// For what is answered without a place of its own.
    ///
    /// # Errors
    /// `OVERLOADED` while everybody is refused.
    pub(crate) fn has_room(&self) -> Result<(), Status> {
        if self.is_full() { Err(self.overloaded.clone()) } else { Ok(()) }
    }

    /// The answer to a gRPC request that comes to a full door. In a flood this is most of the work, so it is looked at
    /// before anything else, and nothing is made for the request that it does not need.
    pub(super) fn refusal<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let unary = |method: &Method| !method.rule.always && method.rule.shape == Shape::Unary;
        let refused = self.is_full()
            && request.version() == http::Version::HTTP_2
            && matches!(protocol(request.headers()), Protocol::Grpc)
            && self.methods.get(request.uri().path()).is_some_and(unary);
        refused.then(|| {
            let mut response = Response::new(Body::empty());
            *response.headers_mut() = self.overloaded_head.clone();
            response
        })
    }

    /// Answers a request of either protocol.
    pub async fn handle(self: &Arc<Self>, request: Request<Body>) -> Response<Body> {
        match protocol(request.headers()) {
            Protocol::Grpc if request.version() == http::Version::HTTP_2 => self.call(request).await,
            Protocol::Web => self.web(request).await,
            Protocol::Json => self.transcoder.handle(self, request).await,
            Protocol::Grpc | Protocol::Other => self.transcoder.unsupported(),
        }
    }

    /// Answers a gRPC request of a browser's: the same one, in another wrapping.
    async fn web(self: &Arc<Self>, request: Request<Body>) -> Response<Body> {
        let mut service = GrpcWebLayer::new().layer(DoorService(Arc::clone(self)));
        match service.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Whether a JSON request with this verb, path and token would be let in now.
    ///
    /// # Errors
    /// What it would be refused with.
    pub fn would_admit(&self, verb: &http::Method, path: &str, headers: &HeaderMap) -> Result<(), Status> {
        self.admit(self.transcoder.grpc_path(verb, path)?, headers).map(drop)
    }

    /// Answers a gRPC request.
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        match self.admit(request.uri().path(), request.headers()) {
            Ok(admitted) => self.dispatch(admitted, request).await,
            Err(status) => status.into_http(),
        }
    }

    /// Lets a request in, or says why not. Nothing of its body has been read.
    ///
    /// # Errors
    /// `UNKNOWN_METHOD`, `OVERLOADED`, `TOO_MANY_STREAMS`, or what policy and verifier say.
    pub(crate) fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Admitted<'_>, Status> {
        let Some(method) = self.methods.get(path) else {
            return Err(error::status(Reason::UnknownMethod, "there is no such method", []));
        };
        let place = self.place(&method.rule)?;
        let caller = method.rule.admit(self.verifier.verify(headers)?)?;
        let asked = headers.get("grpc-timeout").and_then(|value| timeout(value.to_str().ok()?));
        let allowed = asked.map_or(method.timeout, |asked| asked.min(method.timeout));
        let whole = if method.rule.shape == Shape::Stream { asked.unwrap_or(allowed) } else { allowed };
        Ok(Admitted { method, caller, deadline: Instant::now() + whole, bounded: asked.is_some(), place })
    }

    fn place(&self, rule: &Rule) -> Result<Place<'_>, Status> {
        match rule.shape {
            _ if rule.always => Ok(Place::Always),
            Shape::Unary if self.in_flight.enter() => Ok(Place::Request(RequestPlace(&self.in_flight))),
            Shape::Unary => Err(self.overloaded.clone()),
            Shape::Stream if self.streams.enter() => Ok(Place::Stream(StreamPlace(Arc::clone(&self.streams)))),
            Shape::Stream => Err(error::status(Reason::TooManyStreams, "too many streams are followed", [])),
        }
    }

    /// Runs an admitted gRPC request.
    pub(crate) async fn dispatch(&self, admitted: Admitted<'_>, mut request: Request<Body>) -> Response<Body> {
        let Admitted { method, caller, deadline, bounded, place } = admitted;
        let in_use = match place {
            Place::Stream(_) => request.extensions_mut().remove::<Arc<InUse>>(),
            _ => None,
        };
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(Deadline(deadline));
        let work = AssertUnwindSafe(method.route.call(request)).catch_unwind();
        // The head of a stream must come as fast as an answer; its deadline goes on after that.
        let head = deadline.min(Instant::now() + method.timeout);
        let response = match tokio::time::timeout_at(head, work).await {
            Ok(Ok(Ok(response))) => explained(response),
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(_panic)) => {
                tracing::error!(path = method.rule.path, "a handler panicked");
                error::status(Reason::Internal, "something went wrong here", []).into_http()
            }
            Err(_elapsed) => error::status(Reason::Deadline, "the time for this request is over", []).into_http(),
        };
        match place {
            Place::Stream(place) => {
                let deadline = bounded.then_some(deadline);
                let closing = self.closing();
                let idle = self.limits.stream_idle;
                response.map(|body| Body::new(Follow::new(body, idle, deadline, closing, place, in_use)))
            }
            Place::Always | Place::Request(_) => response.map(|body| Body::new(body.map_frame(explain_frame))),
        }
    }
}

/// Gives a reason to a refusal that tonic made itself.
fn explained(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    if !headers.contains_key("grpc-status") || headers.contains_key("grpc-status-details-bin") {
        return response;
    }
    match Status::from_header_map(headers) {
        Some(status) if status.code() != tonic::Code::Ok => error::explain(status).into_http(),
        _ => response,
    }
}

/// The same for a refusal that came after the head: an answer that turned out too large.
pub(super) fn explain_frame(frame: Frame<Bytes>) -> Frame<Bytes> {
    let bare = frame.trailers_ref().filter(|trailers| !trailers.contains_key("grpc-status-details-bin"));
    match bare.and_then(Status::from_header_map) {
        Some(status) if status.code() != tonic::Code::Ok => Frame::trailers(trailers(&error::explain(status))),
        _ => frame,
    }
}

/// A status as the trailers that carry it.
pub(super) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if let Err(unfit) = status.add_header(&mut trailers) {
        tracing::error!(%unfit, "a status did not fit into trailers");
    }
    trailers
}

enum Protocol {
    Grpc,
    Web,
    Json,
    Other,
}

/// `application/grpc` and its codecs are gRPC, `application/grpc-web` and `-text` gRPC-Web; everything else is for the JSON
/// twin, which reads every body as JSON, because `curl -d` calls its body a form.
fn protocol(headers: &HeaderMap) -> Protocol {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return Protocol::Json };
    match kind.as_bytes().strip_prefix(b"application/grpc") {
        Some(b"" | [b'+' | b';', ..]) => Protocol::Grpc,
        Some(b"-web" | b"-web+proto" | b"-web-text" | b"-web-text+proto") => Protocol::Web,
        Some(_) => Protocol::Other,
        None => Protocol::Json,
    }
}

/// Reads a `grpc-timeout`: at most eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// The door as a tower service, for clients inside the process: `OrderServiceClient::new(DoorService(door))`.
#[derive(Clone)]
pub struct DoorService(pub Arc<Door>);

impl tower::Service<Request<Body>> for DoorService {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = tonic::codegen::BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let door = Arc::clone(&self.0);
        Box::pin(async move { Ok(door.call(request).await) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_timeout_is_read_as_the_protocol_spells_it() {
        assert_eq!(timeout("10S"), Some(Duration::from_secs(10)));
        assert_eq!(timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout("2H"), Some(Duration::from_secs(7200)));
        for bad in ["", "S", "10", "10s", "-1S", "123456789S", "1.5S", "é"] {
            assert_eq!(timeout(bad), None, "{bad}");
        }
    }
}
