//! A node's connection to the log, with everything that a disk and a line can do to it.
//!
//! It keeps the port's promises while it misbehaves: after "full" and "failed" nothing is written, after "unknown"
//! anything may be, an append is whole or absent, and what was answered is there. Whoever stands above may
//! rely on just that.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use ports::{
    memory::MemoryStore,
    store::{Append, Appended, Error, EventStore, Position, Recorded, Refused, Revision, Snapshot},
};
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use super::{
    crash::Fuse,
    faults::{Dice, Fault, Faults, lock},
};

/// The name under which the process runner keeps its place.
pub(super) const RUNNER: &str = "$process-runner";

/// How often each fault of the store happens, per call.
mod chance {
    pub(super) const CRASH_BEFORE: f64 = 0.002;
    pub(super) const CRASH_AFTER: f64 = 0.0025;
    pub(super) const UNHEARD: f64 = 0.006;
    pub(super) const LOST: f64 = 0.004;
    pub(super) const FAILED: f64 = 0.006;
    pub(super) const SLOW: f64 = 0.01;
    pub(super) const FULL: f64 = 0.001;
    pub(super) const STOPPED: f64 = 0.003;
    pub(super) const READ: f64 = 0.003;
    pub(super) const SPURIOUS: f64 = 0.02;
    pub(super) const SNAPSHOT: f64 = 0.1;
    pub(super) const CHECKPOINT: f64 = 0.5;
}

/// The disk under all connections.
#[derive(Clone)]
pub struct Disk {
    log: MemoryStore,
    full_until: Arc<Mutex<Option<Instant>>>,
    /// Wakes who waits, in the order in which they came: the log's own wake-up shuffles them.
    grown: Arc<Notify>,
}

impl Disk {
    /// A disk with this log on it.
    #[must_use]
    pub fn new(log: MemoryStore) -> Self {
        Self { log, full_until: Arc::default(), grown: Arc::default() }
    }

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Result<Appended, Refused>>, Error> {
        let answer = self.log.append(batch).await;
        self.grown.notify_waiters();
        answer
    }

    async fn wait(&self, after: Position) {
        loop {
            let grown = self.grown.notified();
            if self.log.head().await.is_ok_and(|head| head > after) {
                return;
            }
            grown.await;
        }
    }

    fn full(&self) -> bool {
        lock(&self.full_until).is_some_and(|until| Instant::now() < until)
    }
}

/// One node's connection, from its start to its crash.
pub struct FaultyStore {
    disk: Disk,
    dice: Dice,
    faults: Faults,
    fuse: Fuse,
    stopped: AtomicBool,
}

impl FaultyStore {
    /// A connection of the node that `fuse` belongs to.
    #[must_use]
    pub const fn new(disk: Disk, dice: Dice, faults: Faults, fuse: Fuse) -> Self {
        Self { disk, dice, faults, fuse, stopped: AtomicBool::new(false) }
    }

    fn comes(&self, fault: Fault, probability: f64) -> bool {
        let comes = !self.faults.over() && self.dice.chance(probability);
        if comes {
            self.faults.count(fault);
        }
        comes
    }

    /// Dies here, or passes.
    async fn crash(&self, fault: Fault, probability: f64) {
        if self.comes(fault, probability) {
            self.fuse.blow().await;
        }
    }

    fn usable(&self) -> Result<(), Error> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(Error::Stopped("a sync failed".into()));
        }
        if !self.faults.over() && self.disk.full() {
            self.faults.count(Fault::StoreFull);
            return Err(Error::Full);
        }
        Ok(())
    }

    /// Makes one of the failures after which nothing is written and everybody knows.
    fn refuse(&self) -> Result<(), Error> {
        self.usable()?;
        if self.comes(Fault::StoreFull, chance::FULL) {
            *lock(&self.disk.full_until) = Some(Instant::now() + self.dice.millis(500, 6_000));
            return Err(Error::Full);
        }
        if self.comes(Fault::AppendFailed, chance::FAILED) {
            return Err(Error::Failed("the append was interrupted".into()));
        }
        Ok(())
    }

    /// Writes some appends of a batch, or all, and tells nobody.
    async fn write_unheard(&self, batch: Vec<Append>) -> Error {
        let all = self.dice.chance(0.5);
        let written = batch.into_iter().filter(|_| all || self.dice.chance(0.5)).collect();
        match self.disk.append(written).await {
            Ok(_) => Error::Unknown("the line broke".into()),
            Err(error) => error,
        }
    }

    async fn read(&self) -> Result<(), Error> {
        match self.dice.up_to(3) {
            0 => tokio::time::sleep(Duration::from_millis(1)).await,
            _ => tokio::task::yield_now().await,
        }
        if self.comes(Fault::ReadFailed, chance::READ) {
            return Err(Error::Failed("a read error".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl EventStore for FaultyStore {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Result<Appended, Refused>>, Error> {
        self.usable()?;
        tokio::time::sleep(self.dice.millis(1, 4)).await;
        if self.comes(Fault::AppendSlow, chance::SLOW) {
            tokio::time::sleep(self.dice.millis(200, 3_000)).await;
        }
        self.crash(Fault::CrashBeforeAppend, chance::CRASH_BEFORE).await;
        self.refuse()?;
        if self.comes(Fault::AppendLost, chance::LOST) {
            return Err(Error::Unknown("the line broke".into()));
        }
        if self.comes(Fault::AppendUnheard, chance::UNHEARD) {
            return Err(self.write_unheard(batch).await);
        }
        if self.comes(Fault::StoreStopped, chance::STOPPED) {
            self.stopped.store(true, Ordering::Relaxed);
            self.fuse.restart_soon();
            return Err(self.write_unheard(batch).await);
        }
        let answer = self.disk.append(batch).await;
        self.crash(Fault::CrashAfterAppend, chance::CRASH_AFTER).await;
        tokio::time::sleep(self.dice.millis(0, 2)).await;
        answer
    }

    async fn read_stream(&self, stream: &str, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        self.read().await?;
        self.disk.log.read_stream(stream, from, limit).await
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error> {
        self.read().await?;
        self.disk.log.read_all(after, limit).await
    }

    async fn find(&self, ids: &[Uuid]) -> Result<Vec<Option<Recorded>>, Error> {
        self.read().await?;
        self.disk.log.find(ids).await
    }

    async fn head(&self) -> Result<Position, Error> {
        self.read().await?;
        self.disk.log.head().await
    }

    async fn distance(&self, from: Position, to: Position) -> Result<u64, Error> {
        self.disk.log.distance(from, to).await
    }

    async fn wait(&self, after: Position) {
        if self.comes(Fault::WakeSpurious, chance::SPURIOUS) {
            return tokio::time::sleep(self.dice.millis(0, 50)).await;
        }
        self.disk.wait(after).await;
    }

    async fn load_snapshot(&self, name: &str, fold: u32) -> Result<Option<Snapshot>, Error> {
        self.read().await?;
        let found = self.disk.log.load_snapshot(name, fold).await?;
        let lost = match name {
            RUNNER => found.is_some() && self.comes(Fault::CheckpointLost, chance::CHECKPOINT),
            _ => found.is_some() && self.comes(Fault::SnapshotLost, chance::SNAPSHOT),
        };
        Ok(found.filter(|_| !lost))
    }

    async fn save_snapshot(&self, name: &str, snapshot: Snapshot) -> Result<(), Error> {
        self.usable()?;
        tokio::task::yield_now().await;
        if name != RUNNER && self.comes(Fault::SnapshotLost, chance::SNAPSHOT) {
            return Ok(());
        }
        self.disk.log.save_snapshot(name, snapshot).await
    }
}
