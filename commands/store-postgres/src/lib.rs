//! The event store and the member keys on PostgreSQL, for a fleet: any number of processes append to one log.
//!
//! - In each process one sequencer writes. It drains everything that waits into one call of one function, which is one
//!   round trip and one commit, and answers all of it when that is durable.
//! - Between processes an advisory lock that the function takes puts the commits in order; it goes with the
//!   transaction, after its events can be seen. So positions are dense (1, 2, 3, …), there is no gap after a rollback, and
//!   no reader ever sees a later event before an earlier one. The unique keys of positions, revisions and ids would refuse
//!   a second writer without it, too; with it they wait instead of trying again. No lock is ever held across a round trip:
//!   a writer that is killed or frozen holds up nobody.
//! - What the sequencer believes about streams and ids is checked by the function under the lock. If it was wrong,
//!   nothing is written, it looks the truth up and decides again ([`Limits::rounds_max`]).
//! - Every call has a deadline of our own: a frozen server makes an append [`ports::store::Error::Unknown`]
//!   within [`Limits::append_max`] of being sent, and its connection is thrown away. A statement that is still in the
//!   server's ear by then may be carried out later; the ids make that, and every repeat, harmless.
//! - Short reads of streams share queries: under load one query answers for many commands.
//! - Readers poll ([`Limits::poll_every`]), at most one at a time in a process; appends of the same process wake them
//!   at once. There is no `NOTIFY`: it takes a lock of the whole cluster at commit and is lost while disconnected.
//!
//! Analysts read the views `cartulary.log` and `cartulary.streams` with psql; every table and column carries a comment.
//!
//! How connections are encrypted says [`Address`].

mod checksum;
mod keys;
mod limits;
mod plan;
mod read;
mod schema;
mod sequencer;
mod snapshots;
mod store;
mod streams;
mod wire;

pub use keys::PostgresKeys;
pub use limits::Limits;
pub use ports_postgres::{Address, Error};
pub use store::PostgresStore;
