//! Several processes on one log: four write, three read, one of the writers is killed again and again, another frozen.
//!
//! The processes are this program, run a second time to run one "test" that does nothing otherwise.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use ports::store::{Append, Error, EventStore, Position, Refused};
use store_postgres::{Limits, PostgresStore};
use tokio::{task::JoinSet, time::timeout};
use uuid::Uuid;

use crate::{SOON, append, audit::audit, connect, server};

/// In the environment of a process: what it is, as `writer <number>` or `reader <page>`.
const ROLE: &str = "CARTULARY_TEST_ROLE";
/// The database.
const URL: &str = "CARTULARY_TEST_URL";
const WRITERS: u128 = 4;
/// Streams that a writer writes at the same time, so that it is in the midst of something whenever it is killed.
const LANES: u128 = 8;
/// Appends to each of them, and to the stream that all lanes of all writers share.
const EACH: u64 = 40;
/// How often the first writer is killed.
const KILLS: usize = 6;
/// What the shared stream is called.
const SHARED: &str = "shared-1";
/// The event that tells the readers that nothing more will come.
const END: u128 = u128::MAX;

/// A process, and the lines it says.
struct Role {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Role {
    fn start(role: &str, url: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "processes::one_of_the_processes", "--nocapture"]).env(ROLE, role).env(URL, url);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (line, lines) = mpsc::channel();
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|said| line.send(said)));
        Self { child, lines }
    }

    /// The next line that begins with `word`, without it; `None` at the end.
    fn hear(&self, word: &str) -> Option<String> {
        loop {
            match self.lines.recv_timeout(SOON) {
                Ok(line) => {
                    // The harness may have begun the line.
                    if let Some((_, rest)) = line.split_once(word) {
                        return Some(rest.trim().to_owned());
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("nothing is heard of it"),
            }
        }
    }

    /// What it said until it ended well.
    fn finish(mut self, word: &str) -> Vec<String> {
        let heard = std::iter::from_fn(|| self.hear(word)).collect();
        assert!(self.child.wait().unwrap().success(), "it failed");
        heard
    }

    fn signal(&self, signal: &str) {
        let told = Command::new("kill").args([format!("-{signal}"), self.child.id().to_string()]).status();
        assert!(told.unwrap().success(), "it has ended");
    }

    /// Kills it; what it had said.
    fn kill(mut self, word: &str) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::iter::from_fn(|| self.hear(word)).collect()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _dead = self.child.kill();
        let _waited = self.child.wait();
    }
}

#[test]
fn writers_are_killed_and_no_reader_ever_skips() {
    let Some(server) = server() else { return };
    let url = server.fresh_database().unwrap();
    // All seven find an empty database, and make the tables at the same time.
    let readers: Vec<Role> = [1, 7, 500].map(|page| Role::start(&format!("reader {page}"), &url)).into();
    let mut writers: Vec<Role> = (0..WRITERS).map(|n| Role::start(&format!("writer {n}"), &url)).collect();
    let mut told: Vec<String> = Vec::new();
    for kill in 0..KILLS {
        let victim = std::mem::replace(&mut writers[0], Role::start("writer 0", &url));
        // Each time a little later.
        told.extend((0..=kill * 5).filter_map(|_| victim.hear("ACK")));
        told.extend(victim.kill("ACK"));
    }
    // A frozen writer holds up nobody.
    let frozen = writers.remove(1);
    frozen.signal("STOP");
    told.extend(writers.into_iter().flat_map(|writer| writer.finish("ACK")));
    frozen.signal("CONT");
    told.extend(frozen.finish("ACK"));
    assert!(told.len() as u128 >= WRITERS, "acknowledged: {}", told.len());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = connect(&url, &Limits::default()).await.unwrap();
        store.append(vec![append("end-1", 0, [END])]).await.unwrap()[0].clone().unwrap();
    });
    let log = audit(&url);
    for reader in readers {
        let seen: Vec<Uuid> = reader.finish("SEEN").iter().map(|id| id.parse().unwrap()).collect();
        assert!(seen == log.iter().map(|row| row.3).collect::<Vec<_>>(), "a reader saw the log as it is");
    }
    let there: BTreeMap<String, i64> = log.iter().map(|row| (row.3.to_string(), row.0)).collect();
    for line in told {
        let (id, position) = line.split_once(' ').unwrap();
        assert_eq!(there[id].to_string(), position, "{id} is where it was acknowledged, after the kill of its writer");
    }
    let expected: BTreeSet<Uuid> = (0..WRITERS)
        .flat_map(|writer| (0..LANES).flat_map(move |lane| (0..EACH).flat_map(move |n| numbers(writer, lane, n))))
        .flatten()
        .chain([END])
        .map(Uuid::from_u128)
        .collect();
    assert_eq!(log.iter().map(|row| row.3).collect::<BTreeSet<_>>(), expected, "everything is there, and only that");
}

/// The events that a lane appends in its n-th round: two to its own stream, one to the shared one.
fn numbers(writer: u128, lane: u128, n: u64) -> [Vec<u128>; 2] {
    let base = (writer + 1) << 64 | lane << 32 | u128::from(n) << 2;
    [vec![base, base + 1], vec![base + 2]]
}

/// Not a test by itself: what the processes of the test above do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_the_processes() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let store = Arc::new(connect(&std::env::var(URL).unwrap(), &Limits::default()).await.unwrap());
    match role.split_once(' ').unwrap() {
        ("writer", number) => write(store, number.parse().unwrap()).await,
        (_, page) => read(&store, page.parse().unwrap()).await,
    }
}

/// Writes everything of one writer that is not there yet. What an earlier life has written is recognised by its ids.
async fn write(store: Arc<PostgresStore>, writer: u128) {
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let store = Arc::clone(&store);
        lanes.spawn(async move {
            for n in 0..EACH {
                let [own, shared] = numbers(writer, lane, n);
                put(&store, append(&format!("own-{writer}-{lane}"), n * 2, own)).await;
                put(&store, append(SHARED, 0, shared)).await;
            }
        });
    }
    lanes.join_all().await;
}

/// Appends where the stream ends, wherever that is by then, and says so.
async fn put(store: &PostgresStore, mut append: Append) {
    let id = append.events[append.events.len() - 1].id;
    loop {
        match store.append(vec![append.clone()]).await.map(|mut answers| answers.remove(0)) {
            Ok(Ok(place)) => return println!("ACK {id} {}", place.last_position),
            Ok(Err(Refused::Conflict { actual, .. })) if append.stream == SHARED => append.expected = actual,
            // Other processes were faster each time.
            Err(Error::Unavailable(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Follows the log to its end, then says what it saw.
async fn read(store: &PostgresStore, page: usize) {
    let mut seen: Vec<(Position, Uuid)> = Vec::new();
    while seen.last().is_none_or(|last| last.1 != Uuid::from_u128(END)) {
        let after = seen.last().map_or(Position::START, |last| last.0);
        let more = store.read_all(after, page).await.unwrap();
        if more.is_empty() {
            let _nothing_yet = timeout(Duration::from_millis(200), store.wait(after)).await;
        }
        seen.extend(more.iter().map(|event| (event.position, event.id)));
    }
    for (_, id) in seen {
        println!("SEEN {id}");
    }
}
