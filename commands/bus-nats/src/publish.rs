//! Publishing a batch: pipelined, each message behind the one before it, or not at all.
//!
//! Each message names the sequence it must follow, and, but for the first, the message. The sequence alone would not
//! do: the later messages of a batch that begins a little too early fit where their first one does not.

use std::collections::VecDeque;

use async_nats::{
    HeaderMap, HeaderValue,
    header::{NATS_EXPECTED_LAST_MESSAGE_ID, NATS_EXPECTED_LAST_SEQUENCE, NATS_MESSAGE_ID},
    jetstream::{
        self, ErrorCode,
        context::{PublishAckFuture, PublishError, PublishErrorKind},
        message::PublishMessage,
        publish::PublishAck,
        stream::RawMessageErrorKind,
    },
};
use ports::bus::{Error, Message, POSITION_HEADER, Published, THROUGH_HEADER};
use uuid::Uuid;

use crate::Nats;

/// How far a batch has come.
struct Progress {
    count: usize,
    sequence: u64,
    failure: Option<Error>,
}

impl Nats {
    pub(crate) async fn publish_batch(&self, after: u64, batch: &[Message]) -> Result<Published, Error> {
        let mut progress = Progress { count: 0, sequence: after, failure: None };
        let mut under_way: VecDeque<(Uuid, PublishAckFuture)> = VecDeque::with_capacity(batch.len());
        let mut previous = None;
        for (message, expected) in batch.iter().zip(after..) {
            if under_way.len() >= self.limits.in_flight_max
                && let Some((id, ack)) = under_way.pop_front()
            {
                self.acknowledged(&mut progress, id, ack.await, after).await;
            }
            if progress.failure.is_some() {
                break;
            }
            let subject = self.subject(["evt"].into_iter().chain(message.subject.iter().map(String::as_str)));
            let publish = PublishMessage::build().headers(headers(message, expected, previous.replace(message.id)));
            let publish = publish.payload(message.payload.clone());
            match self.jetstream.send_publish(subject, publish).await {
                Ok(ack) => under_way.push_back((message.id, ack)),
                Err(error) => {
                    let sent = std::mem::take(&mut under_way);
                    for (id, ack) in sent {
                        self.acknowledged(&mut progress, id, ack.await, after).await;
                    }
                    progress.failure.get_or_insert(refused(&error, after));
                }
            }
        }
        for (id, ack) in under_way {
            // Behind the first failure nothing was published: no need to wait for being told so.
            if progress.failure.is_some() {
                break;
            }
            self.acknowledged(&mut progress, id, ack.await, after).await;
        }
        match progress.failure {
            Some(failure) if progress.count == 0 => Err(failure),
            _ => Ok(Published { count: progress.count, sequence: progress.sequence }),
        }
    }

    /// Counts an acknowledgement, as long as nothing before it has failed.
    async fn acknowledged(&self, progress: &mut Progress, id: Uuid, ack: Result<PublishAck, PublishError>, after: u64) {
        if progress.failure.is_some() {
            return;
        }
        match ack {
            Ok(ack) if ack.duplicate => match self.holds(&ack, id).await {
                Ok(true) => progress.count += 1,
                Ok(false) => progress.failure = Some(Error::Withheld { id }),
                Err(error) => progress.failure = Some(error),
            },
            Ok(ack) => {
                progress.count += 1;
                progress.sequence = ack.sequence;
            }
            Err(error) => progress.failure = Some(refused(&error, after)),
        }
    }

    /// Whether a message that the server took for a repeat is there: it remembers ids of messages that were removed.
    async fn holds(&self, ack: &PublishAck, id: Uuid) -> Result<bool, Error> {
        let unknown = |error: &dyn std::fmt::Display| Error::Unknown(format!("about a repeat: {error}"));
        let stream = self.jetstream.get_stream_no_info(&ack.stream).await.map_err(|error| unknown(&error))?;
        match stream.get_raw_message(ack.sequence).await {
            Ok(message) => {
                let named = message.headers.get(NATS_MESSAGE_ID).map(HeaderValue::as_str);
                Ok(named == Some(id.to_string().as_str()))
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(false),
            Err(error) => Err(unknown(&error)),
        }
    }
}

fn headers(message: &Message, expected: u64, previous: Option<Uuid>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, message.id.to_string());
    headers.insert(NATS_EXPECTED_LAST_SEQUENCE, HeaderValue::from(expected));
    if let Some(previous) = previous {
        headers.insert(NATS_EXPECTED_LAST_MESSAGE_ID, previous.to_string());
    }
    headers.insert(POSITION_HEADER, HeaderValue::from(message.position.0));
    if message.through != message.position {
        headers.insert(THROUGH_HEADER, HeaderValue::from(message.through.0));
    }
    for (name, value) in &message.headers {
        headers.insert(*name, value.as_str());
    }
    headers
}

/// What a failure to publish means.
fn refused(error: &PublishError, after: u64) -> Error {
    let said = error.to_string();
    match error.kind() {
        // Without its stream the bus certainly does not end there.
        PublishErrorKind::WrongLastSequence
        | PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::StreamNotFound => Error::Moved { after },
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => Error::Unknown(said),
        PublishErrorKind::MaxAckPending | PublishErrorKind::MaxPayloadExceeded => Error::Failed(said),
        PublishErrorKind::Other => {
            let source = std::error::Error::source(error);
            match source.and_then(|source| source.downcast_ref::<jetstream::Error>()) {
                Some(error) => answered(error),
                None => Error::Unknown(said),
            }
        }
    }
}

fn answered(error: &jetstream::Error) -> Error {
    let said = error.to_string();
    match error.error_code() {
        ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED
        | ErrorCode::STREAM_STORE_FAILED => Error::Full(said),
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_SEALED => Error::Unfit(said),
        _ => Error::Unknown(said),
    }
}
