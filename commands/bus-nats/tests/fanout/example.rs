//! The example for partners, run as they would run it, and killed.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use ports::store::Position;
use servers::{
    or_not_run,
    python::{Package, installed},
};
use tempfile::TempDir;

use super::scene::{Log, SOON, connect, server};

const CLIENT: Package<'static> = Package {
    name: "nats-py",
    version: "2.16.0",
    hashes: &["aeb1ff123966c05833d26c7df7e1d54c1c6d32b612428b21677a2e921f1fecae"],
};

/// The consumer as a process that does not outlive the test.
struct Consumer(Child);

impl Consumer {
    fn start(packages: &Path, url: &str, journal: &Path) -> Self {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/consumer.py");
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", packages).arg(example).args(["--server", url, "--ack-wait", "1", "--pause", "0.002"]);
        Self(command.arg("--journal").arg(journal).stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn lines(journal: &Path) -> Vec<String> {
    let text = fs::read_to_string(journal).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

async fn until_it_has(journal: &Path, count: usize) {
    let written = async {
        while lines(journal).len() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(SOON, written).await;
    assert!(in_time.is_ok(), "{} of {count} events are in the journal", lines(journal).len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_example_consumer_misses_and_repeats_nothing() {
    let Some(mut server) = server() else { return };
    let Some(packages) = or_not_run(installed(CLIENT)) else { return };
    let folder = TempDir::new().unwrap();
    let journal = folder.path().join("events.txt");
    let mut log = Log::new(10);
    let mut relay = log.relay(connect(&server).await.bus()).await;
    log.append(200).await;
    log.drain(&mut relay).await;
    // Killed again and again, wherever it is.
    for count in [20, 60, 100] {
        let consumer = Consumer::start(&packages, server.url(), &journal);
        until_it_has(&journal, count).await;
        drop(consumer);
    }
    // A line that was not finished.
    let torn = fs::read_to_string(&journal).unwrap() + "101 half";
    fs::write(&journal, torn).unwrap();
    let consumer = Consumer::start(&packages, server.url(), &journal);
    until_it_has(&journal, 150).await;
    server.restart(true).unwrap();
    until_it_has(&journal, 200).await;
    // Everything is published once more, and followed by something new.
    server.wipe().unwrap();
    log.append(50).await;
    log.drain(&mut relay).await;
    log.is_published_by(&server).await;
    until_it_has(&journal, 250).await;
    drop(consumer);
    let events = log.store.read_all(Position::START, usize::MAX).await.unwrap();
    let expected: Vec<String> = events
        .iter()
        .map(|event| format!("{} {} {} {} -", event.position, event.id, event.kind, event.stream))
        .collect();
    assert_eq!(lines(&journal), expected, "every event once, in the log's order");
}
