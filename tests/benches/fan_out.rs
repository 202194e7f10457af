//! Fan-out: how long after an order was acknowledged its event is in the hands of a subscriber of NATS.
//!
//! Orders come when they come, so many a second, whatever has become of those before. Each is timed by itself, from the
//! moment at which its answer was here to the moment at which the message was: nothing that is slow keeps anything else from
//! being timed. The subscriber is a plain client of NATS with an ordered consumer of the stream, so that it gets what the
//! server has stored, and not what it has merely heard.

use std::{
    collections::HashMap,
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::jetstream::{
    self,
    consumer::{DeliverPolicy, push::OrderedConfig},
    stream::Stream,
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use hdrhistogram::Histogram;
use proto::v1::Role;
use servers::nats::{Nats, Options};
use tokio::time::{Instant, timeout};

use super::{
    Settings,
    caller::{self, Caller},
    goods::{self, Orders},
    load,
    report::{Goal, Report},
    server::{Parts, Server},
};

/// What is on sale.
const SKUS: u64 = 10_000;
/// Orders a second.
const RATE: f64 = 1_000.0;
/// Connections that bring them.
const CONNECTIONS: usize = 4;
/// How often orders are sent that are due.
const TICK: Duration = Duration::from_millis(1);
/// How long the relay may take with what was before, and the last message to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often to look whether all is there.
const LOOK: Duration = Duration::from_millis(20);
/// The stream of the events, and what of it is listened to: what the answer to an order tells.
const STREAM: &str = "shop-events";
const SUBJECT: &str = "shop.evt.order.reserved.";

pub(super) fn measure(settings: &Settings) -> Report {
    let mut report = Report::new("fan-out");
    for (durable, goal) in [(false, Goal::Most(50.0)), (true, Goal::None)] {
        match Nats::start(Options { own: true, durable, place: Some(&settings.folder), ..Options::default() }) {
            Ok(server) => behind_orders(settings, &server, durable, goal, &mut report),
            Err(why) => report.not_run("NATS", &why.to_string()),
        }
    }
    report
}

fn behind_orders(settings: &Settings, server: &Nats, durable: bool, goal: Goal, report: &mut Report) {
    let url = format!("nats.url={}", server.url());
    let mut shop = Server::start(&settings.folder, Parts::Relay, None, &["engines.bus=nats", &url]);
    goods::fill(&shop, settings, SKUS);
    let before = shop.figures().head();
    let (wanted, ready) = (AtomicU64::new(u64::MAX), Barrier::new(2));
    let (placed, received) = std::thread::scope(|scope| {
        let subscriber = scope.spawn(|| load::runtime().block_on(subscribe(server.url(), before, &ready, &wanted)));
        ready.wait();
        let placed = load::runtime().block_on(place(settings, &shop));
        wanted.store(placed.acknowledged.len() as u64, Ordering::Relaxed);
        (placed, subscriber.join().expect("the subscriber does not panic"))
    });
    let (mut behind, mut missing) = (load::latencies(), 0_u64);
    for (order, acknowledged) in placed.acknowledged.iter().filter(|(_, moment)| placed.counts(*moment)) {
        match received.get(order) {
            // It may well be here before the answer is.
            Some(received) => behind.saturating_record(load::micros(received.saturating_duration_since(*acknowledged))),
            None => missing += 1,
        }
    }
    assert!(missing == 0, "{missing} acknowledged orders never came out");
    let what = if durable { "synced before acknowledged" } else { "synced when the server likes" };
    let rate = load::per_second(behind.len(), placed.until - placed.from);
    report.rate(format!("from due to acknowledged, NATS {what}"), rate, Some(&placed.latency));
    report.rate(format!("from acknowledged to received, NATS {what}"), rate, Some(&behind));
    let p99 = behind.value_at_quantile(0.99) as f64 / 1_000.0;
    report.figure(format!("from acknowledged to received (p99), NATS {what}"), p99, "ms", goal);
    report.ratio(format!("orders acknowledged / due, NATS {what}"), rate, RATE, Goal::Least(0.99));
    if placed.refused > 0 {
        report.note(format!("{what}: {} orders were refused", placed.refused));
    }
}

/// What became of the orders.
struct Placed {
    from: Instant,
    until: Instant,
    /// When each order's answer was here, by its number.
    acknowledged: Vec<(String, Instant)>,
    /// How long that took since it was due, in µs.
    latency: Histogram<u64>,
    refused: u64,
}

impl Placed {
    fn counts(&self, moment: Instant) -> bool {
        (self.from..=self.until).contains(&moment)
    }
}

/// Sends orders when they are due.
async fn place(settings: &Settings, shop: &Server) -> Placed {
    let mut callers = Vec::with_capacity(CONNECTIONS);
    for n in 0..CONNECTIONS {
        callers.push(Caller::new(&caller::connect(shop.addr).await, &shop.token(Role::Buyer, n as u64)));
    }
    let orders = Orders::over(SKUS);
    let begun = Instant::now();
    let (from, until) = (begun + settings.warm_up, begun + settings.warm_up + settings.time);
    let mut placed = Placed { from, until, acknowledged: Vec::new(), latency: load::latencies(), refused: 0 };
    let (mut open, mut ticks, mut sent) = (FuturesUnordered::new(), tokio::time::interval(TICK), 0);
    loop {
        tokio::select! {
            now = ticks.tick(), if sent < due(until - begun) => {
                let now = due(now.min(until) - begun);
                for n in sent..now {
                    let mut caller = callers[n as usize % CONNECTIONS].clone();
                    let order = caller.ask(orders.wish(n));
                    let when = begun + Duration::from_secs_f64(n as f64 / RATE);
                    open.push(async move { (caller.orders.process_order(order).await, when, Instant::now()) });
                }
                sent = now;
            }
            Some((answer, when, now)) = open.next() => match answer {
                Ok(answer) => {
                    if placed.counts(now) {
                        placed.latency.saturating_record(load::micros(now - when));
                    }
                    placed.acknowledged.push((answer.into_inner().order_id, now));
                }
                Err(_) => placed.refused += 1,
            },
            else => return placed,
        }
    }
}

/// How many orders are due after a time.
fn due(time: Duration) -> u64 {
    (time.as_secs_f64() * RATE) as u64
}

/// When each order's event was here, by the order's number. Begins when the events `before` them are out.
async fn subscribe(url: &str, before: u64, ready: &Barrier, wanted: &AtomicU64) -> HashMap<String, Instant> {
    let client = async_nats::connect(url).await.expect("a connection");
    let config = OrderedConfig {
        deliver_subject: client.new_inbox(),
        filter_subject: format!("{SUBJECT}>"),
        deliver_policy: DeliverPolicy::New,
        ..OrderedConfig::default()
    };
    let consumer = stream(client, before).await.create_consumer(config).await.expect("a consumer");
    let mut messages = consumer.messages().await.expect("messages");
    ready.wait();
    let (mut received, mut last) = (HashMap::new(), Instant::now());
    while (received.len() as u64) < wanted.load(Ordering::Relaxed) && last.elapsed() < PATIENCE {
        if let Ok(message) = timeout(LOOK, messages.next()).await {
            last = Instant::now();
            let message = message.expect("the subscription goes on").expect("a message");
            let order = message.subject.strip_prefix(SUBJECT).expect("what was asked for").to_owned();
            received.entry(order).or_insert(last);
        }
    }
    received
}

/// The stream, as soon as the relay has made it and put so many events into it.
async fn stream(client: async_nats::Client, events: u64) -> Stream {
    let (context, begun) = (jetstream::new(client), Instant::now());
    loop {
        if let Ok(stream) = context.get_stream(STREAM).await
            && stream.cached_info().state.messages >= events
        {
            return stream;
        }
        assert!(begun.elapsed() < PATIENCE, "the relay does not put {events} events into {STREAM}");
        tokio::time::sleep(LOOK).await;
    }
}
