//! Bounds that are reached by holding on: calls that never end, readers that never read.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Code, Status};

use crate::{
    hostile::{SOON, shop, works},
    raw::{self, Raw, append_options, bytes, new_event, read_all, read_stream},
};
use esdb_wire::Limits;

/// Too large for what a connection holds on the way, so a reader that does not read holds its read open.
static LARGE: [u8; 1 << 20] = [b' '; 1 << 20];

async fn much(raw: &mut Raw) {
    for n in 0..12 {
        raw.append("x-large", vec![new_event(1_000 + n, &LARGE)]).await.unwrap();
    }
}

fn refused<T>(answer: Result<T, Status>) -> Code {
    answer.err().map_or(Code::Ok, |status| status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_takes_one_place_of_its_kind() {
    let (server, mut raw) = shop(Limits { reads_max: 1, ..Limits::default() }).await;
    much(&mut raw).await;
    let unread = raw.open(raw::READ, vec![read_stream(b"x-large")]).await.unwrap();
    let mut other = Raw::connect(server.port(), crate::hostile::ALL).await;
    assert_eq!(refused(other.read(read_stream(b"x-large")).await), Code::ResourceExhausted);
    other.append("x-1", vec![new_event(1, b"{}")]).await.unwrap();
    drop(unread);
    let again = async {
        while other.read(read_stream(b"x-1")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, again).await.expect("a place that was left is free");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_session_takes_one_place_of_its_kind() {
    let (server, mut raw) = shop(Limits { sessions_max: 1, ..Limits::default() }).await;
    let _held = raw.hold(raw::BATCH, Vec::new()).await.unwrap();
    assert_eq!(refused(raw.batch("x-1", vec![new_event(1, b"{}")]).await), Code::ResourceExhausted);
    works(&mut raw, 2).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_does_not_come_is_given_up() {
    let limits = Limits { append_timeout: Duration::from_millis(200), ..Limits::default() };
    let (server, mut raw) = shop(limits).await;
    let slow = timeout(SOON, raw.hold(raw::APPEND, vec![append_options(b"x-1")])).await.expect("it is given up");
    assert_eq!(refused(slow), Code::Cancelled);
    works(&mut raw, 1).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_a_number_of_calls() {
    let (server, mut raw) = shop(Limits { streams_per_connection_max: 2, ..Limits::default() }).await;
    works(&mut raw, 1).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(raw.open(raw::READ, vec![read_all("", &bytes(6, b""))]).await.unwrap());
    }
    let third = timeout(Duration::from_millis(500), raw.read(read_stream(b"order-1"))).await;
    assert!(third.is_err(), "the third call waits");
    let mut other = Raw::connect(server.port(), crate::hostile::ALL).await;
    works(&mut other, 2).await;
    drop(held);
    works(&mut raw, 3).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_keeps_the_server_from_stopping() {
    let (server, mut raw) = shop(Limits { drain: Duration::from_millis(200), ..Limits::default() }).await;
    much(&mut raw).await;
    let _unread = raw.open(raw::READ, vec![read_stream(b"x-large")]).await.unwrap();
    timeout(SOON, server.stop()).await.expect("it stops");
}
