//! The contract of [`ViewStore`].

#![expect(clippy::expect_used, reason = "a suite fails by panicking")]

mod commits;
mod ranges;
mod replacements;

use std::sync::Arc;

use bytes::Bytes;

use super::Harness;
use crate::{
    store::Position,
    views::{Direction, Entry, Key, Range, RowChange, ViewCommit, ViewStore},
};

/// Everything a view store promises.
///
/// # Panics
/// When it does not keep it.
pub async fn view_store(harness: &dyn Harness<dyn ViewStore>) {
    commits::an_empty_store_answers_every_question(&harness.open().await).await;
    commits::rows_and_position_move_together(harness).await;
    commits::a_view_that_moved_refuses_the_whole_commit(harness).await;
    commits::one_of_sixteen_commits_moves_a_view(&harness.open().await).await;
    commits::a_reader_sees_commits_whole(&harness.open().await).await;
    commits::rows_of_any_size_come_back(harness).await;
    commits::new_rows_are_rows_like_any_other(harness).await;
    commits::a_dropped_view_is_as_if_it_had_never_been(harness).await;
    replacements::a_view_is_replaced_whole(harness).await;
    replacements::what_is_behind_replaces_nothing(&harness.open().await).await;
    replacements::whoever_folded_the_old_one_is_told_once(&harness.open().await).await;
    replacements::a_reader_sees_the_old_view_or_the_new_one(&harness.open().await).await;
    ranges::rows_are_walked_in_the_order_of_their_bytes(harness).await;
    ranges::an_index_is_walked_in_the_order_of_its_bytes(harness).await;
    ranges::an_entry_follows_its_row(harness).await;
    ranges::a_page_never_leaves_its_bounds(&harness.open().await).await;
    ranges::pages_go_on_where_rows_came_and_went(&harness.open().await).await;
}

type Views = Arc<dyn ViewStore>;

/// A commit of `changes` to `view`.
fn commit(view: &str, from: u64, to: u64, changes: Vec<RowChange>) -> ViewCommit {
    ViewCommit { view: view.to_owned(), from: Position(from), to: Position(to), changes }
}

/// A row without index entries.
fn put(key: &[u8], row: &str) -> RowChange {
    let row = Some(Bytes::from(row.to_owned()));
    RowChange { key: key.to_vec(), row, new: false, unindex: Vec::new(), index: Vec::new() }
}

/// The same row, entered into the index `by-name`.
fn indexed(key: &[u8], row: &str, index_key: &[u8]) -> RowChange {
    RowChange { index: vec![("by-name", index_key.to_vec())], ..put(key, row) }
}

/// A removed row with its entry in the index `by-name`.
fn removed(key: &[u8], index_key: &[u8]) -> RowChange {
    RowChange { row: None, unindex: vec![("by-name", index_key.to_vec())], ..put(key, "") }
}

/// Commits what must succeed.
async fn done(views: &Views, commits: Vec<ViewCommit>) {
    views.commit(commits).await.expect("nothing speaks against the commit");
}

async fn position(views: &Views, view: &str) -> u64 {
    views.position(view).await.expect("a position reads").0
}

/// The rows under `keys`, as text.
async fn rows(views: &Views, view: &str, keys: &[&[u8]]) -> Vec<Option<String>> {
    let keys: Vec<Key> = keys.iter().map(|key| key.to_vec()).collect();
    let rows = views.get_many(view, &keys).await.expect("rows read");
    rows.into_iter().map(|row| row.map(|row| String::from_utf8_lossy(&row).into_owned())).collect()
}

/// The whole of an index or of the rows, forward.
fn whole(view: &str, index: Option<&'static str>) -> Range {
    Range {
        view: view.to_owned(),
        index,
        from: Key::new(),
        to: Key::new(),
        after: Key::new(),
        direction: Direction::Forward,
        limit: usize::MAX,
    }
}

async fn range(views: &Views, range: Range) -> Vec<Entry> {
    views.range(range).await.expect("a range reads")
}
