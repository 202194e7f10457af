//! Reading: positions, rows by key, ranges of rows or of an index.

use std::fmt::Write as _;

use bytes::Bytes;
use ports::{
    store::Position,
    views::{Direction, Entry, Error, Key, Range},
};
use rusqlite::{Connection, OptionalExtension, ToSql, params, params_from_iter};

/// [`ports::views::ViewStore::position`].
pub fn position(conn: &Connection, view: &str) -> rusqlite::Result<Position> {
    let mut query = conn.prepare_cached("SELECT position FROM views WHERE name = ?1")?;
    let position = query.query_row([view], |row| row.get::<_, i64>(0)).optional()?;
    Ok(Position(position.unwrap_or(0).cast_unsigned()))
}

fn view_id(conn: &Connection, view: &str) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT id FROM views WHERE name = ?1")?.query_row([view], |row| row.get(0)).optional()
}

/// [`ports::views::ViewStore::get_many`], all as of one commit.
pub fn get_many(conn: &Connection, view: &str, keys: &[Key]) -> rusqlite::Result<Vec<Option<Bytes>>> {
    let transaction = conn.unchecked_transaction()?;
    let Some(view) = view_id(&transaction, view)? else { return Ok(vec![None; keys.len()]) };
    let mut query = transaction.prepare_cached("SELECT row FROM rows WHERE view_id = ?1 AND key = ?2")?;
    let mut get = |key: &Key| query.query_row(params![view, key], |row| bytes(row, 0)).optional();
    keys.iter().map(&mut get).collect()
}

/// A place in a walk: the index key, then the row's key. The rows themselves are walked as an index whose
/// every key is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    index_key: Key,
    key: Key,
}

impl Place {
    /// [`Entry::at`]: the length of the index key, the index key, the row's key. Never empty, since an empty
    /// [`Range::after`] means the beginning.
    fn write(index_key: &[u8], key: &[u8]) -> Key {
        let length = u32::try_from(index_key.len()).unwrap_or(u32::MAX);
        [&length.to_be_bytes(), index_key, key].concat()
    }

    /// Reads what [`Self::write`] wrote; it may come from outside, inside a page token.
    pub fn read(at: &[u8]) -> Result<Option<Self>, Error> {
        if at.is_empty() {
            return Ok(None);
        }
        let read = || {
            let (length, rest) = at.split_first_chunk::<4>()?;
            rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
        };
        let (index_key, key) = read().ok_or_else(|| Error::Failed("not a place in an index".to_owned()))?;
        Ok(Some(Self { index_key: index_key.to_vec(), key: key.to_vec() }))
    }
}

/// [`ports::views::ViewStore::range`], going on behind `after`.
pub fn range(conn: &Connection, range: &Range, after: Option<&Place>) -> rusqlite::Result<Vec<Entry>> {
    let transaction = conn.unchecked_transaction()?;
    let Some(view) = view_id(&transaction, &range.view)? else { return Ok(Vec::new()) };
    let walk = Walk::new(range, after);
    let Some(index) = range.index else {
        let sql = walk.sql("SELECT x'' AS index_key, key, row FROM rows WHERE view_id = ?1", "key", "key");
        return entries(&transaction, &sql, &[&view], &walk);
    };
    let mut find = transaction.prepare_cached("SELECT id FROM indexes WHERE view_id = ?1 AND name = ?2")?;
    let Some(index) = find.query_row(params![view, index], |row| row.get::<_, i64>(0)).optional()? else {
        return Ok(Vec::new());
    };
    let select = "SELECT e.index_key, e.key, r.row FROM entries e \
                  CROSS JOIN rows r ON r.view_id = ?1 AND r.key = e.key WHERE e.index_id = ?2";
    let sql = walk.sql(select, "e.index_key", "(e.index_key, e.key)");
    entries(&transaction, &sql, &[&view, &index], &walk)
}

/// The bounds of a walk, as conditions on the index key (or the row's key) and on the whole place.
struct Walk<'a> {
    /// Inclusive.
    from: &'a Key,
    /// Exclusive; none means no end.
    to: Option<&'a Key>,
    /// Exclusive, on the side where the walk begins, when it lies within the other bounds.
    after: Option<&'a Place>,
    direction: Direction,
    /// The rows themselves are walked: a place is its key alone.
    rows: bool,
    limit: i64,
}

impl<'a> Walk<'a> {
    fn new(range: &'a Range, after: Option<&'a Place>) -> Self {
        Self {
            from: &range.from,
            to: Some(&range.to).filter(|to| !to.is_empty()),
            after,
            direction: range.direction,
            rows: range.index.is_none(),
            limit: i64::try_from(range.limit).unwrap_or(i64::MAX),
        }
    }

    /// Completes a query. There are a dozen of them in all, so their prepared statements are worth keeping.
    fn sql(&self, select: &str, key: &str, place: &str) -> String {
        let mut sql = format!("{select} AND {key} >= :from");
        if self.to.is_some() {
            let _ = write!(sql, " AND {key} < :to");
        }
        let (behind, order) = match self.direction {
            Direction::Forward => (">", "ASC"),
            Direction::Backward => ("<", "DESC"),
        };
        if self.after.is_some() {
            let place_value = if self.rows { ":key" } else { "(:index_key, :key)" };
            let _ = write!(sql, " AND {place} {behind} {place_value}");
        }
        let columns = place.trim_matches(['(', ')']).replace(", ", &format!(" {order}, "));
        let _ = write!(sql, " ORDER BY {columns} {order} LIMIT :limit");
        sql
    }
}

fn entries(conn: &Connection, sql: &str, ids: &[&dyn ToSql], walk: &Walk<'_>) -> rusqlite::Result<Vec<Entry>> {
    // The values stand in the order in which the query first names them.
    let mut values = ids.to_vec();
    values.push(walk.from);
    if let Some(to) = &walk.to {
        values.push(to);
    }
    if let Some(after) = walk.after {
        if !walk.rows {
            values.push(&after.index_key);
        }
        values.push(&after.key);
    }
    values.push(&walk.limit);
    let mut query = conn.prepare_cached(sql)?;
    let mut rows = query.query(params_from_iter(values))?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let (index_key, key) = (row.get_ref(0)?.as_bytes()?, row.get_ref(1)?.as_bytes()?);
        entries.push(Entry { at: Place::write(index_key, key), key: key.to_vec(), row: bytes(row, 2)? });
    }
    Ok(entries)
}

fn bytes(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    Ok(Bytes::copy_from_slice(row.get_ref(column)?.as_bytes()?))
}
