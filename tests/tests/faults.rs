//! Kills the real binary and breaks its disk, and looks whether its promises hold.
//!
//! A shop under load dies at a write system call, at a random moment, at an fsync that fails; or its disk is full. Then it
//! is started again, every request is sent again with its own id, and the books are balanced: what was acknowledged is
//! there with the same answer, nothing is there twice, every order has come to an end, and the shelf holds exactly what
//! was not sold. In the end the log itself is read: revisions without gaps, no id twice.
//!
//! `cargo test --profile ci -p tests --test faults` runs 60 spread write calls; `-- --all` every one; `-- --only NAME` one
//! scenario. Without `strace` (or, for the full disk, the right to mount a tmpfs) a scenario prints NOT RUN, which fails
//! where `CI=true`.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]
#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::disallowed_methods, reason = "the load is tasks and time")]

use std::{
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use tests::{
    books::{Books, audit},
    victim::{Fault, Victim, can_inject},
};

/// How many write calls of the log's writer are tried unless all are.
const SPREAD: usize = 60;
/// How many random moments are tried.
const MOMENTS: usize = 10;
/// About how many write calls the log's writer makes in one burst of load; measured, and tried up to there.
const CALLS_MAX: usize = 240;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let all = args.iter().any(|arg| arg == "--all");
    let only = args.iter().position(|arg| arg == "--only").and_then(|at| args.get(at + 1)).cloned();
    let wanted = |name: &str| only.as_ref().is_none_or(|only| only == name);
    let mut verdicts = Vec::new();
    if wanted("writes") {
        verdicts.push(run("killed at write calls", can_inject(), killed_at_writes(all)).await);
    }
    if wanted("moments") {
        verdicts.push(run("killed at random moments", true, killed_at_moments()).await);
    }
    if wanted("fsync") {
        verdicts.push(run("an fsync that fails", can_inject(), failed_fsync()).await);
    }
    if wanted("full") {
        verdicts.push(run("a full disk", can_mount(), full_disk()).await);
    }
    let failed = verdicts.iter().filter(|verdict| **verdict == Verdict::Failed).count();
    let not_run = verdicts.iter().filter(|verdict| **verdict == Verdict::NotRun).count();
    println!("{} passed, {failed} failed, {not_run} skipped", verdicts.len() - failed - not_run);
    let strict = std::env::var_os("CI").is_some();
    if failed > 0 || (strict && not_run > 0) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    NotRun,
}

/// Runs a scenario; its panic is its failure.
async fn run(name: &str, possible: bool, scenario: impl Future<Output = String> + Send + 'static) -> Verdict {
    if !possible {
        println!("{name:<26} NOT RUN: strace or the right to mount is missing");
        return Verdict::NotRun;
    }
    let begun = Instant::now();
    match tokio::spawn(scenario).await {
        Ok(summary) => {
            println!("{name:<26} passed in {:.1} s: {summary}", begun.elapsed().as_secs_f64());
            Verdict::Passed
        }
        Err(failure) => {
            println!("{name:<26} FAILED: {failure}");
            Verdict::Failed
        }
    }
}

async fn killed_at_writes(all: bool) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut books = Books::open(folder.path()).await;
    let step = if all { 1 } else { CALLS_MAX / SPREAD };
    let (mut deaths, mut tries) = (0, 0);
    for when in (1..=CALLS_MAX).step_by(step) {
        tries += 1;
        let fault = Fault { calls: "pwrite64", effect: "signal=KILL", when: when.to_string() };
        if let Some(mut victim) = Victim::start(folder.path(), Some(&fault)) {
            books.burst(&victim, folder.path()).await;
            deaths += usize::from(!victim.is_running());
            victim.kill();
        } else {
            deaths += 1;
        }
        books.settle(folder.path()).await;
    }
    let events = audit(folder.path(), &books).await;
    assert!(deaths * 10 >= tries * 9, "only {deaths} of {tries} calls were reached: the load is too small");
    format!("{deaths} deaths at {tries} calls, {} orders, {events} events", books.orders())
}

async fn killed_at_moments() -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut books = Books::open(folder.path()).await;
    for moment in 0..MOMENTS {
        let victim = Victim::start(folder.path(), None).expect("it listens");
        // A different moment each time, without a clock or dice: 7, 60, 113, … ms into the load.
        let wait = Duration::from_millis(7 + 53 * u64::try_from(moment).unwrap_or(0));
        books.burst_until(&victim, folder.path(), wait).await;
        victim.kill();
        books.settle(folder.path()).await;
    }
    let events = audit(folder.path(), &books).await;
    format!("{MOMENTS} deaths, {} orders, {events} events", books.orders())
}

async fn failed_fsync() -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut books = Books::open(folder.path()).await;
    let mut stopped = 0;
    for when in [1, 2, 5, 11, 23, 40] {
        let fault = Fault { calls: "fdatasync", effect: "error=EIO", when: format!("{when}+") };
        let Some(mut victim) = Victim::start(folder.path(), Some(&fault)) else { continue };
        let refusals = books.burst(&victim, folder.path()).await;
        if victim.is_running() {
            assert!(refusals.iter().any(|reason| reason.starts_with("STORAGE_")), "it went on after EIO: {refusals:?}");
            // What is durable can still be read.
            let read = books.read_something(&victim, folder.path()).await;
            assert!(read, "a stopped writer must not stop the readers");
            stopped += 1;
        }
        victim.kill();
        books.settle(folder.path()).await;
    }
    let events = audit(folder.path(), &books).await;
    assert!(stopped > 0, "no fsync failed");
    format!("{stopped} stops, {} orders, {events} events", books.orders())
}

async fn full_disk() -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Tmpfs::mount(folder.path(), "6m");
    let mut books = Books::open(folder.path()).await;
    let victim = Victim::start(folder.path(), None).expect("it listens");
    let mut refusals = Vec::new();
    for _ in 0..200 {
        refusals = books.burst(&victim, folder.path()).await;
        if refusals.iter().any(|reason| reason == "STORAGE_FULL") {
            break;
        }
    }
    assert!(refusals.iter().any(|reason| reason == "STORAGE_FULL"), "the disk was never full: {refusals:?}");
    assert!(books.read_something(&victim, folder.path()).await, "a full disk must not stop the readers");
    disk.resize("256m");
    books.settle_on(&victim, folder.path()).await;
    victim.stop();
    let events = audit(folder.path(), &books).await;
    drop(disk);
    format!("refused, read on, resumed without a restart; {} orders, {events} events", books.orders())
}

fn can_mount() -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let mounted = mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"], folder.path());
    if mounted {
        unmount(folder.path());
    }
    mounted
}

/// A small disk.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn mount(folder: &Path, size: &str) -> Self {
        assert!(mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], folder), "a tmpfs");
        Self(folder.to_owned())
    }

    fn resize(&self, size: &str) {
        assert!(mount(&["-o", &format!("remount,size={size}")], &self.0), "a larger tmpfs");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

fn mount(args: &[&str], folder: &Path) -> bool {
    Command::new("mount").args(args).arg(folder).output().is_ok_and(|output| output.status.success())
}

fn unmount(folder: &Path) {
    let _gone = Command::new("umount").arg("--lazy").arg(folder).status();
}
