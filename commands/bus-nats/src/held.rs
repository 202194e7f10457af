//! Reading what the event stream holds: headers only, page by page.

use std::time::Duration;

use async_nats::{
    HeaderMap, HeaderValue,
    header::NATS_MESSAGE_ID,
    jetstream::{consumer, stream::Stream},
};
use futures::StreamExt as _;
use ports::{
    bus::{Error, Held, POSITION_HEADER, Page, Place, THROUGH_HEADER},
    store::Position,
};

use crate::Nats;

/// After how long a server removes a reader that was not removed.
const READER_IDLE: Duration = Duration::from_secs(30);

/// The message, if it is the relay's.
pub fn of(headers: &HeaderMap, sequence: u64) -> Option<Held> {
    let text = |name: &'static str| headers.get(name).map(HeaderValue::as_str);
    let id = headers.get(NATS_MESSAGE_ID)?.as_str().parse().ok()?;
    let position = Position(text(POSITION_HEADER)?.parse().ok()?);
    let through = match text(THROUGH_HEADER) {
        Some(through) => Position(through.parse().ok()?),
        None => position,
    };
    Some(Held { sequence, id, position, through, place: Place::read(text) })
}

impl Nats {
    pub(crate) async fn read_page(&self, after: u64, limit: usize) -> Result<Page, Error> {
        let unknown = |error: &dyn std::fmt::Display| Error::Unknown(error.to_string());
        let name = format!("{}-events", self.settings.prefix);
        let stream = self.jetstream.get_stream_no_info(name).await.map_err(|error| unknown(&error))?;
        let reader = consumer::pull::Config {
            deliver_policy: consumer::DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
            ack_policy: consumer::AckPolicy::None,
            headers_only: true,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: READER_IDLE,
            ..consumer::pull::Config::default()
        };
        let reader = stream.create_consumer(reader).await.map_err(|error| unknown(&error))?;
        let there = usize::try_from(reader.cached_info().num_pending).unwrap_or(usize::MAX);
        let page = self.read(&reader, there.min(limit)).await;
        self.remove(&stream, &reader).await;
        page
    }

    /// Reads exactly so many messages: a page that came short would look like a gap.
    async fn read(&self, reader: &consumer::PullConsumer, count: usize) -> Result<Page, Error> {
        let mut page = Page { held: Vec::with_capacity(count), next: None };
        if count == 0 {
            return Ok(page);
        }
        let unknown = |error: &dyn std::fmt::Display| Error::Unknown(error.to_string());
        let within = self.limits.request_max;
        let messages = reader.batch().max_messages(count).expires(within).messages().await;
        let mut messages = messages.map_err(|error| unknown(&error))?;
        for read in 0..count {
            let short = || Error::Unknown(format!("only {read} of {count} messages came"));
            let message = tokio::time::timeout(within, messages.next()).await.map_err(|_| short())?;
            let message = message.ok_or_else(short)?.map_err(|error| unknown(&error))?;
            let sequence = message.info().map_err(|error| unknown(&error))?.stream_sequence;
            page.held.extend(message.headers.as_ref().and_then(|headers| of(headers, sequence)));
            page.next = Some(sequence);
        }
        Ok(page)
    }

    /// A reader that stays is removed by the server after a while.
    async fn remove(&self, stream: &Stream<()>, reader: &consumer::PullConsumer) {
        if let Err(error) = stream.delete_consumer(&reader.cached_info().name).await {
            tracing::debug!(%error, "a reader of the event stream stays until the server removes it");
        }
    }
}
