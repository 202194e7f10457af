//! Why a file does not open, and what an SQLite failure means to the ports.

use std::path::PathBuf;

use ports::store;
use rusqlite::ffi;

/// Why the store or the keys cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process works on the folder.
    #[error("{} is held by another process: one log has one writer", .0.display())]
    Locked(PathBuf),
    /// The file was written by a newer program.
    #[error("{} has schema {found}, this program knows schemas up to {known}: it needs a newer program", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest schema this program knows.
        known: i64,
    },
    /// The file is an SQLite database, but not this one.
    #[error("{} is not the file it should be", .0.display())]
    Foreign(PathBuf),
    /// The folder or a file in it cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// SQLite refuses the file.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

/// No space is left. Growing the WAL's index is the one place where SQLite reports that as an I/O error.
pub fn is_full(error: &rusqlite::Error) -> bool {
    match error.sqlite_error() {
        Some(ffi::Error { extended_code: ffi::SQLITE_IOERR_SHMSIZE, .. }) => true,
        Some(error) => error.code == ffi::ErrorCode::DiskFull,
        None => false,
    }
}

/// A row with such a key is there already.
pub fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.code == ffi::ErrorCode::ConstraintViolation)
}

/// Another program holds a lock that was not released in time.
pub fn is_busy(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| matches!(error.code, ffi::ErrorCode::DatabaseBusy | ffi::ErrorCode::DatabaseLocked))
}

/// The file's pages contradict each other.
pub fn is_damage(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| matches!(error.code, ffi::ErrorCode::DatabaseCorrupt | ffi::ErrorCode::NotADatabase))
}

/// What a failed read means to the caller of the port.
pub fn read_failed(error: &rusqlite::Error) -> store::Error {
    if is_damage(error) { store::Error::Corrupt(error.to_string()) } else { store::Error::Failed(error.to_string()) }
}
