//! Every bound of the view store, by name.

use std::time::Duration;

use ports_postgres::Sessions;

/// The view store's bounds. The defaults suit a shop whose server is near; the reason stands at each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections that read at the same time; further readers wait.
    pub readers_max: usize,
    /// Connections that commit at the same time: views that are folded side by side do not wait for each other.
    pub writers_max: usize,
    /// Rows that change in one statement of a commit: it bounds the size of a message.
    pub statement_rows_max: usize,
    /// New rows from which on they are loaded by `COPY`: with fewer its further round trips take longer than it spares.
    pub copy_rows_min: usize,
    /// How long making a connection, or waiting for a free one, may take.
    pub connect_max: Duration,
    /// How long a commit may take, waiting for another worker's included.
    pub commit_max: Duration,
    /// How long bringing the tables forward may take, waiting for another process that does so included.
    pub migrate_max: Duration,
    /// How long a query may take.
    pub read_max: Duration,
    /// How long a replica may take to connect, and again to answer, before the primary is asked instead.
    pub replica_max: Duration,
    /// How long a replica that did not answer is left alone.
    pub replica_rest: Duration,
    /// How often a replica that was not far enough is looked at again: each look takes the query that makes it longer.
    pub replica_look_every: Duration,
}

/// Commits are not synced at once: the log can fold them again. And as of [`ports_postgres::Server`], queries walk indexes.
const SETTINGS: &str = "
    SET synchronous_commit = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
    SET client_min_messages = warning;
";

impl Limits {
    /// The connections that read.
    pub(crate) const fn readers(&self) -> Sessions {
        let Self { readers_max, connect_max, read_max, .. } = *self;
        Sessions { size: readers_max, connect_max, answer_max: read_max, statement_max: read_max, settings: SETTINGS }
    }

    /// The connections to a replica.
    pub(crate) const fn replicas(&self) -> Sessions {
        let Self { replica_max, .. } = *self;
        Sessions { connect_max: replica_max, answer_max: replica_max, statement_max: replica_max, ..self.readers() }
    }

    /// The connections that commit.
    pub(crate) const fn writers(&self) -> Sessions {
        let Self { writers_max, commit_max, .. } = *self;
        Sessions { size: writers_max, answer_max: commit_max, statement_max: commit_max, ..self.readers() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            readers_max: 8,
            writers_max: 4,
            statement_rows_max: 5_000,
            copy_rows_min: 100,
            connect_max: Duration::from_secs(5),
            commit_max: Duration::from_secs(60),
            migrate_max: Duration::from_secs(3_600),
            read_max: Duration::from_secs(10),
            replica_max: Duration::from_secs(1),
            replica_rest: Duration::from_secs(5),
            replica_look_every: Duration::from_millis(5),
        }
    }
}
