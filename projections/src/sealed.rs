//! A personal field in a row: still sealed, with what is needed to open it.
//!
//! A field is sealed under its member's key with a nonce that follows from the event's id and the field's
//! place among the event's personal fields. A row outlives its event's envelope, so it keeps both. Only the
//! gateway opens it, for those who may see; when the member's key is gone, the row shows noise.

use domain::{ids::EventId, personal::Personal};
use serde::{Deserialize, Serialize};

/// A sealed text and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The event it stood in.
    pub event: EventId,
    /// Its place among the event's personal fields, from 0.
    pub field: u8,
    /// The ciphertext and whose it is.
    pub value: Personal<String>,
}

impl Sealed {
    /// The first personal field of an event.
    #[must_use]
    pub fn first(event: EventId, value: Option<&Personal<String>>) -> Option<Self> {
        value.map(|value| Self { event, field: 0, value: value.clone() })
    }
}
