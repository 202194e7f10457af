//! The contract of [`EventStore`].

#![expect(clippy::expect_used, reason = "a suite fails by panicking")]

mod appends;
mod races;
mod reads;
mod repeats;
mod snapshots;

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::Harness;
use crate::store::{Append, Appended, EventStore, NewEvent, Position, Recorded, Refused, Revision};

/// Everything an event store promises.
///
/// # Panics
/// When it does not keep it.
pub async fn event_store(harness: &dyn Harness<dyn EventStore>) {
    appends::an_empty_log_answers_every_question(&open(harness).await).await;
    appends::revisions_and_positions_increase_and_contents_come_back(harness).await;
    appends::a_copied_event_keeps_its_time(harness).await;
    appends::a_wrong_expectation_is_a_conflict(&open(harness).await).await;
    appends::a_conflict_leaves_the_rest_of_its_batch(&open(harness).await).await;
    appends::a_batch_may_write_a_stream_twice(&open(harness).await).await;
    appends::sizes_from_nothing_to_a_mebibyte_fit(harness).await;
    appends::streams_may_have_any_name(harness).await;
    repeats::a_repeated_append_is_answered_with_its_old_place(harness).await;
    repeats::a_partly_known_append_is_refused(harness).await;
    repeats::an_id_belongs_to_one_stream(harness).await;
    repeats::an_id_occurs_once_in_an_append(harness).await;
    races::one_of_sixteen_writers_wins(&handles(harness).await).await;
    races::sixteen_repeats_write_once(&handles(harness).await).await;
    races::sixteen_writers_all_get_through(&handles(harness).await).await;
    races::tailing_readers_neither_skip_nor_reorder(&handles(harness).await).await;
    races::a_waiting_reader_is_woken(&handles(harness).await).await;
    races::an_abandoned_append_is_there_whole_or_not_at_all(&handles(harness).await).await;
    reads::pages_of_every_size_add_up_to_the_whole(harness).await;
    reads::events_are_found_in_the_order_asked(harness).await;
    reads::distance_counts_events(harness).await;
    snapshots::a_snapshot_is_replaced_and_belongs_to_its_fold(harness).await;
}

type Store = Arc<dyn EventStore>;

async fn open(harness: &dyn Harness<dyn EventStore>) -> Store {
    harness.open().await
}

/// Empty contents through one handle, or through two where two processes may have them.
async fn handles(harness: &dyn Harness<dyn EventStore>) -> Vec<Store> {
    let first = harness.open().await;
    [first].into_iter().chain(harness.beside().await).collect()
}

/// The id of the n-th event of a check.
const fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x0001_0000_0000_7000_8000_0000_0000_0000 | n)
}

/// The n-th event of a check; `n` can be read back from its body.
fn event(n: u128) -> NewEvent {
    NewEvent {
        id: id(n),
        kind: "thing.happened".into(),
        data: Bytes::from(format!(r#"{{"n":{n},"what":"thé thing"}}"#)),
        metadata: Bytes::from(format!(r#"{{"beside":{n}}}"#)),
    }
}

/// An append of the events numbered `numbers`.
fn append(stream: &str, expected: Revision, numbers: impl IntoIterator<Item = u128>) -> Append {
    Append { recorded_at: None, stream: stream.to_owned(), expected, events: numbers.into_iter().map(event).collect() }
}

/// Writes one append and answers as the store did.
async fn write(store: &Store, append: Append) -> Result<Appended, Refused> {
    let mut answers = store.append(vec![append]).await.expect("the store takes an append");
    assert_eq!(answers.len(), 1, "one append has one answer");
    answers.remove(0)
}

/// Writes one append that must succeed afresh.
async fn written(store: &Store, append: Append) -> Appended {
    let expected = append.expected;
    let appended = write(store, append).await.expect("nothing speaks against the append");
    assert!(appended.fresh, "a first write is fresh");
    assert_eq!(appended.first_revision, expected, "an append begins where it expected the stream to end");
    appended
}

/// The whole log.
async fn all(store: &Store) -> Vec<Recorded> {
    store.read_all(Position::START, usize::MAX).await.expect("the log reads")
}

/// A whole stream.
async fn stream(store: &Store, name: &str) -> Vec<Recorded> {
    store.read_stream(name, 0, usize::MAX).await.expect("the stream reads")
}

/// Checks that a stream holds exactly the events numbered `numbers`, at revisions 0, 1, 2, …
async fn holds(store: &Store, name: &str, numbers: &[u128]) {
    let events = stream(store, name).await;
    let found: Vec<_> = events.iter().map(|event| (event.revision, event.id)).collect();
    let expected: Vec<_> = (0..).zip(numbers.iter().map(|&n| id(n))).collect();
    assert_eq!(found, expected, "what stream {name} holds");
}
