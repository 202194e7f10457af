//! Every bound of the view store, by name.

use std::time::Duration;

/// The view store's bounds. The defaults suit a shop on a small machine; the reason stands at each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections that read at the same time; further readers wait.
    pub readers_max: usize,
    /// Page cache of the writer. What does not fit is read back from the operating system's cache.
    pub writer_cache_bytes: usize,
    /// Page cache of each reader.
    pub reader_cache_bytes: usize,
    /// Size of the WAL from which the background thread copies it into the file.
    pub checkpoint_wal_bytes: u64,
    /// Size of the WAL from which the next commit makes it start over: readers or an uninterrupted stream of
    /// commits can keep the background thread from ever reaching its end.
    pub restart_wal_bytes: u64,
    /// How long a commit waits for readers when it makes the WAL start over; after that it is tried again later.
    pub restart_wait: Duration,
    /// How long a connection waits for a lock held by another program, e.g. a backup.
    pub busy_wait: Duration,
    /// Rows or index entries of a dropped view removed in one transaction: it bounds how long a commit of
    /// another view waits for it.
    pub drop_rows_max: usize,
}

const MIB: usize = 1 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            readers_max: 4,
            writer_cache_bytes: 64 * MIB,
            reader_cache_bytes: 8 * MIB,
            checkpoint_wal_bytes: 32 * MIB as u64,
            restart_wal_bytes: 64 * MIB as u64,
            restart_wait: Duration::from_millis(20),
            busy_wait: Duration::from_secs(5),
            drop_rows_max: 5_000,
        }
    }
}
