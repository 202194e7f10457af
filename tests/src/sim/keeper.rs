//! Keeps a node up: starts it, crashes it when its fuse or the dice say so, and starts it again.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    crash::{Death, Deaths, Fuse},
    faults::{Dice, Fault, lock},
    node::{Doorway, Ground, Node, Progress},
};

/// How long a node lives if nothing else kills it, in milliseconds, and how long it is down.
const LIFE_MS: (u64, u64) = (5_000, 90_000);
const DOWN_MS: (u64, u64) = (20, 2_500);

/// What a keeper is told to do.
enum Order {
    /// Crash the node and start it again.
    Restart,
    /// Crash the node and be done.
    Stop,
}

/// The outside of a kept node.
pub struct Keeper {
    /// Its door, while it is up.
    pub doorway: Doorway,
    progress: Arc<Mutex<Arc<Progress>>>,
    starts: Arc<AtomicU64>,
    orders: mpsc::UnboundedSender<(Order, oneshot::Sender<()>)>,
}

impl Keeper {
    /// A node's outside, and the loop that somebody must run.
    pub fn new(ground: Ground, name: &'static str, leads: bool) -> (Self, impl Future<Output = ()> + Send) {
        let (orders, told) = mpsc::unbounded_channel();
        let (doorway, progress, starts) = (Doorway::default(), Arc::default(), Arc::default());
        let keeper = Self {
            doorway: Arc::clone(&doorway),
            progress: Arc::clone(&progress),
            starts: Arc::clone(&starts),
            orders,
        };
        (keeper, keep(ground, Inside { name, leads, doorway, progress, starts }, told))
    }

    /// How far the background work is, of the node as it runs now.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&lock(&self.progress))
    }

    /// How often the node was started.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }

    /// Crashes the node and waits until it is up again.
    pub async fn restart(&self) {
        self.tell(Order::Restart).await;
    }

    /// Crashes the node for good.
    pub async fn stop(&self) {
        self.tell(Order::Stop).await;
    }

    async fn tell(&self, order: Order) {
        let (done, heard) = oneshot::channel();
        if self.orders.send((order, done)).is_ok() {
            // A keeper that is gone has nothing left to stop.
            let _gone = heard.await;
        }
    }
}

struct Inside {
    name: &'static str,
    leads: bool,
    doorway: Doorway,
    progress: Arc<Mutex<Arc<Progress>>>,
    starts: Arc<AtomicU64>,
}

async fn keep(ground: Ground, inside: Inside, mut told: mpsc::UnboundedReceiver<(Order, oneshot::Sender<()>)>) {
    let dice = Dice::new(ground.seed, &format!("keeper of {}", inside.name));
    let mut waiting: Option<oneshot::Sender<()>> = None;
    loop {
        let (fuse, mut deaths) = Fuse::new();
        let generation = inside.starts.fetch_add(1, Ordering::Relaxed);
        let node = Node::start(&ground, &format!("{}{generation}", inside.name), inside.leads, &fuse);
        *lock(&inside.progress) = Arc::clone(&node.progress);
        *lock(&inside.doorway) = Some(node.door.clone());
        if let Some(done) = waiting.take() {
            let _gone = done.send(());
        }
        let order = until_death(&ground, &dice, &mut deaths, &mut told).await;
        *lock(&inside.doorway) = None;
        ground.faults.count_many(Fault::Conflict, node.crash().await);
        match order {
            Some((Order::Stop, done)) => {
                let _gone = done.send(());
                return;
            }
            Some((Order::Restart, done)) => waiting = Some(done),
            None => tokio::time::sleep(dice.millis(DOWN_MS.0, DOWN_MS.1)).await,
        }
    }
}

/// Waits for whatever ends the node; answers the order, if it was one.
async fn until_death(
    ground: &Ground,
    dice: &Dice,
    deaths: &mut Deaths,
    told: &mut mpsc::UnboundedReceiver<(Order, oneshot::Sender<()>)>,
) -> Option<(Order, oneshot::Sender<()>)> {
    let life = tokio::time::sleep(dice.millis(LIFE_MS.0, LIFE_MS.1));
    tokio::pin!(life);
    loop {
        tokio::select! {
            biased;
            order = told.recv() => return order,
            death = deaths.recv() => match death {
                Some(Death::After(wait)) => { tokio::time::sleep(wait).await; return None; }
                Some(Death::Now) | None => return None,
            },
            () = &mut life => {
                if !ground.faults.over() {
                    ground.faults.count(Fault::Crash);
                    return None;
                }
                // From here on only an order or a fault already begun ends it.
                life.as_mut().reset(tokio::time::Instant::now() + Duration::from_secs(1 << 30));
            }
        }
    }
}
