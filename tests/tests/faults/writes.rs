//! The shop is killed on its way into a system call that writes.
//!
//! A run without faults counts the calls that one burst makes on each file. The kills are spread over them evenly, or are
//! at every one of them. Which call a number means is not the same in each run, as appends meet differently; that each
//! number is met is made sure by buying until the shop is dead.

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
/// The files: what is acknowledged, what it is copied to, and what is shown of it.
const FILES: [&str; 3] = ["log.sqlite-wal", "log.sqlite", "views.sqlite-wal"];

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
    let tries = if all { points.len() } else { SPREAD.min(points.len()) };
    let (mut under_load, mut starting, mut recovering) = (0, 0, 0);
    for n in 0..tries {
        let point = points[n * points.len() / tries];
        match Victim::start(folder.path(), Some(&point.kill())) {
            Ok(mut victim) => {
                books.burst(&victim, ORDERS * LONGER).await;
                under_load += usize::from(dead(&mut victim).await);
                victim.kill();
            }
            Err(status) => {
                assert!(is_killed(status), "it ended by itself: {status}");
                starting += 1;
            }
        }
        if n % RECOVERY_EVERY == 0 {
            let point = Point { call: "pwrite64", file: "log.sqlite", when: 1 + n / RECOVERY_EVERY % 6 };
            match Victim::start(folder.path(), Some(&point.kill())) {
                Ok(victim) => victim.kill(),
                Err(status) => {
                    assert!(is_killed(status), "it ended by itself: {status}");
                    recovering += 1;
                }
            }
        }
        books.settle(folder.path()).await;
    }
    let events = books.close(folder.path()).await;
    let deaths = under_load + starting;
    assert!(deaths * 10 >= tries * 9, "only {deaths} of {tries} calls were reached");
    assert!(recovering > 0, "no recovery was killed");
    let (calls, orders) = (points.len(), books.orders());
    format!(
        "{deaths} deaths at {tries} of {calls} calls ({starting} of them while opening), {recovering} in a recovery; \
         {orders} orders, {events} events"
    )
}

/// Counts the calls of one burst: for each file and kind, as many as its busiest thread makes.
async fn measure(folder: &Path, books: &mut Books) -> Vec<Point> {
    let watch =
        Fault { calls: "pwrite64,ftruncate,fsync,fdatasync,write,pwritev", files: FILES.to_vec(), effect: None };
    let victim = Victim::start(folder, Some(&watch)).expect("it opens");
    books.burst(&victim, ORDERS).await;
    let seen = victim.seen();
    victim.kill();
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
