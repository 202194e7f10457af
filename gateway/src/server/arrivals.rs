//! The requests of a connection as they arrive: each becomes a task of its own, unless it can be answered on the spot.
//!
//! In a flood most requests are refused, and a task for each of them costs more than the refusal. So while the door is
//! full, what arrives waits until the connection has read everything that has come (a refusal that goes out before its
//! request has wholly come in costs a reset and a closed stream that is written to), and is then tried right here. After
//! that the connection takes a breath, so that the next refusals share a read and a write among more of them.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use hyper::rt::Executor;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, Sleep, sleep};

use super::Door;

/// How long a connection rests after it was told that the door is full: a small part of what a refusal may take.
const BREATH: Duration = Duration::from_millis(2);

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs the requests of one connection.
#[derive(Clone)]
pub(super) struct Arrivals {
    door: Arc<Door>,
    arrived: Arc<Mutex<Vec<Work>>>,
}

impl Arrivals {
    pub(super) fn new(door: Arc<Door>) -> Self {
        Self { door, arrived: Arc::default() }
    }

    /// Answers what has arrived at a full door; whatever takes longer goes on as a task. True when something was
    /// answered.
    pub(super) fn let_in(&self) -> bool {
        let arrived = std::mem::take(&mut *self.arrived.lock().unwrap_or_else(PoisonError::into_inner));
        let mut answered = false;
        for mut work in arrived {
            // Nobody is to be woken: a task looks at its work again when it begins.
            match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(()) => answered = true,
                Poll::Pending => TokioExecutor::new().execute(work),
            }
        }
        answered
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Arrivals {
    fn execute(&self, work: F) {
        if self.door.is_full() {
            self.arrived.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(work));
        } else {
            TokioExecutor::new().execute(work);
        }
    }
}

/// The rest of a connection whose requests were just refused.
pub(super) struct Breath {
    end: Pin<Box<Sleep>>,
    taken: bool,
}

impl Breath {
    pub(super) fn new() -> Self {
        Self { end: Box::pin(sleep(Duration::ZERO)), taken: true }
    }

    pub(super) fn begin(&mut self) {
        self.end.as_mut().reset(Instant::now() + BREATH);
        self.taken = false;
    }

    /// Ready unless the connection rests.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.taken {
            std::task::ready!(self.end.as_mut().poll(cx));
            self.taken = true;
        }
        Poll::Ready(())
    }
}
