//! What a hostile client may send, and that nobody else notices: bytes that are no messages, names that are none, more than
//! there is room for, rights it has not, expressions without end.

use std::{sync::Arc, time::Duration};

use esdb_wire::{Limits, Mode, Right};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};
use tonic::Code;

use crate::{
    raw::{self, Raw, append_options, bytes, exception, new_event, number, read_all, read_stream, text},
    server::{Log, Running},
};

pub const SOON: Duration = Duration::from_secs(60);
pub const ALL: Option<(&str, &str)> = Some(("owner", "secret"));
const FOREIGN: Option<(&str, &str)> = Some(("partner", "secret"));
const READ: Option<(&str, &str)> = Some(("analyst", "secret"));

fn rights(user: &str, password: &str) -> Option<Right> {
    match (user, password) {
        ("owner", "secret") => Some(Right::All),
        ("partner", "secret") => Some(Right::AppendForeign),
        ("analyst", "secret") => Some(Right::Read),
        _ => None,
    }
}

/// A shop's log with small limits, and a client of it that may do everything.
pub async fn shop(limits: Limits) -> (Running, Raw) {
    let change = |server: &mut esdb_wire::Server| {
        server.mode = Mode::Shop;
        server.access = Arc::new(rights);
        server.limits = limits;
    };
    let server = Running::start_as(Log::sqlite(), 0, change).await;
    let raw = Raw::connect(server.port(), ALL).await;
    (server, raw)
}

/// It still works for somebody who asks for nothing strange.
pub async fn works(raw: &mut Raw, n: u128) {
    let stream = format!("order-{n}");
    raw.append(&stream, vec![new_event(n, b"{}")]).await.unwrap();
    let read = raw.read(read_stream(stream.as_bytes())).await.unwrap();
    assert_eq!(read.len(), 1, "one event is read back");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_messages_are_refused() {
    let (server, mut raw) = shop(Limits::default()).await;
    let streams = "event_store.client.streams.Streams";
    let nonsense: [&[u8]; 5] = [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\x0a", &[0x08; 64], &[0xff; 4_096]];
    for method in ["Read", "Append", "BatchAppend", "Delete", "Tombstone"] {
        for bytes in nonsense {
            let answer = raw.call(&format!("/{streams}/{method}"), vec![bytes.to_vec()]).await;
            assert!(answer.is_err(), "{method} of {bytes:?}");
        }
        let empty = raw.call(&format!("/{streams}/{method}"), vec![Vec::new()]).await;
        assert_eq!(empty.unwrap_err().code(), Code::InvalidArgument, "{method} of nothing");
    }
    let none = raw.call(&format!("/{streams}/Append"), Vec::new()).await;
    assert_eq!(none.unwrap_err().code(), Code::InvalidArgument, "an append without a message");
    for unknown in [
        "/event_store.client.persistent_subscriptions.PersistentSubscriptions/Create",
        "/event_store.client.projections.Projections/Enable",
        &format!("/{streams}/Scavenge"),
    ] {
        assert_eq!(raw.call(unknown, vec![Vec::new()]).await.unwrap_err().code(), Code::Unimplemented, "{unknown}");
    }
    works(&mut raw, 1).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_is_what_it_says() {
    let (server, mut owner) = shop(Limits::default()).await;
    works(&mut owner, 1).await;
    let nobody = [None, Some(("owner", "wrong")), Some(("", "")), Some(("owner:", "secret"))];
    for credentials in nobody {
        let mut raw = Raw::connect(server.port(), credentials).await;
        let refused = raw.read(read_stream(b"order-1")).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{credentials:?}");
        let refused = raw.append("x-1", vec![new_event(9, b"{}")]).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{credentials:?}");
    }
    let mut partner = Raw::connect(server.port(), FOREIGN).await;
    let mut analyst = Raw::connect(server.port(), READ).await;
    partner.append("x-1", vec![new_event(2, b"{}")]).await.unwrap();
    partner.append("$$x-1", vec![new_event(3, b"{}")]).await.unwrap();
    let cases = [
        (&mut partner, &["order-1", "$$order-1", "$all", "xorder-1", "new-1", "$streams"][..]),
        (&mut analyst, &["order-1", "x-1", "$$x-1"]),
    ];
    for (raw, streams) in cases {
        for stream in streams {
            let options = append_options(stream.as_bytes());
            let refusals = [
                raw.append(stream, vec![new_event(9, b"{}")]).await.map(|_| ()).unwrap_err(),
                raw.delete("Delete", options.clone()).await.map(|_| ()).unwrap_err(),
                raw.delete("Tombstone", options).await.map(|_| ()).unwrap_err(),
            ];
            for refused in refusals {
                assert_eq!(
                    (refused.code(), exception(&refused)),
                    (Code::PermissionDenied, "access-denied"),
                    "{stream}"
                );
            }
            let answer = raw.batch(stream, vec![new_event(9, b"{}")]).await.unwrap();
            assert!(raw::has(&answer, b"event_store.client.AccessDenied"), "a batch to {stream}");
        }
        assert_eq!(raw.read(read_stream(b"order-1")).await.unwrap().len(), 1, "both may read");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_none_and_streams_that_are_not_are_refused() {
    let (server, mut raw) = shop(Limits { name_bytes_max: 50, ..Limits::default() }).await;
    for name in [&b""[..], b"\xff\xfe", &[b'x'; 51]] {
        let options = append_options(name);
        let refused = raw.delete("Delete", options.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let refused = raw.call(raw::APPEND, vec![options]).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let refused = raw.read(read_stream(name)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let missing = raw.read(read_stream(b"none-1")).await.unwrap();
    assert_eq!(missing, [bytes(4, &bytes(1, &bytes(3, b"none-1")))], "one message says that there is no such stream");
    for method in ["Delete", "Tombstone"] {
        let options = raw::options_at(b"none-1", 4);
        let refused = raw.delete(method, options).await.unwrap_err();
        assert_eq!((refused.code(), exception(&refused)), (Code::FailedPrecondition, "wrong-expected-version"));
        let trailer = |key| refused.metadata().get(key).unwrap().to_str().unwrap();
        assert_eq!((trailer("expected-version"), trailer("actual-version")), ("4", "-1"));
    }
    let typeless = [bytes(1, &text(2, "00000000-0000-0000-0000-000000000001")), bytes(4, b"{}")].concat();
    let tombstone = raw::event_of(7, "$streamDeleted", b"{}");
    let long = raw::event_of(7, &"t".repeat(51), b"{}");
    let idless = [raw::metadata("type", "t"), bytes(4, b"{}")].concat();
    for bad in [typeless, tombstone, long, idless, bytes(1, &text(2, "no uuid"))] {
        let refused = raw.append("x-1", vec![bad]).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{}", refused.message());
    }
    let twice = vec![append_options(b"x-1"), append_options(b"x-2")];
    assert_eq!(raw.call(raw::APPEND, twice).await.unwrap_err().code(), Code::InvalidArgument);
    works(&mut raw, 1).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_there_is_room_for_is_refused() {
    let limits = Limits {
        append_bytes_max: 1_000,
        append_events_max: 5,
        request_bytes_max: 4_000,
        header_bytes_max: 4_000,
        ..Limits::default()
    };
    let (server, mut raw) = shop(limits).await;
    for events in [vec![new_event(1, &[b' '; 1_001])], vec![new_event(1, &[b' '; 600]), new_event(2, &[b' '; 600])]] {
        let refused = raw.append("x-1", events.clone()).await.unwrap_err();
        assert_eq!((refused.code(), exception(&refused)), (Code::InvalidArgument, "maximum-append-size-exceeded"));
        let answer = raw.batch("x-1", events).await.unwrap();
        assert!(raw::has(&answer, b"event_store.client.MaximumAppendSizeExceeded"));
    }
    let many = (1..=6).map(|n| new_event(n, b"{}")).collect();
    assert_eq!(raw.append("x-1", many).await.unwrap_err().code(), Code::InvalidArgument);
    let huge = raw.append("x-1", vec![new_event(1, &[b' '; 4_001])]).await.unwrap_err();
    assert_eq!(huge.code(), Code::OutOfRange, "a message beyond the limit is not even read");
    let long = "p".repeat(10_000);
    let mut wordy = Raw::connect(server.port(), Some(("owner", &long))).await;
    assert!(wordy.read(read_stream(b"x-1")).await.is_err(), "nor are headers");
    works(&mut raw, 1).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_and_endless_expressions_end_their_own_read_only() {
    let (server, mut raw) = shop(Limits::default()).await;
    raw.append("x-1", vec![raw::event_of(1, &format!("{}b", "a".repeat(64)), b"{}")]).await.unwrap();
    let long = "a".repeat(20_000);
    for bad in ["(", "[a", "(?<", "(a{1000}){1000}", &long, "^(?:(?:a|aa)(?!c))*$"] {
        for how_many in [number(5, 10), bytes(6, b"")] {
            let refused = timeout(SOON, raw.read(read_all(bad, &how_many))).await.expect("it ends").unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{bad:.20}: {}", refused.message());
        }
    }
    works(&mut raw, 2).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_session_survives_what_fails_in_it() {
    let (server, mut raw) = shop(Limits { batch_pending_max: 2, ..Limits::default() }).await;
    let id = |n: u8| bytes(1, &text(2, &format!("00000000-0000-0000-0000-0000000000{n:02}")));
    let options = |stream: &str| bytes(2, &append_options(stream.as_bytes())[2..]);
    let event = |n| bytes(3, &new_event(n, b"{}"));
    let last = number(4, 1);
    let session = vec![
        // Refused at once: no options. Its rest is passed over.
        [id(1), event(1)].concat(),
        [id(1), event(2), last.clone()].concat(),
        // Two that are never finished, and one too many.
        [id(2), options("x-2"), event(3)].concat(),
        [id(3), options("x-3"), event(4)].concat(),
        [id(4), options("x-4"), event(5), last.clone()].concat(),
        // One of those is finished after all, and then there is room again.
        [id(3), event(6), last.clone()].concat(),
        [id(5), options("x-5"), event(7), last].concat(),
    ];
    let answers = raw.call(raw::BATCH, session).await.unwrap();
    assert_eq!(answers.len(), 4, "each append is answered once");
    let refused = |answer: &Vec<u8>| raw::has(answer, b"type.googleapis.com");
    assert_eq!(answers.iter().map(refused).collect::<Vec<_>>(), [true, true, false, false]);
    for (stream, count) in [(&b"x-3"[..], 2), (b"x-5", 1)] {
        assert_eq!(raw.read(read_stream(stream)).await.unwrap().len(), count);
    }
    let nameless = raw.call(raw::BATCH, vec![event(9)]).await.unwrap_err();
    assert_eq!(nameless.code(), Code::InvalidArgument, "without a correlation nothing can be answered");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_call_has_its_own_places() {
    let limits = Limits { subscriptions_max: 2, reads_max: 1, sessions_max: 1, page_events: 1, ..Limits::default() };
    let (server, mut raw) = shop(limits).await;
    works(&mut raw, 1).await;
    let follow = read_all("", &bytes(6, b""));
    let mut followed = Vec::new();
    for _ in 0..2 {
        let mut messages = raw.open(raw::READ, vec![follow.clone()]).await.unwrap();
        messages.message().await.unwrap().unwrap();
        followed.push(messages);
    }
    let refused = raw.open(raw::READ, vec![follow.clone()]).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "a third subscription");
    works(&mut raw, 2).await;
    drop(followed.pop());
    // The place is free as soon as the server has heard of it.
    let again = async {
        while raw.open(raw::READ, vec![follow.clone()]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, again).await.expect("a place that was left is free");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_is_closed() {
    let (server, mut raw) = shop(Limits { connections_max: 2, ..Limits::default() }).await;
    works(&mut raw, 1).await;
    let _second = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    let mut third = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    let read = timeout(SOON, third.read(&mut [0; 1])).await.expect("the third is closed");
    assert!(matches!(read, Ok(0) | Err(_)), "nothing is said to it");
    works(&mut raw, 2).await;
    drop(raw);
    server.stop().await;
}
