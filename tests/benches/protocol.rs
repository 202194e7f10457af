//! A bare log over the EventStoreDB protocol beside UmaDB, an event store written in Rust as well, over its own protocol.
//!
//! Both sync before they answer, both are asked the same by clients of the same make: over gRPC with nothing but the
//! messages that are needed (see [`super::esdb`] and [`super::uma`]), so that the servers are measured and not somebody's
//! client. Every append begins a stream and expects that there is none; in UmaDB, which has no streams, that is the
//! condition that no event has the stream's tag.

use bytes::Bytes;
use servers::umadb::UmaDb;
use tokio::time::Instant;
use tonic::Status;
use uuid::Uuid;

use super::{
    Settings,
    bare_log::BareLog,
    esdb::Esdb,
    goods::scattered,
    load::{self, Load},
    machine,
    report::{Goal, Report},
    uma::Uma,
};

/// Clients that append one event at a time.
const CLIENTS: usize = 64;
/// Clients that append many at a time, and how many.
const CLIENTS_OF_BATCHES: usize = 8;
const BATCH: u64 = 100;
/// The most batches: a million events.
const BATCHES_MAX: u64 = 10_000;
/// Where the numbers of the streams of batches begin.
const BATCHES: u64 = 1 << 40;
/// Events that are read at a time, from the beginning of the log.
const READ_MAX: u64 = 200_000;
/// What an event is called.
pub const KIND: &str = "account.credited";
/// What an event says.
pub static BODY: Bytes = Bytes::from_static(
    br#"{"account":"019a0000-0000-7000-8000-000000000000","lines":[{"sku":"85123A","name":"WHITE HANGING HEART T-LIGHT HOLDER","quantity":6,"price":{"minor":255,"currency":"GBP"}},{"sku":"71053","name":"WHITE METAL LANTERN","quantity":6,"price":{"minor":339,"currency":"GBP"}}],"region":"GB"}"#,
);

/// A client of an event store.
pub trait Client {
    /// Begins a stream with so many events, unless it is there.
    fn append(&mut self, stream: u64, events: u64) -> impl Future<Output = Result<(), Status>>;

    /// Reads the log from its beginning, so many events at most. How many came.
    fn read(&mut self, events: u64) -> impl Future<Output = Result<u64, Status>>;
}

/// The name of a stream.
pub fn stream(n: u64) -> String {
    format!("account-{}", id(n, u64::MAX))
}

/// The id of an event. As clients make them: like chance.
pub fn id(stream: u64, event: u64) -> Uuid {
    let mixed = scattered(stream) ^ event;
    uuid::Builder::from_random_bytes(Uuid::from_u64_pair(scattered(mixed), scattered(!mixed)).into_bytes()).into_uuid()
}

pub(super) fn measure(settings: &Settings) -> Report {
    let mut report = Report::new("protocol");
    let log = BareLog::start(&settings.folder);
    let (addr, token) = (log.process.addr, log.token.clone());
    let ours = rates(settings, "Cartulary", &async || Esdb::connect(addr, &token).await, &mut report);
    log.process.stop();
    let theirs = UmaDb::start(Some(&settings.folder)).map(|server| {
        let port = server.port();
        rates(settings, "UmaDB", &async || Uma::connect(port).await, &mut report)
    });
    match theirs {
        Ok(theirs) => {
            let what = ["one event an append", "events in batches", "events read"];
            for ((what, ours), theirs) in what.into_iter().zip(ours).zip(theirs) {
                report.ratio(format!("{what}: Cartulary / UmaDB"), ours, theirs, Goal::Least(1.0));
            }
        }
        Err(why) => {
            report
                .not_run("UmaDB", &format!("{why}; `cargo install umadb`, or name it in {}", servers::umadb::VARIABLE));
        }
    }
    let bytes = BODY.len();
    report.note(format!(
        "each append begins a stream that must not be there, with events of {bytes} bytes and random ids"
    ));
    report
}

/// Appends a second, events a second in batches, events read a second.
fn rates<C: Client>(
    settings: &Settings,
    who: &str,
    connect: &(impl AsyncFn() -> C + Sync),
    report: &mut Report,
) -> [f64; 3] {
    let open = |load: Load| {
        async move |thread: usize| {
            let mut clients = Vec::new();
            for _ in load::mine(load, thread) {
                clients.push(connect().await);
            }
            clients
        }
    };
    let singly = Load { callers: CLIENTS, ..Load::of(settings) };
    let appends = load::drive(singly, &open(singly), &async |client: &mut C, n| client.append(n, 1).await);
    let appends = report.measured(format!("{who}: an append, {CLIENTS} clients"), &appends.unrefused("an append"));

    let (callers, threads) = (CLIENTS_OF_BATCHES, machine::cores().min(CLIENTS_OF_BATCHES));
    let many = Load { callers, threads, requests_max: BATCHES_MAX, ..Load::of(settings) };
    let ask = async |client: &mut C, n: u64| client.append(BATCHES + n, BATCH).await;
    let batches = load::drive(many, &open(many), &ask).unrefused("a batch");
    let batched = batches.per_second() * BATCH as f64;
    report.rate(format!("{who}: events, {BATCH} an append, {callers} clients"), batched, Some(&batches.latency));

    let read = load::runtime().block_on(async {
        let (mut client, begun, mut read) = (connect().await, Instant::now(), 0);
        while begun.elapsed() < settings.time {
            read += client.read(READ_MAX).await.expect("a log that can be read");
        }
        assert!(read > 0, "nothing was read");
        load::per_second(read, begun.elapsed())
    });
    report.rate(format!("{who}: events read, one client"), read, None);
    [appends, batched, read]
}
