//! Every bound of the server, by name.

use std::time::Duration;

/// The server's bounds. The defaults suit a shop on a small machine; the reason stands at each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Calls that may be open on one connection at the same time: a client multiplexes all it does over one.
    pub streams_per_connection_max: u32,
    /// Connections at the same time, over all clients; a further one is closed at once.
    pub connections_max: usize,
    /// Writes being worked on at the same time, over all connections; a further one is refused.
    pub writes_max: usize,
    /// Reads that are not at their end, over all connections; a further one is refused.
    pub reads_max: usize,
    /// Subscriptions at the same time, over all connections; a further one is refused.
    pub subscriptions_max: usize,
    /// Batch append sessions at the same time, over all connections; a further one is refused.
    pub sessions_max: usize,
    /// Bytes of one message from a client. A batch append may come in one message.
    pub request_bytes_max: usize,
    /// Bytes of one message to a client: one event with what stands around it.
    pub response_bytes_max: usize,
    /// Bytes of all events of one append (data and metadata): it is held in memory and written in one go.
    pub append_bytes_max: usize,
    /// Events of one append.
    pub append_events_max: usize,
    /// Appends that one batch session may have begun and not finished.
    pub batch_pending_max: usize,
    /// Bytes of a stream's name, an event's type or a content type.
    pub name_bytes_max: usize,
    /// How often an append that expects nothing exact is tried again when somebody else wrote its stream.
    pub attempts_max: u32,
    /// How long a client may take to send an append, and the log to write it. After that its outcome is unknown.
    pub append_timeout: Duration,
    /// Events read from the log at a time.
    pub page_events: usize,
    /// Bytes of a filter's expression and prefixes together.
    pub filter_bytes_max: usize,
    /// Bytes that a compiled expression may take.
    pub filter_compiled_bytes_max: usize,
    /// Steps back that an expression may take on one name; beyond that the read is refused.
    pub filter_backtrack_max: usize,
    /// Events looked at between two checkpoints of a filtered subscription, when its client does not say.
    pub checkpoint_events: u64,
    /// How often an idle subscription looks whether it has missed a wake-up.
    pub poll_every: Duration,
    /// Streams whose length is remembered as a first guess (about 100 bytes each).
    pub hints_max: usize,
    /// How often a silent connection is asked whether it is still there.
    pub keepalive_every: Duration,
    /// How long it may take to answer that before it is closed.
    pub keepalive_timeout: Duration,
    /// Bytes of a request's headers: credentials and names, nothing more.
    pub header_bytes_max: u32,
    /// Bytes on the way to the server per call before it has read them.
    pub stream_window_bytes: u32,
    /// Bytes on the way to the server per connection before it has read them.
    pub connection_window_bytes: u32,
    /// Resets of its own calls that a client may have pending: a flood of them closes the connection.
    pub pending_resets_max: usize,
    /// Handshakes of TLS at once.
    pub handshakes_max: usize,
    /// How long one may take.
    pub handshake_max: Duration,
    /// How long calls may go on after shutdown was asked for.
    pub drain: Duration,
}

const MIB: usize = 1 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams_per_connection_max: 256,
            connections_max: 1_024,
            writes_max: 512,
            reads_max: 256,
            subscriptions_max: 256,
            sessions_max: 64,
            request_bytes_max: 9 * MIB,
            response_bytes_max: 32 * MIB,
            append_bytes_max: 8 * MIB,
            append_events_max: 10_000,
            batch_pending_max: 16,
            name_bytes_max: 4_096,
            attempts_max: 64,
            append_timeout: Duration::from_secs(30),
            page_events: 256,
            filter_bytes_max: 16 << 10,
            filter_compiled_bytes_max: MIB,
            filter_backtrack_max: 50_000,
            checkpoint_events: 1_000,
            poll_every: Duration::from_secs(1),
            hints_max: 10_000,
            keepalive_every: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(20),
            header_bytes_max: 16 << 10,
            stream_window_bytes: MIB as u32,
            connection_window_bytes: 4 * MIB as u32,
            pending_resets_max: 100,
            handshakes_max: 256,
            handshake_max: Duration::from_secs(10),
            drain: Duration::from_secs(10),
        }
    }
}
