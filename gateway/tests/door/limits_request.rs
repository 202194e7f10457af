//! The limits on requests, each run into with a small value.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use proto::v1::{
    self, catalog_service_client::CatalogServiceClient, echo_service_client::EchoServiceClient,
    order_service_client::OrderServiceClient,
};
use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    fake::{Shop, reason, with},
    wire::{self, PATIENCE},
};
use gateway::{error::Reason, limits::Limits};

const SHORT: Duration = Duration::from_millis(100);

fn product(id: &str) -> v1::GetProductRequest {
    v1::GetProductRequest { product_id: id.to_owned(), min_position: 0 }
}

fn stock(sku: &str) -> v1::WatchStockRequest {
    v1::WatchStockRequest { sku: sku.to_owned(), min_position: 0 }
}

/// Polls until `holds`.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn in_flight_max_refuses_at_once_and_health_still_answers() {
    let shop = Shop::open(Limits { in_flight_max: 1, ..Limits::default() }).await;
    let channel = shop.connect().await;
    let mut busy = CatalogServiceClient::new(channel.clone());
    let slow = tokio::spawn(async move { busy.get_product(product("slow-1000")).await });
    until("the slow request is in", || shop.door.load().0 == 1).await;
    let mut catalog = CatalogServiceClient::new(channel.clone());
    let mut fastest = Duration::MAX;
    for _ in 0..20 {
        let asked = Instant::now();
        let refusal = catalog.get_product(product("p")).await.expect_err("full");
        fastest = fastest.min(asked.elapsed());
        assert_eq!((refusal.code(), reason(&refusal)), (Code::Unavailable, Reason::Overloaded));
    }
    assert!(fastest < Duration::from_millis(10), "a refusal took {fastest:?}");
    let json =
        wire::http(shop.address, "GET /catalog/products/p HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n").await;
    assert!(json.starts_with("HTTP/1.1 503") && json.contains("retry-after: 1"), "{json}");
    assert!(HealthClient::new(channel).check(HealthCheckRequest::default()).await.is_ok());
    assert!(slow.await.expect("no panic").is_ok(), "who was in is served");
    assert!(catalog.get_product(product("p")).await.is_ok(), "and the place is free again");
}

#[tokio::test]
async fn a_client_that_goes_away_frees_its_place() {
    let shop = Shop::open(Limits { in_flight_max: 1, ..Limits::default() }).await;
    let mut catalog = CatalogServiceClient::new(shop.connect().await);
    let call = catalog.get_product(product("slow-60000"));
    assert!(tokio::time::timeout(SHORT, call).await.is_err(), "it is slow");
    until("the place is free", || shop.door.load().0 == 0).await;
}

#[tokio::test]
async fn watch_streams_max_counts_streams_apart_from_requests() {
    let shop = Shop::open(Limits { watch_streams_max: 1, in_flight_max: 1, ..Limits::default() }).await;
    let mut catalog = CatalogServiceClient::new(shop.connect().await);
    let mut first = catalog.watch_stock(stock("quiet")).await.expect("in").into_inner();
    assert!(first.message().await.expect("a level").is_some());
    assert_eq!(shop.door.load(), (0, 1));
    let refusal = catalog.watch_stock(stock("quiet")).await.expect_err("full");
    assert_eq!(reason(&refusal), Reason::TooManyStreams);
    assert!(catalog.get_product(product("p")).await.is_ok(), "requests go on");
    drop(first);
    until("the stream's place is free", || shop.door.load().1 == 0).await;
    assert!(catalog.watch_stock(stock("quiet")).await.is_ok());
}

#[tokio::test]
async fn stream_idle_ends_a_stream_that_has_nothing_to_say() {
    let shop = Shop::open(Limits { stream_idle: SHORT, ..Limits::default() }).await;
    let mut catalog = CatalogServiceClient::new(shop.connect().await);
    let mut levels = catalog.watch_stock(stock("quiet")).await.expect("in").into_inner();
    assert!(levels.message().await.expect("a level").is_some());
    let end = levels.message().await.expect_err("ended");
    assert_eq!(reason(&end), Reason::StreamIdle);
}

#[tokio::test]
async fn a_streams_own_deadline_ends_it() {
    let shop = Shop::open(Limits::default()).await;
    let mut catalog = CatalogServiceClient::new(shop.connect().await);
    let mut request = tonic::Request::new(stock("quiet"));
    request.metadata_mut().insert("grpc-timeout", "100m".parse().expect("a header"));
    let mut levels = catalog.watch_stock(request).await.expect("in").into_inner();
    assert!(levels.message().await.expect("a level").is_some());
    assert_eq!(levels.message().await.expect_err("ended").code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn request_timeout_and_order_deadline_are_two_limits() {
    let shop = Shop::open(Limits { request_timeout: SHORT, ..Limits::default() }).await;
    let mut catalog = CatalogServiceClient::new(shop.connect().await);
    let refusal = catalog.get_product(product("slow-5000")).await.expect_err("too slow");
    assert_eq!((refusal.code(), reason(&refusal)), (Code::DeadlineExceeded, Reason::Deadline));
    let order =
        |region: &str| v1::ProcessOrderRequest { region: region.to_owned(), ..v1::ProcessOrderRequest::default() };
    let mut orders = OrderServiceClient::new(shop.connect().await);
    assert!(orders.process_order(with(order("slow-300"), &shop.buyer())).await.is_ok(), "orders have their own");

    let shop = Shop::open(Limits { order_deadline: SHORT, ..Limits::default() }).await;
    let mut orders = OrderServiceClient::new(shop.connect().await);
    let refusal = orders.process_order(with(order("slow-5000"), &shop.buyer())).await.expect_err("too slow");
    assert_eq!(reason(&refusal), Reason::Deadline);
    assert_eq!(shop.door.load(), (0, 0));
}

#[tokio::test]
async fn message_in_max_refuses_a_large_request() {
    let shop = Shop::open(Limits { message_in_max_bytes: 1_000, ..Limits::default() }).await;
    let mut echo = EchoServiceClient::new(shop.connect().await);
    let ask = |bytes| v1::EchoRequest { payload: vec![0; bytes].into(), answer_bytes: 0 };
    let refusal = echo.echo(with(ask(1_001), &shop.buyer())).await.expect_err("too large");
    assert_eq!((refusal.code(), reason(&refusal)), (Code::InvalidArgument, Reason::MessageTooLarge));
    assert!(echo.echo(with(ask(900), &shop.buyer())).await.is_ok());
}

#[tokio::test]
async fn message_out_max_refuses_a_large_answer() {
    let shop = Shop::open(Limits { message_out_max_bytes: 1_000, ..Limits::default() }).await;
    let mut echo = EchoServiceClient::new(shop.connect().await);
    let ask = |answer_bytes| v1::EchoRequest { answer_bytes, ..v1::EchoRequest::default() };
    let refusal = echo.echo(with(ask(1_001), &shop.buyer())).await.expect_err("too large");
    assert_eq!((refusal.code(), reason(&refusal)), (Code::ResourceExhausted, Reason::AnswerTooLarge));
    assert!(echo.echo(with(ask(900), &shop.buyer())).await.is_ok());
}

#[tokio::test]
async fn streams_per_connection_max_makes_further_requests_wait_in_the_client() {
    let shop = Shop::open(Limits { streams_per_connection_max: 2, ..Limits::default() }).await;
    let channel = shop.connect().await;
    // The client learns the limit with its first answer.
    CatalogServiceClient::new(channel.clone()).get_product(product("p")).await.expect("in");
    let slow =
        |channel: Channel| async move { CatalogServiceClient::new(channel).get_product(product("slow-50")).await };
    let answers: Vec<Result<_, Status>> = futures::future::join_all((0..6).map(|_| slow(channel.clone()))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(shop.services.most.load(Ordering::SeqCst), 2);
}
