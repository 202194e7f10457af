//! The simulation: the real desks, process runner, engine and sandbox on faulty ports, replayed from a seed.
//!
//! One run is one thread with paused time and one seed, so it does the same every time, however long the machine
//! takes. Clients trade for a while with everything going wrong, then the faults stop, everything comes to rest,
//! and an auditor that shares no rule with the domain looks at what is left.
//!
//! | part | what it is |
//! |---|---|
//! | [`faults`] | the dice, and a count of every fault |
//! | [`store`], [`views`], [`outside`] | the ports, misbehaving within their promises |
//! | [`node`], [`keeper`], [`crash`] | the components under test, crashed and started again |
//! | [`front`], [`network`], [`clients`] | who asks for what, and how it gets there |
//! | [`audit`] | the second, simpler model |
//! | [`program`] | `cargo sim` |

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use ports::{
    memory::{MemoryKeys, MemoryStore, MemoryViews},
    store::{EventStore as _, Position, Recorded, Snapshot},
};
use tokio::task::JoinSet;

pub mod audit;
pub mod clients;
pub mod clock;
pub mod crash;
pub mod faults;
pub mod front;
pub mod keeper;
pub mod network;
pub mod node;
pub mod outside;
pub mod program;
pub mod record;
pub mod report;
pub mod store;
pub mod views;
pub mod wish;

use audit::{Evidence, Violation};
use clients::Market;
use clock::SimClock;
use faults::{Dice, Faults};
use keeper::Keeper;
use network::Network;
use node::Ground;
use outside::World;
use record::{Answer, Record};
use report::Report;
use store::Disk;

/// The most simulated time that coming to rest may take after the faults have stopped.
const REST_MAX: Duration = Duration::from_hours(6);
/// How often it is looked whether everything is at rest, and for how long nothing may have happened then.
const LOOK_EVERY: Duration = Duration::from_secs(20);
const QUIET: Duration = Duration::from_mins(5);
/// After how long every hold may be swept: the longest hold is that of an order which was paid late, 30 minutes, and
/// the grace after it is 15.
const LAPSE: Duration = Duration::from_mins(46);

/// Runs one seed.
///
/// # Errors
/// When the runtime cannot be started.
pub fn run(seed: u64) -> std::io::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(async { Simulation::new(seed).run().await }))
}

/// One run.
struct Simulation {
    ground: Ground,
    log: MemoryStore,
    keepers: Vec<Keeper>,
    tasks: JoinSet<()>,
    market: Market,
    violations: Vec<Violation>,
    swept: usize,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let clock = SimClock::start();
        let log = MemoryStore::new(Arc::new(clock.clone()));
        let faults = Faults::default();
        let ground = Ground {
            seed,
            clock: clock.clone(),
            disk: Disk::new(log.clone()),
            rows: Arc::new(MemoryViews::new()),
            keys: MemoryKeys::new(seed),
            world: World::new(seed, &clock),
            faults: faults.clone(),
        };
        let mut tasks = JoinSet::new();
        let mut keepers = Vec::new();
        for (name, leads) in [("leader", true), ("second", false)] {
            let (keeper, keep) = Keeper::new(ground.clone(), name, leads);
            tasks.spawn(keep);
            keepers.push(keeper);
        }
        let doors = keepers.iter().map(|keeper| Arc::clone(&keeper.doorway)).collect();
        let network = Network::new(doors, Dice::new(seed, "network"), faults, clock, Record::default());
        let market = Market::new(network, seed);
        Self { ground, log, keepers, tasks, market, violations: Vec::new(), swept: 0 }
    }

    async fn run(mut self) -> Report {
        self.market.open().await;
        self.market.trade().await;
        let traded_ms = self.ground.clock.elapsed_ms();
        self.ground.faults.end();
        self.come_to_rest().await;
        self.free_what_is_held().await;
        self.come_to_rest().await;
        self.stay_at_rest().await;
        self.repeat_everything().await;
        for keeper in &self.keepers {
            keeper.stop().await;
        }
        while self.tasks.join_next().await.is_some() {}
        self.compare_views().await;
        let log = self.whole_log().await;
        let evidence = Evidence {
            log: audit::read(&log),
            ledger: self.ground.world.payments.ledger(),
            asked: self.market.network.record().all(),
            calm_from_ms: traded_ms,
        };
        self.violations.extend(audit::audit(&evidence));
        Report::new(&self.ground, &log, &evidence, &self.violations, self.swept, traded_ms)
    }

    fn violated(&mut self, rule: &'static str, what: String) {
        self.violations.push(Violation { rule, what, streams: Vec::new() });
    }

    /// Waits until nothing is left to do, doing meanwhile what only people can do.
    async fn come_to_rest(&mut self) {
        let dice = Dice::new(self.ground.seed, "tidying");
        self.market.network.calm().await;
        let began = tokio::time::Instant::now();
        let (mut head, mut since) = (Position::START, began);
        while began.elapsed() < REST_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
            let log = self.whole_log().await;
            let now = log.last().map_or(Position::START, |last| last.position);
            if now != head {
                clients::tidy(&self.market, &audit::loose(&audit::read(&log)), &dice).await;
            }
            if now != head || !self.is_idle(now) {
                (head, since) = (now, tokio::time::Instant::now());
            } else if since.elapsed() >= QUIET {
                return;
            }
        }
        let open = self.keepers.iter().map(|keeper| keeper.progress().open.load(Ordering::Relaxed)).sum::<u64>();
        self.violated("everything comes to rest", format!("{open} processes are still open after {REST_MAX:?}"));
    }

    /// Lets holds lapse that a crash has left behind, and sees that a buyer gets what they held.
    async fn free_what_is_held(&mut self) {
        tokio::time::sleep(LAPSE).await;
        let loose = audit::loose(&audit::read(&self.whole_log().await));
        let dice = Dice::new(self.ground.seed, "buying out");
        for refused in clients::buy_out(&self.market, &loose, &dice).await {
            self.violated("a hold that was left behind lapses", refused);
        }
        self.swept = loose.held.len();
    }

    /// True when runner and views have read everything and have nothing to wait for.
    fn is_idle(&self, head: Position) -> bool {
        let Some(progress) = self.keepers.first().map(Keeper::progress) else { return true };
        let at = |position: &std::sync::atomic::AtomicU64| position.load(Ordering::Relaxed) == head.0;
        progress.open.load(Ordering::Relaxed) == 0 && at(&progress.runner) && at(&progress.views)
    }

    /// Restarts everything without a checkpoint: the runner goes through the whole log, and must find nothing to do.
    async fn stay_at_rest(&mut self) {
        let before = self.whole_log().await.len();
        let nothing = Snapshot { fold: 0, revision: 0, position: Position::START, state: bytes::Bytes::new() };
        if let Err(error) = self.log.save_snapshot(store::RUNNER, nothing).await {
            self.violated("the log can be read", error.to_string());
        }
        for keeper in &self.keepers {
            keeper.restart().await;
        }
        for _ in 0..60 {
            tokio::time::sleep(QUIET).await;
            if self.is_idle(Position(before as u64)) {
                break;
            }
        }
        self.must_be_unchanged(before, "a restart at rest changes nothing").await;
    }

    /// Sends every request that was acknowledged once more: it must be answered as before and change nothing.
    async fn repeat_everything(&mut self) {
        let before = self.whole_log().await.len();
        let network = self.market.network.clone();
        let mut again = std::collections::BTreeMap::new();
        for asked in network.record().all() {
            let done = |(_, answer): &&(u64, Answer)| matches!(answer, Answer::Done(e) if !e.kinds.is_empty());
            if asked.answers.iter().any(|answer| done(&answer)) {
                again.insert((asked.request.id, asked.request.body_hash()), asked.request);
            }
        }
        let mut under_way = JoinSet::new();
        for request in again.into_values() {
            let network = network.clone();
            under_way.spawn(async move { network.ask(request, "repeat at rest").await });
            if under_way.len() > 20 {
                under_way.join_next().await;
            }
        }
        while under_way.join_next().await.is_some() {}
        tokio::time::sleep(QUIET).await;
        self.must_be_unchanged(before, "a repeated request changes nothing").await;
    }

    async fn must_be_unchanged(&mut self, before: usize, rule: &'static str) {
        let log = self.whole_log().await;
        let more = log.get(before..).unwrap_or_default();
        if !more.is_empty() {
            let streams = more.iter().map(|recorded| recorded.stream.clone()).collect();
            let what = format!("{} events came: {}", more.len(), more[0].kind);
            self.violations.push(Violation { rule, what, streams });
        }
    }

    async fn compare_views(&mut self) {
        for view in projections::views::all() {
            let head = self.whole_log().await.last().map_or(Position::START, |last| last.position);
            match view.verify(&self.log, self.ground.rows.as_ref()).await {
                Ok(verified) if verified.differing == 0 && verified.position == head => {}
                Ok(verified) => self.violated(
                    "every view equals a fresh fold",
                    format!("{} at {} of {head}: {:?}", view.id(), verified.position, verified.differences),
                ),
                Err(error) => self.violated("every view equals a fresh fold", format!("{}: {error}", view.id())),
            }
        }
    }

    async fn whole_log(&self) -> Vec<Recorded> {
        // The log in memory cannot fail.
        self.log.read_all(Position::START, usize::MAX).await.unwrap_or_default()
    }
}
