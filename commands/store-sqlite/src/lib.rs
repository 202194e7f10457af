//! The event store and the member keys inside the process, in SQLite files (the default).
//!
//! One folder holds it all: `log.sqlite` (the record), `snapshots.sqlite` (a cache, may be deleted at any
//! time), `keys.sqlite` (the members' keys, outside the log so that they can be destroyed) and `.lock`.
//!
//! - One thread writes. It drains everything that waits into one transaction and answers all of it after one
//!   fsync, so a busy log costs a fraction of an fsync per append; nobody else writes, so what it
//!   remembers of a stream's length is the truth.
//! - Readers have their own connections and see only what is durable: the log's WAL is synced before its
//!   newest commit becomes visible.
//! - Positions are dense: 1, 2, 3, … A reader that finds a gap has found damage, and says so.
//! - Checkpoints run on their own connection, off the commit path.
//!
//! The log is readable with the `sqlite3` shell: `SELECT * FROM log`.

mod checkpoint;
mod checksum;
mod error;
mod fence;
mod group;
mod heads;
mod keys;
mod limits;
mod open;
mod pool;
mod read;
mod snapshots;
mod store;
mod writer;

pub use error::Error;
pub use keys::SqliteKeys;
pub use limits::Limits;
pub use open::is_there;
pub use store::SqliteStore;
