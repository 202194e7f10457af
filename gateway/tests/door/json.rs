//! The JSON twin, as clients without gRPC see it.

use std::time::Duration;

use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tonic::body::Body;
use tower::{Service as _, ServiceExt as _};

use crate::{
    fake::{MEMBER, Shop},
    wire,
};
use gateway::limits::Limits;

/// Status line and headers, then the body.
pub struct Answer {
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    pub fn reason(&self) -> String {
        self.json()["details"][0]["reason"].as_str().expect("a reason").to_owned()
    }

    pub fn status(&self) -> u16 {
        self.head[9..12].parse().expect("a status")
    }
}

pub async fn ask(shop: &Shop, verb: &str, path: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!(
        "{verb} {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    let text = wire::http(shop.address, &request).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    Answer { head: head.to_lowercase(), body: unchunked(head, body) }
}

fn unchunked(head: &str, body: &str) -> String {
    if !head.to_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let mut whole = String::new();
    let mut rest = body;
    while let Some((size, more)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        whole.push_str(&more[..size]);
        rest = &more[(size + 2).min(more.len())..];
    }
    whole
}

fn authorization(shop: &Shop) -> String {
    format!("Authorization: {}\r\nContent-Type: application/json\r\n", shop.buyer())
}

#[tokio::test]
async fn a_get_fills_the_path_and_answers_camel_case() {
    let shop = Shop::open(Limits::default()).await;
    let answer = ask(&shop, "GET", "/catalog/products/mug%2D1?minPosition=0", "", "").await;
    assert_eq!(answer.status(), 200, "{}", answer.head);
    assert!(answer.head.contains("content-type: application/json"));
    assert_eq!(answer.json()["productId"], "mug-1");
    assert_eq!(answer.json()["imageUrls"], json!([]), "what is empty is written too");
}

#[tokio::test]
async fn a_post_reads_both_spellings_and_passes_the_token_on() {
    let shop = Shop::open(Limits::default()).await;
    for body in [
        r#"{"requestId":"r","lines":[{"productId":"p","sku":"s","quantity":2},{"sku":"t","quantity":3}],"region":"GB"}"#,
        r#"{"request_id":"r","lines":[{"product_id":"p","sku":"s","quantity":2},{"sku":"t","quantity":3}],"region":"GB"}"#,
    ] {
        let answer = ask(&shop, "POST", "/order/process-order", &authorization(&shop), body).await;
        assert_eq!(answer.status(), 200, "{}", answer.body);
        let order = answer.json();
        assert_eq!(order["orderId"], "r");
        assert_eq!(order["state"], "ORDER_STATE_RESERVED");
        assert_eq!(order["total"], json!({ "currencyCode": "GBP", "units": "5", "nanos": 0 }));
        assert_eq!(order["position"], u64::MAX.to_string(), "64 bits are text");
        assert!(order["etag"].as_str().expect("text").starts_with(&MEMBER.to_string()));
    }
}

#[tokio::test]
async fn a_refusal_is_a_status_with_details_under_the_right_http_code() {
    let shop = Shop::open(Limits::default()).await;
    let answer = ask(&shop, "GET", "/catalog/products/none", "", "").await;
    assert_eq!((answer.status(), answer.reason().as_str()), (404, "PRODUCT_NOT_FOUND"));
    let status = answer.json();
    assert_eq!((status["code"].as_i64(), status["message"].as_str()), (Some(5), Some("no such product")));
    assert_eq!(status["details"][0]["metadata"]["product_id"], "none");
    assert_eq!(status["details"][0]["domain"], "cartulary");
}

#[tokio::test]
async fn each_kind_of_bad_request_has_its_own_answer() {
    let shop = Shop::open(Limits::default()).await;
    let token = authorization(&shop);
    for (verb, path, headers, body, status, reason) in [
        ("GET", "/nowhere", "", "", 404, "UNKNOWN_METHOD"),
        ("GET", "/catalog/products/p/q", "", "", 404, "UNKNOWN_METHOD"),
        ("PATCH", "/catalog/products/p", "", "", 405, "WRONG_VERB"),
        ("GET", "/catalog/products/p?nonsense=1", "", "", 400, "INVALID_FIELD"),
        ("POST", "/order/process-order", "", "{}", 401, "UNAUTHENTICATED_CALLER"),
        ("POST", "/order/process-order", "Authorization: Bearer x\r\n", "{", 401, "UNAUTHENTICATED_CALLER"),
        ("POST", "/order/process-order", &token, "{", 400, "INVALID_JSON"),
        ("POST", "/order/process-order", &token, r#"{"quantity":1}"#, 400, "INVALID_JSON"),
        ("POST", "/coupon/campaigns", &token, "{}", 404, "UNKNOWN_METHOD"),
        ("GET", "/", "Content-Type: application/grpc\r\n", "", 415, "UNSUPPORTED_CONTENT"),
        ("GET", "/", "Content-Type: application/grpc-web+json\r\n", "", 415, "UNSUPPORTED_CONTENT"),
    ] {
        let answer = ask(&shop, verb, path, headers, body).await;
        assert_eq!((answer.status(), answer.reason().as_str()), (status, reason), "{verb} {path} {body}");
    }
    let wrong = ask(&shop, "PATCH", "/catalog/products/p", "", "").await;
    assert!(wrong.head.contains("allow: put, get, delete"), "{}", wrong.head);
    let nobody = ask(&shop, "POST", "/order/process-order", "", "{}").await;
    assert!(nobody.head.contains("www-authenticate: bearer"), "{}", nobody.head);
}

/// A header of an answer.
fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let named = |line: &'a str| line.strip_prefix(name)?.strip_prefix(": ");
    answer.head.lines().find_map(named).unwrap_or_default()
}

#[tokio::test]
async fn an_answer_says_who_may_keep_it_and_is_not_sent_again_to_who_has_it() {
    let limits = Limits { window_max_age: Duration::from_secs(7), ..Limits::default() };
    let shop = Shop::open(limits).await;
    let window = ask(&shop, "GET", "/catalog/products/p", "", "").await;
    assert_eq!(header(&window, "cache-control"), "public, max-age=7");
    let own = ask(&shop, "GET", "/catalog/products/p", &authorization(&shop), "").await;
    assert_eq!(header(&own, "cache-control"), "private, no-cache", "what somebody sees who has said who they are");
    let tag = header(&window, "etag").to_owned();
    let asked = format!("If-None-Match: {tag}\r\n");
    let same = ask(&shop, "GET", "/catalog/products/p", &asked, "").await;
    assert_eq!((same.status(), same.body.as_str(), header(&same, "etag")), (304, "", tag.as_str()));
    let other = ask(&shop, "GET", "/catalog/products/q", &asked, "").await;
    assert_eq!(other.status(), 200);
    let done = ask(&shop, "POST", "/order/process-order", &authorization(&shop), "{}").await;
    assert_eq!((header(&done, "cache-control"), header(&done, "etag")), ("no-store", ""));
    let none = ask(&shop, "GET", "/catalog/products/none", "", "").await;
    assert_eq!((none.status(), header(&none, "cache-control")), (404, "no-store"), "it may be there in a moment");
    assert_eq!(header(&window, "vary"), "authorization");
}

#[tokio::test]
async fn the_twin_describes_itself() {
    let shop = Shop::open(Limits::default()).await;
    let document = ask(&shop, "GET", "/openapi.json", "", "").await;
    assert_eq!((document.status(), header(&document, "cache-control")), (200, "public, max-age=60"));
    assert_eq!(document.json()["openapi"], "3.1.0");
    let asked = format!("If-None-Match: {}\r\n", header(&document, "etag"));
    assert_eq!(ask(&shop, "GET", "/openapi.json", &asked, "").await.status(), 304);
    assert_eq!(ask(&shop, "POST", "/openapi.json", "", "").await.status(), 404);
}

#[tokio::test]
async fn a_stream_is_one_message_a_line() {
    let shop = Shop::open(Limits::default()).await;
    let answer = ask(&shop, "GET", "/catalog/stock/A:watch", "", "").await;
    assert!(answer.head.contains("content-type: application/x-ndjson"), "{}", answer.head);
    let lines: Vec<Value> = answer.body.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let positions: Vec<_> = lines.iter().map(|line| line["position"].as_str().expect("text")).collect();
    assert_eq!(positions, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_browser_gets_its_stream_as_events() {
    let shop = Shop::open(Limits::default()).await;
    let answer = ask(&shop, "GET", "/catalog/stock/broken:watch", "Accept: text/event-stream\r\n", "").await;
    assert!(answer.head.contains("content-type: text/event-stream"), "{}", answer.head);
    let events: Vec<&str> = answer.body.split_terminator("\n\n").collect();
    assert_eq!(events.len(), 2, "{}", answer.body);
    assert!(events[0].starts_with("data: {\"stock\":"));
    assert!(events[1].starts_with("event: error\ndata: {\"code\":14"), "{}", events[1]);
}

#[tokio::test]
async fn a_stream_that_breaks_says_so_in_its_last_line_and_one_that_never_began_in_its_status() {
    let shop = Shop::open(Limits::default()).await;
    let answer = ask(&shop, "GET", "/catalog/stock/broken:watch", "", "").await;
    let last: Value = serde_json::from_str(answer.body.lines().last().expect("two lines")).expect("JSON");
    assert_eq!(last["error"]["details"][0]["reason"], "VIEW_BEHIND");
    let answer = ask(&shop, "GET", "/order/orders/o:watch", &authorization(&shop), "").await;
    assert_eq!((answer.status(), answer.reason().as_str()), (404, "ORDER_NOT_FOUND"));
}

#[tokio::test]
async fn a_client_may_set_a_deadline() {
    let shop = Shop::open(Limits::default()).await;
    let answer = ask(&shop, "GET", "/catalog/products/slow-5000", "Grpc-Timeout: 50m\r\n", "").await;
    assert_eq!((answer.status(), answer.reason().as_str()), (504, "DEADLINE"));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() {
    let limits = Limits { json_body_max_bytes: 100, ..Limits::default() };
    let shop = Shop::open(limits).await;
    let headers = authorization(&shop);
    let body = format!(r#"{{"region":"{}"}}"#, "x".repeat(200));
    let said = ask(&shop, "POST", "/order/process-order", &headers, &body).await;
    assert_eq!((said.status(), said.reason().as_str()), (413, "MESSAGE_TOO_LARGE"));
    let chunked = format!(
        "POST /order/process-order HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{headers}\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let unsaid = wire::http(shop.address, &chunked).await;
    assert!(unsaid.starts_with("HTTP/1.1 413"), "{unsaid}");
    let unsent = format!(
        "POST /order/process-order HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: 101\r\n{headers}\r\n"
    );
    let announced = wire::http(shop.address, &unsent).await;
    assert!(announced.starts_with("HTTP/1.1 413"), "refused before it is sent: {announced}");
    let small = ask(&shop, "POST", "/order/process-order", &headers, "{}").await;
    assert_eq!(small.status(), 200);
}

#[tokio::test]
async fn a_body_that_never_comes_does_not_hold_its_place() {
    let limits = Limits { order_deadline: Duration::from_millis(100), ..Limits::default() };
    let shop = Shop::open(limits).await;
    let request = format!(
        "POST /order/process-order HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: 50\r\n{}\r\n{{",
        authorization(&shop)
    );
    let answer = wire::http(shop.address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert_eq!(shop.door.load(), (0, 0));
}

#[tokio::test]
async fn json_works_over_http2_on_the_same_port() {
    let shop = Shop::open(Limits::default()).await;
    let mut channel = shop.connect().await;
    let request = Request::post(format!("http://{}/order/process-order", shop.address))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, shop.buyer())
        .body(Body::new(Full::from(r#"{"requestId":"r"}"#)))
        .expect("a request");
    let answer = channel.ready().await.expect("open").call(request).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON")["orderId"], "r");
}
