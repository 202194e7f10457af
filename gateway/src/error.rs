//! Errors as clients see them: google.rpc.Status with ErrorInfo, always from one registry of reasons.
//!
//! AIP-193: the code says which kind of thing happened, the reason says which, the metadata carries the
//! values a program needs, and the message is for people. Whoever refuses a request calls [`status`] (or one of
//! its short forms), so no error leaves without a reason, and the registry cannot go stale.

mod reason;

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{BadRequest, ErrorDetail, ErrorInfo, RetryInfo, StatusExt as _};

pub use reason::Reason;

/// The domain of every reason.
pub const DOMAIN: &str = "cartulary";

/// The refusal of a request: `message` for people, `metadata` for programs.
#[must_use]
pub fn status<'a>(
    reason: Reason,
    message: impl Into<String>,
    metadata: impl IntoIterator<Item = (&'a str, String)>,
) -> Status {
    build(reason, message.into(), metadata, None)
}

/// [`Reason::InvalidField`] for one field; `field` is its path in the request, e.g. `lines[2].sku`.
#[must_use]
pub fn invalid(field: &str, why: impl Into<String>) -> Status {
    field_violation(Reason::InvalidField, field, why.into())
}

/// [`Reason::MissingField`] for one field.
#[must_use]
pub fn missing(field: &str) -> Status {
    field_violation(Reason::MissingField, field, "is required".to_owned())
}

fn field_violation(reason: Reason, field: &str, why: String) -> Status {
    let message = format!("{field} {why}");
    let violation = BadRequest::with_violation(field, why);
    build(reason, message, [("field", field.to_owned())], Some(violation.into()))
}

fn build<'a>(
    reason: Reason,
    message: String,
    metadata: impl IntoIterator<Item = (&'a str, String)>,
    more: Option<ErrorDetail>,
) -> Status {
    let metadata: HashMap<String, String> = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    // ErrorInfo comes first: it is what everybody looks for.
    let mut details = vec![ErrorDetail::from(ErrorInfo::new(reason.name(), DOMAIN, metadata))];
    details.extend(reason.retry_after().map(|after| RetryInfo::new(Some(after)).into()));
    details.extend(more);
    Status::with_error_details_vec(reason.code(), message, details)
}

/// The reason that a status carries, if it came from here.
#[must_use]
pub fn reason_of(status: &Status) -> Option<Reason> {
    let info = status.get_details_error_info()?;
    Reason::ALL.iter().copied().find(|reason| reason.name() == info.reason)
}

/// Gives a reason to a status that the gRPC machinery made before any of our code ran: a message that is
/// too large, does not decode, or is compressed in a way we do not read.
#[must_use]
pub fn explain(status: Status) -> Status {
    if !status.details().is_empty() {
        return status;
    }
    let reason = match status.code() {
        Code::OutOfRange if status.message().contains("encoded") => Reason::AnswerTooLarge,
        Code::OutOfRange => Reason::MessageTooLarge,
        Code::Unimplemented => Reason::UnknownMethod,
        Code::DeadlineExceeded => Reason::Deadline,
        Code::Unauthenticated => Reason::UnauthenticatedCaller,
        Code::Internal if status.message().contains("decode") => Reason::InvalidMessage,
        Code::Cancelled => return status,
        _ => Reason::Internal,
    };
    self::status(reason, status.message(), [])
}

/// The HTTP status of a gRPC code, as google.rpc.Code documents it.
#[must_use]
pub const fn http_status(code: Code) -> http::StatusCode {
    use http::StatusCode as Http;
    match code {
        Code::Ok => Http::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => Http::BAD_REQUEST,
        Code::Unauthenticated => Http::UNAUTHORIZED,
        Code::PermissionDenied => Http::FORBIDDEN,
        Code::NotFound => Http::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => Http::CONFLICT,
        Code::ResourceExhausted => Http::TOO_MANY_REQUESTS,
        Code::Unimplemented => Http::NOT_IMPLEMENTED,
        Code::Unavailable => Http::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => Http::GATEWAY_TIMEOUT,
        // 499: the client went away; http has no name for it, and nobody reads the answer.
        Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => Http::INTERNAL_SERVER_ERROR,
    }
}

/// The registry as a table in Markdown, for the README.
#[must_use]
pub fn markdown() -> String {
    let mut table = String::from("| reason | code | retry | what it means | what to do |\n|---|---|---|---|---|\n");
    for reason in Reason::ALL {
        let retry =
            reason.retry_after().map_or_else(|| "no".to_owned(), |after| format!("after {} ms", after.as_millis()));
        table.push_str(&format!(
            "| `{}` | {:?} | {retry} | {} | {} |\n",
            reason.name(),
            reason.code(),
            reason.meaning(),
            reason.advice(),
        ));
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_is_named_once_and_explained() {
        let mut names = HashSet::new();
        for reason in Reason::ALL {
            let name = reason.name();
            assert!(names.insert(name), "{name} twice");
            assert!(name.chars().all(|c| c.is_ascii_uppercase() || c == '_'), "{name}");
            assert!(reason.meaning().ends_with('.') && reason.meaning().len() > 20, "{name}: meaning");
            assert!(reason.advice().ends_with('.') && reason.advice().len() > 4, "{name}: advice");
            assert_ne!(reason.code(), Code::Ok, "{name}");
            assert!(markdown().contains(&format!("`{name}`")));
        }
    }

    #[test]
    fn only_unavailable_is_retried_and_all_of_it_says_when() {
        for reason in Reason::ALL {
            assert_eq!(reason.code() == Code::Unavailable, reason.retry_after().is_some(), "{}", reason.name());
        }
    }

    #[test]
    fn a_status_carries_reason_domain_metadata_and_when_to_retry() {
        let status = status(Reason::ViewBehind, "orders is at 5", [("view", "orders".to_owned())]);
        let details = status.get_error_details();
        let info = details.error_info().expect("every status has an ErrorInfo");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("VIEW_BEHIND", DOMAIN));
        assert_eq!(info.metadata["view"], "orders");
        assert!(details.retry_info().is_some_and(|r| r.retry_delay == Reason::ViewBehind.retry_after()));
        assert_eq!(reason_of(&status), Some(Reason::ViewBehind));
    }

    #[test]
    fn a_bad_field_is_named() {
        let status = missing("lines[2].sku");
        let details = status.get_error_details();
        let violation = &details.bad_request().expect("a violation").field_violations[0];
        assert_eq!((violation.field.as_str(), violation.description.as_str()), ("lines[2].sku", "is required"));
        assert_eq!(status.message(), "lines[2].sku is required");
        assert_eq!(reason_of(&status), Some(Reason::MissingField));
    }

    #[test]
    fn what_the_machinery_refuses_gets_a_reason_too() {
        let bare = Status::out_of_range("decoded message length too large");
        assert_eq!(reason_of(&explain(bare)), Some(Reason::MessageTooLarge));
        let ours = status(Reason::NotYours, "no", []);
        assert_eq!(reason_of(&explain(ours)), Some(Reason::NotYours));
    }
}
