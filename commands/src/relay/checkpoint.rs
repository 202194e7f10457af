//! How far the bus has acknowledged the log, kept among the store's snapshots.

use bytes::Bytes;
use ports::store::{self, EventStore, Position, Snapshot};
use serde::{Deserialize, Serialize};

/// The version of the checkpoint's form.
const FORM: u32 = 1;

/// The relay's place in the log, and the bus's end when it had come so far.
#[derive(Debug)]
pub(super) struct Checkpoint {
    name: String,
    position: Position,
    state: State,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// Where the bus ended: one that ends before is not the same any more.
    sequence: u64,
}

impl Checkpoint {
    /// Reads the checkpoint of an outlet; without one it is at the beginning.
    pub(super) async fn load(store: &dyn EventStore, outlet: &str) -> Result<Self, store::Error> {
        let name = format!("$relay.{outlet}");
        let kept = store.load_snapshot(&name, FORM).await?;
        let kept = kept.and_then(|kept| Some((kept.position, serde_json::from_slice(&kept.state).ok()?)));
        let (position, state) = kept.unwrap_or_default();
        Ok(Self { name, position, state })
    }

    pub(super) const fn position(&self) -> Position {
        self.position
    }

    pub(super) const fn sequence(&self) -> u64 {
        self.state.sequence
    }

    /// Keeps a new place.
    pub(super) async fn save(
        &mut self,
        store: &dyn EventStore,
        position: Position,
        sequence: u64,
    ) -> Result<(), store::Error> {
        let state = State { sequence };
        let bytes = serde_json::to_vec(&state).map_err(|why| store::Error::Failed(why.to_string()))?;
        let snapshot = Snapshot { fold: FORM, revision: 0, position, state: Bytes::from(bytes) };
        store.save_snapshot(&self.name, snapshot).await?;
        (self.position, self.state) = (position, state);
        Ok(())
    }
}
