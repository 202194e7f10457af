//! The body of a server stream: counted, bounded, and ended when the gateway goes away.
//!
//! Somebody who follows an order may stay for hours. Such a stream holds a place among the streams instead of one among
//! the requests, ends with a clear status when nothing has happened for long or its deadline has come, and does not keep
//! a stopping gateway waiting.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::Frame;
use tokio::{sync::watch, time::Sleep};
use tonic::{Status, body::Body};

use super::{
    door::{StreamPlace, explain_frame, trailers},
    meter::InUse,
};
use crate::error::{self, Reason};

type Closing = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) struct Follow {
    inner: Body,
    idle_max: Duration,
    idle: Pin<Box<Sleep>>,
    deadline: Option<Pin<Box<Sleep>>>,
    closing: Closing,
    ended: bool,
    _place: StreamPlace,
    _in_use: Option<Arc<InUse>>,
}

impl Follow {
    pub(super) fn new(
        inner: Body,
        idle_max: Duration,
        deadline: Option<tokio::time::Instant>,
        mut closing: watch::Receiver<bool>,
        place: StreamPlace,
        in_use: Option<Arc<InUse>>,
    ) -> Self {
        Self {
            inner,
            idle_max,
            idle: Box::pin(tokio::time::sleep(idle_max)),
            deadline: deadline.map(|at| Box::pin(tokio::time::sleep_until(at))),
            closing: Box::pin(async move {
                // An error means that the door is gone, which ends the stream as well.
                let _ = closing.wait_for(|closing| *closing).await;
            }),
            ended: false,
            _place: place,
            _in_use: in_use,
        }
    }

    /// Why the stream must end although its source has not, if it must.
    fn must_end(&mut self, cx: &mut Context<'_>) -> Option<Status> {
        if self.closing.as_mut().poll(cx).is_ready() {
            return Some(error::status(Reason::ShuttingDown, "this gateway is going away", []));
        }
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            return Some(error::status(Reason::Deadline, "the deadline of this stream has come", []));
        }
        if self.idle.as_mut().poll(cx).is_ready() {
            return Some(error::status(Reason::StreamIdle, "nothing happened on this stream for long", []));
        }
        None
    }
}

impl http_body::Body for Follow {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.ended = !matches!(&frame, Some(Ok(frame)) if frame.is_data());
                let next = tokio::time::Instant::now() + self.idle_max;
                self.idle.as_mut().reset(next);
                Poll::Ready(frame.map(|frame| frame.map(explain_frame)))
            }
            Poll::Pending => match self.must_end(cx) {
                Some(status) => {
                    self.ended = true;
                    self.inner = Body::empty();
                    Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))))
                }
                None => Poll::Pending,
            },
        }
    }
}
