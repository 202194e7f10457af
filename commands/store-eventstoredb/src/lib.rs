//! The event store on EventStoreDB / KurrentDB, over its own client.
//!
//! The server arbitrates between writers (its expected revision is ours) and orders the log; what it does not have is
//! made up for here:
//!
//! - **No index of event ids.** [`window::Window`] remembers the newest [`Limits::ids_max`] events of the log, read from its
//!   end at the first use, and from then on by everything that is written or read here; a search that finds nothing
//!   first reads what others have written since. So `find` and the recognition of repeats hold within that window, over
//!   all nodes and restarts; an older event is not found by its id. In addition, the newest [`Limits::stream_ids_max`]
//!   events of a stream are read before it is first appended to and remembered apart, and a repeat that expects what it expected
//!   at first is recognised by the server itself, however old.
//! - **No word on whether an append was a repeat.** An accepted append is read back, and is fresh only when it lies behind
//!   everything known before it was sent, holds our bytes, and nobody here has been told so before.
//! - **Positions are places in a file**, not counts: `distance` counts up to [`Limits::distance_exact_max`] events, and
//!   estimates what is beyond from how dense those were.
//! - **No deadlines.** Every call has one here; an append without an answer is tried again with the same ids, and is
//!   [`ports::store::Error::Unknown`] in the end. A client that failed is replaced by a new one.
//! - **No time but its own.** An event that is copied from another log carries its time in front of its metadata, and is
//!   read with it; who reads the server directly sees it there as `$recordedAt`.
//! - **Snapshots** are streams of their own, `cartulary.snapshots.<fold>-<name>`, that keep their newest event; their
//!   type begins with `$`, as the server's own do, and all of those are left out of `read_all`.
//!
//! Streams of the shop must not be truncated or deleted in the server: revisions would be missing.

mod append;
mod calls;
mod event;
mod limits;
mod read;
mod snapshots;
mod store;
mod window;

pub use limits::Limits;
pub use store::{EventStoreDb, Invalid};
