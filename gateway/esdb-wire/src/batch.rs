//! Batch appends: many appends over one call, each gathered under its correlation until its last part has come.
//!
//! They are written one after another, in the order in which they were finished: a client may count on the second seeing
//! the first. One that fails says so under its correlation, and the session goes on; what comes later under the same
//! correlation is passed over.

use std::collections::HashMap;

use ports::store::NewEvent;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tonic::{Status, Streaming};
use uuid::Uuid;

use crate::{
    Right,
    envelope::{self, Spelling, identifier},
    error::Failure,
    expected::Expected,
    streams::{Service, success},
    wire::{
        self,
        streams::{BatchAppendReq, BatchAppendResp, batch_append_req, batch_append_resp},
    },
};

/// One session.
pub struct Batches {
    service: Service,
    right: Right,
    sent: Streaming<BatchAppendReq>,
    pending: HashMap<Uuid, Pending>,
    /// Bytes of all that is pending.
    bytes: usize,
    stop: watch::Receiver<bool>,
    _seat: OwnedSemaphorePermit,
}

/// An append of which not all parts have come.
enum Pending {
    Gathering {
        stream: String,
        expected: Expected,
        events: Vec<NewEvent>,
        bytes: usize,
    },
    /// It has been answered.
    Refused,
}

impl Batches {
    pub fn new(service: Service, right: Right, sent: Streaming<BatchAppendReq>, seat: OwnedSemaphorePermit) -> Self {
        let stop = service.stop.clone();
        Self { service, right, sent, pending: HashMap::new(), bytes: 0, stop, _seat: seat }
    }

    /// The answer to the next append that is finished or has failed; `None` when the client is done.
    pub async fn next(&mut self) -> Result<Option<BatchAppendResp>, Status> {
        loop {
            let message = tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => return Err(Failure::Stopping.into()),
                message = self.sent.message() => message?,
            };
            let Some(message) = message else { return Ok(None) };
            if let Some(answer) = self.take(message).await? {
                return Ok(Some(answer));
            }
        }
    }

    async fn take(&mut self, message: BatchAppendReq) -> Result<Option<BatchAppendResp>, Status> {
        let BatchAppendReq { correlation_id, options, events, is_final } = message;
        let Some(correlation) = correlation_id.as_ref().and_then(envelope::uuid) else {
            return Err(Failure::Bad("a batch append must have a correlation".to_owned()).into());
        };
        let name = options.as_ref().and_then(|options| options.stream.clone());
        let gathered = match self.pending.remove(&correlation) {
            Some(Pending::Refused) => {
                if !is_final {
                    self.pending.insert(correlation, Pending::Refused);
                }
                return Ok(None);
            }
            Some(Pending::Gathering { stream, expected, events, bytes }) => {
                self.bytes -= bytes;
                Ok((stream, expected, events, bytes))
            }
            None => self.begin(options),
        };
        let gathered = gathered.and_then(|(stream, expected, mut gathered, mut bytes)| {
            let others = self.bytes;
            for event in events {
                bytes += others;
                let added = self.service.add(&mut gathered, &mut bytes, event);
                bytes -= others;
                added?;
            }
            Ok((stream, expected, gathered, bytes))
        });
        let answer = match gathered {
            Ok((stream, expected, events, bytes)) if !is_final => {
                self.bytes += bytes;
                self.pending.insert(correlation, Pending::Gathering { stream, expected, events, bytes });
                return Ok(None);
            }
            Ok((stream, expected, events, _)) => {
                let result = self.write(&stream, expected, events).await;
                answered(correlation, Some(identifier(stream)), Some(expected), result)
            }
            Err(failure) => {
                if !is_final {
                    self.pending.insert(correlation, Pending::Refused);
                }
                answered(correlation, name, None, Err(failure))
            }
        };
        Ok(Some(answer))
    }

    fn begin(
        &self,
        options: Option<batch_append_req::Options>,
    ) -> Result<(String, Expected, Vec<NewEvent>, usize), Failure> {
        let options = options.ok_or_else(|| Failure::Bad("an append must begin with its options".to_owned()))?;
        if self.pending.len() >= self.service.limits.batch_pending_max {
            return Err(Failure::Busy);
        }
        let stream = self.service.writable(self.right, options.stream)?;
        Ok((stream, options.expected.into(), Vec::new(), 0))
    }

    async fn write(
        &self,
        stream: &str,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<wire::streams::Success, Failure> {
        let _place = self.service.write_place()?;
        self.service.writer.append(stream, expected, events).await.map(success)
    }
}

fn answered(
    correlation: Uuid,
    stream: Option<wire::StreamIdentifier>,
    expected: Option<Expected>,
    result: Result<wire::streams::Success, Failure>,
) -> BatchAppendResp {
    let result = match result {
        Ok(success) => batch_append_resp::Result::Success(success),
        Err(failure) => batch_append_resp::Result::Error(failure.result()),
    };
    BatchAppendResp {
        correlation_id: Some(Spelling::Structured.spell(correlation)),
        result: Some(result),
        // Clients read the name without asking whether there is one.
        stream: Some(stream.unwrap_or_default()),
        expected: expected.map(Expected::spell),
    }
}
