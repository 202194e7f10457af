//! The event store and the member keys inside the process, in SQLite files (the default).
