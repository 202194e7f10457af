//! The lock that keeps a second process away from the folder.
//!
//! SQLite would let two processes take turns writing, and each would believe in its own memory of the
//! streams. The operating system drops this lock with the process, so nothing is left over after a crash.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
};

use crate::Error;

/// Holds the folder until it is dropped.
#[derive(Debug)]
pub struct Fence {
    _file: File,
}

impl Fence {
    /// Makes the folder if need be and takes it.
    pub fn take(folder: &Path) -> Result<Self, Error> {
        make_durable(folder)?;
        let path = folder.join(".lock");
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(|source| Error::Io { path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked(folder.to_owned())),
            Err(TryLockError::Error(source)) => Err(Error::Io { path, source }),
        }
    }
}

/// A new folder is only as durable as its entry in the folder above.
pub fn make_durable(folder: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io { path: folder.to_owned(), source };
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(failed)?;
    #[cfg(unix)]
    if let Some(above) = folder.canonicalize().map_err(failed)?.parent() {
        File::open(above).and_then(|above| above.sync_all()).map_err(failed)?;
    }
    Ok(())
}
