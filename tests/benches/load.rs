//! Load in a closed loop: so many callers, each with one request on its way at any time.
//!
//! Every thread has a runtime of its own that is bound to it, with its own connections and callers: nothing of the
//! load moves between processors, so that as little as possible of them is taken from the shop.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use hdrhistogram::Histogram;
use proto::v1::Role;
use tokio::{runtime::Runtime, time::Instant};
use tonic::Status;

use super::{
    Settings,
    caller::{self, Caller},
    machine,
    server::Server,
};

/// Connections of each thread.
const CONNECTIONS: usize = 2;
/// The longest latency that is told from others, in µs.
const LATENCY_MAX: u64 = 60_000_000;

/// What callers ask, again and again.
pub trait Work: Sync {
    /// Who asks.
    const ROLE: Role;

    /// Sends the `n`-th request of the run and waits for its answer.
    fn call(&self, caller: &mut Caller, n: u64) -> impl Future<Output = Result<(), Status>>;
}

/// How much load there is, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Threads that send.
    pub threads: usize,
    /// Callers over all threads.
    pub callers: usize,
    /// How long it goes before anything counts.
    pub warm_up: Duration,
    /// How long it is measured.
    pub time: Duration,
    /// The most requests, the warm-up's included.
    pub requests_max: u64,
}

impl Load {
    /// As every benchmark measures, unless it says why not.
    pub fn of(settings: &Settings) -> Self {
        let &Settings { warm_up, time, callers, .. } = settings;
        Self { threads: machine::cores(), callers, warm_up, time, requests_max: u64::MAX }
    }

    /// So many requests, however long they take.
    pub fn count(settings: &Settings, requests: u64) -> Self {
        let forever = Duration::from_secs(60 * 60);
        Self { warm_up: Duration::ZERO, time: forever, requests_max: requests, ..Self::of(settings) }
    }
}

/// What a load measured.
pub struct Measured {
    /// Requests answered within the time measured.
    pub answered: u64,
    /// The time measured; less than asked for when there was nothing left to send.
    pub time: Duration,
    /// How long they took, in µs.
    pub latency: Histogram<u64>,
    /// Refusals within the time measured, by their reasons.
    pub refused: BTreeMap<String, u64>,
    /// Requests answered in all, the warm-up's included.
    pub total: u64,
}

impl Measured {
    /// Nothing measured yet.
    pub fn nothing() -> Self {
        let (answered, time, latency) = (0, Duration::ZERO, latencies());
        Self { answered, time, latency, refused: BTreeMap::new(), total: 0 }
    }

    /// Answers a second.
    pub fn per_second(&self) -> f64 {
        per_second(self.answered, self.time)
    }

    /// The same, if nothing was refused: a rate of refusals must not pass for another rate.
    pub fn unrefused(self, what: &str) -> Self {
        assert!(self.refused.is_empty(), "{what} was refused: {:?}", self.refused);
        assert!(self.answered > 0, "{what} was never answered");
        self
    }

    /// Adds what another thread measured in the same time.
    pub fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.total += other.total;
        self.time = self.time.max(other.time);
        self.latency.add(&other.latency).expect("histograms of one kind");
        for (why, count) in &other.refused {
            *self.refused.entry(why.clone()).or_default() += count;
        }
    }
}

/// A histogram of latencies in µs, exact to a thousandth.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX, 3).expect("valid bounds")
}

/// A time in µs, as histograms want it.
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A count over a time.
pub fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(f64::EPSILON)
}

/// A runtime that is bound to the thread that blocks on it.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Puts a load on a shop.
pub fn run<W: Work>(shop: &Server, load: Load, work: &W) -> Measured {
    run_at(&[shop], load, work)
}

/// Puts a load on several shops, the same number of callers on each.
pub fn run_at<W: Work>(shops: &[&Server], load: Load, work: &W) -> Measured {
    drive(load, &async |thread| callers(shops, W::ROLE, thread, load).await, &async |caller: &mut Caller, n| {
        work.call(caller, n).await
    })
}

/// Opens each thread's callers and lets each ask, again and again.
pub fn drive<C>(
    load: Load,
    open: &(impl AsyncFn(usize) -> Vec<C> + Sync),
    ask: &(impl AsyncFn(&mut C, u64) -> Result<(), Status> + Sync),
) -> Measured {
    let (next, ready) = (AtomicU64::new(0), Barrier::new(load.threads));
    let parts: Vec<Measured> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..load.threads)
            .map(|thread| {
                let (next, ready) = (&next, &ready);
                scope.spawn(move || {
                    runtime().block_on(async {
                        let callers = open(thread).await;
                        ready.wait();
                        drive_thread(callers, load, ask, next).await
                    })
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a caller does not panic")).collect()
    });
    let mut measured = Measured::nothing();
    parts.iter().for_each(|part| measured.add(part));
    measured
}

async fn drive_thread<C>(
    callers: Vec<C>,
    load: Load,
    ask: &impl AsyncFn(&mut C, u64) -> Result<(), Status>,
    next: &AtomicU64,
) -> Measured {
    let from = Instant::now() + load.warm_up;
    let until = from + load.time;
    let measured = RefCell::new(Measured::nothing());
    join_all(callers.into_iter().map(async |mut caller| {
        loop {
            let sent = Instant::now();
            let n = next.fetch_add(1, Ordering::Relaxed);
            if sent >= until || n >= load.requests_max {
                return;
            }
            let answer = ask(&mut caller, n).await;
            let done = Instant::now();
            let mut measured = measured.borrow_mut();
            measured.total += u64::from(answer.is_ok());
            if done < from || done > until {
                continue;
            }
            measured.time = done - from;
            match answer {
                Ok(()) => {
                    measured.answered += 1;
                    measured.latency.saturating_record(micros(done - sent));
                }
                Err(status) => *measured.refused.entry(caller::why(&status)).or_default() += 1,
            }
        }
    }))
    .await;
    measured.into_inner()
}

/// The numbers of one thread's callers.
pub fn mine(load: Load, thread: usize) -> impl Iterator<Item = usize> {
    (0..load.callers).filter(move |n| n % load.threads == thread)
}

/// The callers of one thread: each a member of their own, over few connections to each shop.
async fn callers(shops: &[&Server], role: Role, thread: usize, load: Load) -> Vec<Caller> {
    let connections = shops.iter().flat_map(|shop| [shop; CONNECTIONS]);
    let channels = join_all(connections.map(async |shop| (shop, caller::connect(shop.addr).await))).await;
    let callers = mine(load, thread).zip(channels.iter().cycle());
    callers.map(|(n, (shop, channel))| Caller::new(channel, &shop.token(role, n as u64))).collect()
}
