//! The contract of [`Bus`].

#![expect(clippy::expect_used, clippy::panic, reason = "a suite fails by panicking")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{task::JoinSet, time::timeout};
use uuid::Uuid;

use super::{Harness, SOON};
use crate::{
    bus::{Bus, Error, Held, Message, Place, Published, REVISION_HEADER, STREAM_HEADER},
    store::Position,
};

/// Everything a bus promises.
///
/// # Panics
/// When it does not keep it.
pub async fn bus(harness: &dyn Harness<dyn Bus>) {
    a_new_bus_is_empty(&harness.open().await).await;
    a_batch_lies_in_its_order_and_stays(harness).await;
    nothing_is_published_anywhere_but_at_the_end(harness).await;
    one_of_sixteen_batches_is_published(&harness.open().await).await;
    bodies_of_any_size_pass(&harness.open().await).await;
    a_message_may_name_no_place(&harness.open().await).await;
    what_is_held_is_read_in_pages(&harness.open().await).await;
    a_gap_is_filled_behind_the_rest(&harness.open().await).await;
    an_announcement_is_heard(&harness.open().await).await;
}

/// The event at `position`.
fn message(position: u64) -> Message {
    Message {
        // An id of a stream may hold dots and worse.
        subject: vec!["order".into(), "placed".into(), format!("a.b *>{}", position % 3)],
        id: Uuid::from_u128(0x0004_0000_0000_4000_8000_0000_0000_0000 | u128::from(position)),
        position: Position(position),
        through: Position(position),
        headers: vec![
            ("ce-type", "order.placed".into()),
            (STREAM_HEADER, format!("order-{position}%20")),
            (REVISION_HEADER, (position * 2).to_string()),
        ],
        payload: Bytes::from(format!(r#"{{"n":{position}}}"#)),
    }
}

/// The same once the bus holds it.
fn kept(sequence: u64, message: &Message) -> Held {
    let Message { id, position, through, .. } = *message;
    let place = Place { stream: format!("order-{position}%20"), revision: position.0 * 2 };
    Held { sequence, id, position, through, place: Some(place) }
}

fn messages(positions: impl IntoIterator<Item = u64>) -> Vec<Message> {
    positions.into_iter().map(message).collect()
}

async fn publish(bus: &Arc<dyn Bus>, after: u64, batch: &[Message]) -> Published {
    bus.publish(after, batch).await.expect("nothing speaks against the batch")
}

/// Where the bus ends, and at which event.
async fn tail(bus: &Arc<dyn Bus>) -> (u64, Option<Held>) {
    let tail = bus.tail().await.expect("the bus tells where it ends");
    (tail.sequence, tail.newest)
}

/// Everything the bus holds, read in pages of `limit`.
async fn held(bus: &Arc<dyn Bus>, limit: usize) -> Vec<Held> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = bus.held(after, limit).await.expect("a page reads");
        assert!(page.held.len() <= limit, "a page is no longer than asked");
        all.extend(page.held);
        match page.next {
            Some(next) => {
                assert!(next > after, "a page goes on");
                after = next;
            }
            None => return all,
        }
    }
}

async fn positions(bus: &Arc<dyn Bus>) -> Vec<u64> {
    held(bus, 1_000).await.iter().map(|held| held.position.0).collect()
}

async fn a_new_bus_is_empty(bus: &Arc<dyn Bus>) {
    assert_eq!(tail(bus).await, (0, None));
    assert_eq!(held(bus, 10).await, []);
    assert!(bus.tail().await.expect("a tail").payload_max >= 1 << 16, "a common event passes");
}

async fn a_batch_lies_in_its_order_and_stays(harness: &dyn Harness<dyn Bus>) {
    let bus = harness.open().await;
    tail(&bus).await;
    assert_eq!(publish(&bus, 0, &messages(1..=3)).await, Published { count: 3, sequence: 3 });
    assert_eq!(publish(&bus, 3, &messages(4..=500)).await, Published { count: 497, sequence: 500 });
    let check = async |bus: &Arc<dyn Bus>| {
        assert_eq!(tail(bus).await, (500, Some(kept(500, &message(500)))));
        let whole: Vec<Held> = (1..=500).map(|n| kept(n, &message(n))).collect();
        assert_eq!(held(bus, 1_000).await, whole);
    };
    check(&bus).await;
    check(&harness.reopen(bus).await).await;
}

async fn nothing_is_published_anywhere_but_at_the_end(harness: &dyn Harness<dyn Bus>) {
    let bus = harness.open().await;
    tail(&bus).await;
    let refused = async |bus: &Arc<dyn Bus>, after: u64| match bus.publish(after, &messages(90..=99)).await {
        Err(Error::Moved { after: named }) => assert_eq!(named, after),
        other => panic!("behind {after} nothing may be published: {other:?}"),
    };
    refused(&bus, 1).await;
    publish(&bus, 0, &messages(1..=10)).await;
    for after in [0, 1, 9, 11, 1_000] {
        refused(&bus, after).await;
    }
    let bus = harness.reopen(bus).await;
    for after in [0, 9, 11] {
        refused(&bus, after).await;
    }
    publish(&bus, 10, &messages([11])).await;
    assert_eq!(positions(&bus).await, (1..=11).collect::<Vec<_>>());
}

async fn one_of_sixteen_batches_is_published(bus: &Arc<dyn Bus>) {
    tail(bus).await;
    let mut sequence = 0;
    for round in 0..10 {
        let mut race = JoinSet::new();
        for racer in 0..16 {
            let bus = Arc::clone(bus);
            let first = round * 1_000 + racer * 20;
            race.spawn(async move { (first, bus.publish(sequence, &messages(first..first + 20)).await) });
        }
        let mut winner = None;
        for (first, outcome) in race.join_all().await {
            match outcome {
                Ok(published) => {
                    assert_eq!(published, Published { count: 20, sequence: sequence + 20 });
                    assert_eq!(winner.replace(first), None, "two batches at one place");
                }
                Err(Error::Moved { .. }) => {}
                Err(error) => panic!("a race is no failure: {error}"),
            }
        }
        let first = winner.expect("one of them wins");
        let behind: Vec<u64> = held(bus, 1_000).await[usize::try_from(sequence).expect("small")..]
            .iter()
            .map(|held| held.position.0)
            .collect();
        assert_eq!(behind, (first..first + 20).collect::<Vec<_>>(), "one batch, whole, and nothing of the others");
        sequence += 20;
    }
}

async fn bodies_of_any_size_pass(bus: &Arc<dyn Bus>) {
    let max = bus.tail().await.expect("a tail").payload_max;
    let sized = |position, size| Message { payload: Bytes::from(vec![b'x'; size]), ..message(position) };
    let batch = [sized(1, 0), sized(2, 1), sized(3, max), sized(4, 70_000)];
    assert_eq!(publish(bus, 0, &batch).await.count, 4);
    assert_eq!(positions(bus).await, [1, 2, 3, 4]);
}

async fn a_message_may_name_no_place(bus: &Arc<dyn Bus>) {
    tail(bus).await;
    let unplaced = Message { headers: vec![("ce-type", "order.placed".into())], ..message(1) };
    publish(bus, 0, std::slice::from_ref(&unplaced)).await;
    assert_eq!(held(bus, 10).await, [Held { place: None, ..kept(1, &unplaced) }]);
}

async fn what_is_held_is_read_in_pages(bus: &Arc<dyn Bus>) {
    tail(bus).await;
    publish(bus, 0, &messages(1..=100)).await;
    let whole = held(bus, 1_000).await;
    for limit in [1, 7, 99, 100, 101] {
        assert_eq!(held(bus, limit).await, whole, "in pages of {limit}");
    }
}

async fn a_gap_is_filled_behind_the_rest(bus: &Arc<dyn Bus>) {
    tail(bus).await;
    publish(bus, 0, &messages([1, 3])).await;
    let late = Message { through: Position(3), ..message(2) };
    publish(bus, 2, std::slice::from_ref(&late)).await;
    let newest = kept(3, &late);
    assert_eq!(tail(bus).await, (3, Some(newest.clone())), "a filled gap does not set the bus back");
    assert_eq!(held(bus, 10).await.last(), Some(&newest));
}

async fn an_announcement_is_heard(bus: &Arc<dyn Bus>) {
    tail(bus).await;
    let mut ears = [bus.listen().await.expect("the bus listens"), bus.listen().await.expect("the bus listens")];
    let told: BTreeSet<u64> = (1..=20).collect();
    for ear in &mut ears {
        // Each may be lost, but not all of them for ever.
        let heard = timeout(SOON, async {
            for position in told.iter().cycle() {
                bus.announce(Position(*position)).await.expect("it is told");
                if let Ok(heard) = timeout(Duration::from_millis(50), ear.next()).await {
                    return heard.expect("more may come");
                }
            }
            Position::START
        });
        assert!(told.contains(&heard.await.expect("one of them is heard").0), "what is heard was told");
    }
}
