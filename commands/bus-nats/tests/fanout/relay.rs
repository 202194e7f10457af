//! The relay from a log on disk to a server that is badly treated.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use commands::{relay::Report, wakeups::AnnouncedLog};
use ports::{
    bus::{Announcements, Bus, Error, Message, Page, Published, Tail},
    store::{EventStore, Position},
};
use tokio::time::{sleep, timeout};

use super::scene::{Log, connect, jetstream, server, stream};

/// How the server is treated while events come in.
#[derive(Debug, Clone, Copy)]
enum Treatment {
    Freeze,
    Crash,
    Wipe,
    /// The relay dies wherever it is.
    Abort,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_happens_to_server_and_relay_the_stream_is_the_log() {
    use Treatment::{Abort, Crash, Freeze, Wipe};
    let Some(mut server) = server() else { return };
    let mut log = Log::new(20);
    let bus = connect(&server).await.bus();
    let mut running = tokio::spawn(log.relay(Arc::clone(&bus)).await.run());
    for treatment in [Freeze, Abort, Crash, Wipe, Abort, Freeze, Wipe, Crash, Abort] {
        log.append(400).await;
        sleep(Duration::from_millis(30)).await;
        match treatment {
            Freeze => {
                server.freeze();
                log.append(100).await;
                sleep(Duration::from_millis(1_500)).await;
                server.thaw();
            }
            Crash => server.restart(true).unwrap(),
            Wipe => server.wipe().unwrap(),
            Abort => {
                running.abort();
                drop(running.await);
                running = tokio::spawn(log.relay(Arc::clone(&bus)).await.run());
            }
        }
    }
    running.abort();
    drop(running.await);
    let mut relay = log.relay(bus).await;
    log.drain(&mut relay).await;
    log.is_published_by(&server).await;
    let head = log.store.head().await.unwrap().0;
    let report = log.reconcile(&mut relay).await;
    assert_eq!(report, Report { events: head, messages: head, ..Report::default() }, "and a comparison says so");
}

/// A bus whose answer to a publishing never comes, although it has published.
struct Mute(Arc<dyn Bus>);

#[async_trait]
impl Bus for Mute {
    async fn tail(&self) -> Result<Tail, Error> {
        self.0.tail().await
    }

    async fn publish(&self, after: u64, batch: &[Message]) -> Result<Published, Error> {
        self.0.publish(after, batch).await?;
        std::future::pending().await
    }

    async fn held(&self, after: u64, limit: usize) -> Result<Page, Error> {
        self.0.held(after, limit).await
    }

    async fn announce(&self, head: Position) -> Result<(), Error> {
        self.0.announce(head).await
    }

    async fn listen(&self) -> Result<Box<dyn Announcements>, Error> {
        self.0.listen().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_relay_killed_between_publishing_and_checkpoint_repeats_and_loses_nothing() {
    let Some(server) = server() else { return };
    let mut log = Log::new(5);
    let bus = connect(&server).await.bus();
    log.append(120).await;
    for round in 1..=3 {
        let mut relay = log.relay(Arc::new(Mute(Arc::clone(&bus)))).await;
        let killed = async {
            while stream_len(&server).await < round * 40 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = relay.step() => unreachable!("no answer ever comes"),
            () = killed => {}
        }
        drop(relay);
        let kept = log.store.load_snapshot("$relay.nats", 1).await.unwrap();
        assert!(kept.is_none(), "nothing was acknowledged, nothing is kept: {kept:?}");
    }
    log.drain(&mut log.relay(bus).await).await;
    log.is_published_by(&server).await;
}

async fn stream_len(server: &servers::nats::Nats) -> u64 {
    let stream = jetstream(server).await.get_stream("shop-events").await;
    stream.map_or(0, |stream| stream.cached_info().state.messages)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_relays_on_two_nodes_publish_each_event_once() {
    let Some(server) = server() else { return };
    let mut log = Log::new(20);
    log.append(2_000).await;
    let mut one = log.relay(connect(&server).await.bus()).await;
    let mut other = log.relay(connect(&server).await.bus()).await;
    tokio::join!(log.drain(&mut one), log.drain(&mut other));
    log.is_published_by(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_somebody_removed_is_found_and_published_again() {
    let Some(server) = server() else { return };
    let settings = bus_nats::Settings::new(server.url());
    let limits = bus_nats::Limits { duplicate_window: Duration::from_millis(1_500), ..super::scene::limits() };
    let bus = bus_nats::Nats::connect(settings, limits).await.unwrap().bus();
    let mut log = Log::new(5);
    log.append(500).await;
    let mut relay = log.relay(bus).await;
    log.drain(&mut relay).await;
    let events = jetstream(&server).await.get_stream("shop-events").await.unwrap();
    let removed: Vec<u64> = (1..=500).filter(|sequence| sequence % 50 == 0 || (120..=160).contains(sequence)).collect();
    for sequence in &removed {
        events.delete_message(*sequence).await.unwrap();
    }
    let report = log.reconcile(&mut relay).await;
    let lacking = removed.len() as u64;
    assert_eq!((report.events, report.filled + report.appended, report.strangers), (500, lacking, 0), "{report:?}");
    let mut there: Vec<u64> =
        stream(&server, "shop-events").await.iter().map(|seen| seen.header("ce-position").parse().unwrap()).collect();
    log.append(10).await;
    log.drain(&mut relay).await;
    there.sort_unstable();
    assert_eq!(there, (1..=500).collect::<Vec<_>>(), "nothing is missing, nothing is there twice");
    let report = log.reconcile(&mut relay).await;
    assert_eq!((report.messages, report.filled, report.repeats), (510, 0, 0), "what was filled stays filled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_server_drops_a_repeat_within_its_window() {
    let Some(server) = server() else { return };
    let mut log = Log::new(5);
    log.append(10).await;
    log.drain(&mut log.relay(connect(&server).await.bus()).await).await;
    // Another publisher, and none of the relay's care: only the id.
    let first = stream(&server, "shop-events").await.remove(0);
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", first.header("Nats-Msg-Id"));
    let bare = jetstream(&server).await;
    let again = bare.publish_with_headers(first.subject, headers, first.payload).await.unwrap().await.unwrap();
    assert!(again.duplicate && again.sequence == first.sequence, "{again:?}");
    log.is_published_by(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stranger_among_the_events_is_told_of_and_holds_nobody_up() {
    let Some(server) = server() else { return };
    let mut log = Log::new(5);
    log.append(10).await;
    let mut relay = log.relay(connect(&server).await.bus()).await;
    log.drain(&mut relay).await;
    let bare = jetstream(&server).await;
    bare.publish("shop.evt.order.placed.x", "not an event".into()).await.unwrap().await.unwrap();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", "00000000-0000-4000-8000-00000000beef");
    headers.insert("ce-position", "3");
    headers.insert("ce-through", "10");
    log.append(10).await;
    log.drain(&mut relay).await;
    bare.publish_with_headers("shop.evt.order.placed.y", headers, "invented".into()).await.unwrap().await.unwrap();
    bare.publish("shop.evt.order.placed.x", "not an event".into()).await.unwrap().await.unwrap();
    // Ours is the newest again, so the relay may go on; the invented one is named.
    let refused = relay.reconcile(jiff::Timestamp::UNIX_EPOCH).await;
    assert!(refused.unwrap_err().to_string().contains("beef"), "an invented event at the end stops the relay");
    let events = bare.get_stream("shop-events").await.unwrap();
    events.delete_message(22).await.unwrap();
    let report = log.reconcile(&mut relay).await;
    assert_eq!((report.messages, report.filled, report.strangers), (20, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn other_nodes_hear_what_is_appended() {
    let Some(mut server) = server() else { return };
    let mut log = Log::new(5);
    let announced = Arc::new(AnnouncedLog::new(Arc::clone(&log.store), connect(&server).await.bus()));
    log.store = Arc::clone(&announced) as Arc<dyn EventStore>;
    let running = tokio::spawn(announced.run());
    let there = connect(&server).await.bus();
    there.tail().await.unwrap();
    let mut ear = there.listen().await.unwrap();
    // Once more after the connection was lost: an ear hears again by itself.
    for _ in 0..2 {
        let heard = async {
            loop {
                log.append(10).await;
                if let Ok(position) = timeout(Duration::from_millis(500), ear.next()).await {
                    return position.unwrap();
                }
            }
        };
        let heard = timeout(super::scene::SOON, heard).await.unwrap();
        assert!(heard > Position::START && heard <= log.store.head().await.unwrap());
        server.restart(true).unwrap();
    }
    running.abort();
}
