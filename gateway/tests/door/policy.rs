//! Who gets in, and what is served beside the API.

use http::{Request, header};
use proto::v1::{
    self, Role, catalog_service_client::CatalogServiceClient, echo_service_client::EchoServiceClient,
    order_service_client::OrderServiceClient,
};
use tonic::{Code, Status, body::Body};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{Service as _, ServiceExt as _};

use crate::fake::{MEMBER, Shop, reason, with};
use gateway::{error::Reason, limits::Limits, server::DoorService};

#[tokio::test]
async fn a_service_is_told_who_calls_and_until_when() {
    let shop = Shop::open(Limits::default()).await;
    let mut orders = OrderServiceClient::new(shop.connect().await);
    let answer = orders.process_order(with(v1::ProcessOrderRequest::default(), &shop.buyer())).await.expect("in");
    assert_eq!(answer.into_inner().etag, format!(r#"{MEMBER} ["buyer"] own=true deadline=true"#));
    let both = shop.token(&[Role::Buyer, Role::Operator]);
    let answer = orders.process_order(with(v1::ProcessOrderRequest::default(), &both)).await.expect("in");
    assert_eq!(answer.into_inner().etag, format!(r#"{MEMBER} ["buyer", "operator"] own=false deadline=true"#));
}

#[tokio::test]
async fn the_shop_window_is_open_but_not_for_a_forged_token() {
    let shop = Shop::open(Limits::default()).await;
    let mut catalog = CatalogServiceClient::new(shop.connect().await);
    let ask = || v1::GetProductRequest { product_id: "p".to_owned(), min_position: 0 };
    assert_eq!(catalog.get_product(ask()).await.expect("open").into_inner().name, "A mug");
    assert!(catalog.get_product(with(ask(), &shop.token(&[Role::Analyst]))).await.is_ok());
    let refusal = catalog.get_product(with(ask(), "Bearer a.b.c")).await.expect_err("forged");
    assert_eq!((refusal.code(), reason(&refusal)), (Code::Unauthenticated, Reason::UnauthenticatedCaller));
}

#[tokio::test]
async fn without_a_token_or_the_right_role_nothing_is_done() {
    let shop = Shop::open(Limits::default()).await;
    let mut orders = OrderServiceClient::new(shop.connect().await);
    let refusal = orders.process_order(v1::ProcessOrderRequest::default()).await.expect_err("no token");
    assert_eq!(reason(&refusal), Reason::UnauthenticatedCaller);
    let seller = with(v1::ProcessOrderRequest::default(), &shop.token(&[Role::Seller]));
    let refusal = orders.process_order(seller).await.expect_err("wrong role");
    assert_eq!((refusal.code(), reason(&refusal)), (Code::PermissionDenied, Reason::RoleForbidden));
}

#[tokio::test]
async fn a_method_without_a_policy_does_not_exist() {
    let shop = Shop::open(Limits::default()).await;
    let mut channel = shop.connect().await;
    for path in ["/cartulary.v1.OrderService/Nothing", "/other.Service/Do", "/cartulary.v1.PaymentService/GetPayment"] {
        let request = Request::post(format!("http://{}{path}", shop.address))
            .header(header::CONTENT_TYPE, "application/grpc")
            .body(Body::empty())
            .expect("a request");
        let answer = channel.ready().await.expect("open").call(request).await.expect("an answer");
        let status = Status::from_header_map(answer.headers()).expect("a status");
        assert_eq!((status.code(), reason(&status)), (Code::Unimplemented, Reason::UnknownMethod), "{path}");
    }
}

#[tokio::test]
async fn a_panic_in_a_handler_is_an_error_of_that_request_only() {
    let shop = Shop::open(Limits::default()).await;
    let mut catalog = CatalogServiceClient::new(shop.connect().await);
    let panic = v1::GetProductRequest { product_id: "panic".to_owned(), min_position: 0 };
    let refusal = catalog.get_product(panic).await.expect_err("a panic");
    assert_eq!(reason(&refusal), Reason::Internal);
    assert!(catalog.get_product(v1::GetProductRequest::default()).await.is_ok(), "the connection goes on");
    assert_eq!(shop.door.load(), (0, 0), "its place is free again");
}

#[tokio::test]
async fn what_does_not_decode_is_refused_with_a_reason() {
    let shop = Shop::open(Limits::default()).await;
    let mut channel = shop.connect().await;
    let frame: &[u8] = &[0, 0, 0, 0, 2, 0xff, 0xff];
    let request = Request::post(format!("http://{}/cartulary.v1.CatalogService/GetProduct", shop.address))
        .header(header::CONTENT_TYPE, "application/grpc")
        .body(Body::new(http_body_util::Full::from(frame)))
        .expect("a request");
    let answer = channel.ready().await.expect("open").call(request).await.expect("an answer");
    let status = Status::from_header_map(answer.headers()).expect("a status");
    assert_eq!(reason(&status), Reason::InvalidMessage);
}

#[tokio::test]
async fn health_answers_anybody() {
    let shop = Shop::open(Limits::default()).await;
    let answer = HealthClient::new(shop.connect().await).check(HealthCheckRequest::default()).await.expect("in");
    assert_eq!(answer.into_inner().status, 1);
}

#[tokio::test]
async fn reflection_tells_of_our_services_in_both_versions() {
    let shop = Shop::open(Limits::default()).await;
    macro_rules! listed {
        ($version:ident) => {{
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
            };
            let list = MessageRequest::ListServices(String::new());
            let ask = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
            let mut client = ServerReflectionClient::new(shop.connect().await);
            let answers = client.server_reflection_info(futures::stream::iter([ask])).await.expect("in");
            let answer = answers.into_inner().message().await.expect("an answer").expect("one");
            let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("a list") };
            list.service.into_iter().map(|service| service.name).collect::<Vec<_>>()
        }};
    }
    for services in [listed!(v1), listed!(v1alpha)] {
        for name in ["cartulary.v1.OrderService", "cartulary.v1.CatalogService", "grpc.health.v1.Health"] {
            assert!(services.iter().any(|service| service == name), "{name} in {services:?}");
        }
    }
}

#[tokio::test]
async fn a_client_inside_the_process_passes_the_same_rules() {
    let shop = Shop::open(Limits::default()).await;
    let mut echo = EchoServiceClient::new(DoorService(shop.door.clone()));
    let refusal = echo.echo(v1::EchoRequest::default()).await.expect_err("no token");
    assert_eq!(reason(&refusal), Reason::UnauthenticatedCaller);
    let ask = v1::EchoRequest { answer_bytes: 3, ..v1::EchoRequest::default() };
    assert_eq!(echo.echo(with(ask, &shop.buyer())).await.expect("in").into_inner().payload.len(), 3);
}
