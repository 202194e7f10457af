//! Everybody at once, and everybody rude: what must hold whatever callers do, seen from their side of the gateway.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![expect(clippy::too_many_lines, reason = "a table of wrong requests reads best in one piece")]

#[path = "races/coupons.rs"]
mod coupons;
#[path = "races/inputs.rs"]
mod inputs;
#[path = "races/late.rs"]
mod late;
#[path = "races/refunds.rs"]
mod refunds;
#[path = "races/repeats.rs"]
mod repeats;
#[path = "races/roles.rs"]
mod roles;
#[path = "races/stock.rs"]
mod stock;

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use ports::store::{Position, Recorded};
use tests::{
    client::{Client, reason},
    shop::TestShop,
};
use tokio::time::Instant;
use tonic::{Response, Status};

/// How many come at once.
const CROWD: u64 = 64;
/// How long nothing may happen before nothing more is expected to: longer than any wait of a calm shop.
const STILL: Duration = Duration::from_millis(700);
/// How long a shop may take to come to rest, on a machine that does much else.
const REST_MAX: Duration = Duration::from_secs(60);

/// What won, and how many lost for which reason.
fn tally<T>(answers: Vec<Result<Response<T>, Status>>) -> (Vec<T>, BTreeMap<String, usize>) {
    let (mut won, mut lost) = (Vec::new(), BTreeMap::new());
    for answer in answers {
        match answer {
            Ok(answer) => won.push(answer.into_inner()),
            Err(status) => *lost.entry(reason(&status)).or_default() += 1,
        }
    }
    (won, lost)
}

/// What was answered, or the reason why not.
fn outcome<T>(answer: Result<Response<T>, Status>) -> Result<T, String> {
    answer.map(Response::into_inner).map_err(|status| reason(&status))
}

/// So many buyers, each on a connection of their own.
async fn crowd(shop: &TestShop, size: u64) -> Vec<Client> {
    join_all((0..size).map(|n| shop.buyer(n))).await
}

/// The position of the newest event.
async fn head(shop: &TestShop) -> u64 {
    shop.running().log().head().await.expect("the log can be read").0
}

/// Waits until nothing more happens. Answers the position of the newest event.
async fn rest(shop: &TestShop) -> u64 {
    let begun = Instant::now();
    let (mut last, mut changed) = (head(shop).await, begun);
    while changed.elapsed() < STILL {
        assert!(begun.elapsed() < REST_MAX, "the shop does not come to rest");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = head(shop).await;
        if now != last {
            (last, changed) = (now, Instant::now());
        }
    }
    last
}

/// Everything that ever happened, oldest first.
async fn log(shop: &TestShop) -> Vec<Recorded> {
    let (mut all, mut position) = (Vec::new(), Position::START);
    loop {
        let page = shop.running().log().read_all(position, 1_000).await.expect("the log can be read");
        let Some(last) = page.last() else { return all };
        position = last.position;
        all.extend(page);
    }
}
