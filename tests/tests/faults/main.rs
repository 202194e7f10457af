//! Kills the real binary and breaks its disk, and looks whether its promises hold.
//!
//! A shop under load dies at a system call that writes, at a random moment, or goes on with an fsync that fails or a disk
//! that is full. Then it is started again, every request is sent again with its own id, and the books are balanced: what
//! was acknowledged is there with the same answer, nothing is there twice, every order has come to an end, and the
//! shelves hold exactly what was not sold. In the end the log itself is read: revisions without gaps, no id twice.
//!
//! What is broken is the program beside the tests, built by the same profile: `ci` is optimised, and has debug assertions.
//! `CARTULARY_TEST_BINARY` names another.
//!
//! It is a test like the others to cargo and nextest; what it takes besides, [`tests::arguments`] says. Without `strace` (or, for
//! the full disk, the right to mount a tmpfs) a scenario prints NOT RUN, which fails where `CI` is set.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]
#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::disallowed_methods, reason = "the load is tasks and time")]

mod disk;
mod fsync;
mod moments;
mod writes;

use std::{process::ExitCode, time::Instant};

use gateway::clock::SystemClock;
use ports::clock::Clock as _;
use tests::{
    arguments::{self, Task},
    victim::{binary, can_inject},
};

/// The name of the one test that this program is.
const NAME: &str = "faults";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = match arguments::read(NAME, std::env::args().skip(1)) {
        Task::Run(arguments) => arguments,
        Task::List => {
            println!("{NAME}: test");
            return ExitCode::SUCCESS;
        }
        Task::Nothing => return ExitCode::SUCCESS,
    };
    println!("what is broken: {}", binary().display());
    let begun = Instant::now();
    let seed = arguments.seed.unwrap_or_else(|| SystemClock.now().as_microsecond().unsigned_abs());
    let mut verdicts = Vec::new();
    if arguments.wants("writes") {
        verdicts.push(run("killed at system calls", can_inject(), writes::run(arguments.all)).await);
    }
    if arguments.wants("moments") {
        verdicts.push(run("killed at any moment", true, moments::run(seed)).await);
    }
    if arguments.wants("fsync") {
        verdicts.push(run("an fsync that fails", can_inject(), fsync::run(arguments.all)).await);
    }
    if arguments.wants("disk") {
        verdicts.push(run("a full disk", disk::can_mount(), disk::run()).await);
    }
    let count = |wanted: Verdict| verdicts.iter().filter(|verdict| **verdict == wanted).count();
    let (passed, failed, not_run) = (count(Verdict::Passed), count(Verdict::Failed), count(Verdict::NotRun));
    println!("{passed} passed, {failed} failed, {not_run} not run, in {:.0} s", begun.elapsed().as_secs_f64());
    let strict = std::env::var_os("CI").is_some();
    if verdicts.is_empty() || failed > 0 || (strict && not_run > 0) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
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
        println!("{name:<24} NOT RUN: strace or the right to mount is missing");
        return Verdict::NotRun;
    }
    let begun = Instant::now();
    match tokio::spawn(scenario).await {
        Ok(summary) => {
            println!("{name:<24} passed in {:.1} s: {summary}", begun.elapsed().as_secs_f64());
            Verdict::Passed
        }
        Err(failure) => {
            println!("{name:<24} FAILED after {:.1} s: {failure}", begun.elapsed().as_secs_f64());
            Verdict::Failed
        }
    }
}
