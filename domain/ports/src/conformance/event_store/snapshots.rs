//! Snapshots: a cache that is either right or empty.

#![expect(clippy::expect_used, reason = "a suite fails by panicking")]

use bytes::Bytes;

use super::{Harness, append, written};
use crate::store::{EventStore, Snapshot};

pub async fn a_snapshot_is_replaced_and_belongs_to_its_fold(harness: &dyn Harness<dyn EventStore>) {
    let store = harness.open().await;
    let position = written(&store, append("thing-1", 0, 0..9)).await.last_position;
    let snapshot =
        |fold, revision, state: &'static [u8]| Snapshot { fold, revision, position, state: Bytes::from_static(state) };
    let odd = snapshot(1, 4, b"\x00\xff not text \xfe");
    store.save_snapshot("thing-1", odd.clone()).await.expect("a snapshot is kept");
    store.save_snapshot("thing-2", snapshot(1, 1, b"")).await.expect("a snapshot is kept");
    assert_eq!(store.load_snapshot("thing-1", 1).await.expect("snapshots read"), Some(odd));
    assert_eq!(store.load_snapshot("thing-2", 1).await.expect("snapshots read"), Some(snapshot(1, 1, b"")));
    assert_eq!(store.load_snapshot("thing-1", 2).await.expect("snapshots read"), None, "another fold's is not read");
    assert_eq!(store.load_snapshot("thing-3", 1).await.expect("snapshots read"), None);

    store.save_snapshot("thing-1", snapshot(1, 7, b"newer")).await.expect("a snapshot is replaced");
    assert_eq!(store.load_snapshot("thing-1", 1).await.expect("snapshots read"), Some(snapshot(1, 7, b"newer")));
    store.save_snapshot("thing-1", snapshot(2, 8, b"other fold")).await.expect("a new fold's is kept");
    let newest = snapshot(2, 8, b"other fold");
    assert_eq!(store.load_snapshot("thing-1", 2).await.expect("snapshots read"), Some(newest.clone()));
    let old = store.load_snapshot("thing-1", 1).await.expect("snapshots read");
    assert!(old.is_none_or(|old| old == snapshot(1, 7, b"newer")), "an old fold gets its own or nothing");

    let large = Snapshot { state: Bytes::from(vec![7; 1 << 20]), ..snapshot(1, 9, b"") };
    store.save_snapshot("large-1", large.clone()).await.expect("a large snapshot is kept");
    let store = harness.reopen(store).await;
    let kept = store.load_snapshot("thing-1", 2).await.expect("snapshots read");
    assert!(kept.is_none_or(|kept| kept == newest), "after a restart it is right or gone");
    let kept = store.load_snapshot("large-1", 1).await.expect("snapshots read");
    assert!(kept.is_none_or(|kept| kept == large), "after a restart it is right or gone");
}
