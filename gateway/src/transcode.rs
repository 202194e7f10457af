//! The JSON twin: every RPC under its `google.api.http` path.
//!
//! It is driven by the descriptors alone, so an RPC that is added to a .proto file has its JSON form at once and the two
//! can never differ. A JSON request becomes the gRPC request that it means and goes through the same
//! [`Door::admit`] and [`Door::dispatch`]: policies, limits and deadlines exist once. It is admitted before its body is
//! read, so that a stranger or a full house costs no parsing.

mod cache;
mod input;
mod openapi;
mod output;
mod template;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header, request::Parts};
use http_body_util::{BodyExt as _, Full, Limited};
use prost_reflect::{DescriptorPool, DynamicMessage, ExtensionDescriptor, MessageDescriptor, MethodDescriptor};
use proto::v1::Role;
use tonic::{Status, body::Body};

use self::{
    cache::Keep,
    input::BodyFills,
    output::Form,
    template::{Capture, Template},
};
use crate::{
    error::{self, Reason},
    server::Door,
};

/// Where the twin's own description is.
const OPENAPI: &str = "/openapi.json";
/// How long caches may keep it: a deploy changes it.
const OPENAPI_AGE: Duration = Duration::from_secs(60);

/// Why the API cannot be served as JSON; known when the gateway starts.
#[derive(Debug, thiserror::Error)]
pub enum Unservable {
    /// The embedded descriptors are unreadable.
    #[error("the embedded descriptors are unreadable: {0}")]
    Descriptors(#[from] proto::DescriptorError),
    /// A definition that the twin needs is not among them.
    #[error("{0} is missing from the descriptors")]
    Missing(&'static str),
    /// A `google.api.http` option that the twin does not know how to serve.
    #[error("the HTTP path of {method}: {why}")]
    Path {
        /// The method.
        method: String,
        /// What is wrong.
        why: String,
    },
}

/// Serves JSON.
pub(crate) struct Transcoder {
    routes: Vec<Route>,
    status: MessageDescriptor,
    /// The twin's own description, and its tag.
    openapi: (Bytes, HeaderValue),
}

/// One method under one path.
struct Route {
    method: MethodDescriptor,
    verb: Method,
    template: Template,
    fills: BodyFills,
    input: MessageDescriptor,
    /// Everybody may see the answer.
    window: bool,
    /// The gRPC path.
    grpc: Uri,
}

impl Route {
    /// Who may keep the answer to a request.
    fn keep(&self, parts: &Parts, window_max_age: Duration) -> Keep {
        match (&parts.method, self.window && !parts.headers.contains_key(header::AUTHORIZATION)) {
            (&Method::GET, true) => Keep::Anybody(window_max_age),
            (&Method::GET, false) => Keep::Caller,
            _ => Keep::Nobody,
        }
    }
}

impl Transcoder {
    /// A twin of every method of `pool` that has an HTTP path and whose gRPC path is `served`.
    ///
    /// # Errors
    /// [`Unservable`].
    pub(crate) fn new(pool: &DescriptorPool, served: impl Fn(&str) -> bool) -> Result<Self, Unservable> {
        let missing = |name| move || Unservable::Missing(name);
        let http = pool.get_extension_by_name("google.api.http").ok_or_else(missing("google.api.http"))?;
        let status = pool.get_message_by_name("google.rpc.Status").ok_or_else(missing("google.rpc.Status"))?;
        let mut routes = Vec::new();
        for service in pool.services() {
            for method in service.methods() {
                routes.extend(
                    bindings(&method, &http)
                        .map_err(|why| Unservable::Path { method: method.full_name().to_owned(), why })?,
                );
            }
        }
        routes.retain(|route: &Route| served(route.grpc.path()));
        let openapi = Bytes::from(openapi::document(pool, &routes).to_string());
        let tag = cache::tag(&openapi);
        Ok(Self { routes, status, openapi: (openapi, tag) })
    }

    /// Answers a JSON request.
    pub(crate) async fn handle(&self, door: &Door, request: Request<Body>) -> Response<Body> {
        match self.answer(door, request).await {
            Ok(response) => response,
            Err(status) => output::refusal(&self.status, &status),
        }
    }

    /// The answer to what is neither JSON, gRPC over HTTP/2 nor gRPC-Web.
    pub(crate) fn unsupported(&self) -> Response<Body> {
        let why = "this is neither JSON, gRPC over HTTP/2 nor gRPC-Web";
        output::refusal(&self.status, &error::status(Reason::UnsupportedContent, why, []))
    }

    async fn answer(&self, door: &Door, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        if parts.method == Method::GET && parts.uri.path() == OPENAPI {
            door.has_room()?;
            let (openapi, tag) = self.openapi.clone();
            return Ok(cache::tagged(openapi, tag, Keep::Anybody(OPENAPI_AGE), &parts.headers));
        }
        let (route, captures) = self.find(&parts.method, parts.uri.path())?;
        let admitted = door.admit(route.grpc.path(), &parts.headers)?;
        let form = Form::of(&parts.headers);
        let read = async {
            let body = read(body, &parts, door.limits().json_body_max_bytes).await?;
            input::message(&route.input, &route.fills, &body, &captures, parts.uri.query())
        };
        let message = tokio::time::timeout_at(admitted.deadline, read)
            .await
            .map_err(|_| error::status(Reason::Deadline, "the body did not arrive in time", []))??;
        let (headers, keep) = (parts.headers.clone(), route.keep(&parts, door.limits().window_max_age));
        let answer = door.dispatch(admitted, grpc(route, parts, message)).await;
        if route.method.is_server_streaming() {
            return output::stream(answer, route.method.output(), self.status.clone(), form);
        }
        let json = output::unary(answer, &route.method.output()).await?;
        Ok(cache::answer(json, keep, &headers))
    }

    /// The gRPC path behind a verb and a path.
    ///
    /// # Errors
    /// `UNKNOWN_METHOD` or `WRONG_VERB`.
    pub(crate) fn grpc_path(&self, verb: &Method, path: &str) -> Result<&str, Status> {
        self.find(verb, path).map(|(route, _)| route.grpc.path())
    }

    /// The route for a verb and a path.
    fn find(&self, verb: &Method, path: &str) -> Result<(&Route, Vec<Capture<'_>>), Status> {
        let mut others = Vec::new();
        for route in &self.routes {
            match route.template.matches(path) {
                Some(captures) if route.verb == *verb => return Ok((route, captures)),
                Some(_) => others.push(route.verb.as_str()),
                None => {}
            }
        }
        if others.is_empty() {
            return Err(error::status(Reason::UnknownMethod, format!("there is nothing at {path}"), []));
        }
        let allow = others.join(", ");
        let message = format!("{path} takes {allow}, not {verb}");
        Err(error::status(Reason::WrongVerb, message, [("allow", allow)]))
    }
}

/// The body, at most `max` bytes of it.
async fn read(body: Body, parts: &Parts, max: usize) -> Result<Bytes, Status> {
    let too_large = || {
        let message = format!("the body is larger than {max} bytes");
        error::status(Reason::MessageTooLarge, message, [("limit_bytes", max.to_string())])
    };
    let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > max) {
        return Err(too_large());
    }
    match Limited::new(body, max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(fault) if fault.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Err(fault) => Err(error::status(Reason::InvalidMessage, format!("the body broke off: {fault}"), [])),
    }
}

/// The gRPC request that a JSON request means.
fn grpc(route: &Route, parts: Parts, message: Bytes) -> Request<Body> {
    let mut request = Request::new(Body::new(Full::from(message)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = route.grpc.clone();
    *request.version_mut() = http::Version::HTTP_2;
    *request.extensions_mut() = parts.extensions;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    for name in ["authorization", "grpc-timeout", "user-agent"] {
        if let Some(value) = parts.headers.get(name) {
            headers.insert(name, value.clone());
        }
    }
    request
}

/// The routes of a method: its own rule and its additional bindings.
fn bindings(method: &MethodDescriptor, http: &ExtensionDescriptor) -> Result<Vec<Route>, String> {
    let options = method.options();
    if !options.has_extension(http) {
        return Ok(Vec::new());
    }
    let rule = options.get_extension(http);
    let rule = rule.as_message().ok_or("the option is not a message")?;
    let mut routes = vec![binding(method, rule)?];
    let more = rule.get_field_by_name("additional_bindings");
    for rule in more.iter().flat_map(|value| value.as_list().unwrap_or_default()) {
        routes.push(binding(method, rule.as_message().ok_or("a binding is not a message")?)?);
    }
    Ok(routes)
}

fn binding(method: &MethodDescriptor, rule: &DynamicMessage) -> Result<Route, String> {
    let text = |name: &str| rule.get_field_by_name(name).and_then(|value| value.as_str().map(str::to_owned));
    let verbs = ["get", "put", "post", "delete", "patch"];
    let verb = verbs.into_iter().find(|verb| rule.has_field_by_name(verb)).ok_or("it has no HTTP method")?;
    let template = Template::parse(&text(verb).unwrap_or_default())?;
    let input = method.input();
    for variable in template.variables() {
        let name = variable.first().map(String::as_str).unwrap_or_default();
        input::field(&input, name).ok_or_else(|| format!("{} has no field {name}", input.full_name()))?;
    }
    let fills = match text("body").unwrap_or_default().as_str() {
        "" => BodyFills::Nothing,
        "*" => BodyFills::Everything,
        name => {
            input::field(&input, name).ok_or_else(|| format!("{} has no field {name}", input.full_name()))?;
            BodyFills::Field(name.to_owned())
        }
    };
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    Ok(Route {
        method: method.clone(),
        verb: verb.to_uppercase().parse().map_err(|_| "it has an HTTP method that is none")?,
        template,
        fills,
        window: proto::policy(&path).is_some_and(|policy| policy.roles.contains(&Role::Anyone)),
        grpc: path.parse().map_err(|_| "its gRPC path is no URI")?,
        input,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_api_has_its_path_and_no_two_share_one() {
        let twin = Transcoder::new(&proto::descriptor_pool().expect("readable"), |_| true).expect("servable");
        assert_eq!(twin.routes.len(), proto::POLICIES.len());
        for policy in proto::POLICIES {
            let route = twin.routes.iter().find(|route| route.grpc.path() == policy.path).expect(policy.path);
            let path = sample(&route.template);
            let (found, _) = twin.find(&route.verb, &path).expect(&path);
            assert_eq!(found.grpc, route.grpc, "{path}");
        }
    }

    /// A path that the template matches.
    fn sample(template: &Template) -> String {
        let shown = format!("{template:?}");
        let mut path = String::new();
        for part in shown.split("Literal(\"").skip(1) {
            let (literal, rest) = part.split_once('"').expect("a literal");
            path.push_str(&format!("/{literal}"));
            path.push_str(&"/x".repeat(rest.matches("Variable").count()));
        }
        if let Some((_, verb)) = shown.split_once("verb: Some(\"") {
            path.push_str(&format!(":{}", verb.split('"').next().expect("a verb")));
        }
        path
    }

    #[test]
    fn an_unknown_path_and_a_wrong_verb_are_told_apart() {
        let twin = Transcoder::new(&proto::descriptor_pool().expect("readable"), |_| true).expect("servable");
        let refusal = |verb: Method, path: &str| error::reason_of(&twin.find(&verb, path).err().expect("refused"));
        assert_eq!(refusal(Method::GET, "/nothing/here"), Some(Reason::UnknownMethod));
        assert_eq!(refusal(Method::PATCH, "/catalog/products/p"), Some(Reason::WrongVerb));
        assert_eq!(refusal(Method::GET, "/order/orders/o:cancel"), Some(Reason::WrongVerb));
    }
}
