//! Whole orders: placed, reserved, paid, claimed, booked, dispatched, delivered, and all of it in every view.
//!
//! The partners answer at once, so what is measured is the shop. Orders are placed as fast as they are taken, and the
//! clock runs until the last of them is delivered and every view has seen it: a backlog is no throughput.

use ports::store::{EventStore as _, Position};
use std::{path::Path, sync::Arc};
use store_sqlite::SqliteStore;
use tokio::time::Instant;

use super::{
    Settings,
    goods::{self, Orders},
    load::{self, Load},
    report::{Goal, Report},
    server::{Parts, Server},
};

/// What is on sale.
const SKUS: u64 = 10_000;
/// Orders that warm everything up.
const WARM_UP: u64 = 1_000;
/// Events that are read at a time.
const PAGE: usize = 10_000;

pub(super) fn measure(settings: &Settings) -> Report {
    let mut report = Report::new("lifecycle");
    let mut shop = Server::start(&settings.folder, Parts::All, None, &[]);
    goods::fill(&shop, settings, SKUS);
    let orders = Orders::paid(SKUS);
    let warm = load::run(&shop, Load::count(settings, WARM_UP), &orders).unrefused("an order");
    shop.rest();

    let begun = Instant::now();
    let load = Load { warm_up: std::time::Duration::ZERO, ..Load::of(settings) };
    let placed = load::run(&shop, load, &orders).unrefused("an order");
    let ended = Instant::now();
    let rested = shop.rest();
    let rate = load::per_second(placed.total, rested - begun);
    report.measured("placed and reserved, while the rest goes on", &placed);
    report.rate("from placed to delivered", rate, None);
    report.figure("all delivered and in every view after the last was placed", seconds(ended, rested), "s", Goal::None);
    report.ratio("from placed to delivered / 200 a second", rate, 200.0, Goal::Least(1.0));
    report.ratio("from placed to delivered / 1,666 a second", rate, 1_666.0, Goal::Least(1.0));

    let folder = shop.stop();
    let (delivered, events) = load::runtime().block_on(count(folder.path()));
    assert_eq!(delivered, placed.total + warm.total, "every order must be delivered");
    report.note(format!("{delivered} orders delivered, none left over; the log holds {events} events"));
    report
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}

/// How many orders were delivered by the log's own word, and how many events it holds.
async fn count(folder: &Path) -> (u64, u64) {
    let clock = Arc::new(gateway::clock::SystemClock);
    let log = SqliteStore::open(folder, clock, &store_sqlite::Limits::default()).expect("the log opens");
    let (mut delivered, mut events, mut position) = (0, 0, Position::START);
    loop {
        let page = log.read_all(position, PAGE).await.expect("the log reads");
        let Some(last) = page.last() else { return (delivered, events) };
        position = last.position;
        events += page.len() as u64;
        delivered += page.iter().filter(|event| event.kind == "order.delivered").count() as u64;
    }
}
