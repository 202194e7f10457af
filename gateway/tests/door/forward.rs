//! A gateway that does not decide: what changes something goes to other nodes, over real sockets.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use gateway::{
    auth::Signer,
    error::Reason,
    limits::Limits,
    server::{
        Routes,
        forward::{self, Forward},
    },
};
use proto::v1::{self, Role, catalog_service_client::CatalogServiceClient, order_service_client::OrderServiceClient};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};
use tonic::{
    Code, Response, Status,
    transport::{Channel, Uri},
};

use crate::{
    fake::{MEMBER, Shop, reason, with},
    json,
};

type Orders = OrderServiceClient<Channel>;

/// A key that all nodes share.
fn signer() -> Arc<Signer> {
    Arc::new(Signer::generate().expect("a key"))
}

async fn node(signer: &Arc<Signer>) -> Shop {
    Shop::open_with(Arc::clone(signer), Limits::default(), Routes::only_deciding).await
}

/// A gateway with the patience that it has by default.
async fn gateway(signer: &Arc<Signer>, nodes: &[String]) -> Shop {
    gateway_with(signer, nodes, forward::Limits::default()).await
}

/// One that finds out soon, for nodes that are at fault.
async fn hasty(signer: &Arc<Signer>, nodes: &[String]) -> Shop {
    let quick = Duration::from_millis(500);
    let limits = forward::Limits {
        ping_every: quick,
        ping_max: quick,
        answer_max: quick,
        rest_min: 4 * quick,
        ..forward::Limits::default()
    };
    gateway_with(signer, nodes, limits).await
}

async fn gateway_with(signer: &Arc<Signer>, nodes: &[String], limits: forward::Limits) -> Shop {
    let urls: Vec<Uri> = nodes.iter().map(|node| format!("http://{node}").parse().expect("a URL")).collect();
    let forward = Forward::new(&urls, &limits, Limits::default().message_in_max_bytes).expect("readable");
    Shop::open_with(Arc::clone(signer), Limits::default(), |routes| routes.forwarding(forward)).await
}

fn asked(shop: &Shop) -> usize {
    shop.services.asked.load(Ordering::SeqCst)
}

async fn order(orders: &mut Orders, id: &str, region: &str, token: &str) -> Result<v1::ProcessOrderResponse, Status> {
    let order = v1::ProcessOrderRequest {
        request_id: id.to_owned(),
        region: region.to_owned(),
        ..v1::ProcessOrderRequest::default()
    };
    orders.process_order(with(order, token)).await.map(Response::into_inner)
}

#[tokio::test]
async fn what_changes_something_is_decided_by_the_nodes_and_the_rest_here() {
    let signer = signer();
    let (one, two) = (node(&signer).await, node(&signer).await);
    let shop = gateway(&signer, &[one.address.to_string(), two.address.to_string()]).await;
    let mut orders = Orders::new(shop.connect().await);
    for n in 0..40 {
        let answer = order(&mut orders, &format!("r{n}"), "", &shop.buyer()).await.expect("decided");
        assert_eq!(answer.order_id, format!("r{n}"));
        assert_eq!(answer.etag, format!(r#"{MEMBER} ["buyer"] own=true deadline=true"#), "the node knows who asks");
    }
    assert_eq!((asked(&shop), asked(&one) + asked(&two)), (0, 40));
    assert!(asked(&one) > 5 && asked(&two) > 5, "each has its share: {} {}", asked(&one), asked(&two));

    let before = (asked(&one), asked(&two));
    for _ in 0..10 {
        order(&mut orders, "again", "", &shop.buyer()).await.expect("decided");
    }
    let after = (asked(&one) - before.0, asked(&two) - before.1);
    assert!(after == (10, 0) || after == (0, 10), "the same request goes to the same node: {after:?}");

    let mut catalog = CatalogServiceClient::new(shop.connect().await);
    let ask = v1::GetProductRequest { product_id: "p".to_owned(), min_position: 0 };
    assert_eq!(catalog.get_product(ask).await.expect("here").into_inner().name, "A mug");
    assert_eq!((asked(&shop), asked(&one) + asked(&two)), (1, 50));
}

#[tokio::test]
async fn the_json_twin_is_forwarded_with_its_token() {
    let signer = signer();
    let node = node(&signer).await;
    let shop = gateway(&signer, &[node.address.to_string()]).await;
    let headers = format!("Authorization: {}\r\n", shop.buyer());
    let answer = json::ask(&shop, "POST", "/order/process-order", &headers, r#"{"requestId":"j"}"#).await;
    assert_eq!((answer.status(), asked(&node)), (200, 1));
    assert_eq!(answer.json()["orderId"], "j");
    assert_eq!(answer.json()["etag"], format!(r#"{MEMBER} ["buyer"] own=true deadline=true"#));
}

#[tokio::test]
async fn a_node_answers_nothing_but_what_it_decides_and_checks_the_caller_itself() {
    let signer = signer();
    let node = node(&signer).await;
    let mut catalog = CatalogServiceClient::new(node.connect().await);
    let ask = v1::GetProductRequest { product_id: "p".to_owned(), min_position: 0 };
    assert_eq!(reason(&catalog.get_product(ask).await.expect_err("not here")), Reason::UnknownMethod);
    let mut orders = Orders::new(node.connect().await);
    for token in ["Bearer a.b.c".to_owned(), node.token(&[Role::Seller])] {
        let refusal = order(&mut orders, "r", "", &token).await.expect_err("refused");
        assert!(matches!(refusal.code(), Code::Unauthenticated | Code::PermissionDenied), "{refusal:?}");
    }
    // Somebody else's gateway: its key is not known here.
    let stranger = gateway(&self::signer(), &[node.address.to_string()]).await;
    let mut orders = Orders::new(stranger.connect().await);
    let refusal = order(&mut orders, "r", "", &stranger.buyer()).await.expect_err("refused");
    assert_eq!(
        (reason(&refusal), asked(&node)),
        (Reason::CommandsAway, 0),
        "the caller is not told that they are nobody"
    );
}

#[tokio::test]
async fn a_gateway_forwards_nothing_that_was_forwarded() {
    let signer = signer();
    let node = node(&signer).await;
    let inner = gateway(&signer, &[node.address.to_string()]).await;
    let outer = gateway(&signer, &[inner.address.to_string()]).await;
    let mut orders = Orders::new(outer.connect().await);
    let refusal = order(&mut orders, "r", "", &outer.buyer()).await.expect_err("refused");
    assert_eq!((reason(&refusal), asked(&node)), (Reason::CommandsAway, 0));
}

#[tokio::test]
async fn nodes_that_are_gone_are_passed_over_and_without_any_the_caller_is_told_to_ask_again() {
    let signer = signer();
    let (one, mut two) = (node(&signer).await, node(&signer).await);
    let shop = gateway(&signer, &[one.address.to_string(), two.address.to_string()]).await;
    let mut orders = Orders::new(shop.connect().await);
    order(&mut orders, "before", "", &shop.buyer()).await.expect("decided");
    two.stop();
    two.stopped().await;
    let before = asked(&one);
    for n in 0..20 {
        order(&mut orders, &format!("r{n}"), "", &shop.buyer()).await.expect("the other node decides");
    }
    assert_eq!(asked(&one) - before, 20);
    let mut one = one;
    one.stop();
    one.stopped().await;
    let refusal = order(&mut orders, "nobody", "", &shop.buyer()).await.expect_err("nobody decides");
    assert_eq!((refusal.code(), reason(&refusal)), (Code::Unavailable, Reason::CommandsAway));
}

#[tokio::test]
async fn a_node_that_is_silent_is_passed_over() {
    let signer = signer();
    let node = node(&signer).await;
    // It takes connections, as a frozen process does, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("bound").to_string();
    let shop = hasty(&signer, &[address, node.address.to_string()]).await;
    let mut orders = Orders::new(shop.connect().await);
    for n in 0..20 {
        order(&mut orders, &format!("r{n}"), "", &shop.buyer()).await.expect("the other node decides");
    }
    assert!(asked(&node) >= 20, "some may have been asked twice");
}

/// A listener whose queue is full: what comes now is dropped, as by a host that is down.
struct Down {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: JoinSet<std::io::Result<TcpStream>>,
}

impl Down {
    fn at(port: u16) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], port))).expect("a port");
        let listener = socket.listen(1).expect("it listens");
        let address = listener.local_addr().expect("bound");
        let mut queue = JoinSet::new();
        (0..4).for_each(|_| drop(queue.spawn(TcpStream::connect(address))));
        Self { address, _listener: listener, _queue: queue }
    }
}

/// Fifty orders at once are decided by the one node that is there, long before their time is over.
async fn fifty_are_decided_by(node: &Shop, shop: &Shop) {
    let before = asked(node);
    let (orders, token) = (Orders::new(shop.connect().await), shop.buyer());
    let all = (0..50).map(|n| {
        let (mut orders, token) = (orders.clone(), token.clone());
        async move { order(&mut orders, &format!("r{n}"), "", &token).await }
    });
    for answer in futures::future::join_all(all).await {
        answer.expect("the other node decides");
    }
    assert_eq!(asked(node) - before, 50);
}

#[tokio::test]
async fn a_node_that_takes_no_connection_keeps_nobody_waiting_in_a_row() {
    let signer = signer();
    let node = node(&signer).await;
    let down = Down::at(0);
    let shop = gateway(&signer, &[down.address.to_string(), node.address.to_string()]).await;
    fifty_are_decided_by(&node, &shop).await;
}

#[tokio::test]
async fn nor_does_one_whose_host_goes_down_while_nobody_asks() {
    let signer = signer();
    let (node, mut gone) = (node(&signer).await, self::node(&signer).await);
    let address = gone.address;
    let shop = gateway(&signer, &[address.to_string(), node.address.to_string()]).await;
    let mut orders = Orders::new(shop.connect().await);
    for n in 0..20 {
        order(&mut orders, &format!("before {n}"), "", &shop.buyer()).await.expect("decided");
    }
    assert!(asked(&gone) > 0, "there is a connection to it");
    gone.stop();
    gone.stopped().await;
    let _down = Down::at(address.port());
    fifty_are_decided_by(&node, &shop).await;
}

/// Of two nodes the one that is asked about the request `r`, and the other.
async fn first_and_other(orders: &mut Orders, token: &str, one: Shop, two: Shop) -> (Shop, Shop) {
    order(orders, "r", "", token).await.expect("decided");
    if asked(&one) > 0 { (one, two) } else { (two, one) }
}

#[tokio::test]
async fn a_node_that_hangs_is_passed_over_for_a_while() {
    let signer = signer();
    let (one, two) = (node(&signer).await, node(&signer).await);
    let shop = hasty(&signer, &[one.address.to_string(), two.address.to_string()]).await;
    let mut orders = Orders::new(shop.connect().await);
    let token = shop.buyer();
    let (hung, other) = first_and_other(&mut orders, &token, one, two).await;
    let before = asked(&other);
    let slow =
        v1::ProcessOrderRequest { request_id: "r".to_owned(), region: "slow-60000".to_owned(), ..Default::default() };
    let mut slow = with(slow, &token);
    slow.set_timeout(Duration::from_millis(800));
    orders.process_order(slow).await.expect_err("it hangs");
    order(&mut orders, "r", "", &token).await.expect("decided");
    assert_eq!(asked(&other), before + 1, "a retry goes to the other");
    let hung_before = asked(&hung);
    for _ in 0..400 {
        if asked(&hung) > hung_before {
            return;
        }
        order(&mut orders, "r", "", &token).await.expect("decided");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it is never asked again");
}

#[tokio::test]
async fn a_node_that_stops_finishes_what_it_has_begun_and_nobody_else_is_asked_that() {
    let signer = signer();
    let (one, two) = (node(&signer).await, node(&signer).await);
    let shop = gateway(&signer, &[one.address.to_string(), two.address.to_string()]).await;
    let mut orders = Orders::new(shop.connect().await);
    let token = shop.buyer();
    let (mut stops, other) = first_and_other(&mut orders, &token, one, two).await;
    let (mut slow, slow_token) = (orders.clone(), token.clone());
    let slow = tokio::spawn(async move { order(&mut slow, "r", "slow-1000", &slow_token).await });
    let begun = async {
        while asked(&stops) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), begun).await.expect("the slow one has begun");
    stops.stop();
    order(&mut orders, "r", "", &token).await.expect("the other decides what comes now");
    slow.await.expect("no panic").expect("it was finished");
    assert_eq!((asked(&stops), asked(&other)), (2, 1));
}

#[tokio::test]
async fn what_a_caller_says_to_the_gateway_puts_no_node_at_fault() {
    let signer = signer();
    let node = node(&signer).await;
    let shop = gateway(&signer, &[node.address.to_string()]).await;
    let cookies = "x".repeat(3_000);
    let headers = format!(
        "Authorization: {}\r\nConnection: close, authorization, x-cartulary-forwarded\r\nCookie: {cookies}\r\nUser-Agent: {cookies}\r\n",
        shop.buyer()
    );
    for _ in 0..2 {
        let answer = json::ask(&shop, "POST", "/order/process-order", &headers, r#"{"requestId":"j"}"#).await;
        assert_eq!(answer.status(), 200, "{}", answer.body);
    }
    assert_eq!(asked(&node), 2);
}

#[tokio::test]
async fn what_a_node_answers_is_the_answer() {
    let signer = signer();
    let (one, two) = (node(&signer).await, node(&signer).await);
    let shop = gateway(&signer, &[one.address.to_string(), two.address.to_string()]).await;
    let mut orders = Orders::new(shop.connect().await);
    let refusal = order(&mut orders, "r", "panic", &shop.buyer()).await.expect_err("it panicked");
    assert_eq!((reason(&refusal), asked(&one) + asked(&two)), (Reason::Internal, 1), "nobody else is asked");

    let mut hasty =
        with(v1::ProcessOrderRequest { region: "slow-5000".to_owned(), ..Default::default() }, &shop.buyer());
    hasty.set_timeout(Duration::from_millis(300));
    let refusal = orders.process_order(hasty).await.expect_err("too slow");
    assert!(matches!(refusal.code(), Code::DeadlineExceeded | Code::Cancelled), "{refusal:?}");

    let limit = Limits::default().message_in_max_bytes;
    let refusal = order(&mut orders, "r", &"x".repeat(limit + 1), &shop.buyer()).await.expect_err("too large");
    assert_eq!(reason(&refusal), Reason::MessageTooLarge);
    assert_eq!(asked(&one) + asked(&two), 2, "no node has seen it");
}
