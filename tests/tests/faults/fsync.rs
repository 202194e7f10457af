//! An fsync fails: what it should have made durable may be anywhere, and asking again proves nothing.
//!
//! When it is the log's, its writer must stop and say so, while reads go on; when it is that of a copy which can be made
//! again (a checkpoint, the views), the shop must go on; when it is that of the members' keys, who wants an address sealed
//! under a new one is refused. Which fsync of a thread fails is varied. A disk that failed may have lost whatever was not
//! synced before, so all of that is wiped out before the shop is started again; so it is, too, where no fsync failed and
//! only the power did.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

use tests::{
    books::Books,
    victim::{Fault, Victim, is_killed},
};

/// How much each buyer buys.
const ORDERS: usize = 8;
/// The calls to see; what the syncs are called depends on how SQLite was built.
const CALLS: &str = "fsync,fdatasync,pwrite64";
/// Which fsync of the log's WAL fails, and no other: a second one succeeds, as it does on Linux, and proves nothing. The
/// first of a thread may be that of opening.
const SPREAD: [usize; 6] = [1, 2, 3, 5, 9, 14];
const ALL: usize = 24;
/// What can be made again from the log, or from its WAL.
const COPIES: [&str; 3] = ["log.sqlite", "views.sqlite", "views.sqlite-wal"];

/// Where the keys are written first, and which of each thread's fsyncs of it fail.
const KEYS: &str = "keys.sqlite-wal";
const KEYS_SPREAD: [&str; 3] = ["1", "2", "2+2"];
/// What must not lose anything that was acknowledged, wherever the power fails.
const RECORDS: [&str; 2] = ["log.sqlite-wal", KEYS];

pub async fn run(all: bool) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut books = Books::open(folder.path()).await;
    let (mut stops, mut unopened, mut failed, mut lost) = (0, 0, 0, 0);
    let whens = if all { (1..=ALL).collect() } else { SPREAD.to_vec() };
    for when in whens {
        match Victim::start(folder.path(), Some(&fail("log.sqlite-wal", &when.to_string()))) {
            Ok(victim) => {
                let seen = stopped(&mut books, victim).await;
                failed += hits(&seen);
                lost += lose(&folder.path().join("log.sqlite-wal"), &seen);
                stops += 1;
            }
            Err(status) => {
                assert!(!is_killed(status), "it must refuse to open, not die");
                unopened += 1;
            }
        }
        books.settle(folder.path()).await;
    }
    assert!(stops > 0 && lost > 0, "{stops} writers were stopped, {lost} bytes lost");
    let keyless = keys(folder.path(), &mut books).await;
    let dark = power_cuts(folder.path(), &mut books).await;
    let mut copies = Vec::new();
    for file in COPIES {
        let victim = Victim::start(folder.path(), Some(&fail(file, "2+"))).expect("it opens");
        let refusals = books.burst(&victim, ORDERS).await;
        assert!(refusals.is_empty(), "only a copy failed, in {file}, and yet: {refusals:?}");
        assert!(books.read_something(&victim).await, "it reads on");
        let seen = victim.seen();
        victim.kill();
        assert!(hits(&seen) > 0, "no fsync of {file} failed");
        copies.push(format!("{} of {file}", hits(&seen)));
        lost += lose(&folder.path().join(file), &seen);
        books.settle(folder.path()).await;
    }
    let events = books.close(folder.path()).await;
    format!(
        "{failed} of the log failed: {stops} writers stopped, {unopened} shops did not open; it went on without {}; \
         {keyless} orders had no key; {lost} bytes lost, and {dark} to the power; {} orders, {} addresses, {events} events",
        copies.join(", "),
        books.orders(),
        books.members()
    )
}

/// Some fsyncs of the keys fail: whoever needed that key is refused, and everybody else is served. Answers how many were.
async fn keys(folder: &Path, books: &mut Books) -> usize {
    let mut refused = 0;
    for when in KEYS_SPREAD {
        let mut victim = Victim::start(folder, Some(&fail(KEYS, when))).expect("it opens");
        let refusals = books.burst(&victim, ORDERS).await;
        assert_eq!(victim.ended(), None, "it must not fall over a key");
        assert!(refusals.iter().all(|why| why == "INTERNAL"), "only a key failed, and yet: {refusals:?}");
        let seen = victim.seen();
        victim.kill();
        assert!(hits(&seen) > 0, "no fsync of {KEYS} failed");
        refused += refusals.len();
        lose(&folder.join(KEYS), &seen);
        books.settle(folder).await;
    }
    assert!(refused > 0, "nobody was refused although their key was not durable");
    refused
}

/// The power fails, and what was never synced is gone. Answers how many bytes.
async fn power_cuts(folder: &Path, books: &mut Books) -> usize {
    let mut lost = 0;
    for file in RECORDS {
        let watch = Fault { calls: CALLS, files: vec![file], effect: None };
        let victim = Victim::start(folder, Some(&watch)).expect("it opens");
        let refusals = books.burst(&victim, ORDERS).await;
        assert!(refusals.is_empty(), "nothing failed, and yet: {refusals:?}");
        let seen = victim.seen();
        victim.kill();
        assert!(seen.contains("sync("), "{file} was never synced");
        lost += lose(&folder.join(file), &seen);
        books.settle(folder).await;
    }
    lost
}

/// Buys from a shop whose log fails, until it says so, and beyond. Answers the system calls it made.
async fn stopped(books: &mut Books, mut victim: Victim) -> String {
    let refusals = books.burst(&victim, ORDERS).await;
    assert!(hits(&victim.seen()) > 0, "no fsync failed");
    assert_eq!(victim.ended(), None, "it must not fall over an fsync");
    assert!(refusals.iter().any(|why| why == "STORAGE_STOPPED"), "it went on after EIO: {refusals:?}");
    // Nothing is taken any more, nobody is lied to, and what is durable can be read.
    let refusals = books.burst(&victim, 2).await;
    assert!(
        !refusals.is_empty() && refusals.iter().all(|why| why == "STORAGE_STOPPED"),
        "it takes orders: {refusals:?}"
    );
    assert!(books.read_something(&victim).await, "a stopped writer must not stop the readers");
    let seen = victim.seen();
    victim.kill();
    seen
}

fn fail(file: &'static str, when: &str) -> Fault {
    Fault { calls: CALLS, files: vec![file], effect: Some(format!("fsync,fdatasync:error=EIO:when={when}")) }
}

fn hits(seen: &str) -> usize {
    seen.lines().filter(|line| line.contains("(INJECTED)")).count()
}

/// Wipes out what was written to a file and not synced: an fsync that succeeds after one that failed does not bring back
/// what that lost, unless it was written again. Answers how many bytes.
fn lose(path: &Path, seen: &str) -> usize {
    let (mut unsynced, mut lost) = (Vec::new(), Vec::new());
    for line in seen.lines() {
        if let Some((_, call)) = line.split_once(" pwrite64(") {
            unsynced.push(extent(call));
        } else if line.contains("(INJECTED)") {
            lost.append(&mut unsynced);
        } else if line.ends_with(" = 0") {
            lost.retain(|extent| !unsynced.contains(extent));
            unsynced.clear();
        }
    }
    lost.append(&mut unsynced);
    let file = File::options().write(true).open(path).expect("the file");
    for (offset, bytes) in &lost {
        file.write_all_at(&vec![0; *bytes], *offset).expect("wiped out");
    }
    lost.iter().map(|(_, bytes)| bytes).sum()
}

/// Where a write goes and how long it is: the last two arguments, whether the call had ended or not.
fn extent(call: &str) -> (u64, usize) {
    let (_file, arguments) = call.split_once(", ").expect("arguments");
    let end = arguments.find([')', '<']).unwrap_or(arguments.len());
    let mut numbers = arguments[..end].rsplit(", ").map(|text| text.trim().parse().expect("a number"));
    let (offset, bytes) = (numbers.next().expect("an offset"), numbers.next().expect("a length"));
    (offset, usize::try_from(bytes).expect("a length"))
}
