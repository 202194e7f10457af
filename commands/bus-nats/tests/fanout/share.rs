//! Three workers share the events; one of them dies with a job in its hands.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bus_nats::{Group, Job};
use futures::TryStreamExt as _;
use tokio::{sync::watch, task::JoinSet};

use super::scene::{Log, SOON, connect, jetstream, server};

const PARTITIONS: u32 = 6;

/// What was worked on, in the order in which it was begun and ended.
#[derive(Default)]
struct Book {
    /// Per aggregate: revisions, each when work on it began.
    begun: BTreeMap<String, Vec<u64>>,
    workers: BTreeSet<usize>,
    done: BTreeSet<(String, u64)>,
}

impl Book {
    /// Notes a job at its beginning.
    fn begin(&mut self, worker: usize, stream: &str, revision: u64) {
        self.workers.insert(worker);
        let before = revision.checked_sub(1).map(|before| (stream.to_owned(), before));
        assert!(before.is_none_or(|before| self.done.contains(&before)), "{stream} {revision} overtook the one before");
        self.begun.entry(stream.to_owned()).or_default().push(revision);
    }
}

fn place(job: &Job) -> (String, u64) {
    (job.header("ce-subject").unwrap().to_owned(), job.header("ce-revision").unwrap().parse().unwrap())
}

/// One worker: every partition side by side, until it is told to die.
async fn work(group: Group, worker: usize, book: Arc<Mutex<Book>>, mut dies: watch::Receiver<bool>) {
    let mut partitions = JoinSet::new();
    for mut partition in group.partitions() {
        let book = Arc::clone(&book);
        partitions.spawn(async move {
            loop {
                let Ok(Some(job)) = partition.next().await else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let (stream, revision) = place(&job);
                book.lock().unwrap().begin(worker, &stream, revision);
                tokio::time::sleep(Duration::from_millis(1)).await;
                book.lock().unwrap().done.insert((stream, revision));
                drop(job.done().await);
            }
        });
    }
    // Dropping the set aborts everything where it is: jobs that were begun are never told of.
    drop(dies.wait_for(|dies| *dies).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_aggregate_keeps_its_order_although_a_worker_dies() {
    let Some(server) = server() else { return };
    let mut log = Log::new(20);
    log.append(300).await;
    let book = Arc::new(Mutex::new(Book::default()));
    let mut workers = JoinSet::new();
    let mut deaths = Vec::new();
    for worker in 0..3 {
        let group = connect(&server).await.group("mail", PARTITIONS).unwrap();
        let (death, dies) = watch::channel(false);
        deaths.push(death);
        workers.spawn(work(group, worker, Arc::clone(&book), dies));
    }
    log.drain(&mut log.relay(connect(&server).await.bus()).await).await;
    let done = |count: usize| {
        let book = Arc::clone(&book);
        async move {
            let enough = async {
                while book.lock().unwrap().done.len() < count {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(SOON, enough).await.expect("the work goes on");
        }
    };
    done(60).await;
    deaths[0].send_replace(true);
    log.append(300).await;
    log.drain(&mut log.relay(connect(&server).await.bus()).await).await;
    done(600).await;
    drop(workers);

    let group = jetstream(&server).await.get_stream("shop-group-mail-6").await.unwrap();
    let left: Vec<(String, usize)> = group.info_with_subjects(">").await.unwrap().try_collect().await.unwrap();
    assert!(left.len() < 10, "what is done has left the group: {left:?}");
    let book = book.lock().unwrap();
    assert_eq!(book.workers.len(), 3, "all of them had work");
    for (stream, begun) in &book.begun {
        let mut first = begun.clone();
        first.dedup();
        assert_eq!(first, (0..30).collect::<Vec<_>>(), "{stream}: in order, and again only what was not done");
    }
    let partition = |subject: &str| subject.split('.').nth(3).unwrap().parse::<u32>().unwrap();
    assert!(left.iter().all(|(subject, _)| partition(subject) < PARTITIONS), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_group_starts_again_after_a_wipe() {
    let Some(mut server) = server() else { return };
    let mut log = Log::new(5);
    log.append(20).await;
    let mut relay = log.relay(connect(&server).await.bus()).await;
    let mut partition = connect(&server).await.group("mail", 1).unwrap().partitions().remove(0);
    for _ in 0..2 {
        log.drain(&mut relay).await;
        let mut seen = Vec::new();
        let all = async {
            while seen.len() < 20 {
                match partition.next().await {
                    Ok(Some(job)) => {
                        seen.push(job.event().unwrap().position.0);
                        job.done().await.unwrap();
                    }
                    Ok(None) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        tokio::time::timeout(SOON, all).await.unwrap();
        assert_eq!(seen, (1..=20).collect::<Vec<_>>());
        server.wipe().unwrap();
        let refilled = async {
            while relay.reconcile(jiff::Timestamp::UNIX_EPOCH).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(SOON, refilled).await.unwrap();
    }
}
