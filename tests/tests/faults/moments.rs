//! The shop is killed at moments that nothing in it has chosen: dice do, from a seed that is printed before they fall.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tests::{books::Books, victim::Victim};

/// How many moments are tried.
const MOMENTS: u64 = 10;
/// How late into the load, at most, in microseconds.
const LATEST: u64 = 500_000;
/// More than any buyer can buy in that time.
const ORDERS: usize = 1_000;

pub async fn run(seed: u64) -> String {
    println!("the moments are those of --seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let mut books = Books::open(folder.path()).await;
    for _ in 0..MOMENTS {
        let moment = Duration::from_micros(dice.random_range(0..=LATEST));
        let victim = Victim::start(folder.path(), None).expect("it opens after any death");
        books.burst_for(&victim, ORDERS, moment).await;
        victim.kill();
        books.settle(folder.path()).await;
    }
    let events = books.close(folder.path()).await;
    let (orders, members) = (books.orders(), books.members());
    format!("{MOMENTS} deaths, seed {seed}; {orders} orders, {members} addresses, {events} events")
}
