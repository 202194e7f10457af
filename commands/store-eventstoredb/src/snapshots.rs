//! Snapshots: a stream per name and fold that keeps its newest event.

use eventstore::{AppendToStreamOptions, EventData, StreamMetadataBuilder, StreamState};
use ports::store::{Error, Position, Snapshot};
use tokio::time::timeout;

use crate::{
    calls::{Answer, Fault},
    store::EventStoreDb,
};

/// Begins with `$`, so that snapshots are left out where the log is read.
const KIND: &str = "$cartulary.snapshot";
/// How many of its events the server keeps of such a stream.
const KEPT: u64 = 1;

fn stream_of(name: &str, fold: u32) -> String {
    format!("cartulary.snapshots.{fold}-{name}")
}

/// What stands beside a state: how many events are in it, and up to which position.
fn beside(snapshot: &Snapshot) -> String {
    format!("[{},{}]", snapshot.revision, snapshot.position)
}

fn read_beside(metadata: &[u8]) -> Option<(u64, Position)> {
    let (revision, position): (u64, u64) = serde_json::from_slice(metadata).ok()?;
    Some((revision, Position(position)))
}

impl EventStoreDb {
    pub(crate) async fn load(&self, name: &str, fold: u32) -> Result<Option<Snapshot>, Error> {
        let newest = self.calls.stream_back(&stream_of(name, fold), 1).await?.pop();
        Ok(newest.filter(|newest| newest.kind == KIND).and_then(|newest| {
            let (revision, position) = read_beside(&newest.metadata)?;
            Some(Snapshot { fold, revision, position, state: newest.data })
        }))
    }

    pub(crate) async fn save(&self, name: &str, snapshot: Snapshot) -> Result<(), Error> {
        let max = self.limits.snapshot_bytes_max;
        if snapshot.state.len() > max {
            return Err(Error::Failed(format!("a snapshot of {name} has more than {max} bytes")));
        }
        let stream = stream_of(name, snapshot.fold);
        let beside = beside(&snapshot);
        let event = EventData::binary(KIND, snapshot.state).metadata(beside.into());
        let first = AppendToStreamOptions::default().stream_state(StreamState::NoStream);
        match self.put(&stream, first, event.clone()).await? {
            Ok(()) => self.keep_newest(&stream).await,
            Err(Answer::Conflict(_)) => {
                let put = self.put(&stream, AppendToStreamOptions::default(), event).await?;
                put.map_err(|_answer| Error::Failed(format!("the snapshot of {name} was refused")))
            }
            Err(Answer::NotFound | Answer::Known) => Err(Error::Failed(format!("the snapshot of {name} was refused"))),
        }
    }

    async fn put(
        &self,
        stream: &str,
        options: AppendToStreamOptions,
        event: EventData,
    ) -> Result<Result<(), Answer>, Error> {
        let silence = self.calls.timeout();
        // A write that is not known to have failed may be there; the next one replaces it all the same.
        let put = |client: eventstore::Client| {
            let (stream, options, event) = (stream.to_owned(), options.clone(), event.clone());
            async move {
                let written = timeout(silence, client.append_to_stream(stream, &options, event)).await;
                written.map_err(|_elapsed| Fault::Silent)??;
                Ok(())
            }
        };
        self.calls.call(false, put).await
    }

    /// Tells the server to drop all but the newest event of a stream.
    async fn keep_newest(&self, stream: &str) -> Result<(), Error> {
        let silence = self.calls.timeout();
        let options = AppendToStreamOptions::default();
        let set = |client: eventstore::Client| {
            let (stream, options) = (stream.to_owned(), options.clone());
            async move {
                let metadata = StreamMetadataBuilder::new().max_count(KEPT).build();
                let set = timeout(silence, client.set_stream_metadata(stream, &options, &metadata)).await;
                set.map_err(|_elapsed| Fault::Silent)??;
                Ok(())
            }
        };
        let set = self.calls.call(false, set).await?;
        set.map_err(|_answer| Error::Failed(format!("the metadata of {stream} was refused")))
    }
}
