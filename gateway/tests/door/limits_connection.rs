//! The limits on connections, each run into with a small value.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use proto::v1::{self, catalog_service_client::CatalogServiceClient};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tonic::Status;

use crate::{
    fake::{Shop, reason},
    wire::{self, PATIENCE, frame, frames, greeting},
};
use gateway::{error::Reason, limits::Limits};

const SHORT: Duration = Duration::from_millis(100);
const GET: &str = "GET /catalog/products/p HTTP/1.1\r\nHost: shop\r\n\r\n";
const ENHANCE_YOUR_CALM: u32 = 0xb;

fn product(id: &str) -> v1::GetProductRequest {
    v1::GetProductRequest { product_id: id.to_owned(), min_position: 0 }
}

/// Whatever arrives next on a connection that stays open.
async fn chunk(socket: &mut TcpStream) -> Vec<u8> {
    let mut buffer = vec![0; 4096];
    let read = tokio::time::timeout(PATIENCE, socket.read(&mut buffer)).await.expect("in time").expect("open");
    assert!(read > 0, "the connection is open");
    buffer.truncate(read);
    buffer
}

/// The same as text: a short answer arrives at once.
async fn answer(socket: &mut TcpStream) -> String {
    String::from_utf8_lossy(&chunk(socket).await).into_owned()
}

#[tokio::test]
async fn connections_max_closes_the_one_too_many_and_takes_another_when_one_has_gone() {
    let shop = Shop::open(Limits { connections_max: 1, ..Limits::default() }).await;
    let mut first = wire::open(shop.address).await;
    first.write_all(GET.as_bytes()).await.expect("written");
    assert!(answer(&mut first).await.starts_with("HTTP/1.1 200"));
    assert!(wire::rest(&mut wire::open(shop.address).await).await.is_empty());
    drop(first);
    let again = async {
        while !wire::http(shop.address, &GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))
            .await
            .starts_with("HTTP/1.1 200")
        {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("there is room again");
}

#[tokio::test]
async fn handshake_timeout_drops_who_connects_and_says_nothing_or_half_a_greeting() {
    let shop = Shop::open(Limits { handshake_timeout: SHORT, ..Limits::default() }).await;
    for said in ["", "PRI * HTTP/2"] {
        let mut socket = wire::open(shop.address).await;
        socket.write_all(said.as_bytes()).await.expect("written");
        let opened = Instant::now();
        assert!(wire::rest(&mut socket).await.is_empty());
        assert!(opened.elapsed() >= SHORT - Duration::from_millis(20), "{said:?} after {:?}", opened.elapsed());
    }
}

#[tokio::test]
async fn connection_idle_closes_what_is_not_used_and_only_that() {
    let shop = Shop::open(Limits { connection_idle: SHORT * 3, ..Limits::default() }).await;
    let mut socket = wire::open(shop.address).await;
    socket.write_all(GET.as_bytes()).await.expect("written");
    assert!(answer(&mut socket).await.starts_with("HTTP/1.1 200"));
    assert!(wire::rest(&mut socket).await.is_empty(), "closed without another word");

    let mut socket = wire::open(shop.address).await;
    for path in ["slow-900", "p"] {
        let ask = GET.replace("products/p", &format!("products/{path}"));
        socket.write_all(ask.as_bytes()).await.expect("written");
        let said = answer(&mut socket).await;
        assert!(said.starts_with("HTTP/1.1 200"), "a slow request is no idleness: {said:?}");
    }
}

#[tokio::test]
async fn connection_idle_spares_a_connection_that_only_follows_a_stream() {
    let limits = Limits { connection_idle: SHORT * 3, connections_max: 1, ..Limits::default() };
    let shop = Shop::open(limits).await;
    let mut catalog = CatalogServiceClient::new(shop.connect().await);
    let watch = v1::WatchStockRequest { sku: "quiet".to_owned(), min_position: 0 };
    let mut levels = catalog.watch_stock(watch).await.expect("in").into_inner();
    levels.message().await.expect("a level");
    assert!(tokio::time::timeout(SHORT * 9, levels.message()).await.is_err(), "it is quiet");
    // A connection that had been told to go would take no more, and a second one is not allowed.
    assert!(catalog.get_product(product("p")).await.is_ok());
}

#[tokio::test]
async fn write_stall_drops_who_asks_and_never_reads() {
    let shop = Shop::open(Limits { write_stall: SHORT, ..Limits::default() }).await;
    let body = r#"{"answerBytes":1000000}"#;
    let token = shop.buyer();
    let length = body.len();
    let ask = format!(
        "POST /echo HTTP/1.1\r\nHost: shop\r\nAuthorization: {token}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let mut socket = wire::open(shop.address).await;
    // Far more than the buffers of two sockets hold.
    socket.write_all(ask.repeat(40).as_bytes()).await.expect("written");
    let dropped = async {
        while socket.write_all(b"G").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    tokio::time::timeout(PATIENCE, dropped).await.expect("the connection is dropped");
}

#[tokio::test]
async fn keepalive_drops_an_http2_client_that_does_not_answer_pings() {
    let limits = Limits { keepalive_interval: SHORT, keepalive_timeout: SHORT, ..Limits::default() };
    let shop = Shop::open(limits).await;
    let mut socket = wire::open(shop.address).await;
    socket.write_all(&greeting()).await.expect("written");
    let said = frames(&wire::rest(&mut socket).await);
    assert!(said.iter().any(|(kind, ..)| *kind == 6), "it was asked with a PING first: {said:?}");
}

#[tokio::test]
async fn the_settings_of_http2_are_the_configured_ones() {
    let limits = Limits {
        streams_per_connection_max: 123,
        stream_window_bytes: 70_000,
        connection_window_bytes: 900_000,
        header_list_max_bytes: 5_000,
        keepalive_interval: SHORT,
        keepalive_timeout: SHORT,
        ..Limits::default()
    };
    let shop = Shop::open(limits).await;
    let mut socket = wire::open(shop.address).await;
    socket.write_all(&greeting()).await.expect("written");
    let said = frames(&wire::rest(&mut socket).await);
    let (_, _, settings) = said.iter().find(|(kind, ..)| *kind == 4).expect("SETTINGS");
    let setting = |id: u8| {
        let entry = settings.chunks(6).find(|entry| entry[..2] == [0, id])?;
        Some(u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]))
    };
    assert_eq!((setting(3), setting(4), setting(6)), (Some(123), Some(70_000), Some(5_000)));
    let (_, _, update) = said.iter().find(|(kind, stream, _)| (*kind, *stream) == (8, 0)).expect("WINDOW_UPDATE");
    assert_eq!(update.as_slice(), (900_000_u32 - 65_535).to_be_bytes());
}

#[tokio::test]
async fn header_list_max_refuses_large_metadata() {
    let shop = Shop::open(Limits { header_list_max_bytes: 4_000, ..Limits::default() }).await;
    let mut catalog = CatalogServiceClient::new(shop.connect().await);
    let ask = |bytes: usize| {
        let mut request = tonic::Request::new(product("p"));
        request.metadata_mut().insert("x-large", "x".repeat(bytes).parse().expect("a header"));
        let mut catalog = catalog.clone();
        async move { catalog.get_product(request).await }
    };
    assert!(ask(2_000).await.is_ok());
    let refusal: Status = ask(10_000).await.expect_err("too large");
    assert!(refusal.message().contains("431") || refusal.message().contains("reset"), "{refusal:?}");
    assert!(catalog.get_product(product("p")).await.is_ok());
}

/// A GET of `/` on a stream of its own.
fn request(stream: u32) -> Vec<u8> {
    frame(1, 5, stream, &[0x82, 0x86, 0x84])
}

async fn goaway(shop: &Shop, attack: Vec<u8>) -> Option<u32> {
    let mut socket = wire::open(shop.address).await;
    socket.write_all(&[greeting(), attack].concat()).await.expect("written");
    let said = frames(&wire::rest(&mut socket).await);
    let goaways = said.iter().filter(|(kind, ..)| *kind == 7);
    goaways
        .map(|(_, _, payload)| u32::from_be_bytes([payload[4], payload[5], payload[6], payload[7]]))
        .find(|code| *code != 0)
}

#[tokio::test]
async fn pending_resets_max_ends_a_rapid_reset_attack() {
    let shop = Shop::open(Limits { pending_resets_max: 5, ..Limits::default() }).await;
    let attack = (0..200).flat_map(|n| [request(2 * n + 1), frame(3, 0, 2 * n + 1, &[0, 0, 0, 8])].concat());
    assert_eq!(goaway(&shop, attack.collect()).await, Some(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn pending_resets_max_lets_fewer_resets_pass() {
    let shop = Shop::open(Limits { pending_resets_max: 200, ..Limits::default() }).await;
    let calm = (0..100).flat_map(|n| [request(2 * n + 1), frame(3, 0, 2 * n + 1, &[0, 0, 0, 8])].concat());
    let mut socket = wire::open(shop.address).await;
    let ping = frame(6, 0, 0, b"still on");
    socket.write_all(&[greeting(), calm.collect(), ping].concat()).await.expect("written");
    let mut said = Vec::new();
    let answered = async {
        while !frames(&said).iter().any(|(kind, ..)| *kind == 6) {
            said.extend_from_slice(&chunk(&mut socket).await);
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("the ping is answered");
    assert!(frames(&said).iter().all(|(kind, ..)| *kind != 7), "and nobody is sent away");
}

#[tokio::test]
async fn local_resets_max_ends_an_attack_that_makes_us_reset() {
    let shop = Shop::open(Limits { local_resets_max: 5, ..Limits::default() }).await;
    // A window that grows past its largest size is an error of the stream, which we must then reset.
    let attack =
        (0..200).flat_map(|n| [request(2 * n + 1), frame(8, 0, 2 * n + 1, &[0x7f, 0xff, 0xff, 0xff])].concat());
    assert_eq!(goaway(&shop, attack.collect()).await, Some(ENHANCE_YOUR_CALM));
}

#[tokio::test]
async fn http1_headers_are_bounded_in_number_size_and_time() {
    let limits = Limits {
        http1_headers_max: 10,
        http1_header_max_bytes: 8 << 10,
        http1_header_timeout: SHORT,
        ..Limits::default()
    };
    let shop = Shop::open(limits).await;
    let with = |headers: &str| GET.replace("Host: shop\r\n", &format!("Host: shop\r\nConnection: close\r\n{headers}"));
    let answer = wire::http(shop.address, &with("")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let many: String = (0..11).map(|n| format!("X-{n}: 1\r\n")).collect();
    let answer = wire::http(shop.address, &with(&many)).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let large = format!("X-Large: {}\r\n", "x".repeat(10 << 10));
    let answer = wire::http(shop.address, &with(&large)).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let begun = Instant::now();
    let answer = wire::http(shop.address, "GET /catalog/products/p HTTP/1.1\r\nHost: sh").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(begun.elapsed() < PATIENCE);
}

#[tokio::test]
async fn a_gateway_that_stops_finishes_what_it_began_and_tells_its_followers() {
    let mut shop = Shop::open(Limits::default()).await;
    let mut catalog = CatalogServiceClient::new(shop.connect().await);
    let watch = v1::WatchStockRequest { sku: "quiet".to_owned(), min_position: 0 };
    let mut levels = catalog.watch_stock(watch).await.expect("in").into_inner();
    levels.message().await.expect("a level");
    let slow = tokio::spawn(async move { catalog.get_product(product("slow-300")).await });
    while shop.door.load().0 == 0 {
        tokio::time::sleep(SHORT / 10).await;
    }
    shop.stop();
    assert_eq!(reason(&levels.message().await.expect_err("ended")), Reason::ShuttingDown);
    assert!(slow.await.expect("no panic").is_ok(), "the slow request was finished");
    let address = shop.address;
    assert_eq!(shop.stopped().await.cut, 0);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn drain_is_over_when_its_time_is() {
    let mut shop = Shop::open(Limits { drain: SHORT, ..Limits::default() }).await;
    let mut catalog = CatalogServiceClient::new(shop.connect().await);
    let slow = tokio::spawn(async move { catalog.get_product(product("slow-60000")).await });
    while shop.door.load().0 == 0 {
        tokio::time::sleep(SHORT / 10).await;
    }
    let stopping = Instant::now();
    shop.stop();
    assert_eq!(shop.stopped().await.cut, 1);
    assert!(stopping.elapsed() < PATIENCE);
    assert!(slow.await.expect("no panic").is_err());
}

/// How many levels of an endless stream are made for a client whose window is wide open and who never reads.
async fn made_ahead(send_buffer_max_bytes: usize) -> usize {
    let shop = Shop::open(Limits { send_buffer_max_bytes, ..Limits::default() }).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(8 << 10).expect("a small buffer");
    let mut socket = socket.connect(shop.address).await.expect("connected");
    let widest = 0x7fff_ffff_u32;
    let settings = [&[0, 4][..], &widest.to_be_bytes()].concat();
    let path = b"/catalog/stock/endless:watch";
    let headers = [&[0x82, 0x86, 0x04, u8::try_from(path.len()).expect("short")][..], path].concat();
    let ask = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &settings),
        frame(8, 0, 0, &(widest - 65_535).to_be_bytes()),
        frame(1, 5, 1, &headers),
    ];
    socket.write_all(&ask.concat()).await.expect("written");
    let made = || shop.services.streamed.load(Ordering::SeqCst);
    let mut before = 0;
    // Until no more are made for a while.
    while made() == 0 || made() > before {
        before = made();
        tokio::time::sleep(SHORT * 4).await;
    }
    made()
}

#[tokio::test]
async fn send_buffer_max_bounds_what_waits_for_who_does_not_read() {
    let (small, large) = (made_ahead(16 << 10).await, made_ahead(16 << 20).await);
    // A level is a little more than 1,000 bytes; what the sockets hold is the same for both.
    assert!(large > small + 8_000, "{small} and {large} levels");
}
