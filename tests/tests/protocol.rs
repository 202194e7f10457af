//! The EventStoreDB protocol around a shop: its clients look at the log, and a shop stands on a log that is served by it.
#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{fs, net::SocketAddr, sync::Arc};

use eventstore::{AppendToStreamOptions, Client, EventData, ReadAllOptions};
use futures::FutureExt as _;
use gateway::{
    app::{engines, wire::Serving},
    auth::{Roles, Signer, Verifier},
    clock::SystemClock,
    config::{Address, Config, LogEngine, Wire},
};
use ports::clock::Clock;
use proto::v1::{self, OrderState, Role};
use serde_json::json;
use tests::{
    say,
    shop::{TestShop, buyer},
    victim::{self, Victim, cartulary},
};
use tokio::sync::oneshot;

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn client(addr: SocketAddr, token: &str) -> Client {
    let settings = format!("esdb://token:{token}@{addr}?tls=false").parse().expect("a connection string");
    Client::new(settings).expect("a client")
}

#[tokio::test(flavor = "multi_thread")]
async fn foreigners_read_the_log_and_write_streams_of_their_own_only() {
    let mut shop = TestShop::open_with(|config| config.wire.listen = Some(ANYWHERE)).await;
    say::stock(&mut shop.operator().await, "mug", 255, 10).await;
    let mut ann = shop.buyer(1).await;
    let placed = ann.orders.process_order(say::order(&[("mug", 3)])).await.expect("placed").into_inner();
    let addr = shop.running().wire.expect("it is served");
    let as_role = |role: Role| client(addr, &shop.token(buyer(9), &[role]));

    let analyst = as_role(Role::Analyst);
    let mut all = analyst.read_all(&ReadAllOptions::default().max_count(1_000)).await.expect("read");
    let mut kinds = Vec::new();
    while let Some(event) = all.next().await.expect("an event") {
        let event = event.get_original_event();
        assert!(event.as_json::<serde_json::Value>().is_ok_and(|body| body.is_object()), "bodies are JSON");
        kinds.push(event.event_type.clone());
    }
    let head = shop.running().log().head().await.expect("the log can be read").0;
    assert_eq!(kinds.len() as u64, head, "everything, once");
    assert!(kinds.contains(&"order.placed".to_owned()), "{kinds:?}");

    let event = || EventData::json("offer.seen", &json!({ "price": 1 })).expect("JSON");
    let options = AppendToStreamOptions::default();
    let append = async |role: Role, stream: &str| as_role(role).append_to_stream(stream, &options, event()).await;
    let own = format!("order-{}", placed.order_id);
    for (role, stream) in
        [(Role::Buyer, "x-offers"), (Role::Analyst, "x-offers"), (Role::Partner, &own), (Role::Operator, &own)]
    {
        append(role, stream).await.expect_err("nobody but the desk writes the shop's streams, nor does who only reads");
    }
    append(Role::Partner, "x-offers").await.expect("a partner's own stream");
    let foreign = shop.running().log().head().await.expect("the log can be read").0;
    assert_eq!(foreign, head + 1, "one event, and nothing of what was refused");

    // The shop goes on, and its views pass what is not theirs.
    let again = ann.orders.process_order(say::paid_order(&[("mug", 1)])).await.expect("placed").into_inner();
    say::until(&mut ann, &again.order_id, OrderState::Delivered, again.position).await;
    let ask = v1::GetStockRequest { sku: "mug".into(), min_position: again.position };
    let stock = ann.catalog.get_stock(ask).await.expect("known").into_inner();
    assert_eq!((stock.on_hand, stock.reserved), (9, 3));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_sells_on_a_log_that_is_served_by_the_protocol_and_remembers() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config::new(folder.path());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let signer = Signer::load_or_generate(&config.signing_key()).expect("a key");
    let verifier = Verifier::new(vec![signer.public()], config.limits.tokens.clone(), Arc::clone(&clock));
    let log = engines::log(&config, &clock).await.expect("a log");
    let wire = Wire { listen: Some(ANYWHERE), ..config.wire.clone() };
    let serving = Serving::open(&wire, esdb_wire::Mode::Store, Arc::clone(&log), verifier, clock).await;
    let serving = serving.expect("a listener").expect("it is served");
    let (addr, (end, ended)) = (serving.addr, oneshot::channel::<()>());
    #[expect(clippy::disallowed_methods, reason = "the server beside the test")]
    let running = tokio::spawn(serving.run(ended.map(drop)));
    let hour = std::time::Duration::from_secs(3_600);
    let token = signer.issue(buyer(9), Roles::of(&[Role::Operator]), SystemClock.now(), hour).expect("a token");

    let mut shop = TestShop::open_with(move |config| {
        config.engines.log = LogEngine::EventStoreDb;
        config.eventstoredb.address = Some(Address::typed(format!("esdb://token:{token}@{addr}?tls=false")));
    })
    .await;
    say::stock(&mut shop.operator().await, "mug", 255, 10).await;
    let mut ann = shop.buyer(1).await;
    let wish = say::paid_order(&[("mug", 3)]);
    let placed = ann.orders.process_order(wish.clone()).await.expect("placed").into_inner();
    let delivered = say::until(&mut ann, &placed.order_id, OrderState::Delivered, placed.position).await;
    shop.restart().await;
    let mut ann = shop.buyer(1).await;
    let retried = ann.orders.process_order(wish).await.expect("answered").into_inner();
    assert_eq!(retried, placed, "the same request has the same answer");
    let order_id = placed.order_id;
    let ask = v1::GetOrderRequest { order_id: order_id.clone(), min_position: placed.position };
    assert_eq!(ann.orders.get_order(ask).await.expect("remembered").into_inner(), delivered);
    // The runner's place lies there too, as an event of the server's own kind: the streams are what both show alike.
    let stream = format!("order-{order_id}");
    let (served, seen) =
        (log.read_stream(&stream, 0, 100).await, shop.running().log().read_stream(&stream, 0, 100).await);
    let (served, seen) = (served.expect("the log can be read"), seen.expect("the log can be read"));
    assert!(!served.is_empty(), "it is that log");
    assert_eq!(served, seen);
    shop.stop().await;
    drop(end);
    running.await.expect("no panic").expect("an orderly end");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_program_serves_a_bare_log_and_a_shops_log_is_copied_into_it_and_out_again() {
    let place = tempfile::tempdir().expect("a folder");
    let path = |name: &str| place.path().join(name).display().to_string();
    let data = place.path().join("shop");
    let mut shop = TestShop::open_with(move |config| config.data = data.clone()).await;
    say::stock(&mut shop.operator().await, "mug", 255, 10).await;
    let mut ann = shop.buyer(1).await;
    let placed = ann.orders.process_order(say::paid_order(&[("mug", 3)])).await.expect("placed").into_inner();
    say::until(&mut ann, &placed.order_id, OrderState::Delivered, placed.position).await;
    shop.stop().await;

    let bare = place.path().join("bare");
    let served = Victim::serve_log(&bare).expect("it listens");
    let token = victim::token(&bare, buyer(9), "operator");
    // As with a long log: older events are not found by their ids, and distances are estimates.
    let settings = format!(
        "data = '{}'\nengines.log = 'eventstoredb'\neventstoredb.url = 'esdb://token:{token}@{}?tls=false'\n\
         eventstoredb.limits.ids_max = 3\neventstoredb.limits.page_events = 2\neventstoredb.limits.distance_exact_max = 2\n",
        path("nothing"),
        served.addr
    );
    fs::write(path("served.toml"), settings).expect("written");
    let (into, out) = (["--data", &path("shop"), "--to", &path("served.toml")], ["--config", &path("served.toml")]);
    let copy = |args: &[&str]| cartulary(&[&["log", "copy", "--without-keys"], args].concat());
    let first = copy(&into);
    assert!(first["events"].as_u64() > Some(10) && first["copied"] == first["events"], "{first}");
    let again = copy(&into);
    assert_eq!(
        (&again["sha256"], &again["events"], again["copied"].as_u64()),
        (&first["sha256"], &first["events"], Some(0))
    );

    let back = copy(&[&out[..], &["--to-data", &path("back")]].concat());
    assert_eq!(back, first, "the same events, with the same hash, all of them written");
    let whole = copy(&["--data", &path("shop"), "--to-data", &path("back")]);
    assert_eq!((&whole["sha256"], whole["copied"].as_u64()), (&first["sha256"], Some(0)), "as they were in the shop");
    served.stop();
}
