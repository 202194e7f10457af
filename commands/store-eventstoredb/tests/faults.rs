//! A server that is not there yet, one that freezes, and one that is killed.
//!
//! The server is a process of its own (this very program, started again), over a log in SQLite files, so it can be stopped with
//! SIGSTOP and killed with SIGKILL like any other.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{env, path::Path, process::Stdio, sync::Arc, time::Duration};

use esdb_wire::{Mode, Open, Server, serve, tcp};
use ports::{
    memory::ManualClock,
    store::{Append, Appended, Error, EventStore, NewEvent, Position, Refused},
};
use rustix::process::{Pid, Signal, kill_process};
use store_eventstoredb::{EventStoreDb, Limits};
use store_sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
    time::{Instant, timeout},
};
use uuid::Uuid;

/// Where a program that has this in its environment serves: a port and a folder.
const SERVE: &str = "STORE_EVENTSTOREDB_SERVE";
const SOON: Duration = Duration::from_secs(60);

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match env::var(SERVE) {
        Ok(place) => runtime.block_on(run_server(&place)),
        Err(_) => runtime.block_on(async {
            told("a server that comes late", a_server_that_comes_late()).await;
            told("a frozen server", a_frozen_server()).await;
            told("a killed server", a_killed_server()).await;
        }),
    }
}

/// Runs a test and says that it has passed.
async fn told(name: &str, test: impl Future<Output = ()>) {
    test.await;
    println!("test {name} ... ok");
}

async fn run_server(place: &str) {
    let (port, folder) = place.split_once(' ').unwrap();
    let clock = Arc::new(ManualClock::default());
    let store = SqliteStore::open(Path::new(folder), clock.clone(), &store_sqlite::Limits::default()).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    println!("{port}");
    let server = Server {
        store: Arc::new(store),
        mode: Mode::Store,
        access: Arc::new(Open),
        clock,
        advertised: ("127.0.0.1".to_owned(), port),
        limits: esdb_wire::Limits::default(),
    };
    serve(tcp(listener), server, std::future::pending()).await.unwrap();
}

/// A server in a process of its own; killed when dropped.
struct Process {
    child: Child,
    port: u16,
}

impl Process {
    /// Starts a server; port 0 takes a free one.
    async fn start(port: u16, folder: &Path) -> Self {
        let place = format!("{port} {}", folder.display());
        let mut command = Command::new(env::current_exe().unwrap());
        let mut child = command.env(SERVE, place).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut says = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = timeout(SOON, says.next_line()).await.expect("it starts").unwrap().unwrap();
        Self { child, port: port.parse().unwrap() }
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// A store that gives up soon.
fn store(port: u16) -> Arc<dyn EventStore> {
    let limits = Limits { call_timeout: Duration::from_millis(700), attempts_max: 2, ..Limits::default() };
    Arc::new(EventStoreDb::new(&format!("esdb://127.0.0.1:{port}?tls=false"), limits).unwrap())
}

fn append(n: u128, expected: u64) -> Append {
    let event =
        NewEvent { id: Uuid::from_u128(n), kind: "thing.happened".into(), data: "{}".into(), metadata: "{}".into() };
    Append { recorded_at: None, stream: "thing-1".to_owned(), expected, events: vec![event] }
}

async fn write(store: &Arc<dyn EventStore>, n: u128, expected: u64) -> Result<Result<Appended, Refused>, Error> {
    store.append(vec![append(n, expected)]).await.map(|mut answers| answers.remove(0))
}

/// Writes until it is answered for certain, with the same id each time.
async fn insist(store: &Arc<dyn EventStore>, n: u128, expected: u64) -> Appended {
    let end = Instant::now() + SOON;
    loop {
        match write(store, n, expected).await {
            Ok(answer) => return answer.unwrap(),
            Err(error) => assert!(Instant::now() < end, "it recovers: {error}"),
        }
    }
}

async fn numbers(store: &Arc<dyn EventStore>) -> Vec<u128> {
    let events = store.read_stream("thing-1", 0, 1_000).await.unwrap();
    events.iter().map(|event| event.id.as_u128()).collect()
}

async fn a_server_that_comes_late() {
    let folder = TempDir::new().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let store = store(port);
    let refused = write(&store, 1, 0).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "nobody was there to write it: {refused}");
    assert!(store.read_all(Position::START, 1).await.is_err());
    let server = Process::start(port, folder.path()).await;
    assert!(insist(&store, 1, 0).await.fresh);
    assert_eq!(numbers(&store).await, [1]);
    server.kill().await;
}

async fn a_frozen_server() {
    let folder = TempDir::new().unwrap();
    let server = Process::start(0, folder.path()).await;
    let store = store(server.port);
    assert!(insist(&store, 1, 0).await.fresh);
    assert!(insist(&store, 2, 1).await.fresh);
    server.signal(Signal::STOP);
    let unknown = write(&store, 3, 2).await.unwrap_err();
    assert!(matches!(unknown, Error::Unknown(_)), "whether it is written, nobody knows: {unknown}");
    let failed = store.read_all(Position::START, 1).await.unwrap_err();
    assert!(matches!(failed, Error::Unavailable(_)), "a read writes nothing: {failed}");
    server.signal(Signal::CONT);
    assert_eq!(insist(&store, 3, 2).await.first_revision, 2);
    assert!(insist(&store, 4, 3).await.fresh);
    assert_eq!(numbers(&store).await, [1, 2, 3, 4], "each once, however often it was sent");
    server.kill().await;
}

async fn a_killed_server() {
    let folder = TempDir::new().unwrap();
    let mut server = Process::start(0, folder.path()).await;
    let port = server.port;
    let store = store(port);
    let mut waiting = tokio::task::JoinSet::new();
    for round in 0..4_u128 {
        let first = round * 10;
        for n in first..first + 10 {
            insist(&store, n + 1, u64::try_from(n).unwrap()).await;
        }
        let head = store.head().await.unwrap();
        let waiter = Arc::clone(&store);
        waiting.spawn(async move { waiter.wait(head).await });
        server.kill().await;
        server = Process::start(port, folder.path()).await;
    }
    insist(&store, 41, 40).await;
    timeout(SOON, waiting.join_all()).await.expect("whoever waited is woken, through every restart");
    let all: Vec<u128> = (1..=41).collect();
    assert_eq!(numbers(&store).await, all);
    let found = store.find(&[Uuid::from_u128(1), Uuid::from_u128(41), Uuid::from_u128(99)]).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
    server.kill().await;
}
