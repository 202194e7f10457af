//! Every bound of the store, by name.

use std::time::Duration;

/// The store's bounds. The defaults suit a shop on a small machine; the reason stands at each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Batches that may wait for the writer; a caller beyond that waits for a place.
    pub queue_batches_max: usize,
    /// Events after which the writer takes no further batch into a transaction: it bounds how long the first
    /// of a group waits for the last. One batch larger than this is still one transaction.
    pub group_events_max: usize,
    /// Bytes of events after which the writer takes no further batch into a transaction.
    pub group_bytes_max: usize,
    /// Bytes of data and metadata one event may have. Larger ones are refused: a reader loads events whole.
    pub event_bytes_max: usize,
    /// Streams whose length the writer remembers (about 150 bytes each); another costs it two lookups.
    pub heads_max: usize,
    /// Connections that read the log at the same time; further readers wait.
    pub readers_max: usize,
    /// Page cache of the writer. What does not fit is read back from the operating system's cache. More is not
    /// better: while the log is smaller than 1 GiB, SQLite walks over the whole cache in almost every commit.
    pub writer_cache_bytes: usize,
    /// Page cache of each reader.
    pub reader_cache_bytes: usize,
    /// Size of the WAL from which the background thread copies it into the log. Larger means fewer copies of
    /// pages that are written again and again, but a longer recovery after a crash.
    pub checkpoint_wal_bytes: u64,
    /// Size of the WAL from which the writer itself makes it start over: readers or an uninterrupted stream of
    /// writes can keep the background thread from ever reaching its end.
    pub restart_wal_bytes: u64,
    /// How long the writer waits for readers when it makes the WAL start over; after that it tries again later.
    pub restart_wait: Duration,
    /// How long a connection waits for a lock held by another program, e.g. a backup.
    pub busy_wait: Duration,
    /// Member keys kept in memory (about 100 bytes each).
    pub keys_cached_max: usize,
}

const MIB: usize = 1 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_batches_max: 4_096,
            group_events_max: 2_048,
            group_bytes_max: 8 * MIB,
            event_bytes_max: 16 * MIB,
            heads_max: 200_000,
            readers_max: 4,
            writer_cache_bytes: 16 * MIB,
            reader_cache_bytes: 8 * MIB,
            checkpoint_wal_bytes: 32 * MIB as u64,
            restart_wal_bytes: 64 * MIB as u64,
            restart_wait: Duration::from_millis(20),
            busy_wait: Duration::from_secs(5),
            keys_cached_max: 10_000,
        }
    }
}
