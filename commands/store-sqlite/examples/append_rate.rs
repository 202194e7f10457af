//! How fast the log takes and gives events on this machine:
//! `cargo run --release -p store-sqlite --example append_rate [FOLDER [ROW]]`.
//!
//! Every append is durable. Bodies and metadata have 300 bytes each. What matters most is the CPU time of the
//! writing thread per event: everything else can be spread over cores. Event ids in the order of time keep the
//! index of ids warm at one end; ids without any order touch a page each.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ports::{
    memory::ManualClock,
    store::{Append, EventStore, NewEvent, Position},
};
use store_sqlite::{Limits, SqliteStore};
use tokio::task::JoinSet;
use uuid::Uuid;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a run writes.
#[derive(Clone, Copy)]
struct Run {
    /// Callers at the same time, each with one batch under way.
    callers: u64,
    /// Appends of one event in a batch.
    batch: u64,
    /// Streams the events are spread over at random; 0 means a new stream for each event.
    streams: u64,
    /// Event ids without any order, as from a hash; else in the order of time.
    random_ids: bool,
    /// Events in all.
    events: u64,
}

const RUNS: [Run; 9] = [
    Run { callers: 1, batch: 1, streams: 10_000, random_ids: false, events: 20_000 },
    Run { callers: 64, batch: 1, streams: 10_000, random_ids: false, events: 300_000 },
    Run { callers: 64, batch: 1, streams: 10_000, random_ids: true, events: 300_000 },
    Run { callers: 1, batch: 100, streams: 10_000, random_ids: false, events: 500_000 },
    Run { callers: 1, batch: 100, streams: 10_000, random_ids: true, events: 500_000 },
    Run { callers: 1, batch: 1_000, streams: 10_000, random_ids: false, events: 500_000 },
    Run { callers: 1, batch: 1_000, streams: 10_000, random_ids: true, events: 500_000 },
    Run { callers: 1, batch: 100, streams: 0, random_ids: false, events: 500_000 },
    Run { callers: 1, batch: 100, streams: 0, random_ids: true, events: 500_000 },
];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let root = args.next().map_or_else(tempfile::tempdir, tempfile::tempdir_in)?;
    let only: Option<usize> = args.next().map(|number| number.parse()).transpose()?;
    println!(
        "callers  batch  streams      ids   events/s  writer µs/event  checkpoint µs/event  bytes/event     read/s  absent µs"
    );
    for (number, run) in RUNS.into_iter().enumerate().filter(|(number, _)| only.is_none_or(|only| only == *number)) {
        measure(&root.path().join(number.to_string()), run).await?;
    }
    Ok(())
}

async fn measure(folder: &Path, run: Run) -> Result<(), Failure> {
    let store = Arc::new(SqliteStore::open(folder, Arc::new(ManualClock::default()), &Limits::default())?);
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for number in 0..run.callers {
        let store = Arc::clone(&store);
        callers.spawn(async move { Caller::new(run, number).write(&store).await });
    }
    for caller in callers.join_all().await {
        caller?;
    }
    let elapsed = start.elapsed();
    let events = store.head().await?.0;
    let per_event = |thread| cpu(thread).as_secs_f64() * 1e6 / events as f64;
    let (writer, checkpoint) = (per_event("log-writer"), per_event("log-checkpoint"));
    let read = read_all(&store).await?;
    let absent = look_in_vain(&store).await?;
    drop(store);
    let bytes = fs::metadata(folder.join("log.sqlite"))?.len() / events;
    println!(
        "{:>7}  {:>5}  {:>7}  {:>7}  {:>9.0}  {writer:>15.1}  {checkpoint:>19.1}  {bytes:>11}  {read:>9.0}  {absent:>9.1}",
        run.callers,
        run.batch,
        if run.streams == 0 { "new".to_owned() } else { run.streams.to_string() },
        if run.random_ids { "random" } else { "ordered" },
        events as f64 / elapsed.as_secs_f64(),
    );
    Ok(())
}

/// One caller with streams of its own.
struct Caller {
    run: Run,
    number: u64,
    sent: u64,
    lengths: Vec<u64>,
    body: Bytes,
}

impl Caller {
    fn new(run: Run, number: u64) -> Self {
        let streams = usize::try_from(run.streams / run.callers).unwrap_or(0);
        let body = Bytes::from(format!(r#"{{"text":"{}"}}"#, "x".repeat(289)));
        Self { run, number, sent: 0, lengths: vec![0; streams], body }
    }

    async fn write(mut self, store: &SqliteStore) -> Result<(), Failure> {
        while self.sent < self.run.events / self.run.callers {
            let batch = (0..self.run.batch).map(|_| self.append()).collect();
            for answer in store.append(batch).await? {
                answer?;
            }
        }
        Ok(())
    }

    fn append(&mut self) -> Append {
        self.sent += 1;
        let own = self.sent << 8 | self.number;
        let high = if self.run.random_ids { scatter(own) } else { self.sent };
        let (stream, expected) = if self.lengths.is_empty() {
            (format!("order-{}", Uuid::from_u64_pair(high, scatter(own + 1))), 0)
        } else {
            let stream = scatter(own + 2) % self.lengths.len() as u64;
            let length = &mut self.lengths[usize::try_from(stream).unwrap_or(0)];
            *length += 1;
            (format!("stock-{}-{stream}", self.number), *length - 1)
        };
        let id = Uuid::from_u64_pair(high, scatter(own));
        let (data, metadata) = (self.body.clone(), self.body.clone());
        Append {
            recorded_at: None,
            stream,
            expected,
            events: vec![NewEvent { id, kind: "stock.reserved".into(), data, metadata }],
        }
    }
}

/// A well mixed number (SplitMix64).
const fn scatter(n: u64) -> u64 {
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// Events per second, read in pages of 1,000.
async fn read_all(store: &SqliteStore) -> Result<f64, Failure> {
    let (start, mut after, mut events) = (Instant::now(), Position::START, 0.0);
    loop {
        let page = store.read_all(after, 1_000).await?;
        let Some(last) = page.last() else { return Ok(events / start.elapsed().as_secs_f64()) };
        after = last.position;
        events += page.len() as f64;
    }
}

/// Microseconds to learn that a stream has neither snapshot nor events, as before each new order.
async fn look_in_vain(store: &SqliteStore) -> Result<f64, Failure> {
    const LOOKS: u64 = 20_000;
    let start = Instant::now();
    for n in 0..LOOKS {
        let name = format!("order-{}", Uuid::from_u64_pair(scatter(n), n));
        if store.load_snapshot(&name, 1).await?.is_some() || !store.read_stream(&name, 0, 100).await?.is_empty() {
            return Err("found what was never written".into());
        }
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / LOOKS as f64)
}

/// CPU time of the running threads of this name; nothing where the system does not tell.
fn cpu(name: &str) -> Duration {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let named =
        threads.filter(|thread| fs::read_to_string(thread.path().join("comm")).is_ok_and(|comm| comm.trim() == name));
    let nanoseconds = named.filter_map(|thread| {
        let statistics = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        statistics.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}
