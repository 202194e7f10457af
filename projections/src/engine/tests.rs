//! The engine against its promise: whatever the batches, restarts and failures, every view is a fresh fold.

use std::time::Duration;

use domain::event::Event;
use ports::{memory::MemoryStore, views::ViewCommit};
use proptest::prelude::*;

use super::*;
use crate::{
    fold::view,
    positions::{Follower, Unreached},
    testing::{FaultyViews, Outcome, Shop, told, word},
    verify::verify,
    view::{Fault, Scope, View},
    views::{self, orders::Orders},
};

fn engine(log: &MemoryStore, rows: &FaultyViews, views: Vec<Box<dyn AnyView>>, batch: usize, cache: usize) -> Engine {
    loading(log, rows, views, batch, 0, cache)
}

/// An engine that folds so many bytes of events between two commits while the log's end is far.
fn loading(
    log: &MemoryStore,
    rows: &FaultyViews,
    views: Vec<Box<dyn AnyView>>,
    batch: usize,
    bytes: usize,
    cache: usize,
) -> Engine {
    let limits = Limits { batch_events_max: batch, load_bytes_max: bytes, cached_bytes_max: cache };
    Engine::new(Arc::new(log.clone()), Arc::new(rows.clone()), views, limits)
}

fn all(shop: &Shop, rows: &FaultyViews) -> Engine {
    engine(&shop.log, rows, views::all(), 10, 1 << 20)
}

/// More steps than any of these histories needs.
const STEPS_MAX: usize = 1_000;

async fn catch_up(engine: &mut Engine) -> Step {
    for _ in 0..STEPS_MAX {
        let step = engine.step().await.unwrap();
        if step.caught_up {
            return step;
        }
    }
    panic!("it never catches up");
}

/// Every view equals a fresh fold at its position, wherever that is.
async fn audit(log: &MemoryStore, rows: &FaultyViews) {
    for view in views::all() {
        let verified = view.verify(log, rows).await.unwrap();
        assert!(verified.sound(), "{}: {:#?}", view.id(), verified.differences);
    }
}

async fn busy_shop(acts: u8) -> Shop {
    let mut shop = Shop::new();
    for n in 0..acts {
        shop.act(n, n.wrapping_mul(7)).await;
    }
    shop
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// What happens in a random life of an engine.
#[derive(Debug, Clone)]
enum Turn {
    Act(u8, u8),
    Step,
    /// With these views only, so that views come to stand at different places.
    Restart {
        batch: usize,
        bytes: usize,
        cache: usize,
        views: u16,
    },
    Fail(Outcome),
}

fn room() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0_usize), Just(900), Just(1 << 20)]
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        8 => (any::<u8>(), any::<u8>()).prop_map(|(what, whom)| Turn::Act(what, whom)),
        3 => Just(Turn::Step),
        1 => (1_usize..20, room(), room(), 1_u16..512)
            .prop_map(|(batch, bytes, cache, views)| Turn::Restart { batch, bytes, cache, views }),
        1 => prop_oneof![Just(Outcome::Lost), Just(Outcome::WrittenUnheard)].prop_map(Turn::Fail),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_view_is_a_fresh_fold_whatever_the_batches_restarts_and_failures(
        turns in proptest::collection::vec(turn(), 1..160),
    ) {
        run(async {
            let mut shop = Shop::new();
            let rows = FaultyViews::default();
            let mut engine = all(&shop, &rows);
            for turn in turns {
                match turn {
                    Turn::Act(what, whom) => shop.act(what, whom).await,
                    Turn::Step => {
                        let failing = rows.outcomes.lock().unwrap().front().is_some();
                        prop_assert!(engine.step().await.is_ok() || failing);
                    }
                    Turn::Restart { batch, bytes, cache, views } => {
                        let some = views::all().into_iter().enumerate().filter(|(n, _)| views >> n & 1 == 1);
                        let some = some.map(|(_, view)| view).collect();
                        engine = loading(&shop.log, &rows, some, batch, bytes, cache);
                    }
                    Turn::Fail(outcome) => {
                        rows.outcomes.lock().unwrap().push_back(outcome);
                        let _ = engine.step().await;
                        audit(&shop.log, &rows).await;
                    }
                }
            }
            rows.outcomes.lock().unwrap().clear();
            engine = all(&shop, &rows);
            let step = catch_up(&mut engine).await;
            let head = shop.log.head().await.unwrap();
            prop_assert_eq!(step.position, head);
            for (view, standing) in engine.positions().all() {
                prop_assert_eq!((view, standing.position, standing.stopped), (view, head, None));
            }
            audit(&shop.log, &rows).await;
            Ok(())
        })?;
    }
}

#[test]
fn the_audit_itself_sees_a_lost_row_a_changed_row_and_a_stray_index_entry() {
    run(async {
        use ports::views::RowChange;
        let shop = busy_shop(60).await;
        let rows = FaultyViews::default();
        catch_up(&mut all(&shop, &rows)).await;
        let head = shop.log.head().await.unwrap();
        let key = crate::key::key(&word::<domain::ids::Sku>("s0"));
        let spoils = [
            RowChange { key: key.clone(), row: None, new: false, unindex: vec![], index: vec![] },
            RowChange { key: key.clone(), row: Some("{}".into()), new: false, unindex: vec![], index: vec![] },
            RowChange {
                new: false,
                key: key.clone(),
                row: rows.get_many("stock.1", std::slice::from_ref(&key)).await.unwrap()[0].clone(),
                unindex: vec![],
                index: vec![("by_product", b"stray".to_vec())],
            },
        ];
        for spoil in spoils {
            let spoilt = FaultyViews { inner: rows.inner.fork(), ..FaultyViews::default() };
            let commit = ViewCommit { view: "stock.1".into(), from: head, to: head, changes: vec![spoil] };
            spoilt.commit(vec![commit]).await.unwrap();
            let verified = verify::<views::stock::Stock>(&shop.log, &spoilt).await.unwrap();
            assert!(!verified.sound());
        }
    });
}

#[test]
fn rows_and_position_are_committed_together_or_not_at_all() {
    run(async {
        let shop = busy_shop(80).await;
        let rows = FaultyViews::default();
        let mut engine = all(&shop, &rows);
        engine.step().await.unwrap();
        for outcome in [Outcome::Lost, Outcome::WrittenUnheard, Outcome::Lost, Outcome::Lost] {
            let before = rows.position(&Orders::id()).await.unwrap();
            rows.outcomes.lock().unwrap().push_back(outcome);
            // Of a commit that goes on beside the folding the next step tells.
            let error = loop {
                match engine.step().await {
                    Ok(step) => assert!(!step.caught_up),
                    Err(error) => break error,
                }
            };
            assert!(matches!(&error, Error::Views(error) if error.to_string().contains("told")), "{error}");
            let after = rows.position(&Orders::id()).await.unwrap();
            assert_eq!(after > before, outcome == Outcome::WrittenUnheard);
            audit(&shop.log, &rows).await;
        }
        catch_up(&mut engine).await;
        audit(&shop.log, &rows).await;
    });
}

#[test]
fn a_waiting_reader_wakes_when_its_view_gets_there_and_not_before() {
    run(async {
        let mut shop = busy_shop(20).await;
        let rows = FaultyViews::default();
        let mut engine = all(&shop, &rows);
        catch_up(&mut engine).await;
        let positions = engine.positions();
        let next = shop.tell("stock-s0", 1, &received(1)).await;

        let waiting = positions.reached("stock", next);
        tokio::pin!(waiting);
        let soon = tokio::time::timeout(Duration::from_millis(5), &mut waiting).await;
        assert!(soon.is_err(), "nothing was folded yet");
        let (reached, step) = tokio::join!(waiting, engine.step());
        assert_eq!((reached, step.unwrap().events), (Ok(()), 1));
        assert_eq!(positions.reached("stock", Position::START).await, Ok(()));

        assert_eq!(positions.reached("stocks", next).await, Err(Unreached::Unknown("stocks".into())));
        drop(engine);
        assert_eq!(positions.reached("stock", next).await, Ok(()));
        assert_eq!(positions.reached("stock", Position(next.0 + 1)).await, Err(Unreached::Ended));
    });
}

fn received(quantity: u32) -> Event {
    told("stock-s0", 1, domain::stock::Received { warehouse: word("main"), quantity }).2
}

#[test]
fn a_new_view_is_caught_up_while_the_others_stay_current_and_fold_nothing_twice() {
    run(async {
        let mut shop = busy_shop(90).await;
        let rows = FaultyViews::default();
        let old = || vec![view::<views::stock::Stock>(), view::<views::catalog::Catalog>()];
        catch_up(&mut engine(&shop.log, &rows, old(), 10, 0)).await;
        rows.written.lock().unwrap().clear();

        let mut engine = engine(&shop.log, &rows, views::all(), 10, 1 << 20);
        let positions = engine.positions();
        let newest = shop.tell("stock-s0", 1, &received(1)).await;
        let step = engine.step().await.unwrap();
        assert_eq!(positions.of("stock").unwrap().position, newest, "the old views do not wait for the new ones");
        assert_eq!(positions.of("orders").unwrap().position, Position(10));
        assert!(!step.caught_up);

        assert_eq!(catch_up(&mut engine).await.position, newest);
        for view in [views::stock::Stock::id(), views::catalog::Catalog::id(), Orders::id()] {
            let written = rows.written.lock().unwrap();
            let steps: Vec<_> = written.iter().filter(|commit| commit.view == view).collect();
            assert!(steps.windows(2).all(|pair| pair[0].to == pair[1].from), "{view}: {steps:?}");
            assert_eq!(steps.len() > 1, view == Orders::id());
        }
        audit(&shop.log, &rows).await;
    });
}

#[test]
fn an_unreadable_event_stops_the_views_that_read_it_and_no_others() {
    run(async {
        let mut shop = busy_shop(60).await;
        let before = shop.log.head().await.unwrap();
        let broken = shop.append_raw("order-broken", "order.placed", "{").await;
        let after = shop.tell("stock-s0", 1, &received(1)).await;
        let rows = FaultyViews::default();
        let mut engine = all(&shop, &rows);
        assert_eq!(catch_up(&mut engine).await.position, after);
        let positions = engine.positions();
        assert_eq!(positions.reached("stock", after).await, Ok(()));
        for view in ["orders", "sales"] {
            assert_eq!(positions.reached(view, before).await, Ok(()));
            let Err(Unreached::Stopped(stopped)) = positions.reached(view, broken).await else { panic!("{view}") };
            assert_eq!((stopped.position, stopped.stream.as_str()), (broken, "order-broken"));
            assert_eq!((stopped.kind.as_str(), &stopped.scope), ("order.placed", &Scope::Stream));
            assert!(matches!(stopped.fault, Fault::Unreadable(_)));
        }
        audit_up_to(&shop.log, &rows, &[&Orders::id(), &views::sales::Sales::id()]).await;
    });
}

/// Stopped views stand in front of their fault, the others have everything; all are fresh folds.
async fn audit_up_to(log: &MemoryStore, rows: &FaultyViews, stopped: &[&str]) {
    let head = log.head().await.unwrap();
    for view in views::all() {
        assert_eq!(rows.position(view.id()).await.unwrap() == head, !stopped.contains(&view.id()), "{}", view.id());
    }
    audit(log, rows).await;
}

#[test]
fn an_event_for_a_missing_row_stops_its_view_and_names_the_row() {
    run(async {
        let mut shop = busy_shop(60).await;
        let broken = shop.tell("stock-unheard", 1, &received(1)).await;
        shop.tell("stock-s0", 1, &received(1)).await;
        let rows = FaultyViews::default();
        let mut engine = all(&shop, &rows);
        catch_up(&mut engine).await;
        let Err(Unreached::Stopped(stopped)) = engine.positions().reached("stock", broken).await else { panic!() };
        assert_eq!(
            stopped.to_string(),
            format!(
                "view stock.1 stopped at position {broken} (stock.received in stock-unheard): \
                 there is no stock of SKU unheard that it could change"
            )
        );
        let key = crate::key::key(&word::<domain::ids::Sku>("unheard"));
        assert!(matches!(&stopped.scope, Scope::Row { key: found, .. } if *found == key));
        audit_up_to(&shop.log, &rows, &["stock.1"]).await;
    });
}

#[test]
fn when_every_view_has_stopped_the_step_says_so() {
    run(async {
        let mut shop = Shop::new();
        shop.tell("stock-unheard", 1, &received(1)).await;
        let rows = FaultyViews::default();
        let mut engine = engine(&shop.log, &rows, vec![view::<views::stock::Stock>()], 10, 0);
        engine.step().await.unwrap();
        assert!(matches!(engine.step().await, Err(Error::AllStopped)));
    });
}

#[test]
fn a_view_that_another_writer_moved_is_found_again() {
    run(async {
        let mut shop = busy_shop(60).await;
        let rows = FaultyViews::default();
        let (mut one, mut two) = (all(&shop, &rows), all(&shop, &rows));
        catch_up(&mut one).await;
        // More than a batch, so that the row at hand of the last event is not touched by the first batch.
        for _ in 0..10 {
            shop.tell("stock-s2", 1, &received(1)).await;
        }
        shop.tell("stock-s0", 1, &received(1)).await;
        catch_up(&mut two).await;
        let step = one.step().await.unwrap();
        assert_eq!((step.events, step.caught_up), (0, false), "it was moved, and says that there is more to do");
        shop.tell("stock-s0", 1, &received(1)).await;
        catch_up(&mut one).await;
        audit_up_to(&shop.log, &rows, &[]).await;
    });
}

#[test]
fn a_view_in_the_middle_of_anothers_batch_folds_the_rest_of_it_only() {
    run(async {
        let mut shop = Shop::new();
        let rows = FaultyViews::default();
        let stock = || vec![view::<views::stock::Stock>()];
        shop.act(0, 0).await;
        shop.tell("stock-s0", 1, &received(5)).await;
        catch_up(&mut engine(&shop.log, &rows, stock(), 10, 0)).await;
        shop.tell("stock-s0", 1, &received(5)).await;
        let step = all(&shop, &rows).step().await.unwrap();
        assert_eq!((step.events, step.caught_up), (4, true), "one batch served them all");
        audit_up_to(&shop.log, &rows, &[]).await;
    });
}

#[test]
fn a_view_ahead_of_its_log_is_refused() {
    run(async {
        let shop = busy_shop(60).await;
        let rows = FaultyViews::default();
        catch_up(&mut all(&shop, &rows)).await;
        let another = Shop::new();
        assert!(matches!(all(&another, &rows).step().await, Err(Error::Ahead { head: Position::START, .. })));
    });
}

#[test]
fn rows_at_hand_are_not_asked_for_again_and_new_ones_never_are() {
    run(async {
        let mut shop = Shop::new();
        let rows = FaultyViews::default();
        // Room for a few rows: it must not fill up with one row that is taken and kept again.
        let mut engine = engine(&shop.log, &rows, vec![view::<views::stock::Stock>()], 10, 2_000);
        shop.act(0, 0).await;
        for _ in 0..20 {
            shop.tell("stock-s0", 1, &received(1)).await;
            catch_up(&mut engine).await;
        }
        assert_eq!(*rows.asked.lock().unwrap(), 0);

        let mut cold = self::engine(&shop.log, &rows, vec![view::<views::stock::Stock>()], 10, 0);
        for _ in 0..5 {
            shop.tell("stock-s0", 1, &received(1)).await;
            catch_up(&mut cold).await;
        }
        assert_eq!(*rows.asked.lock().unwrap(), 5, "without a cache each step asks once");
    });
}

#[test]
fn far_from_the_logs_end_rows_are_written_once() {
    run(async {
        let shop = busy_shop(250).await;
        let (followed, loaded) = (FaultyViews::default(), FaultyViews::default());
        let counted = async |rows: &FaultyViews, bytes: usize| {
            catch_up(&mut loading(&shop.log, rows, views::all(), 5, bytes, 0)).await;
            audit(&shop.log, rows).await;
            let written = rows.written.lock().unwrap();
            (written.len(), written.iter().map(|commit| commit.changes.len()).sum::<usize>())
        };
        let (followed, loaded) = (counted(&followed, 0).await, counted(&loaded, usize::MAX).await);
        assert!(loaded.0 * 2 < followed.0 && loaded.1 < followed.1, "fewer commits and rows: {loaded:?}, {followed:?}");
    });
}

#[test]
fn an_event_that_cannot_be_folded_stops_its_view_also_far_from_the_logs_end() {
    run(async {
        let mut shop = busy_shop(60).await;
        let broken = shop.append_raw("order-broken", "order.placed", "{").await;
        for n in 0..200 {
            shop.act(n, n).await;
        }
        let rows = FaultyViews::default();
        let mut engine = loading(&shop.log, &rows, views::all(), 5, usize::MAX, 1 << 20);
        catch_up(&mut engine).await;
        let Err(Unreached::Stopped(stopped)) = engine.positions().reached("orders", broken).await else { panic!() };
        assert_eq!(stopped.position, broken);
        audit_up_to(&shop.log, &rows, &[&Orders::id(), &views::sales::Sales::id()]).await;
    });
}

/// Counts what it reads, and keeps a row that never changes.
struct Constant;

impl View for Constant {
    const NAME: &'static str = "constant";
    const VERSION: u32 = 1;
    const READS: &'static [Category] = &[Category::Stock];
    const INDEXES: &'static [&'static str] = &[];
    type Key = u64;
    type Row = u64;
    type Change<'a> = ();

    fn touch<'a>(_: &'a crate::event::Fact, touched: &mut crate::view::Touched<'a, Self>) -> Result<(), Fault> {
        touched.row(1, ());
        Ok(())
    }

    fn apply(_: &u64, _: Option<u64>, (): (), _: &crate::event::Fact) -> Result<Option<u64>, Fault> {
        Ok(Some(7))
    }

    fn indexes(_: &u64) -> Vec<(&'static str, ports::views::Key)> {
        vec![]
    }
}

/// Has rows that cannot be written down from a revision on: JSON knows no such key.
struct Unwritable;

impl View for Unwritable {
    const NAME: &'static str = "unwritable";
    const VERSION: u32 = 1;
    const READS: &'static [Category] = &[Category::Stock];
    const INDEXES: &'static [&'static str] = &[];
    type Key = u64;
    type Row = std::collections::BTreeMap<(u8, u8), u8>;
    type Change<'a> = u64;

    fn touch<'a>(fact: &'a crate::event::Fact, touched: &mut crate::view::Touched<'a, Self>) -> Result<(), Fault> {
        touched.row(1, fact.revision);
        Ok(())
    }

    fn apply(_: &u64, _: Option<Self::Row>, revision: u64, _: &crate::event::Fact) -> Result<Option<Self::Row>, Fault> {
        Ok(Some((150..=revision).map(|_| ((0, 0), 0)).collect()))
    }

    fn indexes(_: &Self::Row) -> Vec<(&'static str, ports::views::Key)> {
        vec![]
    }
}

#[test]
fn a_row_that_cannot_be_written_down_stops_its_view_in_front_of_the_event_that_made_it_so() {
    run(async {
        let mut shop = Shop::new();
        shop.act(0, 0).await;
        for _ in 0..300 {
            shop.tell("stock-s0", 1, &received(1)).await;
        }
        let of_revision = shop.log.read_stream("stock-s0", 150, 1).await.unwrap()[0].position;
        for bytes in [0, usize::MAX] {
            let rows = FaultyViews::default();
            let mut engine = loading(&shop.log, &rows, vec![view::<Unwritable>()], 5, bytes, 0);
            let stopped = loop {
                if engine.step().await.is_err() {
                    break engine.positions().of("unwritable").unwrap();
                }
            };
            let why = stopped.stopped.unwrap();
            assert_eq!(why.position, of_revision, "{why}");
            assert!(matches!(why.fault, Fault::Row(_)), "{why}");
            assert_eq!(rows.position("unwritable.1").await.unwrap(), Position(of_revision.0 - 1));
        }
    });
}

#[test]
fn a_row_that_did_not_change_is_not_written() {
    run(async {
        let mut shop = Shop::new();
        let rows = FaultyViews::default();
        let mut engine = engine(&shop.log, &rows, vec![view::<Constant>()], 10, 0);
        for written in [1, 0, 0] {
            shop.tell("stock-s0", 1, &received(1)).await;
            catch_up(&mut engine).await;
            let last = rows.written.lock().unwrap().last().cloned().unwrap();
            assert_eq!(last.changes.len(), written);
        }
    });
}

#[test]
fn who_waits_where_nothing_is_folded_hears_of_what_another_process_has_folded() {
    run(async {
        let shop = busy_shop(40).await;
        let rows = FaultyViews::default();
        let mut follower = Follower::new(Arc::new(rows.clone()), &views::all());
        let positions = follower.positions();
        let mut elsewhere = all(&shop, &rows);
        let folded = catch_up(&mut elsewhere).await.position;
        drop(elsewhere);
        let mut waiting = Box::pin(positions.reached("orders", folded));
        let early = tokio::time::timeout(Duration::from_millis(1), &mut waiting).await;
        assert!(early.is_err(), "nobody has asked yet: {early:?}");
        follower.step().await.unwrap();
        waiting.await.unwrap();
        for (view, standing) in positions.all() {
            assert_eq!(standing.position, folded, "{view}");
        }
    });
}
