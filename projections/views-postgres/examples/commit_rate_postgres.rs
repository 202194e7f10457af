//! How fast views are written and read on this machine:
//! `cargo run --release -p views-postgres --example commit_rate_postgres`.
//!
//! A commit of 1,000 rows of 300 bytes, each with two index entries: first new rows in the order of their keys, then
//! new rows in no order, then changed rows of which one entry moves.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::time::Instant;

use bytes::Bytes;
use ports::{
    store::Position,
    views::{Direction, Key, Range, RowChange, ViewCommit, ViewStore},
};
use servers::postgres::{Options, Postgres};
use views_postgres::{Limits, PostgresViews};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const COMMITS: u64 = 200;
const ROWS: u64 = 1_000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let settings = ["shared_buffers=512MB", "max_wal_size=16GB", "checkpoint_timeout=1h"];
    let server = Postgres::start(Options { durable: true, own: true, settings: &settings, ..Options::default() })?;
    println!("{COMMITS} commits of {ROWS} rows with two index entries each");
    let upserts = Limits { copy_rows_min: usize::MAX, ..Limits::default() };
    for (how, limits) in [("new rows by upserts", upserts), ("new rows by COPY", Limits::default())] {
        println!("{how}:");
        let views = PostgresViews::connect(&server.fresh_database()?, &limits).await?;
        write(&views).await?;
        read(&views).await?;
    }
    Ok(())
}

async fn write(views: &PostgresViews) -> Result<(), Failure> {
    let mut position = 0;
    for (name, view, scattered, changed) in [
        ("new rows, in order", "ordered.1", false, false),
        ("new rows, in no order", "scattered.1", true, false),
        ("changed rows", "scattered.1", true, true),
    ] {
        position = if changed { position } else { 0 };
        let start = Instant::now();
        for number in 0..COMMITS {
            let changes = (0..ROWS).map(|row| change(number * ROWS + row, scattered, changed)).collect();
            let (from, to) = (Position(position), Position(position + ROWS));
            views.commit(vec![ViewCommit { view: view.to_owned(), from, to, changes }]).await?;
            position += ROWS;
        }
        println!("{name:24} {:>9.0} rows/s", (COMMITS * ROWS) as f64 / start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The n-th row, new or with its second entry moved.
fn change(n: u64, scattered: bool, changed: bool) -> RowChange {
    let key = if scattered { scatter(n) } else { n };
    let place = |of: u64| scatter(key ^ of).to_be_bytes().to_vec();
    let mut index = vec![("by-time", place(1)), ("by-state", place(2))];
    let mut unindex = Vec::new();
    if changed {
        index = vec![("by-state", place(3))];
        unindex = vec![("by-state", place(2))];
    }
    let row = Some(Bytes::from(format!(r#"{{"text":"{}"}}"#, "x".repeat(289))));
    RowChange { key: key.to_be_bytes().to_vec(), row, new: !changed, unindex, index }
}

async fn read(views: &PostgresViews) -> Result<(), Failure> {
    const READS: u64 = 5_000;
    let start = Instant::now();
    for n in 0..READS {
        let keys = [scatter(n * 7).to_be_bytes().to_vec()];
        if views.get_many("scattered.1", &keys).await? == [None] {
            return Err("a row is missing".into());
        }
    }
    println!("{:24} {:>9.0} /s", "one row by key", READS as f64 / start.elapsed().as_secs_f64());
    let start = Instant::now();
    for n in 0..READS {
        let range = Range {
            view: "scattered.1".to_owned(),
            index: Some("by-time"),
            from: scatter(n).to_be_bytes().to_vec(),
            to: Key::new(),
            after: Key::new(),
            direction: Direction::Backward,
            limit: 20,
        };
        views.range(range).await?;
    }
    println!("{:24} {:>9.0} /s", "20 rows by an index", READS as f64 / start.elapsed().as_secs_f64());
    Ok(())
}

/// A well mixed number (SplitMix64).
const fn scatter(n: u64) -> u64 {
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
