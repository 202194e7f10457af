//! Hiding a stream, and ending it.
//!
//! A deletion writes `$tb` = 2^63 - 1 into the stream's metadata: all its events are hidden, and the next append goes on
//! behind them. A tombstone is a last event that nothing can follow; the log's own revision check keeps it last.

use ports::store::Revision;

use crate::{
    append::{Writer, Written},
    error::Failure,
    expected::{Expected, Wrong},
    state::State,
};

/// Before this revision lies every event.
const ALL: Revision = i64::MAX as Revision;

impl Writer {
    /// Hides a stream's events. What never was cannot be hidden; what is hidden already stays so.
    pub async fn delete(&self, stream: &str, expected: Expected) -> Result<Written, Failure> {
        let _turn = self.stand_alone(stream).await;
        for _ in 0..self.attempts_max() {
            let state = self.open_state(stream).await?;
            if state.length == 0 || expected == Expected::NoStream || !fits(expected, &state) {
                return Err(wrong(stream, expected, &state));
            }
            if state.deleted() {
                return Ok(Written { revision: None, position: None });
            }
            if let Some(written) = self.hide_before(stream, &state.metadata, ALL).await? {
                return Ok(written);
            }
        }
        Err(Failure::Contended { stream: stream.to_owned() })
    }

    /// Ends a stream for good, even one that never was.
    pub async fn tombstone(&self, stream: &str, expected: Expected) -> Result<Written, Failure> {
        let _turn = self.stand_alone(stream).await;
        for _ in 0..self.attempts_max() {
            let state = self.open_state(stream).await?;
            if !fits(expected, &state) {
                return Err(wrong(stream, expected, &state));
            }
            if let Some(written) = self.end(stream, state.length).await? {
                return Ok(written);
            }
        }
        Err(Failure::Contended { stream: stream.to_owned() })
    }

    /// The state of a stream that has not been ended.
    async fn open_state(&self, stream: &str) -> Result<State, Failure> {
        let state = self.streams.state(stream).await?;
        if state.ended { Err(Failure::Deleted { stream: stream.to_owned() }) } else { Ok(state) }
    }
}

const fn fits(expected: Expected, state: &State) -> bool {
    match expected {
        Expected::Any => true,
        Expected::Exists => state.last().is_some(),
        Expected::NoStream => state.last().is_none(),
        Expected::Revision(revision) => match revision.checked_add(1) {
            Some(next) => next == state.length,
            None => false,
        },
    }
}

fn wrong(stream: &str, expected: Expected, state: &State) -> Failure {
    Failure::Wrong(Wrong { stream: stream.to_owned(), expected, current: state.last() })
}
