//! Load in an open loop: requests come when they come, whatever has become of those before.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use hdrhistogram::Histogram;
use proto::v1::Role;
use tokio::time::{Instant, timeout_at};

use super::{
    caller::{self, Caller},
    goods::Orders,
    load::{self, Load},
    server::Server,
    wire::{Ended, Wire},
};

/// What is asked.
const PATH: &str = "/cartulary.v1.OrderService/ProcessOrder";
/// Connections: together they let more requests through than the shop works on at once.
const CONNECTIONS: u32 = 16;
/// How often requests are sent that are due.
const TICK: Duration = Duration::from_millis(1);
/// How often somebody asks among the flood who reads the reasons.
const READER: Duration = Duration::from_millis(20);

/// What became of a flood.
pub struct Flooded {
    /// How long it was measured.
    pub time: Duration,
    /// Requests sent in that time.
    pub sent: u64,
    /// Requests that were due while their connection had as many on the way as the shop allows.
    pub held_back: u64,
    /// How long the answered ones took, in µs.
    pub answered: Histogram<u64>,
    /// How long the refused ones took, in µs.
    pub refused: Histogram<u64>,
    /// Requests that ended without answer or refusal.
    pub broken: u64,
    /// What the one who reads was told, how often.
    pub told: BTreeMap<String, u64>,
}

impl Flooded {
    fn nothing(time: Duration) -> Self {
        let (answered, refused) = (load::latencies(), load::latencies());
        Self { time, sent: 0, held_back: 0, answered, refused, broken: 0, told: BTreeMap::new() }
    }

    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.held_back += other.held_back;
        self.broken += other.broken;
        self.answered.add(&other.answered).expect("histograms of one kind");
        self.refused.add(&other.refused).expect("histograms of one kind");
    }
}

/// From when to when something counts.
#[derive(Clone, Copy)]
struct Window {
    begun: Instant,
    from: Instant,
    until: Instant,
}

impl Window {
    fn holds(self, moment: Instant) -> bool {
        (self.from..=self.until).contains(&moment)
    }
}

/// Sends `rate` orders a second from one thread.
pub fn run(shop: &Server, rate: f64, load: Load, orders: &Orders) -> Flooded {
    load::runtime().block_on(async {
        let wires = join_all((0..CONNECTIONS).map(|n| {
            let token = shop.token(Role::Buyer, n.into());
            async move { Wire::open(shop.addr, PATH, &token).await }
        }));
        let wires = wires.await;
        let begun = Instant::now();
        let from = begun + load.warm_up;
        let window = Window { begun, from, until: from + load.time };
        let senders =
            join_all(wires.into_iter().map(|wire| sender(wire, rate / f64::from(CONNECTIONS), window, orders)));
        let (parts, told) = tokio::join!(senders, reader(shop, window, orders));
        let mut flooded = Flooded { told, ..Flooded::nothing(load.time) };
        parts.iter().for_each(|part| flooded.add(part));
        flooded
    })
}

async fn sender(mut wire: Wire, rate: f64, window: Window, orders: &Orders) -> Flooded {
    let mut flooded = Flooded::nothing(Duration::ZERO);
    let mut ticks = tokio::time::interval(TICK);
    let mut due = 0;
    loop {
        let tick = tokio::select! {
            tick = ticks.tick() => Some(tick),
            () = wire.turn(|how, sent| ended(&mut flooded, window, how, sent)) => None,
        };
        let Some(now) = tick else { continue };
        if now >= window.until {
            return flooded;
        }
        let counts = u64::from(window.holds(now));
        let wanted = (rate * (now - window.begun).as_secs_f64()) as u64;
        while due < wanted {
            due += 1;
            if wire.has_room() {
                wire.send(&orders.wish(due));
                flooded.sent += counts;
            } else {
                flooded.held_back += counts;
            }
        }
        wire.flush();
    }
}

fn ended(flooded: &mut Flooded, window: Window, how: Ended, sent: Instant) {
    let now = Instant::now();
    if !window.holds(now) {
        return;
    }
    let took = load::micros(now - sent);
    match how {
        Ended::Answered => flooded.answered.saturating_record(took),
        Ended::Refused => flooded.refused.saturating_record(took),
        Ended::Broken => flooded.broken += 1,
    }
}

/// Asks among the flood, as any client would, and notes what it is told.
async fn reader(shop: &Server, window: Window, orders: &Orders) -> BTreeMap<String, u64> {
    let channel = caller::connect(shop.addr).await;
    let mut caller = Caller::new(&channel, &shop.token(Role::Buyer, 0));
    let mut told = BTreeMap::new();
    for n in 0.. {
        let ask = caller.orders.process_order(caller.ask(orders.wish(n)));
        let Ok(answer) = timeout_at(window.until, ask).await else { break };
        let what = answer.map_or_else(|status| caller::why(&status), |_| "reserved".to_owned());
        *told.entry(what).or_default() += u64::from(window.holds(Instant::now()));
        tokio::time::sleep(READER).await;
    }
    told
}
