//! A node: the real components over faulty ports, started, crashed and started again.
//!
//! Every node has all desks and a front; the first also has the process runner and the projection engine.
//! Between a start and a crash nothing leads into a node but its door, and nothing survives it but what is in
//! the log, the view store and the world outside.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use commands::{
    desk::{self, Counts},
    runner::{self, Runner},
    shop::Shop,
    steps::{Steps, carrier_notices, provider_notices},
};
use jiff::SignedDuration;
use ports::{
    carrier::Carrier,
    clock::Clock,
    keys::Keys,
    memory::{MemoryKeys, MemoryViews},
    payment::PaymentProvider,
    store::EventStore,
    views::ViewStore,
};
use projections::engine::{self, Engine};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{
    clock::SimClock,
    crash::Fuse,
    faults::{Dice, Faults, lock},
    front::Front,
    outside::{Outside, World},
    record::Answer,
    store::{Disk, FaultyStore},
    views::FaultyViews,
    wish::Request,
};

/// How long a loop that failed waits, and the longest wait for a wake-up.
const AGAIN_AFTER: Duration = Duration::from_millis(300);
const IDLE_MAX: Duration = Duration::from_secs(5);

/// What lives on when nodes die.
#[derive(Clone)]
pub struct Ground {
    /// The run's seed.
    pub seed: u64,
    /// Its time.
    pub clock: SimClock,
    /// The log.
    pub disk: Disk,
    /// The rows of the views.
    pub rows: Arc<MemoryViews>,
    /// The members' keys.
    pub keys: MemoryKeys,
    /// Provider and carrier.
    pub world: World,
    /// What has gone wrong so far.
    pub faults: Faults,
}

/// A request under way to a node, with the line for its answer.
pub type Call = (Request, oneshot::Sender<Answer>);

/// How far the background work of a node is; for the controller, who waits for its end.
#[derive(Debug, Default)]
pub struct Progress {
    /// Processes that have something to do or to wait for.
    pub open: AtomicU64,
    /// How far the runner has read the log.
    pub runner: AtomicU64,
    /// How far the views have folded it.
    pub views: AtomicU64,
}

/// A node that is up.
pub struct Node {
    tasks: JoinSet<()>,
    shop: Shop,
    /// Hands a request to its front.
    pub door: mpsc::UnboundedSender<Call>,
    /// How far its background work is.
    pub progress: Arc<Progress>,
}

impl Node {
    /// Starts a node; `leads` gives it the runner and the engine.
    #[must_use]
    pub fn start(ground: &Ground, name: &str, leads: bool, fuse: &Fuse) -> Self {
        let dice = |what: &str| Dice::new(ground.seed, &format!("{what} of {name}"));
        let (faults, clock) = (&ground.faults, Arc::new(ground.clock.clone()) as Arc<dyn Clock>);
        let store: Arc<dyn EventStore> =
            Arc::new(FaultyStore::new(ground.disk.clone(), dice("store"), faults.clone(), fuse.clone()));
        let rows: Arc<dyn ViewStore> =
            Arc::new(FaultyViews::new(Arc::clone(&ground.rows), dice("views"), faults.clone(), fuse.clone()));
        let outside = Arc::new(Outside::new(ground.world.clone(), dice("outside"), faults.clone(), fuse.clone()));
        let keys: Arc<dyn Keys> = Arc::new(ground.keys.clone());
        let (shop, lanes) = Shop::open(&store, &keys, clock, &desk_limits());
        let steps = Steps {
            shop: shop.clone(),
            provider: Arc::clone(&outside) as Arc<dyn PaymentProvider>,
            carrier: outside as Arc<dyn Carrier>,
            keys,
            partner_call_max: runner_limits().partner_call_max,
        };
        let (door, calls) = mpsc::unbounded_channel();
        let progress = Arc::new(Progress::default());
        let mut tasks = JoinSet::new();
        for lane in lanes {
            tasks.spawn(lane);
        }
        tasks.spawn(provider_notices(steps.clone()));
        tasks.spawn(carrier_notices(steps.clone()));
        tasks.spawn(serve(Front::new(steps.clone()), calls));
        if leads {
            tasks.spawn(run_processes(Arc::clone(&store), steps, Arc::clone(&progress)));
            tasks.spawn(run_views(store, rows, Arc::clone(&progress)));
        }
        Self { tasks, shop, door, progress }
    }

    /// Drops everything at whatever await points it is. Answers how often its desks met another writer.
    pub async fn crash(mut self) -> u64 {
        drop(self.door);
        self.tasks.shutdown().await;
        self.shop.counts().iter().map(|(_, Counts { conflicts, .. })| conflicts).sum()
    }
}

/// A door that is open while its node is up.
pub type Doorway = Arc<Mutex<Option<mpsc::UnboundedSender<Call>>>>;

/// Hands a request to a node; a closed door drops the answer's line at once.
pub fn hand_in(doorway: &Doorway, call: Call) {
    if let Some(door) = lock(doorway).as_ref() {
        // The node may be dying at this moment; then nobody answers.
        let _dying = door.send(call);
    }
}

async fn serve(front: Front, mut calls: mpsc::UnboundedReceiver<Call>) {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = under_way.join_next() => {}
            call = calls.recv() => {
                let Some((request, answer)) = call else { return };
                let front = front.clone();
                under_way.spawn(async move {
                    let answered = front.handle(request).await;
                    // The caller may have hung up.
                    let _gone = answer.send(answered);
                });
            }
        }
    }
}

async fn run_processes(store: Arc<dyn EventStore>, steps: Steps, progress: Arc<Progress>) {
    let mut runner = loop {
        match Runner::open(Arc::clone(&store), steps.clone(), runner_limits()).await {
            Ok(runner) => break runner,
            Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
        }
    };
    loop {
        if runner.step().await.is_err() {
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        progress.open.store(runner.open_processes() as u64, Ordering::Relaxed);
        progress.runner.store(runner.position().0, Ordering::Relaxed);
    }
}

async fn run_views(store: Arc<dyn EventStore>, rows: Arc<dyn ViewStore>, progress: Arc<Progress>) {
    let limits = engine::Limits { batch_events_max: 64, ..engine::Limits::default() };
    let mut engine = Engine::new(Arc::clone(&store), rows, projections::views::all(), limits);
    loop {
        match engine.step().await {
            Ok(step) => {
                progress.views.store(step.position.0, Ordering::Relaxed);
                if step.caught_up {
                    // Nobody is woken too late for ever: the wait has an end.
                    let _woken = tokio::time::timeout(IDLE_MAX, store.wait(step.position)).await;
                }
            }
            Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
        }
    }
}

/// Small bounds, so that caches overflow, pages end and snapshots matter within a few thousand commands.
fn desk_limits() -> desk::Limits {
    desk::Limits {
        states_max: NonZeroUsize::new(48).unwrap_or(NonZeroUsize::MIN),
        batch_commands_max: 32,
        appends_max: NonZeroUsize::new(3).unwrap_or(NonZeroUsize::MIN),
        load_events_max: 50,
        snapshot_events: 20,
        ..desk::Limits::default()
    }
}

fn runner_limits() -> runner::Limits {
    runner::Limits {
        batch_events_max: 100,
        in_flight_max: 24,
        eager_grace: SignedDuration::from_secs(2),
        checkpoint_events: 150,
        idle_max: IDLE_MAX,
        ..runner::Limits::default()
    }
}
