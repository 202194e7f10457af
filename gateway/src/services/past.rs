//! What was: a state as its stream's first events made it, read from the log.
//!
//! A retry must hear what it heard the first time, however much has happened since. Most of that is in the outcome
//! that the desk rebuilds; where an answer shows a state, the state is folded again up to the same event. Only
//! retries and races pay for it.

use commands::{
    codec,
    desk::{Outcome, Seen},
    request::Request,
};
use domain::decider::Decider;
use jiff::Timestamp;
use ports::store::Revision;
use tonic::Status;

use super::{Context, refusal};

/// How many events are read at a time.
const PAGE: usize = 256;

/// An aggregate at some moment of its life.
pub(super) struct Past<D: Decider> {
    pub(super) state: D::State,
    /// How many events are folded into it.
    pub(super) revision: Revision,
    /// The position of the last of them.
    pub(super) position: u64,
    /// When the first of them happened.
    pub(super) began_at: Option<Timestamp>,
    /// When the last of them happened.
    pub(super) changed_at: Option<Timestamp>,
    /// The last of them.
    pub(super) last: Option<D::Event>,
}

impl Context {
    /// Folds a stream from its beginning until `enough` says so, or to its end.
    pub(super) async fn past<D: Decider>(
        &self,
        id: &D::Id,
        mut enough: impl FnMut(&Past<D>) -> bool + Send,
    ) -> Result<Past<D>, Status> {
        let stream = format!("{}-{id}", D::CATEGORY);
        let mut past =
            Past { state: D::State::default(), revision: 0, position: 0, began_at: None, changed_at: None, last: None };
        loop {
            let page = self.log.read_stream(&stream, past.revision, PAGE).await;
            let page = page.map_err(|error| refusal::of_store(&error))?;
            for recorded in &page {
                let unreadable = |error| refusal::internal("a stored event cannot be read", &error);
                let event: D::Event = codec::decode(recorded).map_err(unreadable)?;
                let at = codec::metadata(recorded).map_err(unreadable)?.occurred_at;
                past.state = D::evolve(std::mem::take(&mut past.state), &event);
                past.revision += 1;
                past.position = recorded.position.0;
                past.began_at = past.began_at.or(Some(at));
                past.changed_at = Some(at);
                past.last = Some(event);
                if enough(&past) {
                    return Ok(past);
                }
            }
            if page.len() < PAGE {
                return Ok(past);
            }
        }
    }

    /// The state that a command left behind, shown by `look`: as the desk kept it, from the desk if nothing has happened
    /// since, else from the log.
    pub(super) async fn after<D: Decider, T: Send + 'static>(
        &self,
        desk: &commands::desk::Desk<D>,
        id: &D::Id,
        outcome: &Outcome<D::Event>,
        kept: Option<T>,
        look: fn(&D::State) -> T,
    ) -> Result<T, Status> {
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let revision = outcome.revision;
        let seen = desk.inspect(id, move |seen: Seen<'_, D>| (seen.revision == revision).then(|| look(seen.state)));
        if let Ok(Some(shown)) = seen.await {
            return Ok(shown);
        }
        let past = self.past::<D>(id, |past| past.revision == revision).await?;
        Ok(look(&past.state))
    }

    /// When a command's first event happened; a retry finds it in the log.
    pub(super) async fn when<D: Decider>(
        &self,
        id: &D::Id,
        request: &Request,
        outcome: &Outcome<D::Event>,
    ) -> Result<Timestamp, Status> {
        if !outcome.replayed {
            return Ok(request.occurred_at);
        }
        let stream = format!("{}-{id}", D::CATEGORY);
        let event = request.event_id(&stream, 0).0;
        let found = self.log.find(&[event]).await.map_err(|error| refusal::of_store(&error))?;
        let at = found.into_iter().flatten().next().and_then(|recorded| codec::metadata(&recorded).ok());
        Ok(at.map_or(request.occurred_at, |metadata| metadata.occurred_at))
    }
}
