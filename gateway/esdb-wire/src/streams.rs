//! The `Streams` service: who asks, whether there is room, and then reading or writing.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _, stream};
use ports::{clock::Clock, store::NewEvent};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    Access, Limits, Mode, Right,
    access::{may_write, right},
    append::{Writer, Written},
    batch::Batches,
    envelope::{self, Spelling},
    error::Failure,
    expected::Expected,
    filter::Filter,
    follow::{Following, World},
    read::{Reading, Terms},
    wire::{
        self,
        streams::{
            AppendReq, AppendResp, BatchAppendReq, BatchAppendResp, DeleteReq, DeleteResp, ReadReq, ReadResp, Success,
            Where, append_req, append_resp, delete_resp, read_req, streams_server, success,
        },
    },
};

/// The service. A clone is the same one.
#[derive(Clone)]
pub struct Service {
    pub writer: Arc<Writer>,
    pub access: Arc<dyn Access>,
    pub mode: Mode,
    pub limits: Arc<Limits>,
    pub clock: Arc<dyn Clock>,
    pub places: Places,
    pub stop: watch::Receiver<bool>,
}

/// Places for each kind of call, so that none of them takes those of the others.
#[derive(Clone)]
pub struct Places {
    writes: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    subscriptions: Arc<Semaphore>,
    sessions: Arc<Semaphore>,
}

impl Places {
    pub fn new(limits: &Limits) -> Self {
        let places = |max: usize| Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Self {
            writes: places(limits.writes_max),
            reads: places(limits.reads_max),
            subscriptions: places(limits.subscriptions_max),
            sessions: places(limits.sessions_max),
        }
    }
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    fn right<T>(&self, request: &Request<T>) -> Result<Right, Status> {
        right(&*self.access, request.metadata())
    }

    /// The name of a stream that `right` may write.
    pub fn writable(&self, right: Right, stream: Option<wire::StreamIdentifier>) -> Result<String, Failure> {
        let stream = self.name(stream)?;
        if may_write(self.mode, right, &stream) { Ok(stream) } else { Err(Failure::Denied) }
    }

    fn name(&self, stream: Option<wire::StreamIdentifier>) -> Result<String, Failure> {
        let name = stream.map(|stream| stream.stream_name).unwrap_or_default();
        let max = self.limits.name_bytes_max;
        match String::from_utf8(name.into()) {
            Ok(name) if name.is_empty() => Err(Failure::Bad("a stream must have a name".to_owned())),
            Ok(name) if name.len() > max => Err(Failure::Bad(format!("a stream's name has more than {max} bytes"))),
            Ok(name) => Ok(name),
            Err(_) => Err(Failure::Bad("a stream's name must be UTF-8".to_owned())),
        }
    }

    /// Room for one more write.
    pub fn write_place(&self) -> Result<OwnedSemaphorePermit, Failure> {
        place(&self.places.writes)
    }

    fn terms(&self, options: &mut read_req::Options, place: OwnedSemaphorePermit) -> Result<Terms, Failure> {
        let filter = match options.which.take() {
            Some(read_req::options::Which::Filter(filter)) => Some(Filter::read(filter, &self.limits)?),
            Some(read_req::options::Which::NoFilter(_)) | None => None,
        };
        let spelling = match options.uuid_option.as_ref().and_then(|option| option.spelling.as_ref()) {
            Some(read_req::uuid_option::Spelling::String(_)) => Spelling::Text,
            Some(read_req::uuid_option::Spelling::Structured(_)) | None => Spelling::Structured,
        };
        Ok(Terms { filter, spelling, page_events: self.limits.page_events, place })
    }

    async fn reading(&self, mut options: read_req::Options, count: u64) -> Result<Messages<ReadResp>, Failure> {
        let terms = self.terms(&mut options, place(&self.places.reads)?)?;
        let direction = options.direction();
        let reading = match options.what {
            Some(read_req::options::What::Stream(stream)) => {
                let name = self.name(stream.stream)?;
                Reading::stream(&self.writer.streams, name, stream.from, direction, count, terms).await?
            }
            Some(read_req::options::What::All(all)) => {
                Reading::all(self.writer.streams.store(), all.from, direction, count, terms).await?
            }
            None => return Err(Failure::Bad("a read must say what".to_owned())),
        };
        Ok(stream::try_unfold(reading, async |mut reading| {
            let message = reading.next().await?;
            Ok(message.map(|message| (message, reading)))
        })
        .boxed())
    }

    async fn following(&self, mut options: read_req::Options) -> Result<Messages<ReadResp>, Failure> {
        let terms = self.terms(&mut options, place(&self.places.subscriptions)?)?;
        let world =
            World { clock: Arc::clone(&self.clock), poll_every: self.limits.poll_every, stop: self.stop.clone() };
        if options.direction() == read_req::Direction::Backwards {
            return Err(Failure::Bad("a subscription goes forward".to_owned()));
        }
        let following = match options.what {
            Some(read_req::options::What::Stream(stream)) => {
                let name = self.name(stream.stream)?;
                Following::stream(&self.writer.streams, name, stream.from, terms, world).await?
            }
            Some(read_req::options::What::All(all)) => {
                Following::all(self.writer.streams.store(), all.from, terms, world).await?
            }
            None => return Err(Failure::Bad("a subscription must say what".to_owned())),
        };
        Ok(stream::try_unfold(following, async |mut following| Ok(Some((following.next().await?, following)))).boxed())
    }

    /// Reads one append off the wire.
    async fn gather(&self, right: Right, mut sent: Streaming<AppendReq>) -> Result<Gathered, Status> {
        let Some(AppendReq { content: Some(append_req::Content::Options(options)) }) = sent.message().await? else {
            return Err(Failure::Bad("an append must begin with its options".to_owned()).into());
        };
        let Where { stream, expected } = options;
        let stream = self.writable(right, stream)?;
        let mut gathered = Gathered { stream, expected: expected.into(), events: Vec::new() };
        let mut bytes = 0;
        while let Some(message) = sent.message().await? {
            let Some(append_req::Content::Event(event)) = message.content else {
                return Err(Failure::Bad("an append has its options once".to_owned()).into());
            };
            self.add(&mut gathered.events, &mut bytes, event)?;
        }
        Ok(gathered)
    }

    /// Adds an event to an append, within its bounds.
    pub fn add(
        &self,
        events: &mut Vec<NewEvent>,
        bytes: &mut usize,
        event: wire::streams::NewEvent,
    ) -> Result<(), Failure> {
        *bytes += event.data.len() + event.custom_metadata.len();
        if *bytes > self.limits.append_bytes_max {
            return Err(Failure::TooLarge { max: self.limits.append_bytes_max });
        }
        if events.len() >= self.limits.append_events_max {
            return Err(Failure::Bad(format!("an append may have {} events", self.limits.append_events_max)));
        }
        let event = envelope::pack(event, self.limits.name_bytes_max).map_err(Failure::Bad)?;
        if event.kind == crate::state::TOMBSTONE {
            return Err(Failure::Bad("a stream is ended by a tombstone call".to_owned()));
        }
        events.push(event);
        Ok(())
    }
}

struct Gathered {
    stream: String,
    expected: Expected,
    events: Vec<NewEvent>,
}

fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Failure> {
    Arc::clone(places).try_acquire_owned().map_err(|_full| Failure::Busy)
}

/// Where a write has left its stream, on the wire.
pub fn success(written: Written) -> Success {
    let current = written.revision.map_or(success::Current::NoStream(wire::Empty {}), success::Current::Revision);
    let place = written.position.map_or(success::Place::NoPosition(wire::Empty {}), |position| {
        success::Place::Position(wire::Position { commit: position.0, prepare: position.0 })
    });
    Success { current: Some(current), place: Some(place) }
}

fn deleted(written: Written) -> Response<DeleteResp> {
    let place = written.position.map_or(delete_resp::Place::NoPosition(wire::Empty {}), |position| {
        delete_resp::Place::Position(wire::Position { commit: position.0, prepare: position.0 })
    });
    Response::new(DeleteResp { place: Some(place) })
}

#[async_trait::async_trait]
impl streams_server::Streams for Service {
    type ReadStream = Messages<ReadResp>;
    type BatchAppendStream = Messages<BatchAppendResp>;

    async fn read(&self, request: Request<ReadReq>) -> Result<Response<Self::ReadStream>, Status> {
        self.right(&request)?;
        let options = request.into_inner().options;
        let options = options.ok_or_else(|| Failure::Bad("a read must have options".to_owned()))?;
        let messages = match options.how_many {
            Some(read_req::options::HowMany::Subscription(_)) => self.following(options).await?,
            Some(read_req::options::HowMany::Count(count)) => self.reading(options, count).await?,
            None => return Err(Failure::Bad("a read must say how many".to_owned()).into()),
        };
        Ok(Response::new(messages))
    }

    async fn append(&self, request: Request<Streaming<AppendReq>>) -> Result<Response<AppendResp>, Status> {
        let right = self.right(&request)?;
        let _place = self.write_place()?;
        let gathering = timeout(self.limits.append_timeout, self.gather(right, request.into_inner()));
        let Ok(gathered) = gathering.await else {
            return Err(Status::cancelled("the append came too slowly; nothing was written"));
        };
        let Gathered { stream, expected, events } = gathered?;
        let result = match self.writer.append(&stream, expected, events).await {
            Ok(written) => append_resp::Result::Success(success(written)),
            Err(Failure::Wrong(wrong)) => append_resp::Result::Wrong(wrong.answer()),
            Err(failure) => return Err(failure.into()),
        };
        Ok(Response::new(AppendResp { result: Some(result) }))
    }

    async fn batch_append(
        &self,
        request: Request<Streaming<BatchAppendReq>>,
    ) -> Result<Response<Self::BatchAppendStream>, Status> {
        let right = self.right(&request)?;
        let seat = place(&self.places.sessions)?;
        let batches = Batches::new(self.clone(), right, request.into_inner(), seat);
        let answers = stream::try_unfold(batches, async |mut batches| {
            let answer = batches.next().await?;
            Ok(answer.map(|answer| (answer, batches)))
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn delete(&self, request: Request<DeleteReq>) -> Result<Response<DeleteResp>, Status> {
        let right = self.right(&request)?;
        let _place = self.write_place()?;
        let Where { stream, expected } = request.into_inner().options.unwrap_or_default();
        let stream = self.writable(right, stream)?;
        Ok(deleted(self.writer.delete(&stream, expected.into()).await?))
    }

    async fn tombstone(&self, request: Request<DeleteReq>) -> Result<Response<DeleteResp>, Status> {
        let right = self.right(&request)?;
        let _place = self.write_place()?;
        let Where { stream, expected } = request.into_inner().options.unwrap_or_default();
        let stream = self.writable(right, stream)?;
        Ok(deleted(self.writer.tombstone(&stream, expected.into()).await?))
    }
}
