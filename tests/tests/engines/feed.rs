//! A partner's feed: what is published to a subject happens in the shop.

use async_nats::jetstream;
use gateway::config::Feed;
use proto::v1::{self, Role};
use tests::{
    say,
    shop::{TestShop, buyer},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_partner_publishes_happens_once_and_what_cannot_happen_holds_up_nothing() {
    let feed = Feed { post: "/catalog/change-inventory-count".into(), member: buyer(900), role: Role::Operator };
    let mut shop =
        TestShop::open_with(move |config| drop(config.nats.feeds.insert("crates".into(), feed.clone()))).await;
    let listed = say::stock(&mut shop.operator().await, "mug", 255, 10).await;
    let (url, prefix) = shop.fleet().expect("servers").nats.clone();
    let partner = jetstream::new(async_nats::connect(&url).await.expect("a server"));
    let crate_of = |n: u32| format!(r#"{{"sku":"mug","warehouseId":"{}","receive":{n}}}"#, say::WAREHOUSE);
    let unknown = crate_of(1).replace("mug", "nothing");
    for (id, payload) in [("1", crate_of(5)), ("2", "no JSON".to_owned()), ("3", unknown), ("4", crate_of(7))] {
        publish(&partner, &format!("{prefix}.in.crates"), id, payload).await;
    }
    on_hand(&mut shop, 22, listed).await;
    shop.stop().await;

    // Somebody sets the feed back to its beginning: everything comes again.
    let feeds = partner.get_stream(format!("{prefix}-feeds")).await.expect("the feeds' stream");
    feeds.delete_consumer("feed-crates").await.expect("a consumer");
    publish(&partner, &format!("{prefix}.in.crates"), "5", crate_of(1)).await;
    shop.restart().await;
    on_hand(&mut shop, 23, listed).await;
    shop.stop().await;
}

/// Publishes as a partner does: until it is acknowledged.
async fn publish(partner: &jetstream::Context, subject: &str, id: &str, payload: String) {
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", id);
    let sent = partner.publish_with_headers(subject.to_owned(), headers, payload.into()).await.expect("sent");
    sent.await.expect("acknowledged");
}

/// Follows the mug's stock until so many are on hand.
async fn on_hand(shop: &mut TestShop, expected: u32, min_position: u64) {
    let watch = v1::WatchStockRequest { sku: "mug".into(), min_position };
    let mut levels = shop.operator().await.catalog.watch_stock(watch).await.expect("watched").into_inner();
    loop {
        let stock = levels.message().await.expect("the stream goes on").expect("it does not end").stock;
        let on_hand = stock.expect("levels").on_hand;
        assert!(on_hand <= expected, "{on_hand} are on hand, which is too many");
        if on_hand == expected {
            return;
        }
    }
}
