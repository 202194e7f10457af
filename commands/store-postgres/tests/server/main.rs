//! The log on a real PostgreSQL: the port's contract, the tables, several processes that are killed, a server that freezes
//! and crashes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod audit;
mod contract;
mod outages;
mod processes;
mod tables;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use ports::{
    memory::ManualClock,
    store::{Append, NewEvent},
};
use servers::{
    or_not_run,
    postgres::{Options, Postgres},
};
use store_postgres::{Limits, PostgresStore};
use uuid::Uuid;

/// How long what is expected may take, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// One server for all tests that do not freeze or crash it.
fn server() -> Option<&'static Postgres> {
    static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
    SERVER.get_or_init(|| or_not_run(Postgres::start(Options::default()))).as_ref()
}

/// A server of its own, for a test that freezes or crashes it.
fn own_server() -> Option<Postgres> {
    or_not_run(Postgres::start(Options { own: true, ..Options::default() }))
}

async fn connect(url: &str, limits: &Limits) -> Result<PostgresStore, store_postgres::Error> {
    PostgresStore::connect(url, Arc::new(ManualClock::default()), limits).await
}

fn event(n: u128) -> NewEvent {
    let data = Bytes::from(format!(r#"{{"n":{n}}}"#));
    NewEvent { id: Uuid::from_u128(n), kind: "thing.happened".into(), data, metadata: Bytes::from_static(b"{}") }
}

fn append(stream: &str, expected: u64, numbers: impl IntoIterator<Item = u128>) -> Append {
    Append { recorded_at: None, stream: stream.to_owned(), expected, events: numbers.into_iter().map(event).collect() }
}
