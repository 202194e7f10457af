//! What a writer expects a stream to be.

use ports::store::Revision;

use crate::wire::{self, streams::append_resp::wrong};

/// What a writer expects a stream to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Its last event has this revision.
    Revision(Revision),
    /// It does not exist, or is deleted.
    NoStream,
    /// Whatever it is.
    Any,
    /// It has an event that can be seen.
    Exists,
}

const EMPTY: wire::Empty = wire::Empty {};

impl Expected {
    /// The number by which texts and trailers name it.
    pub fn number(self) -> i64 {
        match self {
            Self::Revision(revision) => i64::try_from(revision).unwrap_or(i64::MAX),
            Self::NoStream => -1,
            Self::Any => -2,
            Self::Exists => -4,
        }
    }

    pub const fn spell(self) -> wire::streams::batch_append_resp::Expected {
        use wire::streams::batch_append_resp::Expected;
        match self {
            Self::Revision(revision) => Expected::Revision(revision),
            Self::NoStream => Expected::NoStream(EMPTY),
            Self::Any => Expected::Any(EMPTY),
            Self::Exists => Expected::Exists(EMPTY),
        }
    }

    const fn for_old_clients(self) -> Option<wrong::OldExpected> {
        match self {
            Self::Revision(revision) => Some(wrong::OldExpected::OldExpectedRevision(revision)),
            // It had no word for this one.
            Self::NoStream => None,
            Self::Any => Some(wrong::OldExpected::OldExpectedAny(EMPTY)),
            Self::Exists => Some(wrong::OldExpected::OldExpectedExists(EMPTY)),
        }
    }

    const fn for_new_clients(self) -> wrong::Expected {
        match self {
            Self::Revision(revision) => wrong::Expected::ExpectedRevision(revision),
            Self::NoStream => wrong::Expected::ExpectedNoStream(EMPTY),
            Self::Any => wrong::Expected::ExpectedAny(EMPTY),
            Self::Exists => wrong::Expected::ExpectedExists(EMPTY),
        }
    }
}

/// `None` (a client that says nothing) means any.
impl From<Option<wire::streams::r#where::Expected>> for Expected {
    fn from(expected: Option<wire::streams::r#where::Expected>) -> Self {
        use wire::streams::r#where::Expected;
        match expected {
            Some(Expected::Revision(revision)) => Self::Revision(revision),
            Some(Expected::NoStream(_)) => Self::NoStream,
            Some(Expected::Exists(_)) => Self::Exists,
            Some(Expected::Any(_)) | None => Self::Any,
        }
    }
}

impl From<Option<wire::streams::batch_append_req::options::Expected>> for Expected {
    fn from(expected: Option<wire::streams::batch_append_req::options::Expected>) -> Self {
        use wire::streams::batch_append_req::options::Expected;
        match expected {
            Some(Expected::Revision(revision)) => Self::Revision(revision),
            Some(Expected::NoStream(_)) => Self::NoStream,
            Some(Expected::Exists(_)) => Self::Exists,
            Some(Expected::Any(_)) | None => Self::Any,
        }
    }
}

/// A stream that is not as it was expected to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub stream: String,
    pub expected: Expected,
    /// The revision of its last event; `None` when there is no such stream.
    pub current: Option<Revision>,
}

impl Wrong {
    /// The number by which texts and trailers name what the stream is.
    pub fn actual(&self) -> i64 {
        self.current.map_or(-1, |revision| i64::try_from(revision).unwrap_or(i64::MAX))
    }

    /// In the answer to an append, for clients old and new.
    pub fn answer(&self) -> wire::streams::append_resp::Wrong {
        let old_current = match self.current {
            Some(revision) => wrong::OldCurrent::OldCurrentRevision(revision),
            None => wrong::OldCurrent::OldCurrentNoStream(EMPTY),
        };
        let current = match self.current {
            Some(revision) => wrong::Current::CurrentRevision(revision),
            None => wrong::Current::CurrentNoStream(EMPTY),
        };
        wire::streams::append_resp::Wrong {
            old_current: Some(old_current),
            old_expected: self.expected.for_old_clients(),
            current: Some(current),
            expected: Some(self.expected.for_new_clients()),
        }
    }

    /// As the details of a failed batch append.
    pub const fn details(&self) -> wire::WrongExpectedVersion {
        use wire::wrong_expected_version::{Current, Expected as Spelled};
        let current = match self.current {
            Some(revision) => Current::CurrentRevision(revision),
            None => Current::CurrentNoStream(EMPTY),
        };
        let expected = match self.expected {
            Expected::Revision(revision) => Spelled::ExpectedRevision(revision),
            Expected::NoStream => Spelled::ExpectedNoStream(EMPTY),
            Expected::Any => Spelled::ExpectedAny(EMPTY),
            Expected::Exists => Spelled::ExpectedExists(EMPTY),
        };
        wire::WrongExpectedVersion { current: Some(current), expected: Some(expected) }
    }
}
