//! The shop is killed at moments that nothing in it has chosen.

use std::time::Duration;

use tests::{books::Books, victim::Victim};

/// How many moments are tried.
const MOMENTS: u64 = 10;
/// More than any buyer can buy in that time.
const ORDERS: usize = 1_000;

pub async fn run() -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut books = Books::open(folder.path()).await;
    for moment in 0..MOMENTS {
        let victim = Victim::start(folder.path(), None).expect("it opens after any death");
        // A different moment each time, without a clock or dice: 7, 60, 113, … ms into the load.
        books.burst_for(&victim, ORDERS, Duration::from_millis(7 + 53 * moment)).await;
        victim.kill();
        books.settle(folder.path()).await;
    }
    let events = books.close(folder.path()).await;
    format!("{MOMENTS} deaths; {} orders, {events} events", books.orders())
}
