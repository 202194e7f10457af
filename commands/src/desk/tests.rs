//! The desk's promises, on the store in memory: group decide, idempotency, conflicts, restarts, bounds.

#![expect(clippy::disallowed_methods, reason = "tests spawn the lanes that the gateway would")]

use std::sync::Mutex;

use async_trait::async_trait;
use domain::{
    event::Actor,
    ids::{MemberId, OrderId, ProductId, RequestId, Sku, WarehouseId},
    stock::{Command, Event, Rejection, Stock},
};
use jiff::Timestamp;
use ports::{
    memory::{ManualClock, MemoryKeys, MemoryStore},
    store::{Append, Appended, Recorded, Refused, Snapshot},
};
use tokio::{sync::Semaphore, task::JoinSet};
use uuid::Uuid;

use super::*;

const BUYER: Actor = Actor::Member(MemberId::from_u128(1));

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH))
}

fn memory() -> Arc<dyn EventStore> {
    Arc::new(MemoryStore::new(clock()))
}

/// Opens a desk and runs its lanes.
fn desk(store: &Arc<dyn EventStore>, limits: &Limits) -> Desk<Stock> {
    let keys: Arc<dyn Keys> = Arc::new(MemoryKeys::new(1));
    let (desk, lanes) = Desk::open(store, &keys, limits);
    for lane in lanes {
        tokio::spawn(lane.run());
    }
    desk
}

fn sku() -> Sku {
    Sku::new("heart").unwrap()
}

fn request(n: u128) -> Request {
    Request::new(RequestId::from_u128(n), BUYER, 7, Timestamp::UNIX_EPOCH)
}

fn receive(quantity: u32) -> Command {
    Command::Receive { warehouse: WarehouseId::new("main").unwrap(), quantity }
}

fn reserve(n: u128) -> Command {
    let expires_at = Timestamp::from_second(3_600).unwrap();
    Command::Reserve { order: OrderId::from_u128(n), quantity: 1, expires_at, now: Timestamp::UNIX_EPOCH }
}

/// A SKU with some units on the shelf.
async fn stocked(desk: &Desk<Stock>, units: u32) {
    let open = Command::Open { sku: sku(), product: ProductId::new("p").unwrap() };
    desk.execute(&sku(), open, request(1)).await.unwrap();
    desk.execute(&sku(), receive(units), request(2)).await.unwrap();
}

async fn available(desk: &Desk<Stock>) -> u32 {
    desk.inspect(&sku(), |seen| seen.state.available()).await.unwrap()
}

#[tokio::test]
async fn the_last_unit_goes_to_one_of_64_buyers() {
    let desk = desk(&memory(), &Limits::default());
    stocked(&desk, 1).await;
    let mut buyers = JoinSet::new();
    for n in 100..164 {
        let desk = desk.clone();
        buyers.spawn(async move { desk.execute(&sku(), reserve(n), request(n)).await });
    }
    let (mut won, mut lost) = (0, 0);
    for result in buyers.join_all().await {
        match result {
            Ok(_) => won += 1,
            Err(Error::Rejected(Rejection::OutOfStock { requested: 1, available: 0 })) => lost += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((won, lost), (1, 63));
}

#[tokio::test]
async fn what_waits_together_is_appended_together() {
    let desk = desk(&memory(), &Limits::default());
    stocked(&desk, 1_000).await;
    let before = desk.counts();
    let mut buyers = JoinSet::new();
    for n in 100..600 {
        let desk = desk.clone();
        buyers.spawn(async move { desk.execute(&sku(), reserve(n), request(n)).await.unwrap() });
    }
    let outcomes = buyers.join_all().await;
    let after = desk.counts();
    assert_eq!(after.events - before.events, 500);
    assert!(after.appends - before.appends < 50, "{} appends for 500 commands", after.appends - before.appends);
    let mut revisions: Vec<_> = outcomes.iter().map(|outcome| outcome.revision).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (3..503).collect::<Vec<_>>(), "each command has its own place in the stream");
}

#[tokio::test]
async fn one_request_64_times_at_once_has_its_effect_once_and_one_answer() {
    let desk = desk(&memory(), &Limits::default());
    stocked(&desk, 5).await;
    let mut senders = JoinSet::new();
    for _ in 0..64 {
        let desk = desk.clone();
        senders.spawn(async move { desk.execute(&sku(), receive(10), request(9)).await.unwrap() });
    }
    let outcomes = senders.join_all().await;
    assert_eq!(available(&desk).await, 15);
    assert_eq!(outcomes.iter().filter(|outcome| !outcome.replayed).count(), 1);
    for outcome in &outcomes {
        assert_eq!((outcome.position, outcome.revision, &outcome.events), {
            let first = &outcomes[0];
            (first.position, first.revision, &first.events)
        });
    }
}

#[tokio::test]
async fn a_retry_after_a_restart_gets_the_same_answer_and_changes_nothing() {
    let store = memory();
    let first = desk(&store, &Limits::default());
    stocked(&first, 5).await;
    let answer = first.execute(&sku(), receive(10), request(9)).await.unwrap();
    first.execute(&sku(), receive(100), request(10)).await.unwrap();
    drop(first);

    let second = desk(&store, &Limits::default());
    let again = second.execute(&sku(), receive(10), request(9)).await.unwrap();
    assert_eq!(again, Outcome { replayed: true, ..answer });
    assert_eq!(available(&second).await, 115);
}

#[tokio::test]
async fn the_same_request_id_for_another_wish_is_an_error_and_changes_nothing() {
    let desk = desk(&memory(), &Limits::default());
    stocked(&desk, 5).await;
    desk.execute(&sku(), receive(10), request(9)).await.unwrap();
    let other = Request { body_hash: 8, ..request(9) };
    let result = desk.execute(&sku(), receive(11), other).await;
    assert!(matches!(result, Err(Error::Reused)), "{result:?}");
    assert_eq!(available(&desk).await, 15);
}

#[tokio::test]
async fn two_callers_may_use_the_same_request_id() {
    let desk = desk(&memory(), &Limits::default());
    stocked(&desk, 5).await;
    desk.execute(&sku(), receive(10), request(9)).await.unwrap();
    let other = Request { actor: Actor::Member(MemberId::from_u128(2)), ..request(9) };
    assert!(!desk.execute(&sku(), receive(10), other).await.unwrap().replayed);
    assert_eq!(available(&desk).await, 25);
}

#[tokio::test]
async fn a_request_that_was_rejected_is_decided_anew() {
    let desk = desk(&memory(), &Limits::default());
    stocked(&desk, 1).await;
    desk.execute(&sku(), reserve(100), request(100)).await.unwrap();
    assert!(desk.execute(&sku(), reserve(101), request(101)).await.is_err());
    desk.execute(&sku(), receive(1), request(102)).await.unwrap();
    assert!(!desk.execute(&sku(), reserve(101), request(101)).await.unwrap().replayed);
}

#[tokio::test]
async fn a_request_that_had_its_effect_is_answered_so_even_where_it_would_be_rejected_now() {
    let desk = desk(&memory(), &Limits::default());
    stocked(&desk, 1).await;
    let reserved = desk.execute(&sku(), reserve(100), request(100)).await.unwrap();
    let claim = Command::Claim { order: OrderId::from_u128(100) };
    desk.execute(&sku(), claim.clone(), request(101)).await.unwrap();
    // Now nothing is left to reserve or to claim.
    let again = desk.execute(&sku(), reserve(100), request(100)).await.unwrap();
    assert_eq!(again, Outcome { replayed: true, ..reserved });
    assert!(desk.execute(&sku(), claim, request(101)).await.unwrap().replayed);
}

#[tokio::test]
async fn an_etag_that_is_not_the_streams_revision_is_refused_before_anything_is_decided() {
    let desk = desk(&memory(), &Limits::default());
    stocked(&desk, 1).await;
    let stale = Request { if_match: Some(1), ..request(9) };
    let result = desk.execute(&sku(), receive(1), stale).await;
    assert!(matches!(result, Err(Error::Stale { expected: 1, actual: 2 })), "{result:?}");
    let current = Request { if_match: Some(2), ..request(9) };
    let outcome = desk.execute(&sku(), receive(1), current.clone()).await.unwrap();
    assert_eq!(outcome.revision, 3);
    assert!(desk.execute(&sku(), receive(1), current).await.unwrap().replayed, "a retry is no stale write");
}

#[tokio::test]
async fn two_desks_on_one_log_never_oversell() {
    let store = memory();
    let desks = [desk(&store, &Limits::default()), desk(&store, &Limits::default())];
    stocked(&desks[0], 100).await;
    let mut buyers = JoinSet::new();
    for n in 1_000..1_400 {
        let desk = desks[usize::from(n % 2 == 0)].clone();
        buyers.spawn(async move {
            loop {
                match desk.execute(&sku(), reserve(n), request(n)).await {
                    Err(Error::Contention) => {}
                    result => return result.is_ok(),
                }
            }
        });
    }
    let won = buyers.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 100);
    assert!(desks.iter().map(|desk| desk.counts().conflicts).sum::<u64>() > 0, "the desks never met");
}

#[tokio::test]
async fn a_long_stream_is_loaded_from_its_snapshot() {
    let store = memory();
    let limits = Limits { snapshot_events: 10, ..Limits::default() };
    let first = desk(&store, &limits);
    stocked(&first, 1).await;
    for n in 0..30 {
        first.execute(&sku(), receive(1), request(100 + n)).await.unwrap();
    }
    let snapshot = store.load_snapshot("stock-heart", Stock::FOLD).await.unwrap().unwrap();
    assert!(snapshot.revision >= 10);
    assert_eq!(available(&desk(&store, &limits)).await, 31);
    assert!(store.load_snapshot("stock-heart", Stock::FOLD + 1).await.unwrap().is_none());
}

#[tokio::test]
async fn more_states_than_fit_in_memory_are_loaded_again() {
    let limits = Limits { states_max: NonZeroUsize::MIN, lanes: NonZeroUsize::MIN, ..Limits::default() };
    let desk = desk(&memory(), &limits);
    let skus: Vec<Sku> = (0..5).map(|n| Sku::new(format!("s{n}")).unwrap()).collect();
    for (n, sku) in (10..).zip(&skus) {
        let open = Command::Open { sku: sku.clone(), product: ProductId::new("p").unwrap() };
        desk.execute(sku, open, request(n)).await.unwrap();
        desk.execute(sku, receive(3), request(n + 100)).await.unwrap();
    }
    for sku in &skus {
        assert_eq!(desk.inspect(sku, |seen| seen.state.available()).await.unwrap(), 3);
    }
}

#[tokio::test]
async fn a_full_mailbox_refuses_at_once() {
    let keys: Arc<dyn Keys> = Arc::new(MemoryKeys::new(1));
    let limits = Limits { mailbox_max: 1, lanes: NonZeroUsize::MIN, ..Limits::default() };
    let (desk, _lanes_nobody_runs) = Desk::<Stock>::open(&memory(), &keys, &limits);
    let waiting = desk.clone();
    let first = tokio::spawn(async move { waiting.execute(&sku(), receive(1), request(1)).await });
    tokio::task::yield_now().await;
    assert!(matches!(desk.execute(&sku(), receive(1), request(2)).await, Err(Error::Overloaded)));
    first.abort();
}

/// A store that says it does not know, after or before it has written; and one that takes its time.
struct Doubtful {
    inner: Arc<dyn EventStore>,
    next: Mutex<Option<bool>>,
    /// An append takes one permit.
    gate: Semaphore,
    /// Streams whose appends have begun, in order.
    begun: Mutex<Vec<String>>,
}

impl Doubtful {
    fn new() -> Arc<Self> {
        let gate = Semaphore::new(Semaphore::MAX_PERMITS);
        Arc::new(Self { inner: memory(), next: Mutex::default(), gate, begun: Mutex::default() })
    }
}

#[async_trait]
impl EventStore for Doubtful {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Result<Appended, Refused>>, store::Error> {
        self.begun.lock().unwrap().extend(batch.iter().map(|append| append.stream.clone()));
        self.gate.acquire().await.unwrap().forget();
        let doubt = self.next.lock().unwrap().take();
        match doubt {
            None => self.inner.append(batch).await,
            Some(written) => {
                if written {
                    self.inner.append(batch).await?;
                }
                Err(store::Error::Unknown("the line broke".into()))
            }
        }
    }
    async fn read_stream(&self, stream: &str, from: u64, limit: usize) -> Result<Vec<Recorded>, store::Error> {
        self.inner.read_stream(stream, from, limit).await
    }
    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, store::Error> {
        self.inner.read_all(after, limit).await
    }
    async fn find(&self, ids: &[Uuid]) -> Result<Vec<Option<Recorded>>, store::Error> {
        self.inner.find(ids).await
    }
    async fn head(&self) -> Result<Position, store::Error> {
        self.inner.head().await
    }
    async fn distance(&self, from: Position, to: Position) -> Result<u64, store::Error> {
        self.inner.distance(from, to).await
    }
    async fn wait(&self, after: Position) {
        self.inner.wait(after).await;
    }
    async fn load_snapshot(&self, name: &str, fold: u32) -> Result<Option<Snapshot>, store::Error> {
        self.inner.load_snapshot(name, fold).await
    }
    async fn save_snapshot(&self, name: &str, snapshot: Snapshot) -> Result<(), store::Error> {
        self.inner.save_snapshot(name, snapshot).await
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_settled_by_sending_the_request_again() {
    for written in [true, false] {
        let doubtful = Doubtful::new();
        let store: Arc<dyn EventStore> = Arc::clone(&doubtful) as _;
        let desk = desk(&store, &Limits::default());
        stocked(&desk, 5).await;
        *doubtful.next.lock().unwrap() = Some(written);
        let doubt = desk.execute(&sku(), receive(10), request(9)).await;
        assert!(matches!(doubt, Err(Error::Store(store::Error::Unknown(_)))), "{doubt:?}");

        let settled = desk.execute(&sku(), receive(10), request(9)).await.unwrap();
        assert_eq!(settled.replayed, written);
        assert!(matches!(settled.events.as_slice(), [Event::Received(_)]));
        assert_eq!(available(&desk).await, 15);
    }
}

#[tokio::test]
async fn other_streams_are_written_beside_a_slow_append_and_its_own_commands_wait_for_it() {
    let slow = Doubtful::new();
    let store: Arc<dyn EventStore> = Arc::clone(&slow) as _;
    let desk = desk(&store, &Limits { lanes: NonZeroUsize::MIN, ..Limits::default() });
    stocked(&desk, 5).await;
    let other = Sku::new("star").unwrap();
    let open = Command::Open { sku: other.clone(), product: ProductId::new("p").unwrap() };
    desk.execute(&other, open, request(3)).await.unwrap();
    slow.begun.lock().unwrap().clear();
    slow.gate.forget_permits(Semaphore::MAX_PERMITS);

    let mut asked = JoinSet::new();
    for (n, sku) in [(10, sku()), (11, other.clone()), (12, sku()), (13, sku())] {
        let desk = desk.clone();
        asked.spawn(async move { (n, desk.execute(&sku, receive(1), request(n)).await.unwrap().revision) });
        tokio::task::yield_now().await;
    }
    let look = available(&desk);
    tokio::pin!(look);
    for _ in 0..100 {
        assert!(futures::poll!(look.as_mut()).is_pending(), "what is not durable is not seen");
        tokio::task::yield_now().await;
    }
    assert_eq!(*slow.begun.lock().unwrap(), ["stock-heart", "stock-star"]);

    slow.gate.add_permits(3);
    let mut revisions = asked.join_all().await;
    revisions.sort_unstable();
    assert_eq!(revisions, [(10, 3), (11, 2), (12, 4), (13, 5)]);
    assert_eq!(slow.begun.lock().unwrap().len(), 3, "what waited together was written together");
    assert_eq!(look.await, 8);
}

#[tokio::test]
async fn each_of_a_group_sees_the_state_as_its_own_command_left_it() {
    let desk = desk(&memory(), &Limits::default());
    stocked(&desk, 5).await;
    let mut senders = JoinSet::new();
    for n in 100..110 {
        let desk = desk.clone();
        senders.spawn(async move {
            desk.execute_and_keep(&sku(), receive(1), request(n), domain::stock::State::available).await.unwrap()
        });
    }
    let mut seen: Vec<_> =
        senders.join_all().await.into_iter().map(|(outcome, kept)| (outcome.revision, kept)).collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        (3..13).map(|revision| (revision, Some(u32::try_from(revision).unwrap() + 3))).collect::<Vec<_>>()
    );
    let (again, kept) =
        desk.execute_and_keep(&sku(), receive(1), request(100), domain::stock::State::available).await.unwrap();
    assert!(again.replayed && kept.is_none(), "a repeat left nothing behind now");
}
