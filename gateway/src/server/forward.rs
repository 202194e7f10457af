//! What changes something, forwarded to a node that decides.
//!
//! A gateway without the role `commands` checks who asks, and sends the call on as it came, with the caller's own token,
//! which the node checks again. Requests that name the same thing go to the same node as long as it answers (rendezvous
//! hashing over the nodes' addresses): it knows the stream already, and decides what waits for it together. A wrong choice
//! costs a conflict, never correctness, so nothing is agreed upon: a node that does not answer is passed over, and the next
//! in the order of this request is asked the same, under the same request id.
//!
//! An answer is a node's own word. One that refuses, after another has fallen silent over the same request, says how things
//! stand now; the silent one may still do it, as it may after a caller's own retry.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header, request::Parts};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tokio::time::Instant;
use tonic::{Status, body::Body, codegen::BoxFuture, transport::Uri};

use super::{door::Deadline, routes::Route};
use crate::{
    error::{self, Reason},
    transcode::Unservable,
};

mod node;

use node::Node;

/// The bytes before a gRPC message: whether it is compressed, and its length.
const FRAME_HEAD: usize = 5;
/// The most milliseconds that a `grpc-timeout` can say.
const TIMEOUT_MAX: u128 = 99_999_999;
/// The longest name of a compression, in bytes.
const ENCODING_MAX: usize = 16;
/// Says that a request was forwarded once, which is all it may be.
const FORWARDED: &str = "x-cartulary-forwarded";

/// The bounds of what is asked of command nodes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long connecting to one may take (1 s).
    pub connect_max: Duration,
    /// How often one is asked whether it is there (1 s).
    pub ping_every: Duration,
    /// How long it may take to say so (1 s); what it was asked is then asked of another.
    pub ping_max: Duration,
    /// After which time without an answer others are asked first (2 s); who waits already goes on waiting.
    pub answer_max: Duration,
    /// For how long then (1 s), and twice as long each time it fails again. Then one request tries it.
    pub rest_min: Duration,
    /// For how long at most (30 s).
    pub rest_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            connect_max: second,
            ping_every: second,
            ping_max: second,
            answer_max: 2 * second,
            rest_min: second,
            rest_max: 30 * second,
        }
    }
}

/// The way to the nodes that decide.
#[derive(Clone)]
pub struct Forward(Arc<Nodes>);

struct Nodes {
    nodes: Vec<Node>,
    answer_max: Duration,
    message_max: usize,
    requests: HashMap<&'static str, About>,
}

/// Where the requests of a method say what they are about.
struct About {
    message: MessageDescriptor,
    fields: &'static [u32],
}

impl About {
    fn of(pool: &proto::DescriptorPool, policy: &proto::MethodPolicy) -> Option<Self> {
        let (service, method) = policy.path.trim_start_matches('/').split_once('/')?;
        let method = pool.get_service_by_name(service)?.methods().find(|found| found.name() == method)?;
        Some(Self { message: method.input(), fields: policy.about })
    }
}

impl Forward {
    /// A way to the nodes that listen at these addresses, for messages of at most `message_max` bytes. Connects when there is
    /// something to ask.
    ///
    /// # Errors
    /// When the embedded descriptors cannot be read.
    pub fn new(urls: &[Uri], limits: &Limits, message_max: usize) -> Result<Self, Unservable> {
        let pool = proto::descriptor_pool()?;
        let mutations = proto::POLICIES.iter().filter(|policy| !policy.about.is_empty());
        let requests = mutations.map(|policy| {
            let about = About::of(&pool, policy).ok_or(Unservable::Missing(policy.path))?;
            Ok((policy.path, about))
        });
        let requests = requests.collect::<Result<_, Unservable>>()?;
        let nodes = urls.iter().map(|url| Node::new(url, limits)).collect();
        Ok(Self(Arc::new(Nodes { nodes, answer_max: limits.answer_max, message_max, requests })))
    }
}

impl Route for Forward {
    fn call(&self, request: Request<Body>) -> BoxFuture<Response<Body>, std::convert::Infallible> {
        let nodes = Arc::clone(&self.0);
        Box::pin(async move { Ok(nodes.ask(request).await.unwrap_or_else(Status::into_http)) })
    }
}

impl Nodes {
    /// Asks the nodes one after the other until one answers: first those that are well, in the order of this request.
    async fn ask(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        if parts.headers.contains_key(FORWARDED) {
            return Err(error::status(Reason::CommandsAway, "this is a gateway, and no node that decides", []));
        }
        let body = self.read(body).await?;
        let mut resting = VecDeque::new();
        for node in self.ranked(&self.about(parts.uri.path(), &body)) {
            if !node.is_well() {
                resting.push_back(node);
            } else if let Some(response) = node.ask(again(&parts, &body)).await {
                return Ok(response);
            }
        }
        // Perhaps one of them is back; none is waited for as long as there is another.
        while let Some(node) = resting.pop_front() {
            let asked = node.ask(again(&parts, &body));
            let answer = if resting.is_empty() {
                asked.await
            } else {
                tokio::time::timeout(self.answer_max, asked).await.ok().flatten()
            };
            if let Some(response) = answer {
                return Ok(response);
            }
        }
        Err(error::status(Reason::CommandsAway, "no node that decides has answered", []))
    }

    /// The whole request: it may be asked more than once.
    async fn read(&self, body: Body) -> Result<Bytes, Status> {
        match Limited::new(body, self.message_max + FRAME_HEAD).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(fault) if fault.is::<LengthLimitError>() => {
                let message = format!("the message is larger than {} bytes", self.message_max);
                Err(error::status(Reason::MessageTooLarge, message, [("limit_bytes", self.message_max.to_string())]))
            }
            Err(fault) => Err(error::status(Reason::InvalidMessage, format!("the body broke off: {fault}"), [])),
        }
    }

    /// What a request is about; nothing if it cannot be read, which the node will say.
    fn about(&self, path: &str, frame: &[u8]) -> String {
        let read = || {
            let About { message, fields } = self.requests.get(path)?;
            let message = DynamicMessage::decode(message.clone(), frame.get(FRAME_HEAD..)?).ok()?;
            let text = |number: &u32| message.get_field_by_number(*number)?.as_str().map(str::to_owned);
            fields.iter().filter_map(text).find(|text| !text.is_empty())
        };
        read().unwrap_or_default()
    }

    /// The nodes in the order in which they are asked about something: the same at every gateway.
    fn ranked(&self, about: &str) -> Vec<&Node> {
        let mut nodes: Vec<_> = self.nodes.iter().collect();
        nodes.sort_by_cached_key(|node| Reverse(node.score(about)));
        nodes
    }
}

/// The request, once more, with what is left of its time. Of its headers only those that the node needs: the others are between
/// the caller and this gateway, and must not make a node look as if it were at fault.
fn again(parts: &Parts, body: &Bytes) -> Request<Body> {
    let mut request = Request::new(Body::new(Full::from(body.clone())));
    request.method_mut().clone_from(&parts.method);
    request.uri_mut().clone_from(&parts.uri);
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(FORWARDED, HeaderValue::from_static("1"));
    if let Some(token) = parts.headers.get(header::AUTHORIZATION) {
        headers.insert(header::AUTHORIZATION, token.clone());
    }
    if let Some(encoding) = parts.headers.get("grpc-encoding").filter(|encoding| encoding.len() <= ENCODING_MAX) {
        headers.insert("grpc-encoding", encoding.clone());
    }
    if let Some(Deadline(deadline)) = parts.extensions.get() {
        request.headers_mut().insert("grpc-timeout", timeout(*deadline));
    }
    request
}

/// The time until a deadline as the protocol spells it: a little more, for that it is over is said here and is no fault of
/// the node's.
fn timeout(deadline: Instant) -> HeaderValue {
    let left = deadline.saturating_duration_since(Instant::now()).as_millis() + 1;
    // Digits and a letter are a header.
    HeaderValue::try_from(format!("{}m", left.min(TIMEOUT_MAX))).unwrap_or(HeaderValue::from_static("1m"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::{BufMut as _, BytesMut};
    use proto::v1;

    use super::*;

    fn nodes(urls: &[&'static str]) -> Arc<Nodes> {
        let urls: Vec<Uri> = urls.iter().map(|url| Uri::from_static(url)).collect();
        Forward::new(&urls, &Limits::default(), 1 << 20).expect("readable").0
    }

    fn first<'n>(nodes: &'n Nodes, about: &str) -> &'n str {
        nodes.ranked(about)[0].name()
    }

    fn frame(message: &impl prost::Message) -> Bytes {
        let mut frame = BytesMut::from(&[0; FRAME_HEAD][..]);
        frame.put_slice(&message.encode_to_vec());
        frame.freeze()
    }

    #[tokio::test]
    async fn every_gateway_asks_the_same_node_and_a_new_node_takes_its_share_from_all() {
        let two = nodes(&["http://one:1", "http://two:1"]);
        let three = nodes(&["http://three:1", "http://two:1", "http://one:1"]);
        let mut moved: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        let things: Vec<String> = (0..900).map(|n| format!("thing-{n}")).collect();
        for about in &things {
            *moved.entry((first(&two, about), first(&three, about))).or_default() += 1;
        }
        let moves: Vec<_> = moved.keys().copied().collect();
        let (one, two, three) = ("http://one:1/", "http://two:1/", "http://three:1/");
        assert_eq!(moves, [(one, one), (one, three), (two, three), (two, two)], "nothing moves between old nodes");
        assert!(moved.values().all(|count| *count > 100), "each has about its share: {moved:?}");
    }

    #[tokio::test]
    async fn a_request_says_what_it_is_about_and_else_which_it_is() {
        let nodes = nodes(&[]);
        let request_id = "r".to_owned();
        let cancel = |order: &str| v1::CancelOrderRequest {
            request_id: request_id.clone(),
            order_id: order.to_owned(),
            ..v1::CancelOrderRequest::default()
        };
        let path = "/cartulary.v1.OrderService/CancelOrder";
        assert_eq!(nodes.about(path, &frame(&cancel("o"))), "o");
        assert_eq!(nodes.about(path, &frame(&cancel(""))), "r");
        let place = v1::ProcessOrderRequest { request_id: request_id.clone(), ..v1::ProcessOrderRequest::default() };
        assert_eq!(nodes.about("/cartulary.v1.OrderService/ProcessOrder", &frame(&place)), "r");
        for unreadable in [&b""[..], b"\0\0\0", b"\0\0\0\0\x05\xff\xff\xff\xff\xff"] {
            assert_eq!(nodes.about(path, unreadable), "", "{unreadable:?}");
        }
    }

    #[test]
    fn every_method_that_changes_something_is_about_something() {
        let asks = |path: &str| ["/Get", "/List", "/Watch", "/Echo"].iter().any(|verb| path.contains(verb));
        for policy in proto::POLICIES {
            assert_eq!(policy.about.is_empty(), asks(policy.path), "{}", policy.path);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_of_the_time_is_spelt_as_the_protocol_does() {
        let after = |span| timeout(Instant::now() + span);
        assert_eq!(after(Duration::from_millis(1_500)), "1501m");
        assert_eq!(after(Duration::ZERO), "1m");
        assert_eq!(after(Duration::from_secs(1 << 30)), "99999999m");
    }
}
