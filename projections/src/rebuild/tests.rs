//! Rebuilding while the view is read and folded on.

use super::*;
use crate::{
    event::Category,
    fold::view,
    testing::{FaultyViews, Outcome, Shop},
    views::{self as shop_views, stock::Stock},
};

const LIMITS: Limits = Limits { batch_events_max: 10, load_bytes_max: 1 << 12, cached_bytes_max: 1 << 20 };

/// A shop in which much has happened, all of it folded by `engine`.
struct Scene {
    shop: Shop,
    rows: FaultyViews,
    engine: Engine,
}

impl Scene {
    async fn new() -> Self {
        let mut shop = Shop::new();
        for n in 0..60 {
            shop.act(n, n.wrapping_mul(7)).await;
        }
        let rows = FaultyViews::default();
        let engine = Engine::new(Arc::new(shop.log.clone()), Arc::new(rows.clone()), shop_views::all(), LIMITS);
        let mut scene = Self { shop, rows, engine };
        scene.fold().await;
        scene
    }

    /// The engine goes on to the end of the log.
    async fn fold(&mut self) {
        while !self.engine.step().await.unwrap().caught_up {}
    }

    async fn begin(&self) -> Rebuild {
        let (log, rows) = (Arc::new(self.shop.log.clone()), Arc::new(self.rows.clone()));
        Rebuild::begin(log, rows, view::<Stock>().as_ref(), LIMITS).await.unwrap()
    }

    /// A stroke of bad luck: every row of the view is gone, while its engine remembers some.
    async fn damage(&self) {
        let position = self.rows.position("stock.1").await.unwrap();
        self.rows.drop_view("stock.1").await.unwrap();
        let nothing =
            views::ViewCommit { view: "stock.1".to_owned(), from: Position::START, to: position, changes: Vec::new() };
        self.rows.commit(vec![nothing]).await.unwrap();
        assert!(!self.is_sound().await);
    }

    async fn is_sound(&self) -> bool {
        view::<Stock>().verify(&self.shop.log, &self.rows).await.unwrap().sound()
    }
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

#[test]
fn a_damaged_view_is_well_again_and_its_engine_goes_on_with_the_new_rows() {
    run(async {
        let mut scene = Scene::new().await;
        scene.damage().await;
        let mut rebuild = scene.begin().await;
        let mut events = 0;
        let end = loop {
            let step = rebuild.step().await.unwrap();
            events += step.events;
            if step.done {
                break step.position;
            }
            assert!(!scene.is_sound().await, "nothing changes before the end");
        };
        assert_eq!(end, scene.shop.log.head().await.unwrap());
        assert!(events >= 60, "{events}");
        assert!(scene.is_sound().await);
        assert_eq!(scene.rows.position("stock.1.rebuilt").await.unwrap(), Position::START);
        // What the engine remembers of the old rows must not come back.
        for n in 0..60 {
            scene.shop.act(n, n.wrapping_mul(3)).await;
        }
        scene.fold().await;
        scene.fold().await;
        assert_eq!(scene.rows.position("stock.1").await.unwrap(), scene.shop.log.head().await.unwrap());
        assert!(scene.is_sound().await);
    });
}

#[test]
fn a_view_that_goes_on_meanwhile_is_replaced_when_the_new_rows_are_as_far() {
    run(async {
        let mut scene = Scene::new().await;
        let mut rebuild = scene.begin().await;
        for n in 0..200_u8 {
            scene.shop.act(n, n).await;
            scene.fold().await;
            let before = scene.rows.position("stock.1").await.unwrap();
            let step = rebuild.step().await.unwrap();
            assert!(scene.rows.position("stock.1").await.unwrap() >= before, "no view goes back");
            if step.done {
                assert!(scene.is_sound().await);
                return;
            }
        }
        panic!("it never gets there");
    });
}

#[test]
fn what_a_crash_has_left_behind_goes_and_a_failure_can_be_tried_again() {
    run(async {
        let scene = Scene::new().await;
        let mut crashed = scene.begin().await;
        while scene.rows.position("stock.1.rebuilt").await.unwrap() == Position::START {
            assert!(!crashed.step().await.unwrap().done);
        }
        drop(crashed);
        let mut rebuild = scene.begin().await;
        assert_eq!(scene.rows.position("stock.1.rebuilt").await.unwrap(), Position::START);
        scene.rows.outcomes.lock().unwrap().extend([Outcome::Lost, Outcome::WrittenUnheard]);
        let mut failures = 0;
        loop {
            match rebuild.step().await {
                Ok(step) if step.done => break,
                Ok(_) => {}
                Err(error) => {
                    assert!(matches!(error, Error::Engine(_)), "{error:?}");
                    failures += 1;
                }
            }
        }
        assert_eq!(failures, 2);
        assert!(scene.is_sound().await);
    });
}

#[test]
fn every_view_has_a_name_beside_its_own() {
    let reads = |view: &dyn AnyView| -> Vec<Category> { view.reads().to_vec() };
    for view in shop_views::all() {
        let aside = view.aside();
        assert_eq!((aside.name(), reads(aside.as_ref())), (view.name(), reads(view.as_ref())));
        assert_eq!(aside.id(), format!("{}.rebuilt", view.id()));
    }
}
