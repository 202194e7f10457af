//! View rows in an embedded SQLite file (the default).
//!
//! One file, `views.sqlite`, holds rows, index entries and checkpoints of every view. A commit is one
//! transaction; it is not synced at once, because the log can fold it again, but the WAL keeps it whole: after a
//! power cut the views stand at an earlier commit, rows and checkpoint together. Readers have their
//! own connections and never wait for a commit; checkpoints of the file run on a thread of their own.
//!
//! Rows are readable with the `sqlite3` shell: `SELECT v.name, r.row FROM rows r JOIN views v ON v.id = r.view_id`.

mod checkpoint;
mod commit;
mod limits;
mod open;
mod pool;
mod query;
mod store;

pub use limits::Limits;
pub use open::Error;
pub use store::SqliteViews;
