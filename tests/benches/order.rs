//! An order of one line, uniform over 10,000 SKUs, from the buyer's request to the durable answer "reserved".

use super::{
    Settings,
    echo::Echoes,
    goods::{self, Orders},
    load::{self, Load},
    postgres::{Peer, Shape},
    report::{Goal, Report},
    server::{Parts, Server},
};

/// What is on sale.
const SKUS: u64 = 10_000;

pub(super) fn measure(settings: &Settings) -> Report {
    let mut report = Report::new("order");
    let alone = beside_echo(settings, Parts::Door, "views and runner off", &mut report);
    let whole = beside_echo(settings, Parts::All, "all on", &mut report);
    let [transaction, function] = Peer::orders(settings, SKUS, &mut report);
    if let Some(peer) = transaction {
        report.ratio("order, views and runner off / PostgreSQL transaction", alone, peer, Goal::Least(3.0));
        report.ratio("order, all on / PostgreSQL transaction", whole, peer, Goal::None);
    }
    if let Some(peer) = function {
        report.ratio("order, views and runner off / PostgreSQL function", alone, peer, Goal::Least(1.5));
        report.ratio("order, all on / PostgreSQL function", whole, peer, Goal::None);
    }
    report
}

fn beside_echo(settings: &Settings, parts: Parts, what: &str, report: &mut Report) -> f64 {
    let mut shop = Server::start(&settings.folder, parts, None, &[]);
    goods::fill(&shop, settings, SKUS);
    let orders = Orders::over(SKUS);
    let echo = Echoes::like(&shop, &orders).measure(&shop, Load::of(settings), report);
    let before = shop.figures().head();
    let measured = load::run(&shop, Load::of(settings), &orders).unrefused("an order");
    let rate = report.measured(format!("order, {what}"), &measured);
    report.ratio(format!("order, {what} / echo"), rate, echo, Goal::Least(0.4));
    if parts == Parts::All {
        let ended = tokio::time::Instant::now();
        shop.catch_up();
        let (behind, events) = (ended.elapsed(), shop.figures().head() - before);
        report.figure("views caught up after the last order", behind.as_secs_f64(), "s", Goal::None);
        report.note(format!(
            "all on: {} orders were {events} events, all of them folded into every view",
            measured.total
        ));
    }
    rate
}

/// The shapes of the peer's orders, for one line of the report each.
impl Peer {
    fn orders(settings: &Settings, skus: u64, report: &mut Report) -> [Option<f64>; 2] {
        Self::measure(settings, skus, [Shape::OrderTransaction, Shape::OrderFunction], report)
    }
}
