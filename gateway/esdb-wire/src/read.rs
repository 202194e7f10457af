//! Reading to an end: a page at a time, pulled by the client, so a slow one holds a page and nothing more.

use std::{collections::VecDeque, sync::Arc};

use ports::store::{EventStore, Position, Recorded};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    envelope::{self, Spelling, identifier},
    error::Failure,
    filter::Filter,
    page::Cursor,
    state::Streams,
    wire::streams::{
        ReadResp,
        read_req::{self, Direction},
        read_resp,
    },
};

/// A read that goes on until its count or the end.
pub struct Reading {
    store: Arc<dyn EventStore>,
    cursor: Cursor,
    filter: Option<Filter>,
    spelling: Spelling,
    left: u64,
    page_events: usize,
    ready: VecDeque<Recorded>,
    /// Said first, in place of events.
    missing: Option<String>,
    _place: OwnedSemaphorePermit,
}

/// What every read needs to know.
pub struct Terms {
    pub filter: Option<Filter>,
    pub spelling: Spelling,
    pub page_events: usize,
    pub place: OwnedSemaphorePermit,
}

impl Reading {
    /// A read of one stream.
    pub async fn stream(
        streams: &Streams,
        name: String,
        from: Option<read_req::stream::From>,
        direction: Direction,
        count: u64,
        terms: Terms,
    ) -> Result<Self, Failure> {
        use read_req::stream::From;
        let state = streams.state(&name).await?;
        if state.ended {
            return Err(Failure::Deleted { stream: name });
        }
        let missing = state.last().is_none().then(|| name.clone());
        let cursor = match (missing.is_some(), direction) {
            (true, _) => Cursor::Done,
            (false, Direction::Forwards) => match from {
                Some(From::Revision(revision)) => {
                    Cursor::StreamForward { stream: name, next: revision.max(state.visible) }
                }
                Some(From::Start(_)) | None => Cursor::StreamForward { stream: name, next: state.visible },
                Some(From::End(_)) => Cursor::Done,
            },
            (false, Direction::Backwards) => {
                let end = match from {
                    Some(From::Revision(revision)) => revision.saturating_add(1).min(state.length),
                    Some(From::Start(_)) => 1,
                    Some(From::End(_)) | None => state.length,
                };
                Cursor::StreamBackward { stream: name, end, visible: state.visible }
            }
        };
        Ok(Self::new(Arc::clone(streams.store()), cursor, count, missing, terms))
    }

    /// A read of the whole log. Forward a position is itself read, backward it is not.
    pub async fn all(
        store: &Arc<dyn EventStore>,
        from: Option<read_req::all::From>,
        direction: Direction,
        count: u64,
        terms: Terms,
    ) -> Result<Self, Failure> {
        use read_req::all::From;
        let cursor = match direction {
            Direction::Forwards => match from {
                Some(From::Position(position)) => {
                    Cursor::AllForward { after: Position(position.commit.saturating_sub(1)) }
                }
                Some(From::Start(_)) | None => Cursor::AllForward { after: Position::START },
                Some(From::End(_)) => Cursor::Done,
            },
            Direction::Backwards => {
                let head = store.head().await?.0;
                let end = match from {
                    Some(From::Position(position)) => position.commit.min(head.saturating_add(1)),
                    Some(From::Start(_)) => 0,
                    Some(From::End(_)) | None => head.saturating_add(1),
                };
                let span = count.clamp(1, terms.page_events as u64);
                if end == 0 { Cursor::Done } else { Cursor::AllBackward { end, span } }
            }
        };
        Ok(Self::new(Arc::clone(store), cursor, count, None, terms))
    }

    fn new(store: Arc<dyn EventStore>, cursor: Cursor, count: u64, missing: Option<String>, terms: Terms) -> Self {
        let Terms { filter, spelling, page_events, place } = terms;
        let ready = VecDeque::new();
        Self { store, cursor, filter, spelling, left: count, page_events, ready, missing, _place: place }
    }

    /// The next message, `None` behind the last.
    pub async fn next(&mut self) -> Result<Option<ReadResp>, Failure> {
        if let Some(stream) = self.missing.take() {
            let missing = read_resp::NotFound { stream: Some(identifier(stream)) };
            return Ok(Some(ReadResp { content: Some(read_resp::Content::NotFound(missing)) }));
        }
        while self.left > 0 {
            let Some(event) = self.ready.pop_front() else {
                if self.cursor.is_done() {
                    return Ok(None);
                }
                let page = if self.filter.is_some() { self.page_events } else { self.page_of_what_is_left() };
                self.ready = self.cursor.page(&self.store, page).await?.into();
                // A log in memory is always ready; others want their turn, too.
                tokio::task::yield_now().await;
                continue;
            };
            if let Some(filter) = &self.filter
                && !filter.wants(&event)?
            {
                continue;
            }
            self.left -= 1;
            return Ok(Some(envelope::recorded(event, self.spelling)));
        }
        Ok(None)
    }

    fn page_of_what_is_left(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX).min(self.page_events)
    }
}
