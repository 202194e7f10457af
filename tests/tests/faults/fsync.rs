//! An fsync fails: what it should have made durable may be anywhere, and asking again proves nothing.
//!
//! When it is the log's, its writer must stop and say so, while reads go on; when it is that of a copy which can be made
//! again (a checkpoint, the views), the shop must go on. Which fsync of a thread fails is varied.

use tests::{
    books::Books,
    victim::{Fault, Victim, is_killed},
};

/// How much each buyer buys.
const ORDERS: usize = 8;
/// What the syncs are called, whichever of them SQLite was built to use.
const CALLS: &str = "fsync,fdatasync";
/// From which fsync of the log's WAL on; the first two of a thread may be those of opening.
const SPREAD: [usize; 6] = [1, 2, 3, 5, 9, 14];
const ALL: usize = 24;

pub async fn run(all: bool) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut books = Books::open(folder.path()).await;
    let (mut stops, mut unopened, mut went_on, mut injected) = (0, 0, 0, 0);
    let whens = if all { (1..=ALL).collect() } else { SPREAD.to_vec() };
    for when in whens {
        let fault = fail("log.sqlite-wal", when);
        match Victim::start(folder.path(), Some(&fault)) {
            Ok(mut victim) => {
                let refusals = books.burst(&victim, ORDERS).await;
                let hits = hits(&victim);
                assert!(hits > 0, "no fsync failed from the {when}. on");
                injected += hits;
                assert_eq!(victim.ended(), None, "it must not fall over an fsync");
                assert!(refusals.iter().any(|why| why == "STORAGE_STOPPED"), "it went on after EIO: {refusals:?}");
                // Nothing is taken any more, nobody is lied to, and what is durable can be read.
                let refusals = books.burst(&victim, 2).await;
                assert!(!refusals.is_empty() && refusals.iter().all(|why| why == "STORAGE_STOPPED"), "{refusals:?}");
                assert!(books.read_something(&victim).await, "a stopped writer must not stop the readers");
                victim.kill();
                stops += 1;
            }
            Err(status) => {
                assert!(!is_killed(status), "it must refuse to open, not die");
                unopened += 1;
            }
        }
        books.settle(folder.path()).await;
    }
    for file in ["log.sqlite", "views.sqlite", "views.sqlite-wal"] {
        let victim = Victim::start(folder.path(), Some(&fail(file, 2))).expect("it opens");
        let refusals = books.burst(&victim, ORDERS).await;
        assert!(refusals.is_empty(), "only a copy failed, in {file}, and yet: {refusals:?}");
        assert!(books.read_something(&victim).await, "it reads on");
        let hits = hits(&victim);
        assert!(hits > 0, "no fsync of {file} failed");
        injected += hits;
        went_on += 1;
        victim.kill();
        books.settle(folder.path()).await;
    }
    let events = books.close(folder.path()).await;
    assert!(stops > 0, "no writer was stopped");
    format!(
        "{injected} failed: {stops} writers stopped, {unopened} shops did not open, {went_on} went on with a failed copy; \
         {} orders, {events} events",
        books.orders()
    )
}

fn fail(file: &'static str, when: usize) -> Fault {
    Fault { calls: CALLS, files: vec![file], effect: Some(format!("error=EIO:when={when}+")) }
}

fn hits(victim: &Victim) -> usize {
    victim.seen().lines().filter(|line| line.contains("(INJECTED)")).count()
}
