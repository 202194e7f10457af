//! `cartulary bench`: a bounded load on a running shop, through its public API like anybody's.
//!
//! It answers how many orders a second this shop takes to the durable answer "reserved", from here, now. What it buys
//! it lists itself, as products `bench-0`, `bench-1`, …; the orders are real, so a shop that is dear to somebody is the
//! wrong one. How the engine compares with its ceiling and its peers, `cargo benchmarks` measures.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use futures::future::{join_all, try_join_all};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use proto::v1::{self, change_inventory_count_request::Change};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::Serialize;
use tokio::time::Instant;
use tonic::Status;

use super::{
    Error,
    client::{self, Address, Client, Refusal, ask, request_id},
    import::report::grouped,
};
use crate::error::{Reason, reason_of};

/// What everything costs, in GBP.
const POUNDS: i64 = 2;
/// Units of each SKU that are received before the load; what is left stays on the shelf.
const UNITS: u32 = 1_000_000;
/// Where they lie.
const WAREHOUSE: &str = "bench";
/// The longest latency that is told from others, in µs.
const LATENCY_MAX: u64 = 60_000_000;
/// Bounds of the load: a slip of the finger must not become an attack.
const CALLERS_MAX: u32 = 4_096;
const SECONDS_MAX: u64 = 3_600;
const SKUS_MAX: u32 = 100_000;
/// Callers on one connection; HTTP/2 carries them all, yet one socket is one queue.
const CALLERS_PER_CONNECTION: u32 = 128;
/// How often the bar moves.
const TICK: Duration = Duration::from_millis(250);

/// What `bench` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cartulary bench                           orders over 1,000 products, 64 callers, 10 seconds
  cartulary bench --skus 1 --callers 256    everybody wants the same thing
  cartulary bench --paid --seconds 60       orders that go on to their delivery
  cartulary bench --json | jq .orders_per_second

It lists products bench-0, bench-1, … and places real orders for them: point it at a shop that may have those.")]
pub(super) struct Args {
    #[command(flatten)]
    shop: Address,
    /// How many callers wait for an answer at any time.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=i64::from(CALLERS_MAX)))]
    callers: u32,
    /// How long the load lasts.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    seconds: u64,
    /// How many SKUs the orders spread over; 1 is one hot product.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(SKUS_MAX)))]
    skus: u32,
    /// Pays each order at once, so that it goes on to its delivery behind the answer.
    #[arg(long)]
    paid: bool,
    /// Prints the result as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// What a load came to.
#[derive(Debug, Serialize)]
struct Outcome {
    callers: u32,
    skus: u32,
    seconds: f64,
    orders: u64,
    orders_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// How often an answer was a refusal, by reason.
    refused: BTreeMap<String, u64>,
}

/// Runs the command.
pub(super) async fn run(args: Args) -> Result<(), Error> {
    let token = args.shop.token()?;
    let connections = args.callers.div_ceil(CALLERS_PER_CONNECTION);
    let clients = try_join_all((0..connections).map(|_| Client::connect(&args.shop.endpoint, &token))).await?;
    fill(&clients[0], args.skus, args.callers).await?;
    let outcome = load(&args, &clients).await;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &outcome).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        tell(&outcome, &mut out)?;
    }
    Ok(())
}

fn sku(n: u32) -> String {
    format!("bench-{n}")
}

/// Lists what is not listed yet, and fills the shelves.
async fn fill(client: &Client, skus: u32, parallel: u32) -> Result<(), client::Error> {
    let bar = bar(u64::from(skus), "filling the shelves {bar:32.cyan/dim} {human_pos}/{human_len} SKUs  {eta} left");
    let next = std::cell::Cell::new(0);
    let workers = (0..parallel.min(skus)).map(async |_| {
        loop {
            let n = next.replace(next.get() + 1);
            if n >= skus {
                return Ok(());
            }
            shelve(client, n).await?;
            bar.inc(1);
        }
    });
    let filled = try_join_all(workers).await;
    bar.finish_and_clear();
    filled.map(drop)
}

async fn shelve(client: &Client, n: u32) -> Result<(), client::Error> {
    let sku = sku(n);
    let price = proto::Money { currency_code: "GBP".into(), units: POUNDS, nanos: 0 };
    let list = v1::CreateProductRequest {
        request_id: request_id(&[b"list", sku.as_bytes()]).to_string(),
        product: Some(v1::Product {
            product_id: sku.clone(),
            name: format!("Benchmark product {n}"),
            seller_id: "bench".into(),
            variants: vec![v1::Variant { sku: sku.clone(), options: Vec::new(), price: Some(price) }],
            ..v1::Product::default()
        }),
    };
    let what = format!("product {sku}");
    let listed = ask(&what, None, || {
        let (mut catalog, list) = (client.catalog.clone(), list.clone());
        async move { catalog.create_product(list).await }
    });
    // Listed by an earlier run.
    match listed.await? {
        // Listed by an earlier run.
        Err(refusal) if !refusal.is(Reason::AlreadyExists) => return Err(stopped(&sku, refusal)),
        _ => {}
    }
    let receive = v1::ChangeInventoryCountRequest {
        request_id: request_id(&[b"receive", sku.as_bytes()]).to_string(),
        sku: sku.clone(),
        warehouse_id: WAREHOUSE.into(),
        change: Some(Change::Receive(UNITS)),
        ..v1::ChangeInventoryCountRequest::default()
    };
    let what = format!("stock of {sku}");
    let received = ask(&what, None, || {
        let (mut catalog, receive) = (client.catalog.clone(), receive.clone());
        async move { catalog.change_inventory_count(receive).await }
    });
    received.await?.map(drop).map_err(|refusal| stopped(&sku, refusal))
}

fn stopped(sku: &str, refusal: Refusal) -> client::Error {
    client::Error::Stopped { what: sku.to_owned(), reason: refusal.reason.to_string(), detail: refusal.detail }
}

/// What one caller saw.
struct Seen {
    latency: Histogram<u64>,
    refused: BTreeMap<String, u64>,
}

impl Seen {
    #[expect(clippy::expect_used, reason = "bounds that are constants, and tried by a test")]
    fn nothing() -> Self {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX, 3).expect("1 µs to a minute, in three digits");
        Self { latency, refused: BTreeMap::new() }
    }
}

async fn load(args: &Args, clients: &[Client]) -> Outcome {
    let begun = Instant::now();
    let until = begun + Duration::from_secs(args.seconds);
    let bar = bar(args.seconds, "buying {bar:32.cyan/dim} {pos}/{len} s");
    let callers = (0..args.callers).zip(clients.iter().cycle()).map(|(n, client)| call(args, client, n, until));
    let (seen, ()) = tokio::join!(join_all(callers), async {
        while Instant::now() < until {
            tokio::time::sleep(TICK).await;
            bar.set_position(begun.elapsed().as_secs());
        }
    });
    bar.finish_and_clear();
    let seconds = begun.elapsed().as_secs_f64();
    let mut all = Seen::nothing();
    for seen in seen {
        all.latency += seen.latency;
        for (reason, count) in seen.refused {
            *all.refused.entry(reason).or_default() += count;
        }
    }
    let orders = all.latency.len();
    let ms = |micros: u64| micros as f64 / 1_000.0;
    Outcome {
        callers: args.callers,
        skus: args.skus,
        seconds,
        orders,
        orders_per_second: orders as f64 / seconds,
        p50_ms: ms(all.latency.value_at_quantile(0.5)),
        p99_ms: ms(all.latency.value_at_quantile(0.99)),
        max_ms: ms(all.latency.max()),
        refused: all.refused,
    }
}

/// One caller: an order, its answer, the next order. No retries: what is refused is counted.
async fn call(args: &Args, client: &Client, n: u32, until: Instant) -> Seen {
    let (mut seen, mut dice) = (Seen::nothing(), StdRng::seed_from_u64(n.into()));
    let mut orders = client.orders.clone();
    while Instant::now() < until {
        let sku = sku(dice.random_range(0..args.skus));
        let order = v1::ProcessOrderRequest {
            request_id: request_id(&[b"order", &n.to_be_bytes(), &dice.random::<u64>().to_be_bytes()]).to_string(),
            lines: vec![v1::ProcessOrderLine { product_id: sku.clone(), sku, quantity: 1, unit_price: None }],
            region: "GB".into(),
            payment_method: if args.paid { "tok_ok" } else { "" }.into(),
            ..v1::ProcessOrderRequest::default()
        };
        let sent = Instant::now();
        match orders.process_order(order).await {
            Ok(_) => seen.latency.saturating_record(u64::try_from(sent.elapsed().as_micros()).unwrap_or(LATENCY_MAX)),
            Err(status) => {
                *seen.refused.entry(why(&status)).or_default() += 1;
                // A shop that is gone answers at once; asking it as fast as one can helps nobody.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    seen
}

fn why(status: &Status) -> String {
    reason_of(status).map_or_else(|| format!("{:?}", status.code()), |reason| reason.name().to_owned())
}

fn bar(len: u64, template: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(len).with_style(style.progress_chars("━╸─"))
}

fn tell(outcome: &Outcome, out: &mut impl io::Write) -> io::Result<()> {
    let Outcome { callers, skus, seconds, orders, orders_per_second, p50_ms, p99_ms, max_ms, refused } = outcome;
    let [skus, count, rate] = [u64::from(*skus), *orders, *orders_per_second as u64].map(grouped);
    writeln!(out, "orders of one line over {skus} SKUs, {callers} callers, {seconds:.1} s")?;
    writeln!(out, "  {count} reserved, {rate} orders/s")?;
    writeln!(out, "  p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, longest {max_ms:.1} ms")?;
    for (reason, count) in refused {
        writeln!(out, "  refused: {reason} {} times", grouped(*count))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_beyond_a_minute_count_as_a_minute() {
        let mut seen = Seen::nothing();
        seen.latency.saturating_record(u64::MAX);
        assert!(seen.latency.max() >= LATENCY_MAX && seen.latency.len() == 1);
    }

    #[test]
    fn the_result_reads_well_and_counts_refusals() {
        let outcome = Outcome {
            callers: 64,
            skus: 1_000,
            seconds: 10.02,
            orders: 41_234,
            orders_per_second: 4_115.2,
            p50_ms: 12.34,
            p99_ms: 30.5,
            max_ms: 51.0,
            refused: [("OVERLOADED".to_owned(), 1_200)].into(),
        };
        let mut text = Vec::new();
        tell(&outcome, &mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "orders of one line over 1,000 SKUs, 64 callers, 10.0 s\n  41,234 reserved, 4,115 orders/s\n  \
             p50 12.3 ms, p99 30.5 ms, longest 51.0 ms\n  refused: OVERLOADED 1,200 times\n"
        );
    }
}
