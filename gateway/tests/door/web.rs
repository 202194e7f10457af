//! gRPC-Web, as browsers speak it: HTTP/1.1, the trailers in the body, all of it as text where bytes cannot pass.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use gateway::limits::Limits;
use prost::Message;
use proto::v1;

use crate::{fake::Shop, json};

/// What a browser reads: the messages, and the trailers as they are written.
struct Answer {
    head: String,
    messages: Vec<Vec<u8>>,
    trailers: String,
}

async fn call(shop: &Shop, path: &str, headers: &str, message: &impl Message) -> Answer {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    let body = BASE64_STANDARD.encode([&[0], &length[..], &message].concat());
    let headers =
        format!("Content-Type: application/grpc-web-text+proto\r\nAccept: application/grpc-web-text\r\n{headers}");
    let answer = json::ask(shop, "POST", path, &headers, &body).await;
    let (mut messages, mut trailers) = (Vec::new(), String::new());
    let bytes = decoded(&answer.body);
    let mut rest = &bytes[..];
    while let Some((head, more)) = rest.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let (frame, more) = more.split_at(length);
        match head[0] {
            0 => messages.push(frame.to_vec()),
            0x80 => trailers = String::from_utf8(frame.to_vec()).expect("text"),
            flag => panic!("a frame of kind {flag}"),
        }
        rest = more;
    }
    Answer { head: answer.head, messages, trailers }
}

/// Each part of the answer was written down by itself, with padding of its own.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for four in text.as_bytes().chunks(4) {
        bytes.extend(BASE64_STANDARD.decode(four).expect("base64"));
    }
    bytes
}

#[tokio::test]
async fn a_browser_calls_the_same_methods_under_the_same_rules() {
    let shop = Shop::open(Limits::default()).await;
    let ask = |id: &str| v1::GetProductRequest { product_id: id.to_owned(), min_position: 0 };
    let get = "/cartulary.v1.CatalogService/GetProduct";
    let mug = call(&shop, get, "", &ask("p")).await;
    assert!(mug.head.starts_with("http/1.1 200") && mug.messages.len() == 1, "{}", mug.head);
    assert_eq!(v1::Product::decode(&*mug.messages[0]).expect("a product").name, "A mug");
    assert!(mug.trailers.contains("grpc-status:0"), "{}", mug.trailers);

    let none = call(&shop, get, "", &ask("none")).await;
    assert!(none.messages.is_empty() && none.head.contains("grpc-status: 5"), "{}", none.head);
    let place = "/cartulary.v1.OrderService/ProcessOrder";
    let order = v1::ProcessOrderRequest { request_id: "r".to_owned(), ..v1::ProcessOrderRequest::default() };
    let nobody = call(&shop, place, "", &order).await;
    assert!(nobody.messages.is_empty() && nobody.head.contains("grpc-status: 16"), "{}", nobody.head);
    let buyer = call(&shop, place, &format!("Authorization: {}\r\n", shop.buyer()), &order).await;
    assert_eq!(v1::ProcessOrderResponse::decode(&*buyer.messages[0]).expect("an answer").order_id, "r");
    assert_eq!(shop.door.load(), (0, 0));
}

#[tokio::test]
async fn a_browser_follows_a_stream_to_its_end() {
    let shop = Shop::open(Limits::default()).await;
    let ask = v1::WatchStockRequest { sku: "broken".to_owned(), ..v1::WatchStockRequest::default() };
    let watched = call(&shop, "/cartulary.v1.CatalogService/WatchStock", "", &ask).await;
    assert_eq!(watched.messages.len(), 1);
    assert!(watched.trailers.contains("grpc-status:14"), "{}", watched.trailers);
}
