//! What a test that is a program of its own is told: its own words, and those that cargo and nextest say to every test.
//!
//! `--all` takes everything instead of spread samples, where there is more; `--only NAME` runs one scenario; `--seed N` repeats
//! what was left to dice.

use std::collections::BTreeSet;

/// Options of cargo's own test harness that take a value; they mean nothing here.
const WITH_VALUE: [&str; 6] = ["--format", "--test-threads", "--logfile", "--color", "--shuffle-seed", "-Z"];

/// What is to be done.
pub enum Task {
    /// Run the scenarios.
    Run(Arguments),
    /// Say which tests there are.
    List,
    /// Nothing: others are meant.
    Nothing,
}

/// How to run.
pub struct Arguments {
    /// Take everything.
    pub all: bool,
    /// What the dice are seeded with, if that was said.
    pub seed: Option<u64>,
    only: BTreeSet<String>,
}

impl Arguments {
    /// Whether a scenario is to be run.
    #[must_use]
    pub fn wants(&self, scenario: &str) -> bool {
        self.only.is_empty() || self.only.contains(scenario)
    }
}

/// Reads the arguments as cargo's own test harness would; what it does not know, it ignores. `name`: of the one test that
/// the program is to cargo and nextest.
///
/// # Panics
/// When the seed is no number.
pub fn read(name: &str, args: impl Iterator<Item = String>) -> Task {
    let mut args = args;
    let (mut all, mut list, mut ignored, mut exact) = (false, false, false, false);
    let (mut only, mut filters, mut skips, mut seed) = (BTreeSet::new(), Vec::new(), Vec::new(), None);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--all" => all = true,
            "--only" => only.extend(args.next()),
            "--seed" => seed = args.next().map(|seed| seed.parse().expect("a seed is a number")),
            "--list" => list = true,
            "--ignored" => ignored = true,
            "--exact" => exact = true,
            "--skip" => skips.extend(args.next()),
            option if WITH_VALUE.contains(&option) => drop(args.next()),
            option if option.starts_with('-') => {}
            _ => filters.push(arg),
        }
    }
    let means = |filter: &String| if exact { filter == name } else { name.contains(filter.as_str()) };
    let meant = (filters.is_empty() || filters.iter().any(means)) && !skips.iter().any(means);
    match (ignored || !meant, list) {
        (true, _) => Task::Nothing,
        (false, true) => Task::List,
        (false, false) => Task::Run(Arguments { all, seed, only }),
    }
}
