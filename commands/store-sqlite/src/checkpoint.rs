//! The thread that copies the WAL into the log, so that no append waits for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use rusqlite::Connection;

use crate::{Limits, open};

/// How the writer and the checkpoint thread talk.
pub struct Signal {
    /// Wakes the thread; a wake-up that finds it awake is not needed.
    wake: mpsc::SyncSender<()>,
    /// Bytes of events written since the last wake-up.
    written: AtomicU64,
    /// Bytes of events after which the WAL's size is looked at.
    interval: u64,
    /// The WAL is too large: the writer should make it start over.
    restart: AtomicBool,
}

impl Signal {
    /// Tells of `bytes` more of events.
    pub fn written(&self, bytes: usize) {
        let sum = self.written.load(Ordering::Relaxed) + bytes as u64;
        if sum < self.interval {
            return self.written.store(sum, Ordering::Relaxed);
        }
        self.written.store(0, Ordering::Relaxed);
        // Full means that a wake-up waits already; closed means that the store is being dropped.
        let _ = self.wake.try_send(());
    }

    /// Whether the writer is asked to make the WAL start over; asked once.
    pub fn take_restart(&self) -> bool {
        self.restart.load(Ordering::Relaxed) && self.restart.swap(false, Ordering::Relaxed)
    }
}

/// Starts the thread; it ends when the returned signal is dropped.
pub fn start(conn: Connection, limits: Limits) -> std::io::Result<(Arc<Signal>, thread::JoinHandle<()>)> {
    let (wake, woken) = mpsc::sync_channel(1);
    // Index pages make the WAL grow faster than the events do, so it is looked at well before its limit.
    let interval = limits.checkpoint_wal_bytes / 16;
    let (written, restart) = (AtomicU64::new(0), AtomicBool::new(false));
    let signal = Arc::new(Signal { wake, written, interval, restart });
    let asked = Arc::downgrade(&signal);
    let run = move || {
        while woken.recv().is_ok() {
            // A failure, a full disk for one, delays the copy and stops nothing: the WAL still holds it all.
            match step(&conn, &limits) {
                Ok(false) => {}
                Ok(true) => {
                    if let Some(signal) = asked.upgrade() {
                        signal.restart.store(true, Ordering::Relaxed);
                    }
                }
                Err(error) => tracing::warn!(%error, "a checkpoint of the log failed"),
            }
        }
    };
    let thread = thread::Builder::new().name("log-checkpoint".to_owned()).spawn(run)?;
    Ok((signal, thread))
}

/// Copies if there is enough to copy; true when the WAL should start over.
fn step(conn: &Connection, limits: &Limits) -> rusqlite::Result<bool> {
    if open::checkpoint(conn, "NOOP")?.wal_bytes < limits.checkpoint_wal_bytes {
        return Ok(false);
    }
    let progress = open::checkpoint(conn, "PASSIVE")?;
    tracing::debug!(?progress, "the log's WAL was copied");
    Ok(progress.wal_bytes >= limits.restart_wal_bytes)
}
