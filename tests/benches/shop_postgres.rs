//! The shop on PostgreSQL beside what the same server makes of the same orders and claims by itself.
//!
//! One server for both, one after the other in one run: first `pgbench` in tables of its own, then the shop in a database of
//! its own, called over gRPC as ever. Its views are off, as those of the peer are, which has none.

use super::{
    Settings,
    goods::{self, Orders},
    hot::Claims,
    load::{self, Load},
    postgres::{Peer, Shape},
    report::{Goal, Report},
    server::{Parts, Server},
};

/// What is on sale.
const SKUS: u64 = 10_000;

pub(super) fn order(settings: &Settings) -> Report {
    let mut report = Report::new("order-postgres");
    let Some(peer) = Peer::start(settings, SKUS, &mut report) else { return report };
    let [transaction, function] =
        peer.shapes(settings, SKUS, [Shape::OrderTransaction, Shape::OrderFunction], &mut report);
    let mut shop = open(settings, &peer.database());
    goods::fill(&shop, settings, SKUS);
    let before = shop.figures().head();
    let measured = load::run(&shop, Load::of(settings), &Orders::over(SKUS)).unrefused("an order");
    let rate = report.measured(format!("order, views and runner off, {} callers", settings.callers), &measured);
    if let Some(peer) = function {
        report.ratio("order / PostgreSQL function", rate, peer, Goal::Least(1.2));
    }
    if let Some(peer) = transaction {
        report.ratio("order / PostgreSQL transaction", rate, peer, Goal::None);
    }
    let events = shop.figures().head() - before;
    report.note(format!("{} orders were {events} events in the log on PostgreSQL", measured.total));
    report
}

pub(super) fn coupon(settings: &Settings) -> Report {
    let mut report = Report::new("hot-coupon-postgres");
    let Some(peer) = Peer::start(settings, 1, &mut report) else { return report };
    let shapes = peer.shapes(settings, 1, [Shape::ClaimTransaction, Shape::ClaimFunction], &mut report);
    let best = shapes.into_iter().flatten().fold(0.0, f64::max);
    let one = claims(settings, &peer.database(), 1, &mut report);
    if best > 0.0 {
        report.ratio("over gRPC / PostgreSQL's best on one hot row", one, best, Goal::Least(3.0));
    }
    let two = claims(settings, &peer.database(), 2, &mut report);
    report.ratio("two shop processes on one coupon / one", two, one, Goal::Least(0.7));
    report
}

fn open(settings: &Settings, database: &str) -> Server {
    let url = format!("postgres.url={database}");
    let engines = ["engines.log=postgres", "engines.keys=postgres", &url];
    Server::start(&settings.folder, Parts::Door, None, &engines)
}

/// Claims a second of one coupon, with so many processes of one shop.
fn claims(settings: &Settings, database: &str, processes: usize, report: &mut Report) -> f64 {
    let mut shops: Vec<Server> = (0..processes).map(|_| open(settings, database)).collect();
    let coupon = Claims::launch(&shops[0]);
    let done =
        |shops: &mut Vec<Server>| -> Vec<_> { shops.iter_mut().map(|shop| shop.figures().desk("campaign")).collect() };
    let before = done(&mut shops);
    let measured = load::run_at(&shops.iter().collect::<Vec<_>>(), Load::of(settings), &coupon);
    let what = format!("a claim of the hot coupon, {processes} process(es), {} callers", settings.callers);
    assert!(measured.answered > 0, "a claim was never answered");
    // Against another process a command may be told to come again: that is no answer, and does not count as one.
    if !measured.refused.is_empty() {
        report.note(format!("{what}: also refused {:?}", measured.refused));
    }
    let rate = report.measured(&what, &measured);
    for (n, (after, before)) in done(&mut shops).into_iter().zip(before).enumerate() {
        let since = after.since(before);
        report.note(format!("{what}: process {}: {} commands were {} appends", n + 1, since.commands, since.appends));
    }
    rate
}
