//! The faults, in the order in which they happen. Each heals before it returns.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::{
    fleet::{EAST, Fleet, NORTH, PROCESSES, RELAY, SOUTH, VIEWS, WEST},
    proxy::{Cut, Proxy},
};

/// How long a process stays dead.
const DEAD: Duration = Duration::from_millis(700);
/// How long a server stays silent: longer than a node waits for an append, shorter than anybody would wait for an operator.
const SILENT: Duration = Duration::from_millis(2_500);
/// How often connections are reset, and how long they live between.
const RESETS: u32 = 5;
const BETWEEN: Duration = Duration::from_millis(300);

/// Something that goes wrong.
pub struct Fault {
    /// Its name.
    pub name: &'static str,
    /// Whether the fleet must go on selling meanwhile.
    pub sells: bool,
    /// Lets it happen, and heals it.
    pub happen: for<'a> fn(&'a mut Fleet) -> BoxFuture<'a, ()>,
}

/// All of them.
pub const FAULTS: [Fault; 35] = [
    Fault { name: "east-killed", sells: true, happen: |fleet| Box::pin(killed(fleet, EAST)) },
    Fault { name: "west-killed", sells: true, happen: |fleet| Box::pin(killed(fleet, WEST)) },
    Fault { name: "north-killed", sells: true, happen: |fleet| Box::pin(killed(fleet, NORTH)) },
    Fault { name: "south-killed", sells: true, happen: |fleet| Box::pin(killed(fleet, SOUTH)) },
    Fault { name: "processes-killed", sells: true, happen: |fleet| Box::pin(killed(fleet, PROCESSES)) },
    Fault { name: "views-killed", sells: true, happen: |fleet| Box::pin(killed(fleet, VIEWS)) },
    Fault { name: "relay-killed", sells: true, happen: |fleet| Box::pin(killed(fleet, RELAY)) },
    Fault { name: "west-frozen", sells: true, happen: |fleet| Box::pin(frozen(fleet, WEST)) },
    Fault { name: "south-frozen", sells: true, happen: |fleet| Box::pin(frozen(fleet, SOUTH)) },
    Fault { name: "processes-frozen", sells: true, happen: |fleet| Box::pin(frozen(fleet, PROCESSES)) },
    Fault { name: "views-frozen", sells: true, happen: |fleet| Box::pin(frozen(fleet, VIEWS)) },
    Fault { name: "relay-frozen", sells: true, happen: |fleet| Box::pin(frozen(fleet, RELAY)) },
    Fault { name: "postgres-frozen", sells: false, happen: |fleet| Box::pin(postgres_frozen(fleet)) },
    Fault { name: "postgres-crashed", sells: false, happen: |fleet| Box::pin(postgres_crashed(fleet)) },
    Fault { name: "postgres-killed", sells: false, happen: |fleet| Box::pin(postgres_killed(fleet)) },
    Fault { name: "postgres-cut", sells: false, happen: |fleet| Box::pin(cut(fleet, all, Cut::Both)) },
    Fault { name: "postgres-deaf", sells: false, happen: |fleet| Box::pin(cut(fleet, all, Cut::Asking)) },
    Fault { name: "postgres-mute", sells: false, happen: |fleet| Box::pin(cut(fleet, all, Cut::Answering)) },
    Fault { name: "postgres-reset", sells: false, happen: |fleet| Box::pin(reset(fleet, all)) },
    Fault { name: "west-alone", sells: true, happen: |fleet| Box::pin(cut(fleet, west, Cut::Both)) },
    Fault { name: "south-alone", sells: true, happen: |fleet| Box::pin(cut(fleet, south, Cut::Both)) },
    Fault { name: "processes-alone", sells: true, happen: |fleet| Box::pin(cut(fleet, processes, Cut::Both)) },
    Fault { name: "views-alone", sells: true, happen: |fleet| Box::pin(cut(fleet, views, Cut::Both)) },
    Fault { name: "relay-alone", sells: true, happen: |fleet| Box::pin(cut(fleet, relay, Cut::Both)) },
    Fault { name: "south-cut", sells: true, happen: |fleet| Box::pin(cut(fleet, asked, Cut::Both)) },
    Fault { name: "south-deaf", sells: true, happen: |fleet| Box::pin(cut(fleet, asked, Cut::Asking)) },
    Fault { name: "south-mute", sells: true, happen: |fleet| Box::pin(cut(fleet, asked, Cut::Answering)) },
    Fault { name: "south-reset", sells: true, happen: |fleet| Box::pin(reset(fleet, asked)) },
    Fault { name: "nats-frozen", sells: true, happen: |fleet| Box::pin(nats_frozen(fleet)) },
    Fault { name: "nats-killed", sells: true, happen: |fleet| Box::pin(nats_killed(fleet)) },
    Fault { name: "nats-cut", sells: true, happen: |fleet| Box::pin(cut(fleet, bus, Cut::Both)) },
    Fault { name: "nats-deaf", sells: true, happen: |fleet| Box::pin(cut(fleet, bus, Cut::Asking)) },
    Fault { name: "nats-mute", sells: true, happen: |fleet| Box::pin(cut(fleet, bus, Cut::Answering)) },
    Fault { name: "nats-reset", sells: true, happen: |fleet| Box::pin(reset(fleet, bus)) },
    Fault { name: "nats-wiped", sells: true, happen: |fleet| Box::pin(nats_wiped(fleet)) },
];

async fn killed(fleet: &mut Fleet, node: usize) {
    fleet.kill(node);
    tokio::time::sleep(DEAD).await;
    fleet.start(node);
}

async fn frozen(fleet: &mut Fleet, node: usize) {
    fleet.freeze(node);
    tokio::time::sleep(SILENT).await;
    fleet.thaw(node);
}

async fn postgres_frozen(fleet: &mut Fleet) {
    fleet.postgres.freeze();
    tokio::time::sleep(SILENT).await;
    fleet.postgres.thaw();
}

async fn postgres_crashed(fleet: &mut Fleet) {
    tokio::task::block_in_place(|| fleet.postgres.restart(true)).expect("it comes again");
}

async fn postgres_killed(fleet: &mut Fleet) {
    tokio::task::block_in_place(|| fleet.postgres.crash()).expect("it comes again");
}

async fn nats_frozen(fleet: &mut Fleet) {
    fleet.nats.freeze();
    tokio::time::sleep(SILENT).await;
    fleet.nats.thaw();
}

async fn nats_killed(fleet: &mut Fleet) {
    fleet.nats.stop(true).expect("it is ours");
    tokio::time::sleep(DEAD).await;
    tokio::task::block_in_place(|| fleet.nats.restart(true)).expect("it comes again");
}

async fn nats_wiped(fleet: &mut Fleet) {
    tokio::task::block_in_place(|| fleet.nats.wipe()).expect("it comes again");
    // It is empty and runs: what is lacking is published again while more is sold.
    tokio::time::sleep(DEAD).await;
}

/// Drops every connection on some ways, again and again.
async fn reset(fleet: &mut Fleet, ways: fn(&Fleet) -> Vec<&Proxy>) {
    for _ in 0..RESETS {
        ways(fleet).into_iter().for_each(Proxy::reset);
        tokio::time::sleep(BETWEEN).await;
    }
}

/// Cuts some ways for a while.
async fn cut(fleet: &mut Fleet, ways: fn(&Fleet) -> Vec<&Proxy>, how: Cut) {
    ways(fleet).into_iter().for_each(|way| way.cut(how));
    tokio::time::sleep(SILENT).await;
    ways(fleet).into_iter().for_each(|way| way.cut(Cut::None));
}

/// Every node's way to PostgreSQL.
fn all(fleet: &Fleet) -> Vec<&Proxy> {
    fleet.nodes.iter().map(|node| &node.database).collect()
}

/// One node's way to PostgreSQL.
fn west(fleet: &Fleet) -> Vec<&Proxy> {
    vec![&fleet.nodes[WEST].database]
}

fn south(fleet: &Fleet) -> Vec<&Proxy> {
    vec![&fleet.nodes[SOUTH].database]
}

fn processes(fleet: &Fleet) -> Vec<&Proxy> {
    vec![&fleet.nodes[PROCESSES].database]
}

fn views(fleet: &Fleet) -> Vec<&Proxy> {
    vec![&fleet.nodes[VIEWS].database]
}

fn relay(fleet: &Fleet) -> Vec<&Proxy> {
    vec![&fleet.nodes[RELAY].database]
}

/// The gateways' way to one that decides.
fn asked(fleet: &Fleet) -> Vec<&Proxy> {
    fleet.nodes[SOUTH].asked.iter().collect()
}

/// The relay's way to NATS.
fn bus(fleet: &Fleet) -> Vec<&Proxy> {
    vec![&fleet.bus]
}
