//! The thread that copies the WAL into the file, so that no commit waits for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use rusqlite::Connection;

use crate::{Limits, open};

/// The thread, seen from the commits.
pub struct Checkpoints {
    /// Wakes the thread; a wake-up that finds it awake is not needed. `None` only while dropping.
    wake: Option<mpsc::SyncSender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    /// The WAL is too large: a commit should make it start over.
    restart: Arc<AtomicBool>,
}

impl Checkpoints {
    /// Starts the thread on a connection of its own.
    pub fn start(conn: Connection, limits: Limits) -> std::io::Result<Self> {
        let (wake, woken) = mpsc::sync_channel(1);
        let restart = Arc::new(AtomicBool::new(false));
        let ask = Arc::clone(&restart);
        let run = move || {
            while woken.recv().is_ok() {
                // A failure, a full disk for one, delays the copy and stops nothing: the WAL still holds it all.
                match step(&conn, &limits) {
                    Ok(too_large) => ask.store(too_large, Ordering::Relaxed),
                    Err(error) => tracing::warn!(%error, "a checkpoint of the views failed"),
                }
            }
        };
        let thread = thread::Builder::new().name("views-checkpoint".to_owned()).spawn(run)?;
        Ok(Self { wake: Some(wake), thread: Some(thread), restart })
    }

    /// Has the WAL looked at after a commit, and makes it start over if it has been found too large: that
    /// succeeds only while nobody commits. Its failure is no one's loss.
    pub fn committed(&self, conn: &Connection, limits: &Limits) {
        if self.restart.swap(false, Ordering::Relaxed) {
            let attempt = || {
                conn.busy_timeout(limits.restart_wait)?;
                let left = open::checkpoint(conn, "RESTART");
                conn.busy_timeout(limits.busy_wait)?;
                left
            };
            if let Err(error) = attempt() {
                tracing::warn!(%error, "the views' WAL could not start over");
            }
        }
        if let Some(wake) = &self.wake {
            // Full means that a wake-up waits already.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.wake = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the checkpoint thread of the views has panicked");
        }
    }
}

/// Copies if there is enough to copy; true when the WAL should start over.
fn step(conn: &Connection, limits: &Limits) -> rusqlite::Result<bool> {
    if open::checkpoint(conn, "NOOP")? < limits.checkpoint_wal_bytes {
        return Ok(false);
    }
    Ok(open::checkpoint(conn, "PASSIVE")? >= limits.restart_wal_bytes)
}
