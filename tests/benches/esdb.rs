//! As much of a client of the EventStoreDB protocol as the benchmark needs: numbers and types are the protocol's.

use std::{collections::HashMap, net::SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use prost::Message;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use tonic_prost::ProstCodec;
use uuid::Uuid;

use super::{
    caller,
    protocol::{BODY, Client, KIND, id, stream},
};

const APPEND: &str = "/event_store.client.streams.Streams/Append";
const READ: &str = "/event_store.client.streams.Streams/Read";

/// A client on a connection of its own.
pub struct Esdb {
    grpc: Grpc<Channel>,
    password: MetadataValue<Ascii>,
}

impl Esdb {
    /// Connects.
    pub async fn connect(addr: SocketAddr, token: &str) -> Self {
        let password = STANDARD.encode(format!("token:{token}"));
        let password = format!("Basic {password}").parse().expect("Base64 is ASCII");
        Self { grpc: Grpc::new(caller::connect(addr).await), password }
    }

    /// The message with the password, once the connection takes it.
    async fn ask<T>(&mut self, message: T) -> Result<Request<T>, Status> {
        self.grpc.ready().await.map_err(|why| Status::unavailable(why.to_string()))?;
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.password.clone());
        Ok(request)
    }
}

impl Client for Esdb {
    async fn append(&mut self, number: u64, events: u64) -> Result<(), Status> {
        let place = Where { stream: Some(Stream { name: stream(number).into() }), no_stream: Some(Empty {}) };
        let place = AppendReq { options: Some(place), event: None };
        let event = move |n| AppendReq { options: None, event: Some(NewEvent::of(id(number, n))) };
        let messages = futures::stream::iter(std::iter::once(place).chain((0..events).map(event)));
        let request = self.ask(messages).await?;
        let answer = self.grpc.client_streaming(request, PathAndQuery::from_static(APPEND), ProstCodec::default());
        let answer: AppendResp = answer.await?.into_inner();
        answer.success.map(drop).ok_or_else(|| Status::failed_precondition("the stream is there"))
    }

    async fn read(&mut self, events: u64) -> Result<u64, Status> {
        let options = Options {
            all: Some(All { start: Some(Empty {}) }),
            count: Some(events),
            no_filter: Some(Empty {}),
            uuid_option: Some(UuidOption { structured: Some(Empty {}) }),
        };
        let request = self.ask(ReadReq { options: Some(options) }).await?;
        let answers = self.grpc.server_streaming(request, PathAndQuery::from_static(READ), ProstCodec::default());
        let mut answers: Streaming<ReadResp> = answers.await?.into_inner();
        let mut read = 0;
        while let Some(answer) = answers.message().await? {
            read += u64::from(answer.event.is_some_and(|event| event.event.is_some_and(|event| event.data == BODY)));
        }
        Ok(read)
    }
}

#[derive(Clone, PartialEq, Message)]
struct Empty {}

#[derive(Clone, PartialEq, Message)]
struct Stream {
    #[prost(bytes = "bytes", tag = "3")]
    name: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct Id {
    #[prost(message, optional, tag = "1")]
    structured: Option<Halves>,
}

#[derive(Clone, PartialEq, Message)]
struct Halves {
    #[prost(int64, tag = "1")]
    high: i64,
    #[prost(int64, tag = "2")]
    low: i64,
}

#[derive(Clone, PartialEq, Message)]
struct AppendReq {
    #[prost(message, optional, tag = "1")]
    options: Option<Where>,
    #[prost(message, optional, tag = "2")]
    event: Option<NewEvent>,
}

#[derive(Clone, PartialEq, Message)]
struct Where {
    #[prost(message, optional, tag = "1")]
    stream: Option<Stream>,
    #[prost(message, optional, tag = "3")]
    no_stream: Option<Empty>,
}

#[derive(Clone, PartialEq, Message)]
struct NewEvent {
    #[prost(message, optional, tag = "1")]
    id: Option<Id>,
    #[prost(map = "string, string", tag = "2")]
    metadata: HashMap<String, String>,
    #[prost(bytes = "bytes", tag = "4")]
    data: Bytes,
}

impl NewEvent {
    fn of(id: Uuid) -> Self {
        let (high, low) = id.as_u64_pair();
        let id = Id { structured: Some(Halves { high: high.cast_signed(), low: low.cast_signed() }) };
        let metadata = [("type", KIND), ("content-type", "application/json")];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        Self { id: Some(id), metadata, data: BODY.clone() }
    }
}

#[derive(Clone, PartialEq, Message)]
struct AppendResp {
    #[prost(message, optional, tag = "1")]
    success: Option<Empty>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadReq {
    #[prost(message, optional, tag = "1")]
    options: Option<Options>,
}

#[derive(Clone, PartialEq, Message)]
struct Options {
    #[prost(message, optional, tag = "2")]
    all: Option<All>,
    #[prost(uint64, optional, tag = "5")]
    count: Option<u64>,
    #[prost(message, optional, tag = "8")]
    no_filter: Option<Empty>,
    #[prost(message, optional, tag = "9")]
    uuid_option: Option<UuidOption>,
}

#[derive(Clone, PartialEq, Message)]
struct All {
    #[prost(message, optional, tag = "2")]
    start: Option<Empty>,
}

#[derive(Clone, PartialEq, Message)]
struct UuidOption {
    #[prost(message, optional, tag = "1")]
    structured: Option<Empty>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadResp {
    #[prost(message, optional, tag = "1")]
    event: Option<ReadEvent>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadEvent {
    #[prost(message, optional, tag = "1")]
    event: Option<Recorded>,
}

#[derive(Clone, PartialEq, Message)]
struct Recorded {
    #[prost(message, optional, tag = "1")]
    id: Option<Id>,
    #[prost(message, optional, tag = "2")]
    stream: Option<Stream>,
    #[prost(uint64, tag = "3")]
    revision: u64,
    #[prost(uint64, tag = "5")]
    commit: u64,
    #[prost(map = "string, string", tag = "6")]
    metadata: HashMap<String, String>,
    #[prost(bytes = "bytes", tag = "7")]
    custom_metadata: Bytes,
    #[prost(bytes = "bytes", tag = "8")]
    data: Bytes,
}
