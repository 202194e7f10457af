//! Snapshots: a cache beside the log, shared by all processes.
//!
//! Saving one does not wait for the disk: it may be lost in a crash, the events it was folded from are not. An older
//! fold or revision never replaces a newer one, so that processes of two versions do not undo each other's work.

use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};
use ports::store::{Error, Position, Snapshot};
use ports_postgres::{Param, Server};

const LOAD: &str = "SELECT revision, position, checksum, state FROM cartulary.snapshots WHERE name = $1 AND fold = $2";
const SAVE: &str = "
    WITH unhurried AS (SELECT set_config('synchronous_commit', 'off', true))
    INSERT INTO cartulary.snapshots AS s (name, fold, revision, position, checksum, state)
        SELECT $1, $2, $3, $4, $5, $6 FROM unhurried
    ON CONFLICT (name) DO UPDATE SET fold = excluded.fold, revision = excluded.revision,
        position = excluded.position, checksum = excluded.checksum, state = excluded.state
    WHERE (s.fold, s.revision) <= (excluded.fold, excluded.revision)";

/// [`ports::store::EventStore::load_snapshot`].
pub async fn load(server: &Server, name: &str, fold: u32) -> Result<Option<Snapshot>, Error> {
    let rows = server.query(LOAD, &[&name, &i64::from(fold)]).await.map_err(|trouble| trouble.of_read())?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (revision, position, sum): (i64, i64, i32) = (row.get(0), row.get(1), row.get(2));
    let state: &[u8] = row.get(3);
    if sum != checksum(name, fold, revision, position, state) {
        tracing::warn!(name, "a snapshot fails its checksum and is not used");
        return Ok(None);
    }
    let (revision, position) = (revision.cast_unsigned(), Position(position.cast_unsigned()));
    Ok(Some(Snapshot { fold, revision, position, state: Bytes::copy_from_slice(state) }))
}

/// [`ports::store::EventStore::save_snapshot`].
pub async fn save(server: &Server, name: &str, snapshot: &Snapshot) -> Result<(), Error> {
    let Snapshot { fold, revision, position, state } = snapshot;
    let (revision, position) = (revision.cast_signed(), position.0.cast_signed());
    let sum = checksum(name, *fold, revision, position, state);
    let params: [Param<'_>; 6] = [&name, &i64::from(*fold), &revision, &position, &sum, &&**state];
    // Saving it twice is saving it once.
    server.query(SAVE, &params).await.map_err(|trouble| trouble.of_write()).map(drop)
}

fn checksum(name: &str, fold: u32, revision: i64, position: i64, state: &[u8]) -> i32 {
    let sum = crc32c(name.as_bytes());
    let sum = crc32c_append(sum, &fold.to_be_bytes());
    let sum = crc32c_append(sum, &revision.to_be_bytes());
    crc32c_append(crc32c_append(sum, &position.to_be_bytes()), state).cast_signed()
}
