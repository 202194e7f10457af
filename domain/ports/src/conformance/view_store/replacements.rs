//! Replacements: a view that was folded beside another takes its place, at once and whole.

#![expect(clippy::expect_used, reason = "a suite fails by panicking")]

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Harness, Views, commit, done, indexed, position, put, range, rows, whole};
use crate::{
    store::Position,
    views::{Error, RowChange, ViewStore},
};

/// `count` rows that all hold `text`, entered under it.
fn all(count: u32, text: &str) -> Vec<RowChange> {
    let row = |n: u32| RowChange { new: true, ..indexed(&n.to_be_bytes(), text, text.as_bytes()) };
    (0..count).map(row).collect()
}

/// The view has these rows, by their keys and by their entries, and stands there.
async fn holds(views: &Views, view: &str, stands: u64, count: usize, text: &str) {
    assert_eq!(position(views, view).await, stands, "{view}");
    for index in [None, Some("by-name")] {
        let found = range(views, whole(view, index)).await;
        assert_eq!(found.len(), count, "{view} by {index:?}");
        assert!(found.iter().all(|entry| entry.row == text), "{view} by {index:?}");
    }
}

pub async fn a_view_is_replaced_whole(harness: &dyn Harness<dyn ViewStore>) {
    let views = harness.open().await;
    let begun = vec![
        commit("v.1", 0, 10, all(300, "old")),
        commit("v.1.new", 0, 12, all(200, "new")),
        commit("other.1", 0, 3, all(7, "other")),
    ];
    done(&views, begun).await;
    holds(&views, "v.1", 10, 300, "old").await;
    // Whoever was to replace it has crashed before it did.
    let views = harness.reopen(views).await;
    holds(&views, "v.1", 10, 300, "old").await;
    holds(&views, "v.1.new", 12, 200, "new").await;
    views.replace("v.1", "v.1.new").await.expect("nothing speaks against it");
    let check = async |views: &Views| {
        holds(views, "v.1", 12, 200, "new").await;
        holds(views, "v.1.new", 0, 0, "").await;
        holds(views, "other.1", 3, 7, "other").await;
    };
    check(&views).await;
    let views = harness.reopen(views).await;
    check(&views).await;
    // A store that remembers its callers beyond its opening tells them first.
    let further = || vec![commit("v.1", 12, 13, vec![put(&[9], "more")])];
    if views.commit(further()).await.is_err() {
        done(&views, further()).await;
    }
    assert_eq!(rows(&views, "v.1", &[&[9]]).await, [Some("more".to_owned())]);
    // Once more, and in the place of a view that is not there.
    done(&views, vec![commit("v.1.new", 0, 13, all(5, "newer"))]).await;
    views.replace("v.1", "v.1.new").await.expect("a view can be replaced again");
    holds(&views, "v.1", 13, 5, "newer").await;
    views.replace("w.1", "v.1").await.expect("there is nothing to replace");
    holds(&views, "w.1", 13, 5, "newer").await;
    holds(&views, "v.1", 0, 0, "").await;
}

pub async fn what_is_behind_replaces_nothing(views: &Views) {
    done(views, vec![commit("v.1", 0, 10, all(30, "old")), commit("v.1.new", 0, 9, all(20, "new"))]).await;
    for with in ["v.1.new", "none.1"] {
        let behind = views.replace("v.1", with).await;
        let Err(Error::Moved { actual: Position(10), .. }) = behind else {
            unreachable!("{with} is behind: {behind:?}");
        };
        holds(views, "v.1", 10, 30, "old").await;
    }
    holds(views, "v.1.new", 9, 20, "new").await;
    done(views, vec![commit("v.1", 10, 11, Vec::new()), commit("v.1.new", 9, 11, Vec::new())]).await;
    views.replace("v.1", "v.1.new").await.expect("it has caught up");
    holds(views, "v.1", 11, 20, "new").await;
}

/// It may remember rows, and must not write what follows from them over the new ones.
pub async fn whoever_folded_the_old_one_is_told_once(views: &Views) {
    done(views, vec![commit("v.1", 0, 10, all(3, "old")), commit("v.1.new", 0, 10, all(3, "new"))]).await;
    views.replace("v.1", "v.1.new").await.expect("both stand at the same place");
    let commits = || vec![commit("other.1", 0, 1, all(1, "other")), commit("v.1", 10, 11, all(3, "from old"))];
    let told = views.commit(commits()).await;
    assert!(matches!(told, Err(Error::Moved { actual: Position(10), .. })), "{told:?}");
    holds(views, "v.1", 10, 3, "new").await;
    assert_eq!(position(views, "other.1").await, 0);
    assert_eq!(position(views, "v.1").await, 10);
    done(views, vec![commit("v.1", 10, 11, vec![put(&[9], "more")])]).await;
}

pub async fn a_reader_sees_the_old_view_or_the_new_one(views: &Views) {
    const EDITIONS: u64 = 30;
    let text = |edition: u64| format!("{edition:03}");
    done(views, vec![commit("v.1", 0, 1, all(100, &text(0)))]).await;
    let mut readers = JoinSet::new();
    for index in [None, Some("by-name"), None, Some("by-name")] {
        let views = Arc::clone(views);
        readers.spawn(async move {
            let mut newest = bytes::Bytes::new();
            while newest != text(EDITIONS) {
                let stood = position(&views, "v.1").await;
                let found = range(&views, whole("v.1", index)).await;
                assert_eq!(found.len(), 100, "by {index:?}");
                assert!(found.windows(2).all(|pair| pair[0].row == pair[1].row), "two editions were read at once");
                assert!(found[0].row >= newest, "an older edition came back");
                newest = found[0].row.clone();
                assert!(position(&views, "v.1").await >= stood, "a view went back");
                let keys: Vec<Vec<u8>> = (0..100_u32).map(|n| n.to_be_bytes().to_vec()).collect();
                let rows = views.get_many("v.1", &keys).await.expect("rows read");
                assert!(rows.iter().all(|row| row.is_some() && *row == rows[0]), "rows of two editions");
            }
        });
    }
    for edition in 1..=EDITIONS {
        done(views, vec![commit("v.1.new", 0, edition, all(100, &text(edition)))]).await;
        views.replace("v.1", "v.1.new").await.expect("it can be replaced while it is read");
    }
    while let Some(reader) = readers.join_next().await {
        reader.expect("a reader sees one edition");
    }
}
