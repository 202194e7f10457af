//! Commits: rows, entries and checkpoint together, or nothing.

#![expect(clippy::expect_used, clippy::panic, reason = "a suite fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Harness, Views, commit, done, indexed, position, put, range, removed, rows, whole};
use crate::{
    store::Position,
    views::{Error, RowChange, ViewStore},
};

pub async fn an_empty_store_answers_every_question(views: &Views) {
    assert_eq!(position(views, "none.1").await, 0, "a view that was never committed stands at the start");
    assert_eq!(rows(views, "none.1", &[b"a", b"b"]).await, [None, None]);
    assert_eq!(range(views, whole("none.1", None)).await, []);
    assert_eq!(range(views, whole("none.1", Some("by-name"))).await, []);
    views.drop_view("none.1").await.expect("a view that is not there can be dropped");
    done(views, Vec::new()).await;
    assert_eq!(position(views, "none.1").await, 0, "asking makes no view");
}

pub async fn rows_and_position_move_together(harness: &dyn Harness<dyn ViewStore>) {
    let views = harness.open().await;
    let both = vec![
        commit("left.1", 0, 10, vec![put(b"a", r#"{"n":1}"#), put(b"b", r#"{"n":2}"#)]),
        commit("right.1", 0, 7, vec![put(b"a", r#"{"n":3}"#)]),
    ];
    done(&views, both).await;
    done(&views, vec![commit("left.1", 10, 12, vec![put(b"a", r#"{"n":4}"#), removed(b"b", b"none")])]).await;
    done(&views, vec![commit("right.1", 7, 9, Vec::new())]).await;
    let check = async |views: &Views| {
        assert_eq!((position(views, "left.1").await, position(views, "right.1").await), (12, 9));
        let found = rows(views, "left.1", &[b"b", b"a", b"none", b"a"]).await;
        let n4 = Some(r#"{"n":4}"#.to_owned());
        assert_eq!(found, [None, n4.clone(), None, n4], "rows come in the order asked, gaps are gaps");
        assert_eq!(rows(views, "right.1", &[b"a"]).await, [Some(r#"{"n":3}"#.to_owned())], "views do not share rows");
        assert_eq!(position(views, "left.2").await, 0, "another version is another view");
        assert_eq!(rows(views, "left.2", &[b"a"]).await, [None]);
    };
    check(&views).await;
    let views = harness.reopen(views).await;
    check(&views).await;
    let twice = vec![commit("left.1", 12, 13, vec![put(b"c", "1")]), commit("left.1", 13, 14, vec![put(b"c", "2")])];
    done(&views, twice).await;
    assert_eq!(rows(&views, "left.1", &[b"c"]).await, [Some("2".to_owned())], "commits are made in order");
}

pub async fn a_view_that_moved_refuses_the_whole_commit(harness: &dyn Harness<dyn ViewStore>) {
    let views = harness.open().await;
    done(&views, vec![commit("left.1", 0, 5, vec![indexed(b"a", "1", b"one")])]).await;
    let cases = [("behind", 4, 5), ("ahead", 6, 5), ("never moved", 0, 5), ("new, but not at the start", 3, 0)];
    for (which, from, actual) in cases {
        let view = if actual == 0 { "new.1" } else { "left.1" };
        let commits = vec![
            commit("right.1", 0, 9, vec![indexed(b"r", "1", b"two")]),
            commit(view, from, 20, vec![indexed(b"a", "2", b"three")]),
            commit("far.1", 0, 9, Vec::new()),
        ];
        match views.commit(commits).await {
            Err(Error::Moved { view: named, expected, actual: stands }) => {
                assert_eq!((named.as_str(), expected, stands), (view, Position(from), Position(actual)), "{which}");
            }
            other => panic!("a view that is {which} refuses: {other:?}"),
        }
    }
    let check = async |views: &Views| {
        assert_eq!((position(views, "left.1").await, position(views, "right.1").await), (5, 0));
        assert_eq!((position(views, "new.1").await, position(views, "far.1").await), (0, 0));
        assert_eq!(rows(views, "left.1", &[b"a"]).await, [Some("1".to_owned())]);
        assert_eq!(rows(views, "right.1", &[b"r"]).await, [None], "nothing of a refused commit is there");
        assert_eq!(range(views, whole("right.1", Some("by-name"))).await, []);
        assert_eq!(range(views, whole("left.1", Some("by-name"))).await.len(), 1);
    };
    check(&views).await;
    check(&harness.reopen(views).await).await;
}

pub async fn one_of_sixteen_commits_moves_a_view(views: &Views) {
    for round in 0..20 {
        let mut race = JoinSet::new();
        for writer in 0..16 {
            let views = Arc::clone(views);
            let row = put(format!("{round}-{writer}").as_bytes(), "1");
            race.spawn(async move { views.commit(vec![commit("prize.1", round, round + 1, vec![row])]).await });
        }
        let answers = race.join_all().await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "one of 16 moves the view");
        let moved = |answer: &Result<(), Error>| matches!(answer, Ok(()) | Err(Error::Moved { .. }));
        assert!(answers.iter().all(moved), "the others learn that it moved");
    }
    assert_eq!(position(views, "prize.1").await, 20);
    assert_eq!(range(views, whole("prize.1", None)).await.len(), 20);
}

/// Each commit writes its number into every row; a reader must never see two numbers at once.
pub async fn a_reader_sees_commits_whole(views: &Views) {
    const COMMITS: u64 = 100;
    let keys: Vec<Vec<u8>> = (0..20).map(|key| format!("{key:02}").into_bytes()).collect();
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let (views, keys) = (Arc::clone(views), keys.clone());
        readers.spawn(async move {
            while position(&views, "whole.1").await < COMMITS {
                let rows = views.get_many("whole.1", &keys).await.expect("rows read");
                assert!(rows.windows(2).all(|pair| pair[0] == pair[1]), "rows of two commits were read at once");
                let entries = range(&views, whole("whole.1", None)).await;
                assert!(entries.windows(2).all(|pair| pair[0].row == pair[1].row), "a range spans two commits");
            }
        });
    }
    for number in 0..COMMITS {
        let changes = keys.iter().map(|key| put(key, &number.to_string())).collect();
        done(views, vec![commit("whole.1", number, number + 1, changes)]).await;
    }
    readers.join_all().await;
}

pub async fn rows_of_any_size_come_back(harness: &dyn Harness<dyn ViewStore>) {
    let views = harness.open().await;
    let sizes = [0, 1, 900, 1_000, 1_100, 2_000, 5_000, 100_000, 1 << 20];
    let row = |size: usize| Bytes::from("é".repeat(size / 2) + &"x".repeat(size % 2));
    let key = |size: usize| format!("{size:040}").into_bytes();
    let change = |size| RowChange { row: Some(row(size)), ..put(&key(size), "") };
    done(&views, vec![commit("sizes.1", 0, 1, sizes.map(change).into())]).await;
    let views = harness.reopen(views).await;
    let found = views.get_many("sizes.1", &sizes.map(key)).await.expect("rows read");
    assert!(found == sizes.map(|size| Some(row(size))), "a row comes back as it was");
    let many = (0..5_000_u32).map(|n| put(&n.to_be_bytes(), "1")).collect();
    done(&views, vec![commit("many.1", 0, 1, many)]).await;
    assert_eq!(range(&views, whole("many.1", None)).await.len(), 5_000);
}

/// Many rows that are said to be new; then, among others that are, some of which that is not true.
pub async fn new_rows_are_rows_like_any_other(harness: &dyn Harness<dyn ViewStore>) {
    let views = harness.open().await;
    let new = |n: u32, row: &str| RowChange { new: true, ..indexed(&n.to_be_bytes(), row, &(n % 7).to_be_bytes()) };
    let twice = |n: u32| RowChange { index: vec![("by-name", vec![9]), ("by-name", vec![9])], ..new(n, "1") };
    done(&views, vec![commit("new.1", 0, 1, (0..1_000).map(|n| new(n, "1")).collect())]).await;
    let mixed = (500..1_500).map(|n| new(n, "2")).chain([put(b"other", "2"), removed(&[0; 4], &[0; 4])]);
    let both = vec![commit("new.1", 1, 2, mixed.collect()), commit("more.1", 0, 2, (0..500).map(twice).collect())];
    done(&views, both).await;
    let views = harness.reopen(views).await;
    let found = range(&views, whole("new.1", None)).await;
    let with = |row: &str| found.iter().filter(|entry| entry.row == row).count();
    assert_eq!((with("1"), with("2"), found.len()), (499, 1_001, 1_500));
    assert_eq!(range(&views, whole("new.1", Some("by-name"))).await.len(), 1_499);
    assert_eq!(range(&views, whole("more.1", Some("by-name"))).await.len(), 500);
    assert_eq!((position(&views, "new.1").await, position(&views, "more.1").await), (2, 2));
}

pub async fn a_dropped_view_is_as_if_it_had_never_been(harness: &dyn Harness<dyn ViewStore>) {
    let views = harness.open().await;
    let changes = |n: u32| (0..n).map(|n| indexed(&n.to_be_bytes(), "1", b"name")).collect::<Vec<_>>();
    done(&views, vec![commit("gone.1", 0, 9, changes(3_000)), commit("kept.1", 0, 9, changes(10))]).await;
    views.drop_view("gone.1").await.expect("a view can be dropped");
    let check = async |views: &Views| {
        assert_eq!(position(views, "gone.1").await, 0);
        assert_eq!(rows(views, "gone.1", &[&[0, 0, 0, 1]]).await, [None]);
        assert_eq!(range(views, whole("gone.1", None)).await, []);
        assert_eq!(range(views, whole("gone.1", Some("by-name"))).await, []);
        assert_eq!(position(views, "kept.1").await, 9, "the others stay");
        assert_eq!(range(views, whole("kept.1", Some("by-name"))).await.len(), 10);
    };
    check(&views).await;
    let views = harness.reopen(views).await;
    check(&views).await;
    done(&views, vec![commit("gone.1", 0, 4, changes(2))]).await;
    assert_eq!(range(&views, whole("gone.1", Some("by-name"))).await.len(), 2, "it can be made anew");
}
