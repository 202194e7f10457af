//! Pages of the log in either direction, over a port that reads forward only.

use std::sync::Arc;

use ports::store::{Error, EventStore, Position, Recorded, Revision};

/// Where a reader is, and where it goes.
#[derive(Debug)]
pub enum Cursor {
    /// The stream's events from `next` on.
    StreamForward { stream: String, next: Revision },
    /// The stream's events before `end`, down to `visible`, newest first.
    StreamBackward { stream: String, end: Revision, visible: Revision },
    /// The log's events after a position.
    AllForward { after: Position },
    /// The log's events before `end`, newest first; `span` positions at a time, which adapts to how dense they are.
    AllBackward { end: u64, span: u64 },
    /// Nothing more.
    Done,
}

impl Cursor {
    /// Up to `limit` events in the cursor's direction; the cursor moves on behind them. It may be empty before the
    /// cursor is done.
    pub async fn page(&mut self, store: &Arc<dyn EventStore>, limit: usize) -> Result<Vec<Recorded>, Error> {
        let limit = limit.max(1);
        match self {
            Self::StreamForward { stream, next } => {
                let page = store.read_stream(stream, *next, limit).await?;
                match page.last() {
                    Some(last) if page.len() >= limit => *next = last.revision + 1,
                    _ => *self = Self::Done,
                }
                Ok(page)
            }
            Self::StreamBackward { stream, end, visible } => {
                let from = end.saturating_sub(limit as u64).max(*visible);
                let count = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX);
                let page = if count == 0 { Vec::new() } else { store.read_stream(stream, from, count).await? };
                if from <= *visible {
                    *self = Self::Done;
                } else {
                    *end = from;
                }
                Ok(reversed(page))
            }
            Self::AllForward { after } => {
                let page = store.read_all(*after, limit).await?;
                match page.last() {
                    Some(last) if page.len() >= limit => *after = last.position,
                    _ => *self = Self::Done,
                }
                Ok(page)
            }
            Self::AllBackward { end, span } => {
                let start = end.saturating_sub(1).saturating_sub(*span);
                let mut page = store.read_all(Position(start), limit.saturating_add(1)).await?;
                page.retain(|event| event.position.0 < *end);
                if page.len() > limit {
                    // Denser than thought. A span of `limit` positions never holds more.
                    *span = (*span / 2).max(limit as u64);
                    return Ok(Vec::new());
                }
                if page.len() < limit / 2 + 1 {
                    *span = span.saturating_mul(2);
                }
                if start == 0 {
                    *self = Self::Done;
                } else {
                    *end = start + 1;
                }
                Ok(reversed(page))
            }
            Self::Done => Ok(Vec::new()),
        }
    }

    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

fn reversed(mut page: Vec<Recorded>) -> Vec<Recorded> {
    page.reverse();
    page
}
