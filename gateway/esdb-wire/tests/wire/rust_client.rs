//! The Rust client, unmodified, against our server: what the scripts of the other languages do, and what only this one can.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use eventstore::{
    AppendToStreamOptions, BatchAppendOptions, Client, CurrentRevision, DeleteStreamOptions, Error, EventData,
    Position, ReadAllOptions, ReadStreamOptions, RecordedEvent, RetryOptions, StreamMetadataBuilder, StreamPosition,
    StreamState, SubscribeToAllOptions, SubscribeToStreamOptions, SubscriptionEvent, SubscriptionFilter,
    TombstoneStreamOptions,
};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    original::Original,
    server::{Log, Running},
};

const SOON: Duration = Duration::from_secs(60);

/// A log on each engine that keeps it beyond its server.
pub fn lasting() -> impl Iterator<Item = Log> {
    std::iter::once(Log::sqlite()).chain(Log::postgres())
}

fn connect(server: &Running) -> Client {
    Client::new(server.url().parse().unwrap()).unwrap()
}

fn event(n: u128) -> EventData {
    EventData::binary("thing.happened", Bytes::from(n.to_string())).id(Uuid::from_u128(n))
}

fn expecting(state: StreamState) -> AppendToStreamOptions {
    AppendToStreamOptions::default().stream_state(state)
}

async fn append(client: &Client, stream: &str, state: StreamState, numbers: &[u128]) -> Result<(u64, u64), Error> {
    let events: Vec<EventData> = numbers.iter().map(|n| event(*n)).collect();
    let written = client.append_to_stream(stream, &expecting(state), events).await?;
    Ok((written.next_expected_version, written.position.commit))
}

async fn read(client: &Client, stream: &str, options: ReadStreamOptions) -> Result<Vec<RecordedEvent>, Error> {
    let mut read = client.read_stream(stream, &options).await?;
    let mut events = Vec::new();
    while let Some(event) = read.next().await? {
        events.push(event.event.unwrap());
    }
    Ok(events)
}

async fn all(client: &Client, options: ReadAllOptions) -> Vec<RecordedEvent> {
    let mut read = client.read_all(&options).await.unwrap();
    let mut events = Vec::new();
    while let Some(event) = read.next().await.unwrap() {
        events.push(event.event.unwrap());
    }
    events
}

fn numbers(events: &[RecordedEvent]) -> Vec<u128> {
    events.iter().map(|event| event.id.as_u128()).collect()
}

async fn whole(client: &Client, stream: &str) -> Vec<u128> {
    numbers(&read(client, stream, ReadStreamOptions::default()).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_expectation_means_what_it_says() {
    use StreamState::{Any, NoStream, StreamExists, StreamRevision};
    for log in std::iter::once(Log::memory()).chain(lasting()) {
        let server = Running::start(log, 0).await;
        let client = connect(&server);
        let first = append(&client, "s", NoStream, &[1, 2]).await.unwrap();
        assert_eq!(first.0, 1, "the revision of the last event");
        assert_eq!(append(&client, "s", NoStream, &[1, 2]).await.unwrap(), first, "a repeat has its old place");
        let second = append(&client, "s", StreamRevision(1), &[3]).await.unwrap();
        assert_eq!(append(&client, "s", StreamRevision(1), &[3]).await.unwrap(), second);
        assert_eq!(append(&client, "s", Any, &[3]).await.unwrap(), second, "whatever it expects");
        append(&client, "s", StreamExists, &[4]).await.unwrap();
        append(&client, "s", Any, &[5]).await.unwrap();
        for wrong in [NoStream, StreamRevision(0), StreamRevision(3), StreamRevision(5), StreamRevision(u64::MAX)] {
            let refused = append(&client, "s", wrong, &[9]).await.unwrap_err();
            let Error::WrongExpectedVersion { expected, current } = refused else { panic!("{wrong}: {refused}") };
            assert_eq!((expected, current), (wrong, CurrentRevision::Current(4)));
        }
        for wrong in [StreamExists, StreamRevision(0)] {
            let refused = append(&client, "none", wrong, &[9]).await.unwrap_err();
            let Error::WrongExpectedVersion { expected, current } = refused else { panic!("{wrong}: {refused}") };
            assert_eq!((expected, current), (wrong, CurrentRevision::NoStream));
        }
        let known = append(&client, "other", NoStream, &[8, 1]).await.unwrap_err();
        assert!(matches!(known, Error::ResourceAlreadyExists), "an id occurs once in the log: {known}");
        assert_eq!(whole(&client, "s").await, [1, 2, 3, 4, 5]);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_writers_may_append_to_one_stream() {
    let server = Running::start(Log::sqlite(), 0).await;
    let client = connect(&server);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..16_u128 {
        let client = client.clone();
        writers.spawn(async move {
            for n in 0..25 {
                append(&client, "busy", StreamState::Any, &[writer * 1_000 + n + 1]).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    let seen = whole(&client, "busy").await;
    assert_eq!(seen.len(), 400);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 400, "each once");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_means_any_while_others_write_the_log_beneath() {
    let log = Original::default();
    let interlopers = Arc::clone(&log.interlopers);
    let server = Running::start(Log::Other(Arc::new(log)), 0).await;
    let client = connect(&server);
    interlopers.store(3, Relaxed);
    let written = append(&client, "busy", StreamState::Any, &[1]).await.unwrap();
    assert_eq!(written.0, 3, "behind the three that were faster");
    interlopers.store(3, Relaxed);
    assert_eq!(append(&client, "busy", StreamState::StreamExists, &[2]).await.unwrap().0, 7);
    interlopers.store(1, Relaxed);
    let wrong = append(&client, "busy", StreamState::StreamRevision(7), &[3]).await.unwrap_err();
    assert!(matches!(wrong, Error::WrongExpectedVersion { current: CurrentRevision::Current(8), .. }), "{wrong}");
    interlopers.store(u32::MAX, Relaxed);
    let contended = append(&client, "busy", StreamState::Any, &[4]).await.unwrap_err();
    assert!(contended.to_string().contains("too many at once"), "it does not try for ever: {contended}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_go_both_ways_from_every_place() {
    for log in lasting() {
        read_both_ways(Running::start(log, 0).await).await;
    }
}

async fn read_both_ways(server: Running) {
    let client = connect(&server);
    // More than two pages, in two streams.
    for n in 0..600_u128 {
        let stream = if n % 3 == 0 { "third" } else { "rest" };
        append(&client, stream, StreamState::Any, &[n]).await.unwrap();
    }
    let forward: Vec<u128> = (0..600).collect();
    let backward: Vec<u128> = (0..600).rev().collect();
    let log = all(&client, ReadAllOptions::default()).await;
    assert_eq!(numbers(&log), forward);
    let end = ReadAllOptions::default().backwards().position(StreamPosition::End);
    assert_eq!(numbers(&all(&client, end.clone()).await), backward);
    assert_eq!(numbers(&all(&client, end.max_count(7)).await), backward[..7]);
    let place = |at: usize| StreamPosition::Position(log[at].position);
    let from = ReadAllOptions::default().forwards().position(place(300)).max_count(3);
    assert_eq!(numbers(&all(&client, from).await), [300, 301, 302], "forward a position is itself read");
    let from = ReadAllOptions::default().backwards().position(place(300)).max_count(3);
    assert_eq!(numbers(&all(&client, from).await), [299, 298, 297], "backward it is not");
    let far = Position { commit: u64::MAX, prepare: u64::MAX };
    let from = ReadAllOptions::default().forwards().position(StreamPosition::Position(far));
    assert_eq!(all(&client, from).await.len(), 0);
    let only = SubscriptionFilter::on_stream_name().regex("^th");
    let filtered = ReadAllOptions::default().backwards().position(StreamPosition::End).filter(only).max_count(5);
    assert_eq!(numbers(&all(&client, filtered).await), [597, 594, 591, 588, 585]);

    let thirds: Vec<u128> = (0..200).map(|n| n * 3).collect();
    assert_eq!(whole(&client, "third").await, thirds);
    let back = ReadStreamOptions::default().backwards().position(StreamPosition::End);
    let mut turned = numbers(&read(&client, "third", back).await.unwrap());
    turned.reverse();
    assert_eq!(turned, thirds);
    let at = |n| ReadStreamOptions::default().position(StreamPosition::Position(n)).max_count(3);
    assert_eq!(numbers(&read(&client, "third", at(10)).await.unwrap()), [30, 33, 36]);
    assert_eq!(numbers(&read(&client, "third", at(10).backwards()).await.unwrap()), [30, 27, 24]);
    assert_eq!(numbers(&read(&client, "third", at(1).backwards()).await.unwrap()), [3, 0]);
    assert_eq!(numbers(&read(&client, "third", at(200)).await.unwrap()), []);
    let missing = read(&client, "none", ReadStreamOptions::default()).await.unwrap_err();
    assert!(matches!(missing, Error::ResourceNotFound), "{missing}");
    server.stop().await;
}

/// Pages backward adapt to how dense positions are.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_few_positions_in_use_reads_both_ways() {
    let log = Log::Other(Arc::new(Original::default()));
    let server = Running::start_as(log, 0, |server| server.limits.page_events = 4).await;
    let client = connect(&server);
    for n in 0..150_u128 {
        // Some lie close together, and some far apart.
        let body = Bytes::from(vec![b' '; if n % 40 < 20 { 0 } else { 20_000 }]);
        let event = EventData::binary("thing.happened", body).id(Uuid::from_u128(n));
        client.append_to_stream("s", &expecting(StreamState::Any), event).await.unwrap();
    }
    let mut forward = numbers(&all(&client, ReadAllOptions::default()).await);
    let end = ReadAllOptions::default().backwards().position(StreamPosition::End);
    let backward = numbers(&all(&client, end.clone()).await);
    assert!(forward.len() > 190, "the log has events of its own, too");
    assert_eq!(numbers(&all(&client, end.max_count(9)).await), backward[..9]);
    forward.reverse();
    assert_eq!(backward, forward);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_stream_goes_on_and_an_ended_one_does_not() {
    use StreamState::{Any, NoStream, StreamExists, StreamRevision};
    let server = Running::start(Log::sqlite(), 0).await;
    let client = connect(&server);
    let delete = |state| DeleteStreamOptions::default().stream_state(state);
    let end = |state| TombstoneStreamOptions::default().stream_state(state);
    assert!(client.delete_stream("none", &delete(Any)).await.is_err(), "what never was cannot be deleted");
    append(&client, "s", NoStream, &[1, 2]).await.unwrap();
    assert!(client.delete_stream("s", &delete(StreamRevision(7))).await.is_err());
    client.delete_stream("s", &delete(StreamRevision(1))).await.unwrap();
    client.delete_stream("s", &delete(Any)).await.unwrap();
    let gone = read(&client, "s", ReadStreamOptions::default()).await.unwrap_err();
    assert!(matches!(gone, Error::ResourceNotFound), "{gone}");
    assert!(append(&client, "s", StreamExists, &[3]).await.is_err());
    append(&client, "s", NoStream, &[3]).await.unwrap();
    let revived = read(&client, "s", ReadStreamOptions::default()).await.unwrap();
    assert_eq!((revived.len(), revived[0].revision, revived[0].id.as_u128()), (1, 2, 3), "it goes on where it was");
    assert!(append(&client, "s", NoStream, &[4]).await.is_err(), "and exists again");

    client.tombstone_stream("s", &end(StreamRevision(2))).await.unwrap();
    let ended = read(&client, "s", ReadStreamOptions::default()).await.unwrap_err();
    assert!(matches!(ended, Error::ResourceDeleted), "{ended}");
    for state in [Any, NoStream, StreamRevision(2), StreamRevision(3)] {
        let ended = append(&client, "s", state, &[5]).await.unwrap_err();
        assert!(matches!(ended, Error::ResourceDeleted), "{state}: {ended}");
    }
    assert!(client.tombstone_stream("s", &end(Any)).await.is_err());
    client.tombstone_stream("never", &end(NoStream)).await.unwrap();
    assert!(append(&client, "never", NoStream, &[6]).await.is_err());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_hides_what_it_says() {
    let server = Running::start(Log::memory(), 0).await;
    let client = connect(&server);
    append(&client, "s", StreamState::NoStream, &[1, 2, 3, 4]).await.unwrap();
    let set = async |metadata: StreamMetadataBuilder| {
        client.set_stream_metadata("s", &AppendToStreamOptions::default(), &metadata.build()).await.unwrap();
        whole(&client, "s").await
    };
    assert_eq!(set(StreamMetadataBuilder::new().max_count(2)).await, [3, 4]);
    append(&client, "s", StreamState::StreamRevision(3), &[5]).await.unwrap();
    assert_eq!(whole(&client, "s").await, [4, 5]);
    assert_eq!(set(StreamMetadataBuilder::new().truncate_before(1)).await, [2, 3, 4, 5]);
    let first = ReadStreamOptions::default().backwards().position(StreamPosition::End);
    assert_eq!(numbers(&read(&client, "s", first).await.unwrap()), [5, 4, 3, 2]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_comes_back() {
    for log in lasting() {
        keep_every_byte(Running::start(log, 0).await).await;
    }
}

async fn keep_every_byte(server: Running) {
    let client = connect(&server);
    let octets: Vec<u8> = (0..=255).collect();
    let bodies = [&octets, &b""[..], b"{\"a\": 1 }", b"\xff", b"null"];
    for (n, body) in bodies.iter().enumerate() {
        let event = EventData::binary("octets", Bytes::copy_from_slice(body)).metadata(Bytes::from(octets.clone()));
        client.append_to_stream(format!("o-{n}"), &AppendToStreamOptions::default(), event).await.unwrap();
    }
    let json = serde_json::json!({"a": [1, 2.5, "é\u{0}"]});
    let event = EventData::json("json", &json).unwrap().metadata_as_json(&json).unwrap();
    client.append_to_stream("json", &AppendToStreamOptions::default(), event).await.unwrap();
    for (n, body) in bodies.iter().enumerate() {
        let event = read(&client, &format!("o-{n}"), ReadStreamOptions::default()).await.unwrap().remove(0);
        assert_eq!((&*event.data, &*event.custom_metadata, event.is_json), (*body, &*octets, false));
    }
    let event = read(&client, "json", ReadStreamOptions::default()).await.unwrap().remove(0);
    let text = json.to_string();
    assert_eq!((&*event.data, &*event.custom_metadata, event.is_json), (text.as_bytes(), text.as_bytes(), true));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_session_takes_one_append_after_another() {
    let server = Running::start(Log::sqlite(), 0).await;
    let client = connect(&server);
    let batches = client.batch_append(&BatchAppendOptions::default()).await.unwrap();
    for n in 0..20_u64 {
        let state = n.checked_sub(1).map_or(StreamState::NoStream, StreamState::StreamRevision);
        let written = batches.append_to_stream("b", state, vec![event(u128::from(n) + 1)]).await.unwrap();
        assert_eq!(written.current_revision(), Some(n));
    }
    assert!(batches.append_to_stream("b", StreamState::NoStream, vec![event(99)]).await.is_err());
    assert_eq!(whole(&client, "b").await, (1..=20).collect::<Vec<_>>());
    server.stop().await;
}

/// Takes `count` events from a subscription.
async fn take(subscription: &mut eventstore::Subscription, count: usize) -> Vec<u128> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let event = timeout(SOON, subscription.next()).await.expect("the next event comes").unwrap();
        seen.push(event.event.unwrap().id.as_u128());
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_go_on_through_a_restart() {
    for log in lasting() {
        subscribe_through_a_restart(Running::start(log, 0).await).await;
    }
}

async fn subscribe_through_a_restart(server: Running) {
    let client = connect(&server);
    let retry = RetryOptions::default().retry_forever();
    let odd = SubscriptionFilter::on_stream_name().regex("^(?!even)");
    let to_all = SubscribeToAllOptions::default().filter(odd).retry_options(retry);
    let mut log = client.subscribe_to_all(&to_all).await;
    let to_stream = SubscribeToStreamOptions::default().start_from(StreamPosition::Start).retry_options(retry);
    let mut stream = client.subscribe_to_stream("even", &to_stream).await;
    let write = async |client: &Client, numbers: std::ops::Range<u128>| {
        for n in numbers {
            let name = if n % 2 == 0 { "even" } else { "odd" };
            append(client, name, StreamState::Any, &[n]).await.unwrap();
        }
    };
    write(&client, 0..100).await;
    let odd = |range: std::ops::Range<u128>| range.filter(|n| n % 2 == 1).collect::<Vec<_>>();
    let even = |range: std::ops::Range<u128>| range.filter(|n| n % 2 == 0).collect::<Vec<_>>();
    assert_eq!(take(&mut log, 50).await, odd(0..100));
    assert_eq!(take(&mut stream, 50).await, even(0..100));
    let port = server.port();
    let server = Running::start(server.stop().await, port).await;
    let other = connect(&server);
    write(&other, 100..140).await;
    assert_eq!(take(&mut log, 20).await, odd(100..140));
    assert_eq!(take(&mut stream, 20).await, even(100..140));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_says_where_it_stands() {
    let server = Running::start_as(Log::memory(), 0, |server| server.limits.page_events = 4).await;
    let client = connect(&server);
    append(&client, "s", StreamState::Any, &(1..=10).collect::<Vec<_>>()).await.unwrap();
    let none = SubscriptionFilter::on_stream_name().add_prefix("no such stream").max(3);
    let mut subscription = client.subscribe_to_all(&SubscribeToAllOptions::default().filter(none)).await;
    let mut said = Vec::new();
    let mut next = async || timeout(SOON, subscription.next_subscription_event()).await.expect("it speaks").unwrap();
    for _ in 0..6 {
        said.push(match next().await {
            SubscriptionEvent::Confirmed(_) => "confirmed".to_owned(),
            SubscriptionEvent::Checkpoint(at) => at.commit.to_string(),
            SubscriptionEvent::CaughtUp(_) => "caught up".to_owned(),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(said, ["confirmed", "3", "6", "9", "10", "caught up"], "every third event, and the last");
    append(&client, "s", StreamState::Any, &(11..=30).collect::<Vec<_>>()).await.unwrap();
    let SubscriptionEvent::FellBehind(_) = next().await else { panic!("more came than a page holds") };
    let mut caught_up = false;
    while !caught_up {
        caught_up = matches!(next().await, SubscriptionEvent::CaughtUp(_));
    }
    server.stop().await;
}
