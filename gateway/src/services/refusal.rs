//! What a desk's error means to the caller: the one way from the write side to the registry of reasons.
//!
//! Rejections are translated beside the service that can meet them, one exhaustive function per aggregate; what
//! every aggregate shares is here. Nothing has a default arm, so a new error does not compile until somebody has
//! said what it means outside.

use commands::desk;
use domain::money::MoneyError;
use ports::store;
use tonic::Status;

use crate::error::{Reason, invalid, status};

/// The status of a desk's error; `rejected` translates the aggregate's own.
pub(super) fn of<R: std::error::Error>(error: desk::Error<R>, rejected: impl FnOnce(R) -> Status) -> Status {
    match error {
        desk::Error::Rejected(rejection) => rejected(rejection),
        desk::Error::Reused => {
            status(Reason::RequestIdReused, "this request id was already used for another request", [])
        }
        desk::Error::Stale { expected, actual } => {
            let message = format!("the etag is {actual} by now, not {expected}");
            status(Reason::EtagMismatch, message, [("etag", actual.to_string())])
        }
        desk::Error::Contention => status(Reason::Contention, "too many writers at once; nothing has changed", []),
        desk::Error::Overloaded => status(Reason::Overloaded, "too many commands wait; nothing has changed", []),
        desk::Error::Closed => status(Reason::ShuttingDown, "this gateway is going away", []),
        desk::Error::Store(error) => of_store(&error),
        desk::Error::Keys(error) => internal("the key store failed", &error),
        desk::Error::Unreadable(error) => internal("a stored event cannot be read", &error),
        desk::Error::Encode(error) => internal("an event cannot be written", &error),
    }
}

/// The status of a failure of the log.
pub(super) fn of_store(error: &store::Error) -> Status {
    match error {
        store::Error::Full => status(Reason::StorageFull, "the disk of the log is full; nothing has changed", []),
        store::Error::Unknown(_) | store::Error::Stopped(_) => {
            tracing::error!(%error, "the log takes no writes");
            status(Reason::StorageStopped, "the log takes no writes; send the same request again later", [])
        }
        store::Error::Corrupt(_) | store::Error::Failed(_) => internal("the log failed", error),
    }
}

/// The status of money that cannot be computed.
pub(super) fn of_money(error: &MoneyError, field: &str) -> Status {
    match error {
        MoneyError::Mismatch { left, right } => {
            let currencies = [("left", left.to_string()), ("right", right.to_string())];
            status(Reason::CurrencyMismatch, error.to_string(), currencies)
        }
        MoneyError::Overflow => status(Reason::AmountOverflow, "the sum is too large to be an amount", []),
        MoneyError::NotACurrency { .. } | MoneyError::NotAnAmount { .. } | MoneyError::SubMinor { .. } => {
            invalid(field, error.to_string())
        }
    }
}

/// Something that should not be: the details go to the log, not to the caller.
pub(super) fn internal(what: &'static str, error: &dyn std::fmt::Display) -> Status {
    tracing::error!(%error, what);
    status(Reason::Internal, what, [])
}

/// A rejection that no request can cause, because the shop's own processes alone send such commands.
pub(super) fn unexpected(rejection: &dyn std::fmt::Display) -> Status {
    internal("the shop refused itself", rejection)
}
