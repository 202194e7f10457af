//! One transaction: the appends of everybody who waits, each atomic by itself.
//!
//! The happy path looks nothing up: the stream's length is remembered, and the unique index of event ids is
//! checked by the insert itself. Only when an insert finds its id taken is the transaction undone and done
//! again, this time looking every id up first. So nothing ever has to be taken back inside a
//! transaction, no savepoint is paid for, and the log's triggers may forbid every deletion.

use jiff::Timestamp;
use ports::store::{Append, Appended, NewEvent, Position, Refused};
use rusqlite::{
    Connection, OptionalExtension, Statement, params,
    types::{ToSqlOutput, ValueRef},
};
use uuid::Uuid;

use crate::{
    checksum::Columns,
    error::is_taken,
    heads::{Head, Heads},
    read::FIND_STREAM,
};

/// The answer to one append.
pub type Answer = Result<Appended, Refused>;

/// The writing end of the log: prepared statements and what one writer may remember.
pub struct Log<'c> {
    conn: &'c Connection,
    begin: Statement<'c>,
    commit: Statement<'c>,
    insert_event: Statement<'c>,
    insert_stream: Statement<'c>,
    find_stream: Statement<'c>,
    length: Statement<'c>,
    find_id: Statement<'c>,
    heads: Heads,
    end: End,
}

/// The end of the log.
#[derive(Debug, Clone, Copy)]
struct End {
    /// The newest position.
    position: i64,
    /// The newest stream's number.
    stream: i64,
    /// When the newest event was written, microseconds since 1970. Time never runs backward in the log.
    recorded_at: i64,
}

/// Why a transaction wrote nothing, or may have written.
#[derive(Debug)]
pub struct Failure {
    /// What SQLite says.
    pub error: rusqlite::Error,
    /// It failed in the commit: what was written may be durable or not.
    pub in_commit: bool,
}

/// A place in the log, as the index of event ids knows it.
#[derive(Debug, Clone, Copy)]
struct Place {
    position: i64,
    stream: i64,
    revision: i64,
}

impl<'c> Log<'c> {
    /// Prepares to write behind the end of the log; remembers at most `heads_max` streams.
    pub fn new(conn: &'c Connection, heads_max: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            conn,
            begin: conn.prepare("BEGIN IMMEDIATE")?,
            commit: conn.prepare("COMMIT")?,
            insert_event: conn.prepare(
                "INSERT INTO events(position, stream_id, revision, event_id, recorded_at, checksum, kind, data, \
                 metadata) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?,
            insert_stream: conn.prepare("INSERT INTO streams(id, name) VALUES (?1, ?2)")?,
            find_stream: conn.prepare(FIND_STREAM)?,
            length: conn.prepare("SELECT ifnull(max(revision), -1) + 1 FROM events WHERE stream_id = ?1")?,
            find_id: conn.prepare("SELECT position, stream_id, revision FROM events WHERE event_id = ?1")?,
            heads: Heads::new(heads_max),
            end: End::read(conn)?,
        })
    }

    /// The newest position.
    pub const fn head(&self) -> Position {
        Position(self.end.position.cast_unsigned())
    }

    /// Writes the appends in one transaction and answers them in order, when they are durable.
    pub fn write(&mut self, appends: &[&Append], now: Timestamp) -> Result<Vec<Answer>, Failure> {
        match self.transaction(appends, now, false) {
            Err(failure) if is_taken(&failure.error) => self.transaction(appends, now, true),
            done => done,
        }
    }

    fn transaction(&mut self, appends: &[&Append], now: Timestamp, careful: bool) -> Result<Vec<Answer>, Failure> {
        let end = self.end;
        let mut in_commit = false;
        let mut write = || -> rusqlite::Result<Vec<Answer>> {
            self.begin.raw_execute()?;
            let answers = appends.iter().map(|append| self.append(append, now, careful)).collect::<Result<_, _>>()?;
            in_commit = true;
            self.commit.raw_execute()?;
            Ok(answers)
        };
        write().map_err(|error| {
            self.undo(appends, end);
            Failure { error, in_commit }
        })
    }

    /// Takes back a transaction, in the file and in memory.
    fn undo(&mut self, appends: &[&Append], end: End) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a rollback failed");
        }
        appends.iter().for_each(|append| self.heads.forget(&append.stream));
        // Whoever else wrote the file, against every rule, is at least seen.
        self.end = End::read(self.conn).unwrap_or(end);
    }

    fn append(&mut self, append: &Append, now: Timestamp, careful: bool) -> rusqlite::Result<Answer> {
        let head = self.stream(&append.stream)?;
        let actual = head.map_or(0, |head| head.next.cast_unsigned());
        if careful || actual != append.expected {
            if let Some(answer) = self.known(append, head)? {
                return Ok(answer);
            }
            if actual != append.expected {
                return Ok(Err(Refused::Conflict { expected: append.expected, actual }));
            }
            if let Some(id) = repeated(&append.events) {
                return Ok(Err(Refused::Known { id }));
            }
        }
        let mut head = match head {
            Some(head) => head,
            None => self.new_stream(&append.stream)?,
        };
        let at = append.recorded_at.unwrap_or(now).as_microsecond();
        self.end.recorded_at = self.end.recorded_at.max(at);
        for event in &append.events {
            self.insert(&append.stream, &mut head, event)?;
        }
        self.heads.put(&append.stream, head);
        Ok(Ok(Appended { first_revision: actual, last_position: self.head(), fresh: true }))
    }

    /// The stream, from memory or from the file; `None` when there is none.
    fn stream(&mut self, name: &str) -> rusqlite::Result<Option<Head>> {
        if let Some(head) = self.heads.get(name) {
            return Ok(Some(head));
        }
        let Some(stream) = self.find_stream.query_row([name], |row| row.get(0)).optional()? else {
            return Ok(None);
        };
        let head = Head { stream, next: self.length.query_row([stream], |row| row.get(0))? };
        self.heads.put(name, head);
        Ok(Some(head))
    }

    fn new_stream(&mut self, name: &str) -> rusqlite::Result<Head> {
        let stream = self.end.stream + 1;
        self.insert_stream.execute(params![stream, name])?;
        self.end.stream = stream;
        Ok(Head { stream, next: 0 })
    }

    fn insert(&mut self, stream: &str, head: &mut Head, event: &NewEvent) -> rusqlite::Result<()> {
        let columns = Columns {
            position: self.end.position + 1,
            stream: stream.as_bytes(),
            revision: head.next,
            id: event.id.as_bytes(),
            kind: event.kind.as_bytes(),
            recorded_at: self.end.recorded_at,
            data: &event.data,
            metadata: &event.metadata,
        };
        self.insert_event.execute(params![
            columns.position,
            head.stream,
            columns.revision,
            columns.id,
            columns.recorded_at,
            columns.checksum(),
            &*event.kind,
            text(columns.data),
            text(columns.metadata),
        ])?;
        self.end.position += 1;
        head.next += 1;
        Ok(())
    }

    /// The answer to an append of which at least one event is in the log already.
    fn known(&mut self, append: &Append, head: Option<Head>) -> rusqlite::Result<Option<Answer>> {
        let mut places = Vec::with_capacity(append.events.len());
        for event in &append.events {
            places.push(self.place(event.id)?);
        }
        let Some(index) = places.iter().position(Option::is_some) else { return Ok(None) };
        let refused = Err(Refused::Known { id: append.events.get(index).map_or(Uuid::nil(), |event| event.id) });
        let (Some(Some(first)), Some(Some(last)), Some(head)) = (places.first(), places.last(), head) else {
            return Ok(Some(refused));
        };
        let follows = |(place, revision): (&Option<Place>, i64)| {
            place.is_some_and(|place| place.stream == head.stream && place.revision == revision)
        };
        let whole = places.iter().zip(first.revision..).all(follows);
        let first_revision = first.revision.cast_unsigned();
        let last_position = Position(last.position.cast_unsigned());
        Ok(Some(if whole { Ok(Appended { first_revision, last_position, fresh: false }) } else { refused }))
    }

    fn place(&mut self, id: Uuid) -> rusqlite::Result<Option<Place>> {
        let place =
            |row: &rusqlite::Row<'_>| Ok(Place { position: row.get(0)?, stream: row.get(1)?, revision: row.get(2)? });
        self.find_id.query_row([id.as_bytes()], place).optional()
    }
}

impl End {
    fn read(conn: &Connection) -> rusqlite::Result<Self> {
        let newest = "SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1";
        let newest = conn.query_row(newest, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let (position, recorded_at) = newest.unwrap_or((0, i64::MIN));
        let stream = conn.query_row("SELECT ifnull(max(id), 0) FROM streams", [], |row| row.get(0))?;
        Ok(Self { position, stream, recorded_at })
    }
}

/// The first id that occurs a second time.
fn repeated(events: &[NewEvent]) -> Option<Uuid> {
    let mut seen = std::collections::HashSet::with_capacity(events.len());
    events.iter().map(|event| event.id).find(|id| !seen.insert(*id))
}

/// JSON is stored as text, so that SQLite's JSON functions read it; bound without being checked or copied.
const fn text(json: &[u8]) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(json))
}
