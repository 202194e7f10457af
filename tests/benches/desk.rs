//! The desk without a door: one hot stream in process, on the embedded store, every answer durable.

use std::{cell::RefCell, sync::Arc};

use commands::{
    desk::{Desk, Limits},
    request::Request,
};
use domain::{decider::Decider, event::Actor, ids::RequestId};
use futures::future::join_all;
use gateway::clock::SystemClock;
use jiff::Timestamp;
use ports::{clock::Clock as _, keys::Keys, store::EventStore};
use proto::v1::Role;
use store_sqlite::{SqliteKeys, SqliteStore};
use tokio::{task::JoinSet, time::Instant};

use super::{
    Settings,
    caller::{member, request_id},
    load::{self, Measured},
    report::{Goal, Report},
};

/// Measures how many commands a second one stream takes.
pub fn measure<D: Decider>(
    settings: &Settings,
    id: &D::Id,
    first: fn() -> Vec<D::Command>,
    command: fn(u64, Timestamp) -> D::Command,
    report: &mut Report,
) -> f64 {
    let folder = tempfile::TempDir::with_prefix_in("cartulary-", &settings.folder).expect("a folder");
    let limits = store_sqlite::Limits::default();
    let store = SqliteStore::open(folder.path(), Arc::new(SystemClock), &limits).expect("a log");
    let keys = SqliteKeys::open(folder.path(), &limits).expect("keys");
    let (store, keys): (Arc<dyn EventStore>, Arc<dyn Keys>) = (Arc::new(store), Arc::new(keys));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (desk, measured) = runtime.block_on(async {
        let (desk, lanes) = Desk::<D>::open(&store, &keys, &Limits::default());
        let mut running = JoinSet::new();
        lanes.into_iter().for_each(|lane| drop(running.spawn(lane.run())));
        for command in first() {
            desk.execute(id, command, request()).await.expect("a beginning");
        }
        let measured = ask(settings, &desk, id, command).await;
        (desk.counts(), measured)
    });
    let rate = report.measured(format!("the desk in process, {} callers", settings.callers), &measured);
    let spared = super::server::Counts { commands: desk.commands, appends: desk.appends }.retries_spared() * 100.0;
    report.figure("the same for the desk in process", spared, "%", Goal::None);
    rate
}

async fn ask<D: Decider>(
    settings: &Settings,
    desk: &Desk<D>,
    id: &D::Id,
    command: fn(u64, Timestamp) -> D::Command,
) -> Measured {
    let from = Instant::now() + settings.warm_up;
    let until = from + settings.time;
    let (measured, next) = (RefCell::new(Measured::nothing()), std::cell::Cell::new(0));
    join_all((0..settings.callers).map(async |_| {
        loop {
            let sent = Instant::now();
            if sent >= until {
                return;
            }
            let n = next.replace(next.get() + 1);
            let outcome = desk.execute(id, command(n, SystemClock.now()), request()).await;
            outcome.expect("a command that the rules allow");
            let done = Instant::now();
            if done >= from && done <= until {
                let mut measured = measured.borrow_mut();
                measured.answered += 1;
                measured.time = done - from;
                measured.latency.saturating_record(load::micros(done - sent));
            }
        }
    }))
    .await;
    measured.into_inner()
}

fn request() -> Request {
    Request::new(RequestId(request_id()), Actor::Member(member(Role::Operator, 0)), 0, SystemClock.now())
}
