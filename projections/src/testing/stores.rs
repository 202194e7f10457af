//! A view store that remembers what it was asked and fails when it is told to.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use ports::{
    memory::MemoryViews,
    store::Position,
    views::{Entry, Error, Key, Range, ViewCommit, ViewStore},
};

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is written and answered.
    Written,
    /// It is written, but the answer is a failure.
    WrittenUnheard,
    /// It is not written.
    Lost,
}

/// A store in memory whose next commits fare as the list says; after that all is well. A clone is the same
/// store.
#[derive(Clone, Default)]
pub struct FaultyViews {
    pub inner: MemoryViews,
    pub outcomes: Arc<Mutex<VecDeque<Outcome>>>,
    /// Every commit that was written.
    pub written: Arc<Mutex<Vec<ViewCommit>>>,
    /// How many rows were asked for by key.
    pub asked: Arc<Mutex<usize>>,
}

#[async_trait]
impl ViewStore for FaultyViews {
    async fn position(&self, view: &str) -> Result<Position, Error> {
        self.inner.position(view).await
    }

    async fn commit(&self, commits: Vec<ViewCommit>) -> Result<(), Error> {
        // Nobody's commit is done at once.
        tokio::task::yield_now().await;
        let outcome = self.outcomes.lock().unwrap().pop_front().unwrap_or(Outcome::Written);
        if outcome != Outcome::Lost {
            self.inner.commit(commits.clone()).await?;
            self.written.lock().unwrap().extend(commits);
        }
        match outcome {
            Outcome::Written => Ok(()),
            _ => Err(Error::Failed("told to".into())),
        }
    }

    async fn get_many(&self, view: &str, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        *self.asked.lock().unwrap() += keys.len();
        self.inner.get_many(view, keys).await
    }

    async fn range(&self, range: Range) -> Result<Vec<Entry>, Error> {
        self.inner.range(range).await
    }

    async fn replace(&self, view: &str, with: &str) -> Result<(), Error> {
        self.inner.replace(view, with).await
    }

    async fn drop_view(&self, view: &str) -> Result<(), Error> {
        self.inner.drop_view(view).await
    }
}
