//! What things take: a coupon claim and an open order in the shop's memory, an event on disk.
//!
//! The shop's memory is looked at from outside (its resident set), between two equal loads: the first fills the
//! caches and pools that are bounded anyway, the second shows what each thing adds.

use std::{fs, path::Path};

use super::{
    Settings,
    goods::{self, Orders},
    hot::Claims,
    load::{self, Load, Work},
    report::{Goal, Report},
    server::{Parts, Server},
};

/// What is on sale.
const SKUS: u64 = 1_000;
/// Claims of each load.
const CLAIMS: u64 = 200_000;
/// Open orders of each load; both together are kept in memory by the desk's defaults.
const ORDERS: u64 = 40_000;

pub(super) fn measure(settings: &Settings) -> Report {
    let mut report = Report::new("memory");
    // Claims and orders are looked at in shops of their own, without views, whose caches are another matter.
    let mut shop = Server::start(&settings.folder, Parts::Processes, None, &[]);
    goods::fill(&shop, settings, 1);
    let claims = Claims::launch(&shop);
    let claim = twice(&mut shop, settings, &claims, CLAIMS);
    report.figure("memory of a coupon claim", claim, "bytes", Goal::None);
    drop(shop);

    let mut shop = Server::start(&settings.folder, Parts::Processes, None, &[]);
    goods::fill(&shop, settings, SKUS);
    let order = twice(&mut shop, settings, &Orders::over(SKUS), ORDERS);
    report.figure("memory of an open order", order, "bytes", Goal::None);
    let events = shop.figures().head();
    let folder = shop.stop();
    report.figure("an event on disk", each(size(folder.path(), "log"), events), "bytes", Goal::None);
    report.note(format!("an order of one line: {ORDERS} twice; {events} events in the log, ids and indexes included"));
    report.note(format!("a claim: {CLAIMS} twice, each of another member"));
    report
}

/// Puts the same load on the shop twice, and answers what each request of the second added to its memory.
fn twice(shop: &mut Server, settings: &Settings, work: &impl Work, requests: u64) -> f64 {
    let load = Load::count(settings, requests);
    load::run(shop, load, &Shifted { work, by: 0 }).unrefused("a request");
    let (before, _) = shop.memory();
    load::run(shop, load, &Shifted { work, by: requests }).unrefused("a request");
    let (after, _) = shop.memory();
    each(after.saturating_sub(before), requests)
}

/// The same work, further on: the second load must not repeat the first.
struct Shifted<'a, W> {
    work: &'a W,
    by: u64,
}

impl<W: Work> Work for Shifted<'_, W> {
    const ROLE: proto::v1::Role = W::ROLE;

    async fn call(&self, caller: &mut super::caller::Caller, n: u64) -> Result<(), tonic::Status> {
        self.work.call(caller, n + self.by).await
    }
}

fn each(bytes: u64, things: u64) -> f64 {
    bytes as f64 / things.max(1) as f64
}

/// Bytes of the files in a folder whose names begin so.
fn size(folder: &Path, prefix: &str) -> u64 {
    let files = fs::read_dir(folder).expect("the shop's folder").filter_map(Result::ok);
    let ours = files.filter(|file| file.file_name().to_string_lossy().starts_with(prefix));
    ours.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}
