//! Every bound of the store, by name.

use std::time::Duration;

use ports_postgres::Sessions;

/// The store's bounds. The defaults suit a shop whose server is near; the reason stands at each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Batches that may wait for the sequencer; a caller beyond that waits for a place.
    pub queue_batches_max: usize,
    /// Events after which the sequencer takes no further batch into a transaction: it bounds how long the other
    /// processes wait for the lock. One batch larger than this is still one transaction.
    pub group_events_max: usize,
    /// Bytes of events after which the sequencer takes no further batch into a transaction.
    pub group_bytes_max: usize,
    /// Bytes of data and metadata one event may have. Larger ones are refused: a reader loads events whole.
    pub event_bytes_max: usize,
    /// Bytes of events one batch may have: it is one message of the protocol, which ends at 1 GiB.
    pub batch_bytes_max: usize,
    /// Bytes of a stream's name: an entry of the index ends at about 2,700.
    pub stream_bytes_max: usize,
    /// How often a group is decided again because other processes were faster. Each time somebody got ahead.
    pub rounds_max: u32,
    /// Connections that read at the same time; further readers wait. Appends have one of their own.
    pub readers_max: usize,
    /// Connections that read and write members' keys at the same time.
    pub key_connections_max: usize,
    /// How long making a connection, or waiting for a free one, may take.
    pub connect_max: Duration,
    /// How long an append may wait for its turn, and again how long its transaction may take. A server that has said
    /// nothing by then leaves its outcome unknown.
    pub append_max: Duration,
    /// How long the server may work at a transaction, most of it waiting for other processes' turns, before it gives up by
    /// itself, which leaves nothing unknown. Less than `append_max`.
    pub statement_max: Duration,
    /// How long reading a page may take.
    pub read_max: Duration,
    /// How long bringing the tables forward may take, waiting for another process that does so included. Later steps may
    /// have to build an index over the whole log.
    pub migrate_max: Duration,
    /// How often the log is looked at while somebody waits for an event from another process. A look takes
    /// the server about 20 µs.
    pub poll_every: Duration,
}

/// A commit that is answered is durable. (A stricter setting than `on` is left alone.)
const DURABLE: &str =
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';";

impl Limits {
    /// The one connection that appends.
    pub(crate) const fn writer(&self) -> Sessions {
        Sessions { size: 1, answer_max: self.append_max, statement_max: self.statement_max, ..self.reader() }
    }

    /// The connections that read.
    pub(crate) const fn reader(&self) -> Sessions {
        let Self { readers_max, connect_max, read_max, .. } = *self;
        Sessions { size: readers_max, connect_max, answer_max: read_max, statement_max: read_max, settings: DURABLE }
    }

    /// The connections that read and write members' keys.
    pub(crate) const fn keys(&self) -> Sessions {
        Sessions { size: self.key_connections_max, ..self.reader() }
    }
}

const MIB: usize = 1 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_batches_max: 4_096,
            group_events_max: 2_048,
            group_bytes_max: 8 * MIB,
            event_bytes_max: 16 * MIB,
            batch_bytes_max: 256 * MIB,
            stream_bytes_max: 1_000,
            rounds_max: 32,
            readers_max: 8,
            key_connections_max: 4,
            connect_max: Duration::from_secs(5),
            append_max: Duration::from_secs(5),
            statement_max: Duration::from_secs(4),
            read_max: Duration::from_secs(30),
            migrate_max: Duration::from_secs(3_600),
            poll_every: Duration::from_millis(10),
        }
    }
}
