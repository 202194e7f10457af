//! `cargo sim`: runs seeds and tells what they came to.

use std::{
    fs, io,
    num::NonZeroUsize,
    path::PathBuf,
    process::ExitCode,
    str::FromStr,
    sync::{Mutex, mpsc},
    thread,
};

use clap::Parser;

use super::{faults::lock, report, report::Report};

/// Runs the whole shop on simulated machines, networks, disks, providers and carriers that fail, and checks what is
/// left with an auditor of its own. A seed decides everything: the same seed does the same, on any machine.
#[derive(Debug, Parser)]
#[command(
    name = "cargo sim",
    verbatim_doc_comment,
    after_help = "\
Examples:
  cargo sim 7                       one seed, with a table of its commands, answers, faults and events
  cargo sim 0..20                   twenty seeds, a line each, and a summary of their faults
  cargo sim --seeds 200 --from 1000
  cargo sim 7 --timeline seven.txt  every event and every request of seed 7, to find out why

A violation names the broken rule and the events that led to it. It is a bug in the shop, in the simulation or in the
auditor; the same seed shows it again until it is gone.

Exit codes: 0 every rule holds in every run, 1 a rule is violated, 2 the command line is wrong."
)]
struct Arguments {
    /// A seed, or several as `<from>..<to>`, the last not included [default: 0].
    seeds: Option<Seeds>,
    /// How many seeds to run, instead of a range.
    #[arg(long = "seeds", value_name = "N", conflicts_with = "seeds")]
    count: Option<u64>,
    /// The first of them.
    #[arg(long, value_name = "SEED", default_value_t = 0, requires = "count")]
    from: u64,
    /// How many seeds to run side by side [default: as many as there are processors].
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Where to write the timeline; of several seeds, that of the last.
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,
    /// Print a JSON object per seed instead of text.
    #[arg(long)]
    json: bool,
}

/// Seeds in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seeds(std::ops::Range<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u64>().map_err(|why| format!("{text:?} is not a seed: {why}"));
        match text.split_once("..") {
            None => number(text).map(|seed| Self(seed..seed.saturating_add(1))),
            Some((from, to)) => match (number(from)?, number(to)?) {
                (from, to) if from < to => Ok(Self(from..to)),
                (from, to) => Err(format!("no seed is between {from} and {to}")),
            },
        }
    }
}

/// The program behind `cargo sim`.
#[must_use]
pub fn main() -> ExitCode {
    match execute(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(arguments: &Arguments) -> io::Result<bool> {
    let Seeds(seeds) = match (&arguments.seeds, arguments.count) {
        (Some(seeds), _) => seeds.clone(),
        (None, Some(count)) => Seeds(arguments.from..arguments.from.saturating_add(count)),
        (None, None) => Seeds(0..1),
    };
    let threads = arguments.threads.map_or_else(thread::available_parallelism, Ok)?;
    let single = seeds.end - seeds.start == 1;
    let reports = run_all(seeds, threads, |report| match (arguments.json, single) {
        (true, _) => println!("{}", serde_json::to_string(report).unwrap_or_default()),
        (false, true) => print!("{}", report.table()),
        (false, false) => println!("{}", report.line()),
    })?;
    if !arguments.json && !single {
        print!("{}", report::summary(&reports));
    }
    if let (Some(file), Some(last)) = (&arguments.timeline, reports.last()) {
        fs::write(file, last.timeline.join("\n") + "\n")?;
    }
    Ok(reports.iter().all(Report::passed))
}

/// Runs these seeds on so many threads, shows each report as soon as it is there, and answers all of them in the order
/// of their seeds. Only the last keeps its timeline: one is some megabytes.
///
/// # Errors
/// When a run cannot be started.
pub fn run_all(
    seeds: std::ops::Range<u64>,
    threads: NonZeroUsize,
    mut show: impl FnMut(&Report),
) -> io::Result<Vec<Report>> {
    let last = seeds.end.saturating_sub(1);
    let left = Mutex::new(seeds);
    let (done, finished) = mpsc::channel();
    let mut reports = thread::scope(|scope| {
        for _ in 0..threads.get() {
            let (left, done) = (&left, done.clone());
            scope.spawn(move || {
                loop {
                    let Some(seed) = lock(left).next() else { return };
                    // Nobody listens any more once a run has failed to start.
                    let _gone = done.send(super::run(seed));
                }
            });
        }
        drop(done);
        let mut reports = Vec::new();
        for report in finished {
            let mut report = report?;
            show(&report);
            if report.seed != last {
                report.timeline = Vec::new();
            }
            reports.push(report);
        }
        io::Result::Ok(reports)
    })?;
    reports.sort_by_key(|report| report.seed);
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_one_or_a_range() {
        assert_eq!("7".parse(), Ok(Seeds(7..8)));
        assert_eq!("7..9".parse(), Ok(Seeds(7..9)));
        for wrong in ["", "9..7", "7..7", "..", "seven", "1..2..3"] {
            assert!(wrong.parse::<Seeds>().is_err(), "{wrong}");
        }
    }
}
