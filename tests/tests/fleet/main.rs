//! A fleet of real processes on one PostgreSQL and one NATS, broken in every part under load.
//!
//! Two gateways, two nodes that decide for them, one that runs the processes, one that folds the views, one that relays.
//! Sixteen buyers send every request until it is answered, to the other gateway whenever one stays silent. In turn each
//! process is killed and most are frozen, PostgreSQL is frozen, crashes, is killed or cut off (both ways, one way, by resets,
//! for one node only), a node that decides is cut off from the gateways, NATS is frozen, killed, cut off and wiped; after each
//! fault both gateways and both nodes that decide must answer again. Whoever does not pay loses the order meanwhile. In the
//! end the books are balanced ([`books`]) against the answers, against the tables as psql shows them ([`tables`]), against
//! fresh folds, and against NATS ([`settle`]).
//!
//! It is a test like the others to cargo and nextest; `--only NAME` runs one fault. Without PostgreSQL or NATS it prints
//! NOT RUN, which fails where `CI` is set.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![expect(clippy::disallowed_methods, reason = "the load is tasks and time")]

mod books;
mod faults;
mod fleet;
mod load;
mod proxy;
mod settle;
mod tables;

use std::{process::ExitCode, sync::Arc, time::Duration};

use proto::v1::Role;
use tests::{
    arguments::{self, Arguments, Task},
    shop::buyer,
};
use tokio::time::Instant;

use books::{Answer, Books, PLENTY};
use faults::{FAULTS, Fault};
use fleet::{Fleet, Servers};
use load::{BUYERS, Buyer, DOORS, GATES, Load};

/// The name of the one test that this program is.
const NAME: &str = "fleet";
/// More than anybody buys.
const MANY: u32 = 1_000_000;
/// Fewer than are wanted during one fault.
const FEW: u32 = 25;
/// How long the fleet sells before the first fault.
const CALM: Duration = Duration::from_secs(1);
/// How many attempts each gateway must answer after a fault.
const ANSWERS: u64 = 8;
/// How much the gateways must ask of each node that decides: more than whether it is there.
const ASKED_BYTES: u64 = 4_000;
/// How long that may take.
const AGAIN_MAX: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = match arguments::read(NAME, std::env::args().skip(1)) {
        Task::Run(arguments) => arguments,
        Task::List => {
            println!("{NAME}: test");
            return ExitCode::SUCCESS;
        }
        Task::Nothing => return ExitCode::SUCCESS,
    };
    let Some(servers) = servers::or_not_run(Servers::start()) else { return ExitCode::SUCCESS };
    let begun = Instant::now();
    match tokio::spawn(run(servers, arguments)).await {
        Ok(summary) => {
            println!("passed in {:.0} s: {summary}", begun.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("FAILED after {:.0} s: {failure}", begun.elapsed().as_secs_f64());
            ExitCode::FAILURE
        }
    }
}

async fn run(servers: Servers, arguments: Arguments) -> String {
    let mut fleet = Fleet::open(servers).await;
    for sku in PLENTY {
        fleet.stock(sku, MANY).await;
    }
    let books = Arc::new(Books::default());
    let tokens: Vec<String> = (0..BUYERS).map(|n| fleet.token(buyer(n as u64), Role::Buyer)).collect();
    let (mut load, mut scarce) = (None, Vec::new());
    println!(
        "{:<18} {:>6} {:>9} {:>12} {:>7} {:>8} {:>7} {:>11}",
        "fault", "s", "attempted", "acknowledged", "retried", "INTERNAL", "refused", "again after"
    );
    for fault in FAULTS.iter().filter(|fault| arguments.wants(fault.name)) {
        let sku = format!("rare-{}", fault.name);
        fleet.stock(&sku, FEW).await;
        books.scarce(&sku);
        scarce.push(sku);
        if load.is_none() {
            load = Some(Load::begin(&tokens, &fleet.doors, &books));
            recovered(&mut fleet, &books, &tokens, "the start").await;
            tokio::time::sleep(CALM).await;
        }
        suffer(fault, &mut fleet, &books, &tokens).await;
    }
    load.expect("no fault has this name").end().await;
    settle::settle(&mut fleet, &books, &tokens, &scarce, FEW).await
}

/// Lets a fault happen under load, and waits until everybody who sells does so again.
async fn suffer(fault: &Fault, fleet: &mut Fleet, books: &Books, tokens: &[String]) {
    let (before, begun) = (books.tally(), Instant::now());
    (fault.happen)(fleet).await;
    let (during, lasted) = (books.tally().since(before), begun.elapsed());
    let again = recovered(fleet, books, tokens, fault.name).await;
    let all = books.tally().since(before);
    println!(
        "{:<18} {:>6.1} {:>9} {:>12} {:>7} {:>8} {:>7} {:>9.1} s",
        fault.name,
        lasted.as_secs_f64(),
        all.attempted,
        all.acknowledged,
        all.retried,
        all.failed,
        all.refused,
        again.as_secs_f64(),
    );
    assert_eq!(all.failed, 0, "a node said INTERNAL during {}, {}: who would ask again?", fault.name, books.failure());
    assert!(during.attempted > 0, "nothing was attempted during {}", fault.name);
    assert!(!fault.sells || during.acknowledged > 0, "nothing was sold during {}, which must not stop it", fault.name);
}

/// Waits until both gateways answer what is begun from now on, and both nodes behind them a new order that is asked of them
/// straight, and until the gateways ask both. Answers how long that took.
async fn recovered(fleet: &mut Fleet, books: &Books, tokens: &[String], what: &str) -> Duration {
    books.healed();
    let (begun, before) = (Instant::now(), fleet.asked());
    let mut straight: Vec<_> = (GATES..DOORS).map(|door| (door, books.wish(door))).collect();
    loop {
        let mut silent = Vec::new();
        for (door, request) in straight {
            let epoch = books.attempt();
            let answer = Buyer::new(door, tokens[door].clone(), &fleet.doors).ask(door, &request).await;
            if matches!(answer, Answer::Missing(_) | Answer::Failed(_)) {
                silent.push((door, request.clone()));
            }
            books.answered(&request, answer, epoch, door);
        }
        straight = silent;
        let (fresh, missing) = books.fresh();
        let asked = fleet.asked().iter().zip(&before).all(|(now, before)| now - before >= ASKED_BYTES);
        if fresh[..GATES].iter().all(|answers| *answers >= ANSWERS) && straight.is_empty() && asked {
            return begun.elapsed();
        }
        fleet.all_run();
        assert!(
            begun.elapsed() < AGAIN_MAX,
            "after {what} gateways and those who decide answered only {fresh:?} times, and those were asked {:?} bytes after \
             {before:?}; why not more: {missing}\n{}",
            fleet.asked(),
            fleet.complaints()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
