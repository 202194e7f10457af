//! As much of a client of UmaDB as the benchmark needs: names, numbers and types are its protocol's, `umadb.v1`.

use bytes::Bytes;
use prost::Message;
use tonic::{Request, Status, Streaming, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;

use super::{
    caller,
    protocol::{BODY, Client, KIND, id, stream},
};

const APPEND: &str = "/umadb.v1.DCB/Append";
const READ: &str = "/umadb.v1.DCB/Read";

/// A client on a connection of its own.
pub struct Uma(Grpc<Channel>);

impl Uma {
    /// Connects.
    pub async fn connect(port: u16) -> Self {
        Self(Grpc::new(caller::connect(([127, 0, 0, 1], port).into()).await))
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.0.ready().await.map_err(|why| Status::unavailable(why.to_string()))
    }
}

impl Client for Uma {
    async fn append(&mut self, number: u64, events: u64) -> Result<(), Status> {
        let tags = vec![stream(number)];
        let event = |n| Event {
            event_type: KIND.to_owned(),
            tags: tags.clone(),
            data: BODY.clone(),
            uuid: id(number, n).to_string(),
        };
        let events = (0..events).map(event).collect();
        let items = vec![QueryItem { tags }];
        let condition = AppendCondition { fail_if_events_match: Some(Query { items }) };
        self.ready().await?;
        let request = Request::new(AppendRequest { events, condition: Some(condition) });
        let answer = self.0.unary(request, PathAndQuery::from_static(APPEND), ProstCodec::default());
        let _position: AppendResponse = answer.await?.into_inner();
        Ok(())
    }

    async fn read(&mut self, events: u64) -> Result<u64, Status> {
        self.ready().await?;
        let request = Request::new(ReadRequest { limit: u32::try_from(events).ok() });
        let answers = self.0.server_streaming(request, PathAndQuery::from_static(READ), ProstCodec::default());
        let mut answers: Streaming<ReadResponse> = answers.await?.into_inner();
        let mut read = 0;
        while let Some(answer) = answers.message().await? {
            let whole = answer.events.iter().filter(|recorded| recorded.event.as_ref().is_some_and(|e| e.data == BODY));
            read += whole.count() as u64;
        }
        Ok(read)
    }
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(string, tag = "1")]
    event_type: String,
    #[prost(string, repeated, tag = "2")]
    tags: Vec<String>,
    #[prost(bytes = "bytes", tag = "3")]
    data: Bytes,
    #[prost(string, tag = "4")]
    uuid: String,
}

#[derive(Clone, PartialEq, Message)]
struct SequencedEvent {
    #[prost(uint64, tag = "1")]
    position: u64,
    #[prost(message, optional, tag = "2")]
    event: Option<Event>,
}

#[derive(Clone, PartialEq, Message)]
struct QueryItem {
    #[prost(string, repeated, tag = "2")]
    tags: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Query {
    #[prost(message, repeated, tag = "1")]
    items: Vec<QueryItem>,
}

#[derive(Clone, PartialEq, Message)]
struct AppendCondition {
    #[prost(message, optional, tag = "1")]
    fail_if_events_match: Option<Query>,
}

#[derive(Clone, PartialEq, Message)]
struct AppendRequest {
    #[prost(message, repeated, tag = "1")]
    events: Vec<Event>,
    #[prost(message, optional, tag = "2")]
    condition: Option<AppendCondition>,
}

#[derive(Clone, PartialEq, Message)]
struct AppendResponse {
    #[prost(uint64, tag = "1")]
    position: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ReadRequest {
    #[prost(uint32, optional, tag = "4")]
    limit: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadResponse {
    #[prost(message, repeated, tag = "1")]
    events: Vec<SequencedEvent>,
}
