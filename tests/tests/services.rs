//! Every service over gRPC: what it answers, whom it refuses, and that a retry hears the same.
//! And the command line, as a process of its own.
#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "services/catalog.rs"]
mod catalog;
#[path = "services/command_line.rs"]
mod command_line;
#[path = "services/coupon.rs"]
mod coupon;
#[path = "services/delivery.rs"]
mod delivery;
#[path = "services/openapi.rs"]
mod openapi;
#[path = "services/order.rs"]
mod order;
#[path = "services/payment.rs"]
mod payment;
#[path = "services/returns.rs"]
mod returns;
#[path = "services/stock.rs"]
mod stock;

use std::time::Duration;

use gateway::config::Config;
use ports::store::Position;
use tests::shop::TestShop;
use tonic::{Response, Status};

/// What was answered, or the reason why not.
fn outcome<T>(answer: Result<Response<T>, Status>) -> Result<T, String> {
    answer.map(Response::into_inner).map_err(|status| tests::client::reason(&status))
}

/// Whether these words stand in the log, where anybody who has its files can read them.
async fn stands_in_the_log(shop: &TestShop, words: &str) -> bool {
    let log = shop.running().log().read_all(Position::START, 10_000).await.expect("the log");
    log.iter().any(|event| String::from_utf8_lossy(&event.data).contains(words))
}

/// A carrier that takes its time: deliveries are the test's to report.
fn slow_carrier(config: &mut Config) {
    config.carrier.dispatch_after = Duration::from_secs(3600);
    config.carrier.deliver_after = Duration::from_secs(3600);
}
