//! What goes wrong, and how each of the protocol's three ways says it: a status with trailers, a message, details.

use ports::store;
use prost::Message;
use tonic::{
    Code, Status,
    metadata::{AsciiMetadataValue, MetadataMap},
};
use uuid::Uuid;

use crate::{
    envelope::identifier,
    expected::Wrong,
    wire::{self, streams::batch_append_resp},
};

/// Why a call did nothing, or may have done something ([`Failure::Late`], [`store::Error::Unknown`]).
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    #[error(
        "Append failed due to WrongExpectedVersion. Stream: {}, Expected version: {}, Actual version: {}",
        .0.stream,
        .0.expected.number(),
        .0.actual()
    )]
    Wrong(Wrong),
    #[error("Event stream '{stream}' is deleted.")]
    Deleted { stream: String },
    #[error("Maximum Append Size of {max} Exceeded.")]
    TooLarge { max: usize },
    #[error("Access Denied")]
    Denied,
    #[error("{0}")]
    Bad(String),
    #[error("event {id} is already in the log")]
    Known { id: Uuid },
    #[error("stream {stream} is written by too many at once; try again")]
    Contended { stream: String },
    #[error("too much is being done; try again")]
    Busy,
    #[error("the server is stopping")]
    Stopping,
    #[error("the append took too long; its outcome is unknown")]
    Late,
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Failure {
    fn code(&self) -> Code {
        match self {
            Self::Wrong(_) | Self::Deleted { .. } => Code::FailedPrecondition,
            Self::TooLarge { .. } | Self::Bad(_) => Code::InvalidArgument,
            Self::Denied => Code::PermissionDenied,
            Self::Known { .. } => Code::AlreadyExists,
            Self::Contended { .. } => Code::Aborted,
            Self::Busy | Self::Store(store::Error::Full) => Code::ResourceExhausted,
            Self::Stopping | Self::Store(store::Error::Stopped(_) | store::Error::Unavailable(_)) => Code::Unavailable,
            // What clients take as "perhaps": only repeating it with the same ids can tell.
            Self::Late | Self::Store(store::Error::Unknown(_)) => Code::DeadlineExceeded,
            Self::Store(store::Error::Corrupt(_)) => Code::DataLoss,
            Self::Store(store::Error::Failed(_)) => Code::Internal,
        }
    }

    /// The trailers by which clients tell failures apart.
    fn trailers(&self) -> MetadataMap {
        let mut trailers = MetadataMap::new();
        let mut put = |key: &'static str, value: &str| {
            trailers.insert(key, ascii(value));
        };
        match self {
            Self::Wrong(wrong) => {
                put("exception", "wrong-expected-version");
                put("stream-name", &wrong.stream);
                put("expected-version", &wrong.expected.number().to_string());
                put("actual-version", &wrong.actual().to_string());
            }
            Self::Deleted { stream } => {
                put("exception", "stream-deleted");
                put("stream-name", stream);
            }
            Self::TooLarge { max } => {
                put("exception", "maximum-append-size-exceeded");
                put("maximum-append-size", &max.to_string());
            }
            Self::Denied => put("exception", "access-denied"),
            Self::Bad(_)
            | Self::Known { .. }
            | Self::Contended { .. }
            | Self::Busy
            | Self::Stopping
            | Self::Late
            | Self::Store(_) => {}
        }
        trailers
    }

    /// As one result of a batch append.
    pub fn result(&self) -> batch_append_resp::Failure {
        let details = match self {
            Self::Wrong(wrong) => any("WrongExpectedVersion", &wrong.details()),
            Self::Deleted { stream } => {
                any("StreamDeleted", &wire::StreamDeleted { stream: Some(identifier(stream.clone())) })
            }
            Self::TooLarge { max } => {
                let bytes_max = u32::try_from(*max).unwrap_or(u32::MAX);
                any("MaximumAppendSizeExceeded", &wire::MaximumAppendSizeExceeded { bytes_max })
            }
            Self::Denied => any("AccessDenied", &wire::AccessDenied {}),
            Self::Bad(_) | Self::Known { .. } => any("BadRequest", &wire::BadRequest { message: self.to_string() }),
            Self::Late | Self::Store(store::Error::Unknown(_)) => any("Timeout", &wire::Timeout {}),
            Self::Contended { .. } | Self::Busy | Self::Stopping | Self::Store(_) => any("Unknown", &wire::Unknown {}),
        };
        batch_append_resp::Failure { code: self.code() as i32, message: self.to_string(), details: Some(details) }
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        if let Failure::Store(error) = &failure {
            tracing::warn!(%error, "a call failed at the log");
        }
        Self::with_metadata(failure.code(), failure.to_string(), failure.trailers())
    }
}

/// Nobody is known by these credentials.
pub fn unauthenticated() -> Status {
    Status::unauthenticated("Authentication failed.")
}

/// A message of the protocol as details.
fn any(name: &str, message: &impl Message) -> prost_types::Any {
    let type_url = format!("type.googleapis.com/event_store.client.{name}");
    prost_types::Any { type_url, value: message.encode_to_vec() }
}

/// A trailer holds visible ASCII only; what else a stream's name has is in the status text.
fn ascii(text: &str) -> AsciiMetadataValue {
    let visible: String = text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    AsciiMetadataValue::try_from(visible).unwrap_or_else(|_unfit| AsciiMetadataValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expected::Expected;

    #[test]
    fn a_wrong_expected_version_says_so_in_text_and_trailers() {
        let wrong = Wrong { stream: "x-상품".into(), expected: Expected::Revision(5), current: None };
        let status = Status::from(Failure::Wrong(wrong));
        assert_eq!(status.code(), Code::FailedPrecondition);
        let text = "Append failed due to WrongExpectedVersion. Stream: x-상품, Expected version: 5, Actual version: -1";
        assert_eq!(status.message(), text);
        let trailer = |key| status.metadata().get(key).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!(trailer("exception"), "wrong-expected-version");
        assert_eq!((trailer("expected-version"), trailer("actual-version")), ("5", "-1"));
        assert_eq!(trailer("stream-name"), "x-??");
    }

    #[test]
    fn a_deleted_stream_says_so_in_text_and_trailers() {
        let status = Status::from(Failure::Deleted { stream: "x-1".into() });
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("is deleted"));
        assert_eq!(status.metadata().get("exception").map(|value| value.as_bytes()), Some(&b"stream-deleted"[..]));
        assert_eq!(status.metadata().get("stream-name").map(|value| value.as_bytes()), Some(&b"x-1"[..]));
    }
}
