//! A client that sends whatever bytes it is given: the protocol's messages spelled by hand.

use std::marker::PhantomData;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Buf as _, BufMut as _};
use futures::{Stream, StreamExt as _, stream};
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};

pub const READ: &str = "/event_store.client.streams.Streams/Read";
pub const APPEND: &str = "/event_store.client.streams.Streams/Append";
pub const BATCH: &str = "/event_store.client.streams.Streams/BatchAppend";

/// Messages as they are.
#[derive(Default)]
struct AsTheyAre(PhantomData<()>);

impl Codec for AsTheyAre {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl Encoder for AsTheyAre {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for AsTheyAre {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; from.remaining()];
        from.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}

/// A connection.
pub struct Raw {
    grpc: Grpc<Channel>,
    authorization: Option<String>,
}

impl Raw {
    pub async fn connect(port: u16, credentials: Option<(&str, &str)>) -> Self {
        let channel = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap().connect().await.unwrap();
        let basic = |(user, password)| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Self { grpc: Grpc::new(channel), authorization: credentials.map(basic) }
    }

    /// Sends messages and gives the answers one by one.
    pub async fn open(&mut self, path: &str, messages: Vec<Vec<u8>>) -> Result<Streaming<Vec<u8>>, Status> {
        self.send(path, stream::iter(messages)).await
    }

    /// Sends messages and never says that it has no more.
    pub async fn hold(&mut self, path: &str, messages: Vec<Vec<u8>>) -> Result<Streaming<Vec<u8>>, Status> {
        self.send(path, stream::iter(messages).chain(stream::pending())).await
    }

    async fn send(
        &mut self,
        path: &str,
        messages: impl Stream<Item = Vec<u8>> + Send + 'static,
    ) -> Result<Streaming<Vec<u8>>, Status> {
        self.grpc.ready().await.map_err(|why| Status::unknown(why.to_string()))?;
        let mut request = Request::new(messages);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        }
        let path = path.parse().unwrap();
        Ok(self.grpc.streaming(request, path, AsTheyAre::default()).await?.into_inner())
    }

    /// Sends messages and collects all answers.
    pub async fn call(&mut self, path: &str, messages: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Status> {
        let mut answers = self.open(path, messages).await?;
        let mut all = Vec::new();
        while let Some(answer) = answers.message().await? {
            all.push(answer);
        }
        Ok(all)
    }

    pub async fn append(&mut self, stream: &str, events: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Status> {
        let mut messages = vec![append_options(stream.as_bytes())];
        messages.extend(events.iter().map(|event| bytes(2, event)));
        self.call(APPEND, messages).await
    }

    /// One append as a whole batch; its answer.
    pub async fn batch(&mut self, stream: &str, events: Vec<Vec<u8>>) -> Result<Vec<u8>, Status> {
        let correlation = bytes(1, &text(2, "00000000-0000-0000-0000-00000000beef"));
        let options = bytes(2, &append_options(stream.as_bytes())[2..]);
        let events: Vec<u8> = events.iter().flat_map(|event| bytes(3, event)).collect();
        let message = [correlation, options, events, number(4, 1)].concat();
        self.call(BATCH, vec![message]).await.map(|mut answers| answers.remove(0))
    }

    pub async fn delete(&mut self, method: &str, options: Vec<u8>) -> Result<Vec<Vec<u8>>, Status> {
        self.call(&format!("/event_store.client.streams.Streams/{method}"), vec![options]).await
    }

    pub async fn read(&mut self, request: Vec<u8>) -> Result<Vec<Vec<u8>>, Status> {
        self.call(READ, vec![request]).await
    }
}

/// The trailer by which clients tell failures apart.
pub fn exception(status: &Status) -> &str {
    status.metadata().get("exception").map_or("", |value| value.to_str().unwrap())
}

pub fn has(message: &[u8], part: &[u8]) -> bool {
    message.windows(part.len()).any(|window| window == part)
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut all = Vec::new();
    while value >= 0x80 {
        all.push(value as u8 | 0x80);
        value >>= 7;
    }
    all.push(value as u8);
    all
}

/// A field that is bytes, a text or a message.
pub fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

pub fn text(field: u64, value: &str) -> Vec<u8> {
    bytes(field, value.as_bytes())
}

pub fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

/// The options of an append or a deletion: whatever the stream is. Short, so that two bytes stand before its contents.
pub fn append_options(stream: &[u8]) -> Vec<u8> {
    bytes(1, &[bytes(1, &bytes(3, stream)), bytes(4, b"")].concat())
}

/// The same, expecting an exact revision.
pub fn options_at(stream: &[u8], revision: u64) -> Vec<u8> {
    bytes(1, &[bytes(1, &bytes(3, stream)), number(2, revision)].concat())
}

/// An entry of an event's system metadata.
pub fn metadata(key: &str, value: &str) -> Vec<u8> {
    bytes(2, &[text(1, key), text(2, value)].concat())
}

pub fn event_of(n: u128, kind: &str, data: &[u8]) -> Vec<u8> {
    let id = format!("{n:08x}-0000-0000-0000-000000000000");
    [bytes(1, &text(2, &id)), metadata("type", kind), bytes(4, data)].concat()
}

pub fn new_event(n: u128, data: &[u8]) -> Vec<u8> {
    event_of(n, "thing.happened", data)
}

pub fn read_stream(stream: &[u8]) -> Vec<u8> {
    let stream = [bytes(1, &bytes(3, stream)), bytes(3, b"")].concat();
    bytes(1, &[bytes(1, &stream), number(5, 100)].concat())
}

/// A read of the whole log whose event types match an expression; `how_many` is a count or a subscription.
pub fn read_all(regex: &str, how_many: &[u8]) -> Vec<u8> {
    let expression = text(1, regex);
    let filter = [bytes(2, &expression), number(3, 10), number(5, 1)].concat();
    bytes(1, &[bytes(2, &bytes(2, b"")), how_many.to_vec(), bytes(7, &filter)].concat())
}
