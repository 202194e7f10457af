//! Wake-ups between the nodes of a fleet: a log whose appends are announced on a bus, and whose readers hear them.
//!
//! An engine need not tell its other processes of an append: on PostgreSQL they ask every few milliseconds, because
//! its notifications would cost every commit a lock. Announcements are hints. Whoever waits is woken by the engine or by the bus, whichever is first, and bounds the wait.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use ports::{
    bus::{self, Announcements, Bus},
    store::{Append, Appended, Error, EventStore, Position, Recorded, Refused, Revision, Snapshot},
};
use tokio::sync::watch;
use uuid::Uuid;

use crate::outage::Outage;

/// The first wait after a bus did not listen; it doubles each time.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// The longest such wait, and so the longest that a healed bus wakes nobody.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// A log that several nodes write, and a bus between them. Somebody must [`AnnouncedLog::run`] it; until then, and while
/// the bus is away, it is the log alone.
pub struct AnnouncedLog {
    log: Arc<dyn EventStore>,
    bus: Arc<dyn Bus>,
    /// The end of what was appended here.
    appended: watch::Sender<Position>,
    /// The furthest that any node has announced.
    heard: watch::Sender<Position>,
}

impl AnnouncedLog {
    /// `log`, whose appends other nodes hear of on `bus`.
    #[must_use]
    pub fn new(log: Arc<dyn EventStore>, bus: Arc<dyn Bus>) -> Self {
        let start = || watch::Sender::new(Position::START);
        Self { log, bus, appended: start(), heard: start() }
    }

    /// Announces and listens for ever; failures are waited out, longer each time.
    pub async fn run(self: Arc<Self>) {
        let outage = Outage::new("nodes cannot wake each other through the bus");
        let mut wait = RETRY_MIN;
        loop {
            let error = match self.bus.listen().await {
                Ok(ear) => {
                    outage.worked();
                    wait = RETRY_MIN;
                    self.pass_on(ear).await
                }
                Err(error) => error,
            };
            outage.failed(&error);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    /// Tells what is appended here and hears what is appended elsewhere, until the bus fails. Many appends that
    /// come while one is being told are told as one.
    async fn pass_on(&self, mut ear: Box<dyn Announcements>) -> bus::Error {
        let mut appended = self.appended.subscribe();
        // What was appended before anybody listened, or while the bus was away, is told now.
        appended.mark_changed();
        loop {
            tokio::select! {
                heard = ear.next() => match heard {
                    Ok(position) => advance(&self.heard, position),
                    Err(error) => return error,
                },
                // The sender is a field of this very value.
                _ = appended.changed() => {
                    let position = *appended.borrow_and_update();
                    if position > Position::START
                        && let Err(error) = self.bus.announce(position).await
                    {
                        return error;
                    }
                }
            }
        }
    }
}

impl AnnouncedLog {
    /// Forgets what the log does not hold: anybody can announce anything, and must wake nobody more than once by it.
    fn forget(&self, told: Position) {
        self.heard.send_if_modified(|heard| {
            let forgotten = *heard == told;
            if forgotten {
                *heard = Position::START;
            }
            forgotten
        });
    }
}

fn advance(shown: &watch::Sender<Position>, position: Position) {
    shown.send_if_modified(|newest| {
        let further = position > *newest;
        *newest = position.max(*newest);
        further
    });
}

#[async_trait]
impl EventStore for AnnouncedLog {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Result<Appended, Refused>>, Error> {
        let answers = self.log.append(batch).await?;
        let fresh = answers.iter().flatten().filter(|appended| appended.fresh);
        if let Some(end) = fresh.map(|appended| appended.last_position).max() {
            advance(&self.appended, end);
        }
        Ok(answers)
    }

    fn sole_writer(&self) -> bool {
        self.log.sole_writer()
    }

    async fn read_stream(&self, stream: &str, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
        self.log.read_stream(stream, from, limit).await
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error> {
        self.log.read_all(after, limit).await
    }

    async fn find(&self, ids: &[Uuid]) -> Result<Vec<Option<Recorded>>, Error> {
        self.log.find(ids).await
    }

    async fn head(&self) -> Result<Position, Error> {
        self.log.head().await
    }

    async fn distance(&self, from: Position, to: Position) -> Result<u64, Error> {
        self.log.distance(from, to).await
    }

    async fn wait(&self, after: Position) {
        let mut heard = self.heard.subscribe();
        loop {
            let told = tokio::select! {
                () = self.log.wait(after) => return,
                // An error would mean that this value is gone, which holds the sender.
                told = heard.wait_for(|position| *position > after) => told.map_or(Position::START, |told| *told),
            };
            match self.log.head().await {
                Ok(head) if head <= after => self.forget(told),
                // The caller reads, and finds out what is wrong.
                Ok(_) | Err(_) => return,
            }
        }
    }

    async fn load_snapshot(&self, name: &str, fold: u32) -> Result<Option<Snapshot>, Error> {
        self.log.load_snapshot(name, fold).await
    }

    async fn save_snapshot(&self, name: &str, snapshot: Snapshot) -> Result<(), Error> {
        self.log.save_snapshot(name, snapshot).await
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::future::join_all;
    use ports::{
        memory::{ManualClock, MemoryBus, MemoryStore},
        store::NewEvent,
    };
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// One node of two: its engine tells it nothing of what the other appends.
    struct Deaf(MemoryStore);

    #[async_trait]
    impl EventStore for Deaf {
        async fn append(&self, batch: Vec<Append>) -> Result<Vec<Result<Appended, Refused>>, Error> {
            self.0.append(batch).await
        }
        async fn read_stream(&self, stream: &str, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
            self.0.read_stream(stream, from, limit).await
        }
        async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error> {
            self.0.read_all(after, limit).await
        }
        async fn find(&self, ids: &[Uuid]) -> Result<Vec<Option<Recorded>>, Error> {
            self.0.find(ids).await
        }
        async fn head(&self) -> Result<Position, Error> {
            self.0.head().await
        }
        async fn distance(&self, from: Position, to: Position) -> Result<u64, Error> {
            self.0.distance(from, to).await
        }
        async fn wait(&self, _after: Position) {
            std::future::pending::<()>().await;
        }
        async fn load_snapshot(&self, name: &str, fold: u32) -> Result<Option<Snapshot>, Error> {
            self.0.load_snapshot(name, fold).await
        }
        async fn save_snapshot(&self, name: &str, snapshot: Snapshot) -> Result<(), Error> {
            self.0.save_snapshot(name, snapshot).await
        }
    }

    fn nodes() -> [Arc<AnnouncedLog>; 2] {
        let (store, bus) = (MemoryStore::new(Arc::new(ManualClock::default())), MemoryBus::new());
        [(), ()].map(|()| Arc::new(AnnouncedLog::new(Arc::new(Deaf(store.clone())), Arc::new(bus.clone()))))
    }

    fn append(n: u64) -> Vec<Append> {
        let id = Uuid::from_u128(u128::from(n) + 1);
        let event = NewEvent { id, kind: "x.y".into(), data: Bytes::from("{}"), metadata: Bytes::from("{}") };
        vec![Append { stream: "x-1".to_owned(), expected: n, events: vec![event], recorded_at: None }]
    }

    /// Does the work while the nodes announce and listen.
    async fn while_running<T>(nodes: &[&Arc<AnnouncedLog>], work: impl Future<Output = T>) -> T {
        let running = join_all(nodes.iter().map(|node| Arc::clone(node).run()));
        let work = async {
            // By then everybody listens: nothing of that waits for anything.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            work.await
        };
        tokio::select! {
            _ = running => panic!("a node runs for ever"),
            done = timeout(PATIENCE, work) => done.expect("it is woken"),
        }
    }

    #[tokio::test]
    async fn a_node_hears_of_what_another_appends() {
        let [one, other] = nodes();
        let work = async {
            for n in 0..20 {
                let (appended, ()) = tokio::join!(one.append(append(n)), other.wait(Position(n)));
                appended.unwrap()[0].as_ref().unwrap();
            }
        };
        while_running(&[&one, &other], work).await;
    }

    #[tokio::test]
    async fn only_what_comes_behind_wakes_and_what_was_heard_is_remembered() {
        let [one, other] = nodes();
        one.append(append(0)).await.unwrap()[0].as_ref().unwrap();
        let work = async {
            let early = timeout(Duration::from_millis(50), other.wait(Position(1))).await;
            assert!(early.is_err(), "nothing came after position 1");
            one.append(append(1)).await.unwrap()[0].as_ref().unwrap();
            other.wait(Position(1)).await;
            other.wait(Position(0)).await;
        };
        while_running(&[&one, &other], work).await;
    }

    #[tokio::test]
    async fn an_announcement_of_what_is_not_there_wakes_nobody_for_good() {
        let [one, other] = nodes();
        one.append(append(0)).await.unwrap()[0].as_ref().unwrap();
        let work = async {
            other.bus.announce(Position(u64::MAX)).await.unwrap();
            let woken = timeout(Duration::from_millis(50), other.wait(Position(1))).await;
            assert!(woken.is_err(), "there is nothing behind position 1");
            one.append(append(1)).await.unwrap()[0].as_ref().unwrap();
            other.wait(Position(1)).await;
        };
        while_running(&[&one, &other], work).await;
    }

    #[tokio::test]
    async fn a_repeated_append_is_not_announced() {
        let [one, _] = nodes();
        let mut told = one.appended.subscribe();
        one.append(append(0)).await.unwrap()[0].as_ref().unwrap();
        assert!(told.has_changed().unwrap());
        told.mark_unchanged();
        assert!(!one.append(append(0)).await.unwrap()[0].as_ref().unwrap().fresh);
        assert!(!told.has_changed().unwrap());
    }
}
