//! The machine that a figure belongs to.

use std::{
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

/// How often a write is made durable to see how long that takes.
const SYNCS: usize = 200;
/// What is written each time: a page.
const PAGE: [u8; 4096] = [0x5a; 4096];
/// Above this load per core somebody else is at work, and figures are too low.
const BUSY: f64 = 0.3;

/// What a reader needs to compare figures.
pub struct Machine {
    cores: usize,
    model: String,
    sync_median: Duration,
    sync_p99: Duration,
    /// Processes that wanted to run in the last minute, before the benchmark began.
    load: f64,
}

/// How many processors there are.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Machine {
    /// Looks at the machine and measures the disk under `folder`.
    pub fn look(folder: &Path) -> Self {
        let (sync_median, sync_p99) = syncs(folder);
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown processor");
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
        Self { cores: cores(), model: model.to_owned(), sync_median, sync_p99, load }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let Self { cores, model, load, .. } = self;
        let (median, p99) = (self.sync_median.as_micros(), self.sync_p99.as_micros());
        let busy = *load / *cores as f64 > BUSY;
        let busy =
            if busy { format!("; BUSY: load {load:.1} at the start, figures are too low") } else { String::new() };
        format!("{model}, {cores} cores; fdatasync {median} µs median, {p99} µs p99{busy}")
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        json!({
            "model": self.model,
            "cores": self.cores,
            "fdatasync_p50_us": u64::try_from(self.sync_median.as_micros()).unwrap_or(u64::MAX),
            "fdatasync_p99_us": u64::try_from(self.sync_p99.as_micros()).unwrap_or(u64::MAX),
            "load": self.load,
        })
    }
}

/// How long it takes to make a page durable: median and 99th percentile.
fn syncs(folder: &Path) -> (Duration, Duration) {
    let mut file = tempfile::tempfile_in(folder).expect("a file in the folder for the stores");
    let mut taken: Vec<Duration> = (0..SYNCS)
        .map(|_| {
            let begun = Instant::now();
            // The same page each time, as a log does that overwrites its own space.
            file.seek(SeekFrom::Start(0)).expect("a seek");
            file.write_all(&PAGE).expect("a page");
            file.sync_data().expect("a durable page");
            begun.elapsed()
        })
        .collect();
    taken.sort_unstable();
    (taken[SYNCS / 2], taken[SYNCS * 99 / 100])
}
