//! Views on a real PostgreSQL: the port's contract, a server that freezes and crashes, and what people read.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod outages;
mod replicas;
mod tables;

use std::{sync::OnceLock, thread, time::Duration};

use bytes::Bytes;
use ports::{
    store::Position,
    views::{RowChange, ViewCommit},
};
use postgres::{Client, NoTls};
use servers::{
    or_not_run,
    postgres::{Options, Postgres},
};

/// How long what is expected may take, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// One server for all tests that do not freeze or crash it.
fn server() -> Option<&'static Postgres> {
    static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
    SERVER.get_or_init(|| or_not_run(Postgres::start(Options::default()))).as_ref()
}

/// Runs `work` on a connection and a thread of its own: the blocking client drives a runtime by itself.
fn with<T: Send>(url: &str, work: impl FnOnce(&mut Client) -> T + Send) -> T {
    let run = || work(&mut Client::connect(url, NoTls).unwrap());
    thread::scope(|scope| scope.spawn(run).join()).unwrap()
}

/// A commit that writes `text` into the rows `keys`, each with one entry under `text`, which stood under `before`.
fn commit(view: &str, from: u64, keys: std::ops::Range<u32>, text: &str, before: Option<&str>) -> ViewCommit {
    let change = |key: u32| RowChange {
        key: key.to_be_bytes().to_vec(),
        row: Some(Bytes::from(text.to_owned())),
        new: before.is_none(),
        unindex: before.map(|before| ("by-text", before.as_bytes().to_vec())).into_iter().collect(),
        index: vec![("by-text", text.as_bytes().to_vec())],
    };
    ViewCommit {
        view: view.to_owned(),
        from: Position(from),
        to: Position(from + 1),
        changes: keys.map(change).collect(),
    }
}
