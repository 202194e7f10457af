//! Every limit of the gateway, by name.
//!
//! The defaults of HTTP libraries are made for friends; this door stands in a street. Nothing that a client
//! can make large is without a bound here, and each bound has a test that runs into it
//! (`tests/door/limits_connection.rs` and `tests/door/limits_request.rs`). What a limit refuses is refused early and
//! cheaply: an overloaded gateway must spend its time on the requests it has accepted.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use crate::auth::VerifierLimits;

/// As many requests keep a processor busy: measured, four times as many sell 5 % more and take four times as long.
const IN_FLIGHT_PER_PROCESSOR: usize = 256;

/// Every limit, each with its default.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections (4,096); further ones are closed at once.
    pub connections_max: usize,
    /// How long a new connection may take to say which protocol it speaks (10 s).
    pub handshake_timeout: Duration,
    /// A connection without any request for this long is closed politely (15 min).
    pub connection_idle: Duration,
    /// A connection that takes none of the bytes we have for it for this long is dropped (30 s).
    pub write_stall: Duration,
    /// How long open requests may take to finish when the gateway stops (20 s).
    pub drain: Duration,

    /// HTTP/2: requests at once on one connection (1,024); clients queue further ones themselves.
    pub streams_per_connection_max: u32,
    /// HTTP/2: bytes of all headers of a request together (16 KiB).
    pub header_list_max_bytes: u32,
    /// HTTP/2: how often a silent client is asked whether it is there (30 s).
    pub keepalive_interval: Duration,
    /// HTTP/2: how long it may take to say so (10 s).
    pub keepalive_timeout: Duration,
    /// HTTP/2: bytes of one request that a client may send ahead of our reading (256 KiB).
    pub stream_window_bytes: u32,
    /// HTTP/2: the same for all requests of a connection together (1 MiB).
    pub connection_window_bytes: u32,
    /// HTTP/2: bytes of one answer kept for a client that reads slowly (256 KiB).
    pub send_buffer_max_bytes: usize,
    /// HTTP/2: requests that a client called off before we saw them (64); more is an attack (CVE-2023-44487).
    pub pending_resets_max: usize,
    /// HTTP/2: streams that a connection made us reset (256); more is an attack (CVE-2025-8671).
    pub local_resets_max: usize,

    /// HTTP/1.1: headers of a request (64).
    pub http1_headers_max: usize,
    /// HTTP/1.1: bytes of all headers together (16 KiB; at least 8 KiB).
    pub http1_header_max_bytes: usize,
    /// HTTP/1.1: how long the headers of a request may take, and how long a connection may wait for
    /// its next request (30 s).
    pub http1_header_timeout: Duration,

    /// Bytes of a gRPC message that we read (1 MiB).
    pub message_in_max_bytes: usize,
    /// Bytes of a gRPC message that we send (8 MiB).
    pub message_out_max_bytes: usize,
    /// Bytes of a JSON body that we read (4 MiB).
    pub json_body_max_bytes: usize,

    /// How long caches on the way may keep what the shop window shows without a token (1 s); whole seconds count.
    pub window_max_age: Duration,

    /// Requests being worked on (256 for each processor, which keep it busy: more only wait for one another); further
    /// ones are refused in microseconds.
    pub in_flight_max: usize,
    /// Server streams being followed (1,024); they are not counted in `in_flight_max`.
    pub watch_streams_max: usize,
    /// A stream that had nothing to say for this long is closed (15 min).
    pub stream_idle: Duration,
    /// How long a request may take (30 s); a client's own shorter deadline holds too.
    pub request_timeout: Duration,
    /// How long placing an order may take (10 s).
    pub order_deadline: Duration,

    /// Lines of an order (2,000).
    pub order_lines_max: usize,
    /// Rows of a page when the client does not say (50).
    pub page_size_default: u32,
    /// Rows of a page at most (1,000).
    pub page_size_max: u32,
    /// The bounds on tokens.
    pub tokens: VerifierLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            handshake_timeout: Duration::from_secs(10),
            connection_idle: Duration::from_secs(15 * 60),
            write_stall: Duration::from_secs(30),
            drain: Duration::from_secs(20),
            streams_per_connection_max: 1_024,
            header_list_max_bytes: 16 << 10,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            stream_window_bytes: 256 << 10,
            connection_window_bytes: 1 << 20,
            send_buffer_max_bytes: 256 << 10,
            pending_resets_max: 64,
            local_resets_max: 256,
            http1_headers_max: 64,
            http1_header_max_bytes: 16 << 10,
            http1_header_timeout: Duration::from_secs(30),
            message_in_max_bytes: 1 << 20,
            message_out_max_bytes: 8 << 20,
            json_body_max_bytes: 4 << 20,
            window_max_age: Duration::from_secs(1),
            in_flight_max: IN_FLIGHT_PER_PROCESSOR * std::thread::available_parallelism().map_or(1, usize::from),
            watch_streams_max: 1_024,
            stream_idle: Duration::from_secs(15 * 60),
            request_timeout: Duration::from_secs(30),
            order_deadline: Duration::from_secs(10),
            order_lines_max: 2_000,
            page_size_default: 50,
            page_size_max: 1_000,
            tokens: VerifierLimits::default(),
        }
    }
}

impl Limits {
    /// The same where only gateways call: each brings the calls of thousands over one connection, and calls off what they do.
    #[must_use]
    pub fn for_gateways(self) -> Self {
        let (pending_resets_max, local_resets_max) = (self.pending_resets_max * 64, self.local_resets_max * 64);
        Self { pending_resets_max, local_resets_max, ..self }
    }

    /// How many rows a client gets who asked for `page_size` (0: did not say).
    #[must_use]
    pub const fn page_size(&self, page_size: u32) -> u32 {
        match page_size {
            0 => self.page_size_default,
            asked if asked > self.page_size_max => self.page_size_max,
            asked => asked,
        }
    }
}

/// A number of places; whoever finds none free is told at once, nobody waits.
#[derive(Debug)]
pub(crate) struct Places {
    taken: AtomicUsize,
    max: usize,
}

impl Places {
    pub(crate) const fn new(max: usize) -> Self {
        Self { taken: AtomicUsize::new(0), max }
    }

    /// Takes a place; [`Self::leave`] gives it back.
    pub(crate) fn enter(&self) -> bool {
        let entered = self.taken.fetch_add(1, Ordering::Relaxed) < self.max;
        if !entered {
            self.leave();
        }
        entered
    }

    pub(crate) fn leave(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_in_than_places() {
        let places = Places::new(2);
        assert!(places.enter() && places.enter());
        assert!(!places.enter());
        assert_eq!(places.taken(), 2, "a refusal takes no place");
        places.leave();
        assert!(places.enter());
    }

    #[test]
    fn a_page_is_never_larger_than_allowed() {
        let limits = Limits { page_size_default: 50, page_size_max: 1_000, ..Limits::default() };
        assert_eq!([0, 1, 1_000, 1_001].map(|asked| limits.page_size(asked)), [50, 1, 1_000, 1_000]);
    }
}
