//! Five times as much as the shop can carry: it must go on carrying what it can, and say no to the rest at once.
//!
//! The flood is sent from the same machine, and would take from the shop the processors that it is to be measured
//! on. So the shop has one processor to itself and the callers another, at the peak as in the flood.

use super::{
    Settings, flood,
    goods::{self, Orders},
    load::{self, Load},
    machine,
    report::{Goal, Report},
    server::{self, Parts, Server},
};

/// What is on sale.
const SKUS: u64 = 10_000;
/// Callers among whom the peak is looked for.
const CALLERS: [usize; 3] = [64, 128, 256];
/// How much more is offered than can be carried.
const TIMES: f64 = 5.0;
/// Bytes in a MiB.
const MIB: f64 = 1_048_576.0;

pub(super) fn measure(settings: &Settings) -> Report {
    // A thread of its own, so that whatever is measured next has all processors again.
    let measured = std::thread::scope(|scope| scope.spawn(|| apart(settings)).join());
    measured.expect("the measurement does not panic")
}

fn apart(settings: &Settings) -> Report {
    let mut report = Report::new("overload");
    let cores = machine::cores();
    let apart = (cores > 1).then(|| {
        server::stay_on(cores - 1);
        0
    });
    let shop = Server::start(&settings.folder, Parts::Door, apart, &[]);
    goods::fill(&shop, settings, SKUS);
    let orders = Orders::over(SKUS);
    let peak = CALLERS.map(|callers| {
        let load = Load { threads: 1, callers, ..Load::of(settings) };
        let measured = load::run(&shop, load, &orders).unrefused("an order");
        report.measured(format!("{callers} callers"), &measured)
    });
    let peak = peak.into_iter().fold(0.0, f64::max);
    let (before, _) = shop.memory();

    let flooded = flood::run(&shop, peak * TIMES, Load { threads: 1, ..Load::of(settings) }, &orders);
    let (after, most) = shop.memory();
    let goodput = load::per_second(flooded.answered.len(), flooded.time);
    let offered = load::per_second(flooded.sent, flooded.time);
    report.rate("flood: offered", offered, None);
    report.rate("flood: orders reserved", goodput, Some(&flooded.answered));
    report.rate("flood: refused", load::per_second(flooded.refused.len(), flooded.time), Some(&flooded.refused));
    // A percent for the clock.
    report.ratio("offered / peak", offered, peak, Goal::Least(TIMES * 0.99));
    report.ratio("orders reserved in the flood / peak", goodput, peak, Goal::Least(0.9));
    let p99 = millis(flooded.refused.value_at_quantile(0.99));
    report.figure("a refusal takes at most (p99)", p99, "ms", Goal::Most(10.0));
    report.figure("memory before", mib(before), "MiB", Goal::None);
    report.figure("memory after", mib(after), "MiB", Goal::None);
    report.figure("memory at most", mib(most), "MiB", Goal::None);
    report.note(format!("somebody among the flood was told: {:?}", flooded.told));
    if flooded.held_back + flooded.broken > 0 {
        let (held_back, broken) = (flooded.held_back, flooded.broken);
        report.note(format!(
            "{held_back} were not sent because their connection was full, {broken} ended without a word"
        ));
    }
    if apart.is_none() {
        report.note("one processor only: the callers take from the shop what they use");
    }
    report
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}
