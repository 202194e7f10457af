//! Following one row of a view: its present form at once, then again after every change.
//!
//! A follower looks again when the view has moved, but never more often than `stream_interval`: a busy log must not
//! make a thousand followers read a thousand rows a thousand times a second. Changes in between are merged
//! into the newest. A stream lives at most `stream_life`, so that followers spread over gateways again.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, stream};
use projections::view::View;
use tokio::time::Instant;
use tonic::Status;

use super::Context;
use crate::error::{Reason, status};

/// A stream of answers.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What one look at the row showed.
pub(super) struct Look<T> {
    pub(super) message: T,
    /// Equal for two looks that show the same.
    pub(super) etag: String,
    /// True when nothing more will ever come.
    pub(super) last: bool,
}

struct Following<F> {
    context: Arc<Context>,
    look: F,
    /// Where the view stood at the last look.
    position: u64,
    seen: Option<String>,
    ends_at: Instant,
    done: bool,
}

/// Follows what `look` shows of view `V`; it is given the position that its answer includes.
pub(super) fn follow<V, T, F, L>(context: Arc<Context>, look: F) -> Answers<T>
where
    V: View,
    T: Send + 'static,
    F: Fn(u64) -> L + Send + 'static,
    L: Future<Output = Result<Look<T>, Status>> + Send + 'static,
{
    let ends_at = Instant::now() + context.rules.stream_life;
    let following = Following { context, look, position: 0, seen: None, ends_at, done: false };
    Box::pin(stream::unfold(following, async |mut following| {
        if following.done {
            return None;
        }
        let next = next::<V, T, F, L>(&mut following).await;
        following.done |= next.is_err();
        Some((next, following))
    }))
}

async fn next<V, T, F, L>(following: &mut Following<F>) -> Result<T, Status>
where
    V: View,
    F: Fn(u64) -> L,
    L: Future<Output = Result<Look<T>, Status>>,
{
    let views = &following.context.views;
    loop {
        if following.seen.is_some() {
            tokio::time::sleep(following.context.rules.stream_interval).await;
            let moved = tokio::time::timeout_at(following.ends_at, views.moved::<V>(following.position)).await;
            match moved {
                Ok(Ok(())) => {}
                Ok(Err(gone)) => return Err(status(Reason::ViewBehind, gone.to_string(), [])),
                Err(_elapsed) => return Err(status(Reason::StreamOver, "this stream has lived its time", [])),
            }
        }
        // The position is read first: the row that is read then includes at least it.
        following.position = views.position::<V>();
        let look = (following.look)(following.position).await?;
        if following.seen.as_ref() != Some(&look.etag) {
            following.seen = Some(look.etag);
            following.done = look.last;
            return Ok(look.message);
        }
    }
}
