//! How fast the log takes and gives events, beside what `pgbench` makes of an order in one call of a stored function on
//! the same server: `cargo run --release -p store-postgres --example append_rate_postgres [SECONDS]`.
//!
//! The server is started for the purpose, and every commit is synced. Bodies and metadata have 300 bytes each.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use ports::{
    memory::ManualClock,
    store::{Append, EventStore, NewEvent, Position, Refused},
};
use servers::{
    output,
    postgres::{Options, Postgres},
};
use store_postgres::{Limits, PostgresStore};
use tokio::task::JoinSet;
use uuid::Uuid;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// More memory and more room for the log than the defaults, so that no checkpoint falls into a measurement.
const SETTINGS: [&str; 4] =
    ["synchronous_commit=on", "shared_buffers=512MB", "max_wal_size=16GB", "checkpoint_timeout=1h"];

/// The peer's order, and its hot row.
const PEER: &str = "
create table stock (sku int primary key, on_hand int not null, reserved int not null default 0) with (fillfactor = 50);
insert into stock select sku, 1000000000 from generate_series(1, 10000) sku;
create table orders (id bigint generated always as identity primary key, buyer uuid not null, total bigint not null,
  state text not null, placed_at timestamptz not null default now());
create table order_lines (order_id bigint not null, line int not null, sku int not null, quantity int not null,
  unit_price bigint not null, primary key (order_id, line));
create function place_order(wanted int) returns bigint language plpgsql as $$
declare placed bigint;
begin
  insert into orders (buyer, total, state) values (gen_random_uuid(), 255, 'reserved') returning id into placed;
  insert into order_lines values (placed, 1, wanted, 1, 255);
  update stock set reserved = reserved + 1 where sku = wanted and on_hand - reserved >= 1;
  return placed;
end $$;
checkpoint";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let seconds = std::env::args().nth(1).map_or(Ok(5), |seconds| seconds.parse())?;
    let options = Options { durable: true, own: true, settings: &SETTINGS, ..Options::default() };
    let server = Arc::new(Postgres::start(options)?);
    let orders = peer(&server, seconds, "\\set sku random(1, 10000)\nselect place_order(:sku);\n")?;
    let hot = peer(&server, seconds, "update stock set reserved = reserved + 1 where sku = 1;\n")?;
    println!("pgbench, an order in one function call: {orders:.0} a second; one hot row: {hot:.0} a second");
    for (callers, batch) in [(1, 1), (8, 1), (32, 1), (256, 1), (1, 100), (1, 1_000), (8, 100)] {
        let (rate, read) = fresh_streams(&server, callers, batch, Duration::from_secs(seconds)).await?;
        println!(
            "{callers:>4} callers, {batch:>5} appends each: {rate:>7.0} appends a second ({:.2} of an order), read back {read:.0} a second",
            rate / orders
        );
    }
    for processes in [1, 2] {
        let rate = hot_streams(&server, processes, Duration::from_secs(seconds)).await?;
        println!(
            "one hot stream, {processes} stores, 100 events an append: {rate:.0} events a second ({:.1} of a hot row)",
            rate / hot
        );
    }
    Ok(())
}

/// The best of a few numbers of connections.
fn peer(server: &Postgres, seconds: u64, script: &str) -> Result<f64, Failure> {
    let file = std::env::temp_dir().join(format!("append-rate-{}.sql", std::process::id()));
    let psql = |sql: &str| -> Result<(), Failure> {
        let mut command = server.client("psql")?;
        output(command.args(["-q", "-v", "ON_ERROR_STOP=1", "-c", sql, "postgres"]))?;
        Ok(())
    };
    if psql("select 1 from stock limit 1").is_err() {
        psql(PEER)?;
    }
    fs::write(&file, script)?;
    let mut best = 0.0_f64;
    for connections in ["1", "8", "32"] {
        let mut command: Command = server.client("pgbench")?;
        command.args(["-n", "-M", "prepared", "-c", connections, "-j", "2", "-T", &seconds.to_string(), "-f"]);
        let said = output(command.arg(&file).arg("postgres"))?;
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse::<f64>().ok());
        let rate = rate.ok_or("pgbench told no rate")?;
        println!("    pgbench, {connections} connections: {rate:.0}");
        best = best.max(rate);
    }
    fs::remove_file(file)?;
    Ok(best)
}

async fn store(url: &str) -> Result<Arc<PostgresStore>, Failure> {
    Ok(Arc::new(PostgresStore::connect(url, Arc::new(ManualClock::default()), &Limits::default()).await?))
}

fn append(stream: String, expected: u64, high: u64, ids: std::ops::Range<u64>, body: &Bytes) -> Append {
    let event = |n| NewEvent {
        id: Uuid::from_u64_pair(high, scatter(n)),
        kind: "stock.reserved".into(),
        data: body.clone(),
        metadata: body.clone(),
    };
    Append { recorded_at: None, stream, expected, events: ids.map(event).collect() }
}

fn body() -> Bytes {
    Bytes::from(format!(r#"{{"text":"{}"}}"#, "x".repeat(289)))
}

/// Appends of one event to a stream of its own: appends and events read back, a second.
async fn fresh_streams(server: &Postgres, callers: u64, batch: u64, time: Duration) -> Result<(f64, f64), Failure> {
    let store = store(&server.fresh_database()?).await?;
    let next = Arc::new(AtomicU64::new(1));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (store, next, body) = (Arc::clone(&store), Arc::clone(&next), body());
        tasks.spawn(async move {
            while begun.elapsed() < time {
                let first = next.fetch_add(batch, Ordering::Relaxed);
                let fresh = |n| append(format!("order-{}", Uuid::from_u64_pair(n, scatter(n))), 0, n, n..n + 1, &body);
                for answer in store.append((first..first + batch).map(fresh).collect()).await? {
                    answer?;
                }
            }
            Ok::<(), Failure>(())
        });
    }
    for task in tasks.join_all().await {
        task?;
    }
    let rate = store.head().await?.0 as f64 / begun.elapsed().as_secs_f64();
    let (begun, mut after, mut events) = (Instant::now(), Position::START, 0.0);
    loop {
        let page = store.read_all(after, 1_000).await?;
        let Some(last) = page.last() else { break };
        after = last.position;
        events += page.len() as f64;
    }
    Ok((rate, events / begun.elapsed().as_secs_f64()))
}

/// Stores that write one stream against each other, as lanes of as many command nodes would.
async fn hot_streams(server: &Postgres, processes: u64, time: Duration) -> Result<f64, Failure> {
    let url = server.fresh_database()?;
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for process in 0..processes {
        let (store, body) = (store(&url).await?, body());
        tasks.spawn(async move {
            let (mut expected, mut n) = (0, process << 40);
            while begun.elapsed() < time {
                let append = append("stock-1".to_owned(), expected, n, n..n + 100, &body);
                match store.append(vec![append]).await?.remove(0) {
                    Ok(_) => (expected, n) = (expected + 100, n + 100),
                    Err(Refused::Conflict { actual, .. }) => expected = actual,
                    Err(known @ Refused::Known { .. }) => return Err(known.into()),
                }
            }
            Ok::<(), Failure>(())
        });
    }
    for task in tasks.join_all().await {
        task?;
    }
    Ok(store(&url).await?.head().await?.0 as f64 / begun.elapsed().as_secs_f64())
}

/// A well mixed number (SplitMix64).
const fn scatter(n: u64) -> u64 {
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
