//! A partner's feed: handed over until it is done, its effect once, its order kept.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bus_nats::Inlet;
use futures::StreamExt as _;
use ports::bus::{Intake, Parcel, Verdict};

use super::scene::{SOON, connect, jetstream, server};

/// How often a message finds nobody during an outage.
const OUTAGE: u64 = 12;

/// A shop that has an effect once per message id, and does as the message says.
#[derive(Default)]
struct Shop {
    /// Effects by message id, in their order.
    effects: Mutex<Vec<String>>,
    attempts: Mutex<BTreeMap<String, u64>>,
}

#[async_trait]
impl Intake for Shop {
    async fn take(&self, parcel: &Parcel) -> Verdict {
        assert_eq!(parcel.feed, "prices");
        *self.attempts.lock().unwrap().entry(parcel.id.clone()).or_default() += 1;
        let effect = || {
            let mut effects = self.effects.lock().unwrap();
            if !effects.contains(&parcel.id) {
                effects.push(parcel.id.clone());
            }
        };
        match parcel.payload.as_ref() {
            b"poison" => Verdict::Never("not a\nprice".to_owned()),
            b"hopeless" => Verdict::Again("not now".to_owned()),
            // More often than a parcel is handed over, and longer than one may be away without a sign of life.
            b"outage" if self.attempts(&parcel.id) < OUTAGE => Verdict::Away("the database is gone".to_owned()),
            b"third time" if parcel.attempt < 3 => Verdict::Again("not yet".to_owned()),
            b"slow" => {
                // Longer than a message may be away without a sign of life.
                tokio::time::sleep(super::scene::limits().ack_wait * 2).await;
                effect();
                Verdict::Done
            }
            b"crash" if parcel.attempt == 1 => {
                effect();
                std::future::pending().await
            }
            _ => {
                effect();
                Verdict::Done
            }
        }
    }
}

impl Shop {
    fn attempts(&self, id: &str) -> u64 {
        self.attempts.lock().unwrap().get(id).copied().unwrap_or_default()
    }

    /// Takes until so many messages are ended. A step that hangs is a process that dies.
    async fn takes(&self, inlet: &mut Inlet, mut count: usize) {
        let all = async {
            while count > 0 {
                match tokio::time::timeout(Duration::from_secs(8), inlet.step(self)).await {
                    Ok(Ok(ended)) => count -= ended.min(count),
                    Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        tokio::time::timeout(SOON, all).await.expect("everything is taken in time");
    }
}

/// A partner publishes with the bare client.
async fn publish(server: &servers::nats::Nats, id: Option<&str>, body: &'static str) -> bool {
    let mut headers = async_nats::HeaderMap::new();
    if let Some(id) = id {
        headers.insert("Nats-Msg-Id", id);
    }
    let partner = jetstream(server).await;
    partner.publish_with_headers("shop.in.prices", headers, body.into()).await.unwrap().await.unwrap().duplicate
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_message_has_its_effect_once_and_poison_is_ended_with_a_reason() {
    let Some(server) = server() else { return };
    let shop = Shop::default();
    let mut inlet = connect(&server).await.inlet("prices").unwrap();
    inlet.check().await.unwrap();
    let bare = async_nats::connect(server.url()).await.unwrap();
    let mut ended = bare.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>").await.unwrap();
    bare.flush().await.unwrap();

    assert!(!publish(&server, Some("a"), "price").await);
    assert!(publish(&server, Some("a"), "price").await, "the server drops a repeat");
    publish(&server, Some("b"), "third time").await;
    publish(&server, Some("c"), "slow").await;
    publish(&server, Some("d"), "poison").await;
    publish(&server, None, "price").await;
    publish(&server, Some("e"), "hopeless").await;
    publish(&server, Some("f"), "price").await;
    shop.takes(&mut inlet, 7).await;

    assert_eq!(*shop.effects.lock().unwrap(), ["a", "b", "c", "f"], "once each, in the order of the feed");
    let attempts = ["a", "b", "c", "d", "e", "f"].map(|id| shop.attempts(id));
    assert_eq!(attempts, [1, 3, 1, 1, bus_nats::Limits::default().attempts_max, 1]);
    let mut reasons = Vec::new();
    while reasons.len() < 3 {
        let advisory = tokio::time::timeout(SOON, ended.next()).await.unwrap().unwrap();
        let advisory: serde_json::Value = serde_json::from_slice(&advisory.payload).unwrap();
        reasons.push(advisory["reason"].as_str().unwrap().to_owned());
    }
    assert_eq!(reasons[0], "not a price");
    assert!(reasons[1].contains("Nats-Msg-Id") && reasons[2] == "not now", "{reasons:?}");
    assert_eq!(inlet.step(&shop).await.unwrap(), 0, "nothing comes again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outage_ends_no_message_however_long_it_is() {
    assert!(OUTAGE > bus_nats::Limits::default().attempts_max);
    let Some(server) = server() else { return };
    let (shop, mut inlet) = (Shop::default(), connect(&server).await.inlet("prices").unwrap());
    inlet.check().await.unwrap();
    publish(&server, Some("a"), "outage").await;
    publish(&server, Some("b"), "price").await;
    let taken = async {
        let mut ended = 0;
        while ended < 2 {
            ended += inlet.step(&shop).await.unwrap();
        }
    };
    tokio::time::timeout(SOON, taken).await.expect("both are taken in the end");
    assert_eq!(*shop.effects.lock().unwrap(), ["a", "b"]);
    assert_eq!((shop.attempts("a"), shop.attempts("b")), (OUTAGE, 1), "it was held, not sent again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_or_a_lost_acknowledgement_brings_it_again_and_the_effect_stays_one() {
    let Some(mut server) = server() else { return };
    let server_ref = &mut server;
    let shop = Arc::new(Shop::default());
    let mut inlet = connect(server_ref).await.inlet("prices").unwrap();
    inlet.check().await.unwrap();
    publish(server_ref, Some("a"), "crash").await;
    publish(server_ref, Some("b"), "price").await;
    // The first process dies after the effect, before the acknowledgement.
    drop(tokio::time::timeout(Duration::from_secs(1), inlet.step(shop.as_ref())).await);
    assert_eq!((shop.attempts("a"), shop.attempts("b")), (1, 0), "nothing overtakes it");
    let mut next = connect(server_ref).await.inlet("prices").unwrap();
    shop.takes(&mut next, 2).await;
    assert_eq!((shop.attempts("a"), shop.attempts("b")), (2, 1));

    // The acknowledgement is lost: the server is frozen while the shop works, and then killed.
    publish(server_ref, Some("c"), "slow").await;
    let taking = Arc::clone(&shop);
    let step = tokio::spawn(async move {
        let stepped = next.step(taking.as_ref()).await;
        (next, stepped)
    });
    while shop.attempts("c") == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server_ref.freeze();
    let (mut next, stepped) = step.await.unwrap();
    assert!(stepped.is_err(), "an acknowledgement that nobody heard is an error: {stepped:?}");
    assert_eq!(*shop.effects.lock().unwrap(), ["a", "b", "c"]);
    server_ref.restart(true).unwrap();
    shop.takes(&mut next, 1).await;
    assert_eq!(shop.attempts("c"), 2, "it came again");
    assert_eq!(*shop.effects.lock().unwrap(), ["a", "b", "c"], "and changed nothing");
}
