//! The queries of the log. Every row read is checked: its checksum, and that none before it is missing.

use bytes::Bytes;
use jiff::Timestamp;
use ports::store::{Error, Position, Recorded, Revision};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::{checksum::Columns, error::read_failed};

/// The join is an outer one so that an event whose stream is missing shows up as damage, not as nothing.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT e.position, s.name, e.revision, e.event_id, e.recorded_at, e.checksum, e.kind, e.data, e.metadata \
             FROM events e LEFT JOIN streams s ON s.id = e.stream_id ",
            $rest
        )
    };
}

const ALL: &str = select!("WHERE e.position > ?1 ORDER BY e.position LIMIT ?2");
const STREAM: &str = select!("WHERE e.stream_id = ?1 AND e.revision >= ?2 ORDER BY e.revision LIMIT ?3");
const BY_ID: &str = select!("WHERE e.event_id = ?1");

/// [`ports::store::EventStore::read_all`].
pub fn all(conn: &Connection, after: Position, limit: usize) -> Result<Vec<Recorded>, Error> {
    let Ok(after) = i64::try_from(after.0) else { return Ok(Vec::new()) };
    let mut statement = conn.prepare_cached(ALL).map_err(|error| read_failed(&error))?;
    let mut rows = statement.query(params![after, sql_limit(limit)]).map_err(|error| read_failed(&error))?;
    let mut events: Vec<Recorded> = Vec::new();
    while let Some(row) = rows.next().map_err(|error| read_failed(&error))? {
        let event = recorded(row)?;
        let expected = after.cast_unsigned() + events.len() as u64 + 1;
        if event.position.0 != expected {
            return Err(Error::Corrupt(format!("the event at position {expected} is missing")));
        }
        events.push(event);
    }
    Ok(events)
}

/// [`ports::store::EventStore::read_stream`].
pub fn stream(conn: &Connection, name: &str, from: Revision, limit: usize) -> Result<Vec<Recorded>, Error> {
    let Ok(first) = i64::try_from(from) else { return Ok(Vec::new()) };
    let Some(id) = stream_id(conn, name)? else { return Ok(Vec::new()) };
    let mut statement = conn.prepare_cached(STREAM).map_err(|error| read_failed(&error))?;
    let mut rows = statement.query(params![id, first, sql_limit(limit)]).map_err(|error| read_failed(&error))?;
    let mut events: Vec<Recorded> = Vec::new();
    while let Some(row) = rows.next().map_err(|error| read_failed(&error))? {
        let event = recorded(row)?;
        let expected = from + events.len() as u64;
        if event.revision != expected {
            return Err(Error::Corrupt(format!("revision {expected} of {name} is missing")));
        }
        events.push(event);
    }
    Ok(events)
}

/// The number of a stream.
pub const FIND_STREAM: &str = "SELECT id FROM streams WHERE name = ?1";

/// The number of a stream; `None` when the log has none of that name.
pub fn stream_id(conn: &Connection, name: &str) -> Result<Option<i64>, Error> {
    let mut statement = conn.prepare_cached(FIND_STREAM).map_err(|error| read_failed(&error))?;
    statement.query_row([name], |row| row.get(0)).optional().map_err(|error| read_failed(&error))
}

/// [`ports::store::EventStore::find`].
pub fn find(conn: &Connection, ids: &[Uuid]) -> Result<Vec<Option<Recorded>>, Error> {
    let mut statement = conn.prepare_cached(BY_ID).map_err(|error| read_failed(&error))?;
    let mut find = |id: &Uuid| {
        let mut rows = statement.query([id.as_bytes()]).map_err(|error| read_failed(&error))?;
        let Some(row) = rows.next().map_err(|error| read_failed(&error))? else { return Ok(None) };
        match recorded(row)? {
            event if event.id == *id => Ok(Some(event)),
            other => Err(Error::Corrupt(format!("the index of ids leads from {id} to {}", other.id))),
        }
    };
    ids.iter().map(&mut find).collect()
}

/// SQLite counts in `i64`; nobody has more events than that.
fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Reads a row of [`select!`] and checks it.
fn recorded(row: &Row<'_>) -> Result<Recorded, Error> {
    let position: i64 = row.get(0).map_err(|error| read_failed(&error))?;
    checked(row, position).ok_or_else(|| Error::Corrupt(format!("the event at position {position} fails its checksum")))
}

/// `None` when a column does not even have its type, or the checksum does not fit.
fn checked(row: &Row<'_>, position: i64) -> Option<Recorded> {
    let text = |column| row.get_ref(column).ok()?.as_bytes().ok();
    let columns = Columns {
        position,
        stream: text(1)?,
        revision: row.get(2).ok()?,
        id: text(3)?,
        recorded_at: row.get(4).ok()?,
        kind: text(6)?,
        data: text(7)?,
        metadata: text(8)?,
    };
    if row.get::<_, i64>(5).ok()? != i64::from(columns.checksum()) {
        return None;
    }
    Some(Recorded {
        position: Position(u64::try_from(position).ok()?),
        stream: std::str::from_utf8(columns.stream).ok()?.to_owned(),
        revision: u64::try_from(columns.revision).ok()?,
        id: Uuid::from_slice(columns.id).ok()?,
        kind: std::str::from_utf8(columns.kind).ok()?.to_owned(),
        recorded_at: Timestamp::from_microsecond(columns.recorded_at).ok()?,
        data: Bytes::copy_from_slice(columns.data),
        metadata: Bytes::copy_from_slice(columns.metadata),
    })
}
