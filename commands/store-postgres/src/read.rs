//! The queries of the log. Every row read is checked: its checksum, and that none before it is missing.

use std::collections::HashMap;

use bytes::Bytes;
use jiff::Timestamp;
use ports::store::{Error, Position, Recorded, Revision};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    checksum::Columns,
    wire::{Json, Micros},
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT position, stream, revision, event_id, recorded_at, checksum, kind, data, metadata \
             FROM cartulary.events ",
            $rest
        )
    };
}

/// The log after a position, up to a limit.
pub const ALL: &str = select!("WHERE position > $1 ORDER BY position LIMIT $2");
/// A stream from a revision on, up to a limit.
pub const STREAM: &str = select!("WHERE stream = $1 AND revision >= $2 ORDER BY revision LIMIT $3");
/// Many streams, each from a revision on and up to a limit, in the order asked; `STREAMS_N` says whose a row is.
pub const STREAMS: &str = "
    SELECT e.position, e.stream, e.revision, e.event_id, e.recorded_at, e.checksum, e.kind, e.data, e.metadata, s.n
    FROM unnest($1::text[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS s(name, first, few, n)
    CROSS JOIN LATERAL (
        SELECT * FROM cartulary.events e WHERE e.stream = s.name AND e.revision >= s.first ORDER BY e.revision LIMIT s.few
    ) e
    ORDER BY s.n, e.revision";
/// The column of [`STREAMS`] that counts who asked, from 1.
pub const STREAMS_N: usize = 9;
/// Events by their ids, in no order.
pub const BY_IDS: &str = select!("WHERE event_id = ANY($1)");
/// The newest position.
pub const HEAD: &str = "SELECT position FROM cartulary.events ORDER BY position DESC LIMIT 1";
/// How long streams are, each without an id, and where ids are, at one moment; in no order.
pub const LOOK_UP: &str = "
    SELECT NULL::uuid, s.name, coalesce(
        (SELECT e.revision + 1 FROM cartulary.events e WHERE e.stream = s.name ORDER BY e.revision DESC LIMIT 1), 0), 0::bigint
    FROM unnest($1::text[]) AS s(name)
    UNION ALL
    SELECT event_id, stream, revision, position FROM cartulary.events WHERE event_id = ANY($2)";

/// A page of the log after `after`.
pub fn all(rows: &[Row], after: Position) -> Result<Vec<Recorded>, Error> {
    let follows = |(row, expected): (&Row, u64)| {
        let event = recorded(row)?;
        if event.position.0 == expected {
            return Ok(event);
        }
        Err(Error::Corrupt(format!("the event at position {expected} is missing")))
    };
    rows.iter().zip(after.0 + 1..).map(follows).collect()
}

/// A page of a stream from `from` on.
pub fn stream(rows: &[Row], name: &str, from: Revision) -> Result<Vec<Recorded>, Error> {
    let follows = |(row, expected): (&Row, Revision)| {
        let event = recorded(row)?;
        if event.revision == expected && event.stream == name {
            return Ok(event);
        }
        Err(Error::Corrupt(format!("revision {expected} of {name} is missing")))
    };
    rows.iter().zip(from..).map(follows).collect()
}

/// Events in the order asked.
pub fn found(rows: &[Row], ids: &[Uuid]) -> Result<Vec<Option<Recorded>>, Error> {
    let events: HashMap<Uuid, Recorded> =
        rows.iter().map(|row| recorded(row).map(|event| (event.id, event))).collect::<Result<_, _>>()?;
    Ok(ids.iter().map(|id| events.get(id).cloned()).collect())
}

/// The newest position, from the rows of [`HEAD`].
pub fn head(rows: &[Row]) -> Position {
    Position(rows.first().map_or(0, |row| row.get::<_, i64>(0).cast_unsigned()))
}

/// PostgreSQL counts in `i64`; nobody has more events than that.
pub fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads a row of [`select!`] and checks it.
fn recorded(row: &Row) -> Result<Recorded, Error> {
    let position: i64 = row.try_get(0).map_err(|error| Error::Failed(error.to_string()))?;
    checked(row, position).ok_or_else(|| Error::Corrupt(format!("the event at position {position} fails its checksum")))
}

/// `None` when a column does not even have its type, or the checksum does not fit.
fn checked(row: &Row, position: i64) -> Option<Recorded> {
    let id: Uuid = row.try_get(3).ok()?;
    let Json(data) = row.try_get(7).ok()?;
    let Json(metadata) = row.try_get(8).ok()?;
    let columns = Columns {
        stream: row.try_get(1).ok()?,
        revision: row.try_get(2).ok()?,
        id: id.as_bytes(),
        kind: row.try_get(6).ok()?,
        data,
        metadata,
    };
    if row.try_get::<_, i32>(5).ok()? != columns.checksum() {
        return None;
    }
    let Micros(recorded_at) = row.try_get(4).ok()?;
    Some(Recorded {
        position: Position(u64::try_from(position).ok()?),
        stream: columns.stream.to_owned(),
        revision: u64::try_from(columns.revision).ok()?,
        id,
        kind: columns.kind.to_owned(),
        recorded_at: Timestamp::from_microsecond(recorded_at).ok()?,
        data: Bytes::copy_from_slice(data),
        metadata: Bytes::copy_from_slice(metadata),
    })
}
