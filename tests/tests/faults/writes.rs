//! The shop is killed on its way into a system call that writes.
//!
//! A run without faults counts the calls that one burst, and the end after it, make on each file. The kills are spread over
//! them evenly, with one at least for each kind of call on each file, or are at every one of them. Which call a number means is
//! not the same in each run, as appends meet differently; that each number is met is made sure by buying until the shop
//! is dead, and then by closing it: some files are written only there.

use std::{collections::BTreeMap, path::Path};

use tests::{
    books::Books,
    victim::{Fault, Victim, is_killed},
};

/// How many calls are tried unless all are.
const SPREAD: usize = 60;
/// How much each buyer buys while the calls are counted.
const ORDERS: usize = 4;
/// How much longer the buyers go on, at most, until the shop is dead.
const LONGER: usize = 10;
/// After so many deaths, one recovery is killed as well.
const RECOVERY_EVERY: usize = 5;
/// The calls that change a file, and the one that makes it durable.
const CALLS: [&str; 3] = ["pwrite64", "ftruncate", "fsync"];
/// The files: what is acknowledged, what it is copied to, what is shown of it, and what is only remembered.
const FILES: [&str; 8] = [
    "log.sqlite-wal",
    "log.sqlite",
    "keys.sqlite-wal",
    "keys.sqlite",
    "views.sqlite-wal",
    "views.sqlite",
    "snapshots.sqlite-wal",
    "snapshots.sqlite",
];
/// Those whose recovery is killed, too.
const RECOVERED: [&str; 2] = ["log.sqlite", "keys.sqlite"];

/// The `when`-th of one kind of call by one thread on one file.
#[derive(Debug, Clone, Copy)]
struct Point {
    call: &'static str,
    file: &'static str,
    when: usize,
}

impl Point {
    fn kill(self) -> Fault {
        Fault {
            calls: self.call,
            files: vec![self.file],
            effect: Some(format!("{}:signal=KILL:when={}", self.call, self.when)),
        }
    }
}

pub async fn run(all: bool) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut books = Books::open(folder.path()).await;
    let points = measure(folder.path(), &mut books).await;
    let chosen = if all { points.clone() } else { spread(&points) };
    let (mut under_load, mut starting, mut closing) = (0, 0, 0);
    let mut recovering = RECOVERED.map(|_| 0);
    for (n, point) in chosen.iter().enumerate() {
        match Victim::start(folder.path(), Some(&point.kill())) {
            Ok(mut victim) => {
                books.burst(&victim, ORDERS * LONGER).await;
                if dead(&mut victim).await {
                    under_load += 1;
                } else {
                    let status = victim.end();
                    assert!(status.success() || is_killed(status), "it ended by itself: {status}");
                    closing += usize::from(is_killed(status));
                }
            }
            Err(status) => {
                assert!(is_killed(status), "it ended by itself: {status}");
                starting += 1;
            }
        }
        if n % RECOVERY_EVERY == 0 {
            let turn = n / RECOVERY_EVERY;
            let which = turn % RECOVERED.len();
            recovering[which] += usize::from(killed_again(folder.path(), RECOVERED[which], turn / RECOVERED.len()));
        }
        books.settle(folder.path()).await;
    }
    let events = books.close(folder.path()).await;
    let (deaths, tries) = (under_load + starting + closing, chosen.len());
    assert!(deaths * 10 >= tries * 9, "only {deaths} of {tries} calls were reached");
    assert!(recovering.iter().all(|deaths| *deaths > 0), "recoveries killed, of {RECOVERED:?}: {recovering:?}");
    let (calls, orders, members) = (points.len(), books.orders(), books.members());
    format!(
        "{deaths} deaths at {tries} of {calls} calls ({starting} of them while opening, {closing} while closing), {} in a \
         recovery; {orders} orders, {members} addresses, {events} events",
        recovering.iter().sum::<usize>()
    )
}

/// Kills the recovery, too, at a write to this file. Answers whether it came to that.
fn killed_again(folder: &Path, file: &'static str, turn: usize) -> bool {
    match Victim::start(folder, Some(&Point { call: "pwrite64", file, when: 1 + turn % 6 }.kill())) {
        Ok(victim) => {
            victim.kill();
            false
        }
        Err(status) => {
            assert!(is_killed(status), "it ended by itself: {status}");
            true
        }
    }
}

/// As many points as are tried, evenly over each kind of call on each file, and one of each at least.
fn spread(points: &[Point]) -> Vec<Point> {
    let kinds = points.chunk_by(|one, other| (one.file, one.call) == (other.file, other.call));
    let some = kinds.flat_map(|kind| {
        let tries = (kind.len() * SPREAD / points.len()).clamp(1, kind.len());
        (0..tries).map(move |n| kind[n * kind.len() / tries])
    });
    some.collect()
}

/// Counts the calls of one burst and of the end: for each file and kind, as many as its busiest thread makes.
async fn measure(folder: &Path, books: &mut Books) -> Vec<Point> {
    let watch =
        Fault { calls: "pwrite64,ftruncate,fsync,fdatasync,write,pwritev", files: FILES.to_vec(), effect: None };
    let mut victim = Victim::start(folder, Some(&watch)).expect("it opens");
    books.burst(&victim, ORDERS).await;
    let status = victim.end();
    assert!(status.success(), "told to end, it ended with {status}");
    let seen = victim.seen_to_the_end().await;
    books.settle(folder).await;
    let mut points = Vec::new();
    for file in FILES {
        for call in CALLS {
            let mut threads = BTreeMap::<&str, usize>::new();
            for line in seen.lines().filter(|line| line.contains(&format!("/{file}>"))) {
                if let Some((thread, rest)) = line.split_once(' ')
                    && rest.trim_start().starts_with(&format!("{call}("))
                {
                    *threads.entry(thread).or_default() += 1;
                }
            }
            let most = threads.into_values().max().unwrap_or_default();
            points.extend((1..=most).map(|when| Point { call, file, when }));
        }
        assert!(points.iter().any(|point| point.file == file), "nothing was written to {file}");
    }
    let known = |line: &&str| CALLS.iter().any(|call| line.contains(&format!(" {call}(")));
    let others: Vec<_> = seen.lines().filter(|line| line.contains('(') && !known(line)).take(3).collect();
    assert!(others.is_empty(), "the shop writes with other calls, too: {others:?}");
    assert!(points.len() >= SPREAD, "one burst makes only {} calls", points.len());
    points
}

/// Whether it has died of its fault. The buyers hear of a death a little before we do.
async fn dead(victim: &mut Victim) -> bool {
    for _ in 0..50 {
        if let Some(status) = victim.ended() {
            assert!(is_killed(status), "it ended by itself: {status}");
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    false
}
