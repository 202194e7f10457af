//! The view store, with commits that fail, commits that are written and not heard of, and reads that fail.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ports::{
    memory::MemoryViews,
    store::Position,
    views::{Entry, Error, Key, Range, ViewCommit, ViewStore},
};

use super::{
    crash::Fuse,
    faults::{Dice, Fault, Faults},
};

/// How often each fault of the view store happens, per call.
mod chance {
    pub(super) const CRASH: f64 = 0.004;
    pub(super) const FAILED: f64 = 0.01;
    pub(super) const UNHEARD: f64 = 0.01;
    pub(super) const READ: f64 = 0.003;
}

/// One node's connection to the view store, from its start to its crash.
pub struct FaultyViews {
    rows: Arc<MemoryViews>,
    dice: Dice,
    faults: Faults,
    fuse: Fuse,
}

impl FaultyViews {
    /// A connection of the node that `fuse` belongs to.
    #[must_use]
    pub const fn new(rows: Arc<MemoryViews>, dice: Dice, faults: Faults, fuse: Fuse) -> Self {
        Self { rows, dice, faults, fuse }
    }

    fn comes(&self, fault: Fault, probability: f64) -> bool {
        let comes = !self.faults.over() && self.dice.chance(probability);
        if comes {
            self.faults.count(fault);
        }
        comes
    }

    async fn read(&self) -> Result<(), Error> {
        tokio::task::yield_now().await;
        if self.comes(Fault::ViewReadFailed, chance::READ) {
            return Err(Error::Failed("a read error".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl ViewStore for FaultyViews {
    async fn position(&self, view: &str) -> Result<Position, Error> {
        self.read().await?;
        self.rows.position(view).await
    }

    async fn commit(&self, commits: Vec<ViewCommit>) -> Result<(), Error> {
        tokio::time::sleep(self.dice.millis(1, 5)).await;
        if self.comes(Fault::CommitFailed, chance::FAILED) {
            return Err(Error::Failed("the commit was interrupted".into()));
        }
        self.rows.commit(commits).await?;
        if self.comes(Fault::CrashAfterCommit, chance::CRASH) {
            self.fuse.blow().await;
        }
        if self.comes(Fault::CommitUnheard, chance::UNHEARD) {
            return Err(Error::Failed("the line broke".into()));
        }
        Ok(())
    }

    async fn get_many(&self, view: &str, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        self.read().await?;
        self.rows.get_many(view, keys).await
    }

    async fn range(&self, range: Range) -> Result<Vec<Entry>, Error> {
        self.read().await?;
        self.rows.range(range).await
    }

    async fn replace(&self, view: &str, with: &str) -> Result<(), Error> {
        self.rows.replace(view, with).await
    }

    async fn drop_view(&self, view: &str) -> Result<(), Error> {
        self.rows.drop_view(view).await
    }
}
