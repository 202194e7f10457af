//! The loops around components that know only a single step.

use std::{sync::Arc, time::Duration};

use commands::{outage::Outage, runner::Runner};
use ports::store::EventStore;
use projections::{
    engine::{Engine, Error},
    positions::Follower,
};
use tokio::{sync::watch, task::JoinSet};

/// The longest wait for a wake-up of the log before it is read anyway.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// How often the view store is asked how far another process has folded: it bounds how much longer a query waits for what
/// its caller has just written. One look at all views takes a server less than a millisecond.
const FOLLOW_EVERY: Duration = Duration::from_millis(50);
/// How long to wait after a step that failed.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Folds the views until told to rest. A step is never broken off.
pub(super) async fn fold(mut engine: Engine, log: Arc<dyn EventStore>, mut resting: watch::Receiver<bool>) {
    let outage = Outage::new("the views cannot be folded");
    while !*resting.borrow() {
        let stepped = engine.step().await;
        if stepped.is_ok() {
            outage.worked();
        }
        let pause = match stepped {
            Ok(step) if !step.caught_up => continue,
            Ok(step) => {
                tokio::select! {
                    () = log.wait(step.position) => {}
                    () = tokio::time::sleep(IDLE_MAX) => {}
                    _ = resting.changed() => {}
                }
                continue;
            }
            Err(error) => {
                outage.failed(&error);
                if matches!(error, Error::AllStopped) { IDLE_MAX } else { AGAIN_AFTER }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = resting.changed() => {}
        }
    }
}

/// Follows the views that another process folds, until told to rest.
pub(super) async fn follow(mut follower: Follower, mut resting: watch::Receiver<bool>) {
    let outage = Outage::new("how far the views are folded cannot be read");
    while !*resting.borrow() {
        let pause = match follower.step().await {
            Ok(()) => {
                outage.worked();
                FOLLOW_EVERY
            }
            Err(error) => {
                outage.failed(&error);
                AGAIN_AFTER
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = resting.changed() => {}
        }
    }
}

/// Runs the processes until told to rest, then keeps their place. What is broken off is finished from the log.
pub(super) async fn process(mut runner: Runner, mut resting: watch::Receiver<bool>) {
    let outage = Outage::new("the process runner cannot read the log");
    loop {
        let step = tokio::select! {
            biased;
            _ = resting.wait_for(|resting| *resting) => break,
            step = runner.step() => step,
        };
        match step {
            Ok(()) => outage.worked(),
            Err(error) => {
                outage.failed(&error);
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
    runner.checkpoint().await;
}

/// The tasks of a shop that end when it is told to rest; one that ends earlier tells its name.
pub(super) struct Tasks {
    pub(super) set: JoinSet<&'static str>,
    rest: watch::Receiver<bool>,
}

impl Tasks {
    pub(super) fn new(rest: watch::Receiver<bool>) -> Self {
        Self { set: JoinSet::new(), rest }
    }

    /// Spawns what ends by itself when told to rest.
    pub(super) fn spawn<W>(&mut self, name: &'static str, work: impl FnOnce(watch::Receiver<bool>) -> W)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let work = work(self.rest.clone());
        self.set.spawn(async move {
            work.await;
            name
        });
    }

    /// Spawns something endless, which is broken off when told to rest.
    pub(super) fn until_rest(&mut self, name: &'static str, endless: impl Future<Output = ()> + Send + 'static) {
        self.spawn(name, |mut rest| async move {
            tokio::select! {
                () = endless => {}
                _ = rest.wait_for(|resting| *resting) => {}
            }
        });
    }
}
