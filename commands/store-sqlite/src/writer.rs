//! The thread that writes: takes everything that waits, writes it as one group, answers all.

use std::{sync::Arc, thread};

use ports::{
    clock::Clock,
    store::{Append, Error, Position},
};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Limits,
    checkpoint::Signal,
    error::{is_busy, is_full, is_taken},
    group::{Answer, Failure, Log},
    open,
};

/// A batch and where its answer goes.
pub struct Job {
    /// What to write.
    pub batch: Vec<Append>,
    /// Who waits.
    pub answer: oneshot::Sender<Result<Vec<Answer>, Error>>,
}

/// What the thread works with.
pub struct Writer {
    /// The writing connection.
    pub conn: Connection,
    /// Where the batches come from; when it closes, the thread ends.
    pub queue: mpsc::Receiver<Job>,
    /// Where the newest durable position is shown.
    pub head: watch::Sender<Position>,
    /// How the checkpoint thread is told of a grown WAL, and tells back.
    pub signal: Arc<Signal>,
    /// Dates the events.
    pub clock: Arc<dyn Clock>,
    /// The bounds.
    pub limits: Limits,
}

impl Writer {
    /// Starts the thread.
    pub fn start(self) -> std::io::Result<thread::JoinHandle<()>> {
        thread::Builder::new().name("log-writer".to_owned()).spawn(move || self.run())
    }

    fn run(self) {
        let Self { conn, mut queue, head, signal, clock, limits } = self;
        let mut log = match Log::new(&conn, limits.heads_max) {
            Ok(log) => log,
            Err(error) => return refuse_all(&mut queue, &error.to_string()),
        };
        head.send_replace(log.head());
        while let Some(first) = queue.blocking_recv() {
            let (group, bytes) = gather(first, &mut queue, &limits);
            let appends: Vec<&Append> = group.iter().flat_map(|job| &job.batch).collect();
            let written = log.write(&appends, clock.now());
            if log.head() > *head.borrow() {
                head.send_replace(log.head());
            }
            match written {
                Ok(answers) => answer(group, answers),
                Err(failure) => {
                    let (error, stop) = judge(&failure);
                    tracing::error!(error = %failure.error, in_commit = failure.in_commit, "appends failed");
                    group.into_iter().for_each(|job| drop(job.answer.send(Err(error.clone()))));
                    if stop {
                        return refuse_all(&mut queue, &failure.error.to_string());
                    }
                }
            }
            signal.written(bytes);
            if signal.take_restart() {
                restart(&conn, &limits);
            }
        }
    }
}

/// Takes what waits, up to the limits; and its bytes.
fn gather(first: Job, queue: &mut mpsc::Receiver<Job>, limits: &Limits) -> (Vec<Job>, usize) {
    let (mut events, mut bytes) = weigh(&first.batch);
    let mut group = vec![first];
    while events < limits.group_events_max && bytes < limits.group_bytes_max {
        let Ok(job) = queue.try_recv() else { break };
        let more = weigh(&job.batch);
        events += more.0;
        bytes += more.1;
        group.push(job);
    }
    (group, bytes)
}

fn weigh(batch: &[Append]) -> (usize, usize) {
    let events = batch.iter().flat_map(|append| &append.events);
    events.fold((0, 0), |(count, bytes), event| (count + 1, bytes + event.data.len() + event.metadata.len()))
}

/// Gives each batch its part of the group's answers. Whoever no longer waits has its events all the same.
fn answer(group: Vec<Job>, answers: Vec<Answer>) {
    let mut answers = answers.into_iter();
    for job in group {
        let own = answers.by_ref().take(job.batch.len()).collect();
        drop(job.answer.send(Ok(own)));
    }
}

/// What a failed transaction means to those who wait, and whether the writer must stop.
///
/// A full disk and a lock held by another program wrote nothing and pass. Anything else leaves doubt: after a
/// failed fsync the operating system may have dropped the pages and call the next fsync a success.
fn judge(failure: &Failure) -> (Error, bool) {
    let what = failure.error.to_string();
    if is_full(&failure.error) {
        (Error::Full, false)
    } else if !failure.in_commit && (is_busy(&failure.error) || is_taken(&failure.error)) {
        (Error::Failed(what), false)
    } else {
        (Error::Unknown(what), true)
    }
}

/// The log can promise nothing any more: everything from here on is refused, reads go on.
fn refuse_all(queue: &mut mpsc::Receiver<Job>, why: &str) {
    tracing::error!(why, "the event store writes nothing until it is restarted");
    while let Some(job) = queue.blocking_recv() {
        drop(job.answer.send(Err(Error::Stopped(why.to_owned()))));
    }
}

/// Makes the WAL start over, which only succeeds while nobody writes: here. Its failure is no one's loss.
fn restart(conn: &Connection, limits: &Limits) {
    let attempt = || {
        conn.busy_timeout(limits.restart_wait)?;
        let progress = open::checkpoint(conn, "RESTART");
        conn.busy_timeout(limits.busy_wait)?;
        progress
    };
    match attempt() {
        Ok(progress) => tracing::debug!(?progress, "the log's WAL starts over"),
        Err(error) => tracing::warn!(%error, "the log's WAL could not start over"),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn only_a_failure_that_leaves_doubt_stops_the_writer() {
        let full = || Error::Full;
        let failed = || Error::Failed(String::new());
        let unknown = || Error::Unknown(String::new());
        let cases = [
            ("a full disk while writing", ffi::SQLITE_FULL, false, full(), false),
            ("a full disk in the commit", ffi::SQLITE_FULL, true, full(), false),
            ("a full disk while the WAL's index grows", ffi::SQLITE_IOERR_SHMSIZE, false, full(), false),
            ("another program's lock", ffi::SQLITE_BUSY, false, failed(), false),
            ("another program's lock in the commit", ffi::SQLITE_BUSY, true, unknown(), true),
            ("an id taken against every rule", ffi::SQLITE_CONSTRAINT_UNIQUE, false, failed(), false),
            ("a failed fsync", ffi::SQLITE_IOERR_FSYNC, true, unknown(), true),
            ("a failed write", ffi::SQLITE_IOERR_WRITE, true, unknown(), true),
            ("a failed write of pages that did not fit into memory", ffi::SQLITE_IOERR_WRITE, false, unknown(), true),
            ("a failed read", ffi::SQLITE_IOERR_READ, false, unknown(), true),
            ("damaged pages", ffi::SQLITE_CORRUPT, false, unknown(), true),
        ];
        for (what, code, in_commit, expected, stops) in cases {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let (error, stop) = judge(&Failure { error, in_commit });
            assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&expected), "{what}: {error}");
            assert_eq!(stop, stops, "{what}");
        }
    }
}
