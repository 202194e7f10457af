//! The simulation, on the seeds that every change must survive. `cargo sim --help` runs others.

use std::num::NonZeroUsize;

use tests::sim::{self, program::run_all, report};

/// The seeds, and how many run side by side.
const SEEDS: std::ops::Range<u64> = 0..20;
const THREADS: NonZeroUsize = NonZeroUsize::new(2).expect("two is not zero");

/// Every rule of the auditor holds in every run, and every run has met every fault and every corner: a run without a
/// fault of each type is a violation too, because it proves nothing about it.
#[test]
fn twenty_seeds_keep_every_promise_through_every_fault() {
    let reports = run_all(SEEDS, THREADS, |report| println!("{}", report.line())).expect("the runs start");
    println!("{}", report::summary(&reports));
    for report in &reports {
        let missing: Vec<_> = report.faults.iter().filter(|(_, count)| **count == 0).collect();
        assert!(missing.is_empty(), "seed {} never met {missing:?}", report.seed);
    }
    let violated: Vec<_> = reports.iter().filter(|report| !report.passed()).map(report::Report::table).collect();
    assert!(violated.is_empty(), "replay with `cargo sim <seed>`:\n{}", violated.join("\n"));
}

#[test]
fn the_same_seed_does_the_same_and_another_does_not() {
    let run = |seed| sim::run(seed).expect("the run starts").fingerprint;
    let first = run(7);
    assert_eq!(first, run(7), "a violation could not be shown again");
    assert_ne!(first, run(8));
}
