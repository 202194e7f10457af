//! A server that freezes, and one that crashes: rows and checkpoint stay together.

use std::time::Duration;

use ports::views::{Direction, Entry, Error, Key, Range, ViewStore};
use servers::{
    or_not_run,
    postgres::{Options, Postgres},
};
use tokio::time::{sleep, timeout};
use views_postgres::{Limits, PostgresViews};

use crate::{SOON, commit};

const ROWS: u32 = 40;

/// The whole of the view `v.1`, by its rows or by its index.
fn whole(index: Option<&'static str>) -> Range {
    let (from, to, after) = (Key::new(), Key::new(), Key::new());
    Range { view: "v.1".to_owned(), index, from, to, after, direction: Direction::Forward, limit: usize::MAX }
}

/// Every row, and every entry, is of the commit that moved the view to where it stands.
async fn is_whole(views: &PostgresViews) -> u64 {
    let stands = views.position("v.1").await.unwrap().0;
    let texts = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.row).collect::<Vec<_>>();
    for index in [None, Some("by-text")] {
        let rows = texts(views.range(whole(index)).await.unwrap());
        let due = if stands == 0 { 0 } else { ROWS as usize };
        assert_eq!(rows.len(), due, "at {stands}, by {index:?}");
        assert!(
            rows.iter().all(|row| *row == (stands - 1).to_string()),
            "rows of the commit to {stands}, by {index:?}"
        );
    }
    stands
}

fn next(stands: u64) -> ports::views::ViewCommit {
    let before = stands.checked_sub(1).map(|before| before.to_string());
    commit("v.1", stands, 0..ROWS, &stands.to_string(), before.as_deref())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_frozen_server_fails_within_the_deadline_and_all_goes_on_when_it_thaws() {
    let Some(server) = or_not_run(Postgres::start(Options { own: true, ..Options::default() })) else { return };
    let soon = Duration::from_millis(500);
    let limits = Limits { connect_max: soon, commit_max: soon, read_max: soon, ..Limits::default() };
    let views = PostgresViews::connect(&server.fresh_database().unwrap(), &limits).await.unwrap();
    views.commit(vec![next(0)]).await.unwrap();
    server.freeze();
    let commit = timeout(SOON, views.commit(vec![next(1)])).await.expect("a commit has a deadline of its own");
    assert!(matches!(commit, Err(Error::Unavailable(_))), "{commit:?}");
    let read = timeout(SOON, views.position("v.1")).await.expect("a query has a deadline of its own");
    assert!(matches!(read, Err(Error::Unavailable(_))), "{read:?}");
    server.thaw();
    // A connection of the pool may still be one that has heard nothing for too long.
    let thawed = async {
        while views.position("v.1").await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, thawed).await.expect("a thawed server answers");
    let stands = is_whole(&views).await;
    views.commit(vec![next(stands)]).await.unwrap();
    assert_eq!(is_whole(&views).await, stands + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_table_of_the_views_is_durable_at_once() {
    let Some(mut server) = or_not_run(Postgres::start(Options { own: true, ..Options::default() })) else { return };
    let views = PostgresViews::connect(&server.fresh_database().unwrap(), &Limits::default()).await.unwrap();
    server.restart(true).unwrap();
    views.commit(vec![next(0)]).await.unwrap();
    assert_eq!(is_whole(&views).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rows_and_checkpoint_stay_together_across_crashes_of_the_server() {
    let Some(mut server) = or_not_run(Postgres::start(Options { own: true, ..Options::default() })) else { return };
    let views = PostgresViews::connect(&server.fresh_database().unwrap(), &Limits::default()).await.unwrap();
    for crash in 0..4 {
        let folds = async {
            let mut stands = views.position("v.1").await.unwrap().0;
            let begun = stands;
            // Until the server goes away; only then the crash is over.
            while views.commit(vec![next(stands)]).await.is_ok() {
                stands += 1;
            }
            stands - begun
        };
        let crashes = async {
            sleep(Duration::from_millis(50 + crash * 37)).await;
            tokio::task::block_in_place(|| server.restart(true)).unwrap();
        };
        let (folded, ()) = tokio::join!(timeout(SOON, folds), crashes);
        folded.expect("a crash is noticed");
        is_whole(&views).await;
    }
    assert!(is_whole(&views).await > 0, "something was folded");
}
