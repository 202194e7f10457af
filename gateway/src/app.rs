//! The composition root: every component is opened here, tied to the others, and run.
//!
//! Components are values with a `step`; here are their loops, their tasks and the order in which they stop. Stopping
//! is draining: first the door (requests need everything else), then the loops that only carry on what the
//! log remembers, then the lanes of the desks, which end by themselves when nobody can hand them a command any
//! more, and the log last of all.

pub mod engines;
pub mod feeds;
mod loops;
mod start;
pub mod wire;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use commands::shop::Shop;
use ports::store::EventStore;
use projections::positions::Positions;
use tokio::{sync::watch, task::JoinSet};

use engines::Engines;
pub use start::Error;

use crate::{
    auth::Signer,
    config::Config,
    server::{Door, Drained},
};

/// How long the loops and the lanes may take to come to rest, each, once nobody asks anything any more.
const REST_MAX: Duration = Duration::from_secs(5);
/// How often to look whether the engines are let go of.
const REST_TICK: Duration = Duration::from_millis(5);

/// The whole shop in one process.
pub struct App;

impl App {
    /// Opens everything under the configuration's folder and serves.
    ///
    /// # Errors
    /// [`Error`] when something cannot be opened; nothing runs then.
    pub async fn start(config: Config) -> Result<Running, Error> {
        // Opening every engine there may be is a large future, and happens once.
        Box::pin(start::start(config)).await
    }
}

/// A shop that is open.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Where it speaks the EventStoreDB protocol, if it does.
    pub wire: Option<SocketAddr>,
    /// Issues tokens for it.
    pub signer: Arc<Signer>,
    /// Whether the signing key was made just now: this shop was never open before.
    pub first_start: bool,
    /// Where its views stand.
    pub positions: Positions,
    /// Its door, for callers inside the process.
    pub door: Arc<Door>,
    /// Its desks.
    pub shop: Shop,
    engines: Engines,
    server: JoinSet<std::io::Result<Drained>>,
    loops: JoinSet<&'static str>,
    lanes: JoinSet<()>,
    closing: watch::Sender<bool>,
    resting: watch::Sender<bool>,
}

/// Why a shop closed by itself.
#[derive(Debug, thiserror::Error)]
pub enum Fallen {
    /// The listener is unusable.
    #[error("the door is broken")]
    Door(#[source] std::io::Error),
    /// A task has ended that must not.
    #[error("{0} has ended")]
    Task(String),
}

impl Running {
    /// Its log.
    #[must_use]
    pub const fn log(&self) -> &Arc<dyn EventStore> {
        &self.engines.log
    }

    /// Waits until something has ended that must not: only then does it return.
    pub async fn fallen(&mut self) -> Fallen {
        tokio::select! {
            Some(ended) = self.server.join_next() => match ended {
                Ok(Ok(_)) => Fallen::Task("the door".into()),
                Ok(Err(error)) => Fallen::Door(error),
                Err(panic) => Fallen::Task(format!("the door ({panic})")),
            },
            Some(ended) = self.loops.join_next() => match ended {
                Ok(name) => Fallen::Task(name.to_owned()),
                Err(panic) => Fallen::Task(format!("a loop ({panic})")),
            },
            Some(ended) = self.lanes.join_next() => match ended {
                Ok(()) => Fallen::Task("a lane".into()),
                Err(panic) => Fallen::Task(format!("a lane ({panic})")),
            },
        }
    }

    /// Takes no more requests, finishes those that were begun within the limit `drain`, and closes every file.
    pub async fn shutdown(mut self) -> Drained {
        self.closing.send_replace(true);
        let mut drained = Drained { cut: 0 };
        while let Some(ended) = self.server.join_next().await {
            if let Ok(Ok(ended)) = ended {
                drained = ended;
            }
        }
        self.resting.send_replace(true);
        rest(&mut self.loops, "the loops").await;
        // With the last handles on the desks gone, the lanes finish what is in their mailboxes and end.
        let Self { door, shop, engines, mut lanes, .. } = self;
        drop((door, shop));
        rest(&mut lanes, "the lanes").await;
        let_go(engines).await;
        drained
    }
}

async fn rest<T: 'static>(tasks: &mut JoinSet<T>, what: &str) {
    let rest = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(REST_MAX, rest).await.is_err() {
        tracing::warn!(what, "did not come to rest in time; whatever they left is finished from the log");
        tasks.shutdown().await;
    }
}

/// Closes the files. Requests whose connection was cut may hold on to them for a moment.
async fn let_go(engines: Engines) {
    let Engines { log, keys, rows } = engines;
    let alone = || Arc::strong_count(&log) == 1 && Arc::strong_count(&keys) == 1;
    let wait = async {
        while !alone() || Arc::strong_count(&rows) > 1 {
            tokio::time::sleep(REST_TICK).await;
        }
    };
    if tokio::time::timeout(REST_MAX, wait).await.is_err() {
        tracing::warn!("the files are still in use; they close with the process");
    }
    // Closing waits for the threads that write.
    let closed = tokio::task::spawn_blocking(move || drop((log, keys, rows)));
    if closed.await.is_err() {
        tracing::error!("closing the files failed");
    }
}
