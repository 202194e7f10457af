//! Load in an open loop: requests come when they come, whatever has become of those before.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::{
    caller::{self, Caller},
    load::{self, Load, Work},
    server::Server,
};

/// Connections: together they let more requests through than the shop works on at once.
const CONNECTIONS: usize = 16;
/// How often requests are sent that are due.
const TICK: Duration = Duration::from_millis(1);
/// The most requests on their way; what is due beyond that cannot be sent, and is counted.
const ON_THE_WAY_MAX: usize = 16_384;
/// How long after the end answers are waited for. They no longer count.
const LINGER: Duration = Duration::from_secs(2);

/// What became of a flood.
pub struct Flooded {
    /// How long it was measured.
    pub time: Duration,
    /// Requests sent in that time.
    pub sent: u64,
    /// Requests that could not be sent when they were due: the callers were at their end, not the shop.
    pub held_back: u64,
    /// How long the answered ones took, in µs.
    pub answered: Histogram<u64>,
    /// How long the refused ones took, in µs.
    pub refused: Histogram<u64>,
    /// The refused ones by their reasons.
    pub reasons: BTreeMap<String, u64>,
}

/// Sends `rate` requests a second from one thread.
pub fn run(shop: &Server, rate: f64, load: Load, work: &impl Work) -> Flooded {
    load::runtime().block_on(flood(shop, rate, load, work))
}

async fn flood<W: Work>(shop: &Server, rate: f64, load: Load, work: &W) -> Flooded {
    let channels = futures::future::join_all((0..CONNECTIONS).map(|_| caller::connect(shop.addr))).await;
    let callers = load.callers.max(CONNECTIONS);
    let callers: Vec<Caller> =
        (0..callers).map(|n| Caller::new(&channels[n % CONNECTIONS], &shop.token(W::ROLE, n as u64))).collect();
    let begun = Instant::now();
    let from = begun + load.warm_up;
    let until = from + load.time;
    let flooded = RefCell::new(Flooded {
        time: load.time,
        sent: 0,
        held_back: 0,
        answered: load::latencies(),
        refused: load::latencies(),
        reasons: BTreeMap::new(),
    });
    let mut on_the_way = FuturesUnordered::new();
    let mut ticks = tokio::time::interval(TICK);
    let mut due = 0_u64;
    loop {
        tokio::select! {
            now = ticks.tick() => {
                if now >= until {
                    break;
                }
                let wanted = so_far(rate, now - begun);
                while due < wanted {
                    due += 1;
                    let counts = now >= from;
                    if on_the_way.len() >= ON_THE_WAY_MAX {
                        flooded.borrow_mut().held_back += u64::from(counts);
                        continue;
                    }
                    flooded.borrow_mut().sent += u64::from(counts);
                    let caller = callers[usize::try_from(due).unwrap_or(0) % callers.len()].clone();
                    on_the_way.push(one(work, caller, due, from, until, &flooded));
                }
            }
            Some(()) = on_the_way.next() => {}
        }
    }
    let rest = async { while on_the_way.next().await.is_some() {} };
    // Whoever is not answered by then is not part of the figures anyway.
    let _late = tokio::time::timeout(LINGER, rest).await;
    drop(on_the_way);
    flooded.into_inner()
}

/// How many requests are due after a time.
fn so_far(rate: f64, time: Duration) -> u64 {
    (rate * time.as_secs_f64()) as u64
}

async fn one<W: Work>(work: &W, mut caller: Caller, n: u64, from: Instant, until: Instant, flooded: &RefCell<Flooded>) {
    let sent = Instant::now();
    let answer = work.call(&mut caller, n).await;
    let done = Instant::now();
    if done < from || done > until {
        return;
    }
    let mut flooded = flooded.borrow_mut();
    let took = load::micros(done - sent);
    match answer {
        Ok(()) => flooded.answered.saturating_record(took),
        Err(status) => {
            flooded.refused.saturating_record(took);
            *flooded.reasons.entry(caller::why(&status)).or_default() += 1;
        }
    }
}
