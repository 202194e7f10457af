//! What a desk's error means to the caller: the one way from the write side to the registry of reasons.
//!
//! Rejections are translated beside the service that can meet them, one exhaustive function per aggregate; what
//! every aggregate shares is here. Nothing has a default arm, so a new error does not compile until somebody has
//! said what it means outside.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use commands::desk;
use domain::money::MoneyError;
use ports::{keys, store, views};
use tokio::time::Instant;
use tonic::Status;

use crate::error::{Reason, invalid, status};

/// How long one warning about an outage stands for all that follow.
const WARN_EVERY: Duration = Duration::from_secs(10);

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
        desk::Error::Keys(error) => of_keys(&error),
        desk::Error::Unreadable(error) => internal("a stored event cannot be read", &error),
        desk::Error::Encode(error) => internal("an event cannot be written", &error),
    }
}

/// The status of a failure of the log.
pub(super) fn of_store(error: &store::Error) -> Status {
    match error {
        store::Error::Full => status(Reason::StorageFull, "the disk of the log is full; nothing has changed", []),
        store::Error::Unknown(_) => {
            warn(error);
            let message = "whether it was done is not known; send the same request again, with the same request id";
            status(Reason::OutcomeUnknown, message, [])
        }
        store::Error::Stopped(_) => {
            tracing::error!(%error, "the log takes no writes");
            status(Reason::StorageStopped, "the log takes no writes; send the same request again later", [])
        }
        store::Error::Unavailable(_) => away("the log cannot be reached; send the same request again", error),
        store::Error::Corrupt(_) | store::Error::Failed(_) => internal("the log failed", error),
    }
}

/// The status of a failure of the key store.
pub(super) fn of_keys(error: &keys::Error) -> Status {
    match error {
        keys::Error::Unavailable(_) => away("the keys cannot be reached; send the same request again", error),
        keys::Error::Full => status(Reason::StorageFull, "the disk of the keys is full; nothing has changed", []),
        keys::Error::Failed(_) => internal("the key store failed", error),
    }
}

/// The status of a failure of the view store.
pub(super) fn of_views(error: &views::Error) -> Status {
    match error {
        views::Error::Unavailable(_) => away("the views cannot be reached; send the same request again", error),
        views::Error::Moved { .. } | views::Error::Failed(_) => internal("a view cannot be read", error),
    }
}

/// A server that is out of reach.
fn away(message: &'static str, error: &dyn std::fmt::Display) -> Status {
    warn(error);
    status(Reason::StorageAway, message, [])
}

/// Every request meets an outage, and one line about it now and then is as good as thousands.
fn warn(error: &dyn std::fmt::Display) {
    static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
    let now = Instant::now();
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.is_some_and(|told| now.duration_since(told) < WARN_EVERY) {
        tracing::debug!(%error, "a request was refused during an outage");
        return;
    }
    *told = Some(now);
    drop(told);
    tracing::warn!(%error, "requests are refused: what keeps the shop's data does not answer");
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

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::error::reason_of;

    fn why() -> String {
        "no connection".to_owned()
    }

    #[test]
    fn what_is_out_of_reach_is_asked_again_and_never_a_fault_of_the_shop() {
        type Error = desk::Error<std::convert::Infallible>;
        let rejected = |never: std::convert::Infallible| match never {};
        let away = [
            of_store(&store::Error::Unavailable(why())),
            of_keys(&keys::Error::Unavailable(why())),
            of_views(&views::Error::Unavailable(why())),
            of(Error::Store(store::Error::Unavailable(why())), rejected),
            of(Error::Keys(keys::Error::Unavailable(why())), rejected),
        ];
        for status in away {
            assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(Reason::StorageAway)));
        }
    }

    #[test]
    fn a_full_disk_is_named_whether_the_log_or_a_key_finds_it_full() {
        for status in [of_store(&store::Error::Full), of_keys(&keys::Error::Full)] {
            assert_eq!(reason_of(&status), Some(Reason::StorageFull));
        }
    }

    #[test]
    fn a_write_of_unknown_outcome_is_asked_again_under_the_same_id() {
        let status = of_store(&store::Error::Unknown(why()));
        assert_eq!((status.code(), reason_of(&status)), (Code::Unavailable, Some(Reason::OutcomeUnknown)));
        assert!(status.message().contains("the same request id"), "{status}");
    }

    #[test]
    fn what_asking_again_does_not_help_is_a_fault_of_the_shop() {
        let failed = [
            of_store(&store::Error::Failed(why())),
            of_store(&store::Error::Corrupt(why())),
            of_keys(&keys::Error::Failed(why())),
            of_views(&views::Error::Failed(why())),
        ];
        for status in failed {
            assert_eq!(reason_of(&status), Some(Reason::Internal));
        }
    }
}
