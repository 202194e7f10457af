//! Every bound of the adapter, by name.

use std::time::Duration;

/// The adapter's bounds. The defaults suit a shop beside its server; the reason stands at each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long a call may wait for an answer, or a read for its next event. The client has no deadline of its own.
    pub call_timeout: Duration,
    /// How often a call is made before it fails; appends carry the same ids each time.
    pub attempts_max: u32,
    /// The pause before a call is made again, times the number of the attempt.
    pub retry_pause: Duration,
    /// Streams of one batch that are written at the same time.
    pub streams_in_flight_max: usize,
    /// Events sought by their ids at the same time.
    pub finds_in_flight_max: usize,
    /// Newest events of the log whose ids are remembered (about 150 bytes each): the window in which a repeated request
    /// is recognised. All of them are read once at the first use.
    pub ids_max: usize,
    /// Newest events of a stream whose ids are learned before it is first appended to, and remembered from then on (about
    /// 50 bytes each).
    pub stream_ids_max: usize,
    /// Streams of which that is remembered; another is looked at again.
    pub streams_known_max: usize,
    /// Events read at a time where the adapter itself reads on.
    pub page_events: usize,
    /// Events that `distance` counts one by one; what is beyond is estimated.
    pub distance_exact_max: u64,
    /// How often a waiting reader asks for the newest event, in case a wake-up was lost.
    pub poll_every: Duration,
    /// Bytes of a snapshot. The server takes 1 MiB per append unless it is told otherwise; raise both together.
    pub snapshot_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(5),
            attempts_max: 4,
            retry_pause: Duration::from_millis(100),
            streams_in_flight_max: 32,
            finds_in_flight_max: 32,
            ids_max: 50_000,
            stream_ids_max: 64,
            streams_known_max: 20_000,
            page_events: 500,
            distance_exact_max: 10_000,
            poll_every: Duration::from_millis(500),
            snapshot_bytes_max: 4 << 20,
        }
    }
}
