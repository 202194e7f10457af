//! The event stream as a [`Bus`].

use std::sync::Arc;

use async_nats::jetstream::{
    message::StreamMessage,
    stream::{LastRawMessageErrorKind, RawMessageErrorKind, Stream},
};
use async_trait::async_trait;
use ports::{
    bus::{Announcements, Bus, Error, Held, Message, Page, Published, Tail},
    store::Position,
};

use crate::{Nats, held};

/// What headers may take of a message's largest size, in bytes.
const HEADERS_MAX: usize = 16 << 10;

#[async_trait]
impl Bus for Nats {
    async fn tail(&self) -> Result<Tail, Error> {
        let stream = self.events().await?;
        let state = stream.get_info().await.map_err(|error| Error::Unknown(error.to_string()))?.state;
        let newest = if state.messages == 0 { None } else { self.newest(&stream).await? };
        let payload_max = self.client.max_payload().saturating_sub(HEADERS_MAX);
        Ok(Tail { sequence: state.last_sequence, newest, payload_max, keeps: self.settings.keeps })
    }

    async fn publish(&self, after: u64, batch: &[Message]) -> Result<Published, Error> {
        self.publish_batch(after, batch).await
    }

    async fn held(&self, after: u64, limit: usize) -> Result<Page, Error> {
        self.read_page(after, limit).await
    }

    async fn announce(&self, head: Position) -> Result<(), Error> {
        self.tell(head).await
    }

    async fn listen(&self) -> Result<Box<dyn Announcements>, Error> {
        self.hear().await
    }
}

impl Nats {
    /// The newest message that the relay published.
    async fn newest(&self, stream: &Stream) -> Result<Option<Held>, Error> {
        let all = format!("{}.evt.>", self.settings.prefix);
        let mut message: StreamMessage = match stream.get_last_raw_message_by_subject(&all).await {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(None),
            Err(error) => return Err(Error::Unknown(error.to_string())),
        };
        let last = message.sequence;
        for _ in 0..self.limits.strangers_max {
            if let Some(held) = held::of(&message.headers, message.sequence) {
                return Ok(Some(held));
            }
            let before = self.before(stream, message.sequence).await?;
            let Some(before) = before else { return Ok(None) };
            message = before;
        }
        Err(Error::Unfit(format!("somebody else publishes events: message {last} of {all} is not the relay's")))
    }

    /// The message before a sequence, if there is one. Those between may have been removed.
    async fn before(&self, stream: &Stream, sequence: u64) -> Result<Option<StreamMessage>, Error> {
        for sequence in (1..sequence).rev().take(usize::try_from(self.limits.strangers_max).unwrap_or(usize::MAX)) {
            match stream.get_raw_message(sequence).await {
                Ok(message) => return Ok(Some(message)),
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {}
                Err(error) => return Err(Error::Unknown(error.to_string())),
            }
        }
        Ok(None)
    }

    /// This connection as the port has it.
    #[must_use]
    pub fn bus(&self) -> Arc<dyn Bus> {
        Arc::new(self.clone())
    }
}
