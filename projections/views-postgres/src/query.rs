//! Reading: positions, rows by key, ranges of rows or of an index. Each is one statement, and so as of one commit.

use std::{collections::HashMap, fmt::Write as _};

use bytes::Bytes;
use ports::{
    store::Position,
    views::{Direction, Editions, Entry, Error, Key, Range},
};
use ports_postgres::{Param, Server, Trouble};
use tokio_postgres::{Row, error::SqlState};

use crate::{names::Names, readers::Readers, wire::Text};

/// [`ports::views::ViewStore::position`].
pub async fn position(readers: &Readers, view: &str) -> Result<Position, Error> {
    let sql = "SELECT position, edition FROM cartulary_views.views WHERE name = $1";
    let rows = readers.primary().query(sql, &[&view]).await?;
    let Some(row) = rows.first() else {
        readers.forget(view);
        return Ok(Position::START);
    };
    let position = Position(row.get::<_, i64>(0).cast_unsigned());
    readers.tell(view, position, row.get(1));
    Ok(position)
}

/// The views that are there, each with its edition.
pub async fn editions(server: &Server) -> Result<Editions, Trouble> {
    let rows = server.query("SELECT name, edition FROM cartulary_views.views", &[]).await?;
    Ok(Editions::of(rows.iter().map(|row| (row.get(0), row.get(1)))))
}

/// [`ports::views::ViewStore::get_many`].
pub async fn get_many(readers: &Readers, view: &str, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
    let sql = format!("SELECT key, row FROM {} WHERE key = ANY($1)", Names::of(view)?.rows);
    let rows = of_a_view(readers.query(view, &sql, &[&keys]).await)?;
    let found: HashMap<&[u8], Bytes> = rows.iter().map(|row| (row.get(0), bytes(row, 1))).collect();
    Ok(keys.iter().map(|key| found.get(key.as_slice()).cloned()).collect())
}

/// A view that has no tables has no rows.
fn of_a_view(answered: Result<Vec<Row>, Trouble>) -> Result<Vec<Row>, Error> {
    match answered {
        Err(trouble) if trouble.is(&SqlState::UNDEFINED_TABLE) => Ok(Vec::new()),
        answered => Ok(answered?),
    }
}

/// A place in a walk: the index key, then the row's key. The rows themselves are walked as an index whose
/// every key is empty.
struct Place {
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
    fn read(at: &[u8]) -> Result<Option<Self>, Error> {
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

/// [`ports::views::ViewStore::range`].
pub async fn range(readers: &Readers, range: &Range) -> Result<Vec<Entry>, Error> {
    let after = Place::read(&range.after)?;
    let names = Names::of(&range.view)?;
    let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
    let mut walk = Walk { sql: String::new(), params: Vec::new() };
    let (behind, order) = match range.direction {
        Direction::Forward => (">", "ASC"),
        Direction::Backward => ("<", "DESC"),
    };
    let key = if let Some(index) = &range.index {
        let Names { rows, entries, .. } = &names;
        let select = format!("SELECT e.index_key, e.key, r.row FROM {entries} e JOIN {rows} r ON r.key = e.key");
        walk.and(&format!("{select} WHERE e.index = "), &[index]);
        "e.index_key"
    } else {
        walk.sql = format!("SELECT ''::bytea, key, row FROM {} WHERE true", names.rows);
        "key"
    };
    walk.and(&format!(" AND {key} >= "), &[&range.from]);
    if !range.to.is_empty() {
        walk.and(&format!(" AND {key} < "), &[&range.to]);
    }
    let place = if range.index.is_some() { "(e.index_key, e.key)" } else { "(key)" };
    if let Some(after) = &after {
        let both: [Param<'_>; 2] = [&after.index_key, &after.key];
        walk.and(&format!(" AND {place} {behind} "), if range.index.is_some() { &both } else { &both[1..] });
    }
    let columns = place.trim_matches(['(', ')']).replace(", ", &format!(" {order}, "));
    walk.and(&format!(" ORDER BY {columns} {order} LIMIT "), &[&limit]);
    let rows = of_a_view(readers.query(&range.view, &walk.sql, &walk.params).await)?;
    let entry = |row: &Row| {
        let (index_key, key): (&[u8], &[u8]) = (row.get(0), row.get(1));
        Entry { at: Place::write(index_key, key), key: key.to_vec(), row: bytes(row, 2) }
    };
    Ok(rows.iter().map(entry).collect())
}

/// A statement as it grows. There are about a dozen of them for each index, so their prepared forms are worth keeping.
struct Walk<'a> {
    sql: String,
    params: Vec<Param<'a>>,
}

impl<'a> Walk<'a> {
    /// Adds words and the values behind them: one as `$n`, several as `($n, $m)`.
    fn and(&mut self, words: &str, values: &[Param<'a>]) {
        self.sql.push_str(words);
        let first = self.params.len() + 1;
        let numbers: Vec<String> = (first..first + values.len()).map(|number| format!("${number}")).collect();
        let _ = write!(self.sql, "({})", numbers.join(", "));
        self.params.extend(values);
    }
}

fn bytes(row: &Row, column: usize) -> Bytes {
    let Text(text) = row.get(column);
    Bytes::copy_from_slice(text)
}
