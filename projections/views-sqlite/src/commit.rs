//! Writing: commits of several views in one transaction, and dropping a view in small steps.

use std::collections::BTreeMap;

use ports::{
    store::Position,
    views::{Editions, Error, RowChange, ViewCommit},
};
use rusqlite::{
    CachedStatement, Connection, OptionalExtension, Transaction, TransactionBehavior, params,
    types::{ToSqlOutput, ValueRef},
};

/// [`ports::views::ViewStore::commit`].
pub fn commit(conn: &mut Connection, commits: &[ViewCommit], editions: &Editions) -> Result<(), Error> {
    // Nothing is remembered between transactions, so several processes may share the file.
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let mut written = Vec::with_capacity(commits.len());
    for commit in commits {
        let view = stand(&transaction, &commit.view)?;
        if view.position != commit.from || (!view.made && editions.is_replaced(&commit.view, view.id)) {
            let (expected, actual) = (commit.from, view.position);
            return Err(Error::Moved { view: commit.view.clone(), expected, actual });
        }
        write(&transaction, view.id, commit).map_err(failed)?;
        written.push((&commit.view, view.id));
    }
    transaction.commit().map_err(failed)?;
    written.into_iter().for_each(|(view, id)| editions.committed(view, id));
    Ok(())
}

/// A view as the file has it.
struct View {
    /// Never given to another: it changes when the view is replaced.
    id: i64,
    position: Position,
    /// By this transaction.
    made: bool,
}

/// The view, made at the start of the log if there is none.
fn stand(transaction: &Transaction<'_>, name: &str) -> Result<View, Error> {
    let read = || {
        let mut query = transaction.prepare_cached("SELECT id, position FROM views WHERE name = ?1")?;
        let found = query.query_row([name], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?))).optional()?;
        if let Some((id, position)) = found {
            return Ok(View { id, position: Position(position.cast_unsigned()), made: false });
        }
        transaction.execute("INSERT INTO views(name, position) VALUES (?1, 0)", [name])?;
        Ok(View { id: transaction.last_insert_rowid(), position: Position::START, made: true })
    };
    read().map_err(failed)
}

fn write(transaction: &Transaction<'_>, view: i64, commit: &ViewCommit) -> rusqlite::Result<()> {
    let mut writing = Writing::new(transaction, view)?;
    for change in &commit.changes {
        writing.change(change)?;
    }
    let position = commit.to.0.cast_signed();
    transaction.prepare_cached("UPDATE views SET position = ?2 WHERE id = ?1")?.execute([view, position])?;
    Ok(())
}

/// The statements that change one view.
struct Writing<'t> {
    view: i64,
    indexes: Indexes<'t>,
    put: CachedStatement<'t>,
    remove: CachedStatement<'t>,
    index: CachedStatement<'t>,
    unindex: CachedStatement<'t>,
}

/// The numbers of a view's indexes.
struct Indexes<'t> {
    transaction: &'t Transaction<'t>,
    known: BTreeMap<&'static str, i64>,
}

impl<'t> Writing<'t> {
    fn new(transaction: &'t Transaction<'t>, view: i64) -> rusqlite::Result<Self> {
        Ok(Self {
            view,
            indexes: Indexes { transaction, known: BTreeMap::new() },
            put: transaction.prepare_cached(
                "INSERT INTO rows(view_id, key, row) VALUES (?1, ?2, ?3) \
                 ON CONFLICT DO UPDATE SET row = excluded.row",
            )?,
            remove: transaction.prepare_cached("DELETE FROM rows WHERE view_id = ?1 AND key = ?2")?,
            index: transaction
                .prepare_cached("INSERT OR IGNORE INTO entries(index_id, index_key, key) VALUES (?1, ?2, ?3)")?,
            unindex: transaction
                .prepare_cached("DELETE FROM entries WHERE index_id = ?1 AND index_key = ?2 AND key = ?3")?,
        })
    }

    fn change(&mut self, change: &RowChange) -> rusqlite::Result<()> {
        for (index, index_key) in &change.unindex {
            let index = self.indexes.number(self.view, index)?;
            self.unindex.execute(params![index, index_key, change.key])?;
        }
        for (index, index_key) in &change.index {
            let index = self.indexes.number(self.view, index)?;
            self.index.execute(params![index, index_key, change.key])?;
        }
        match &change.row {
            // Bound as text, so that SQLite's JSON functions read it, without being checked.
            Some(row) => {
                self.put.execute(params![self.view, change.key, ToSqlOutput::Borrowed(ValueRef::Text(row))])?
            }
            None => self.remove.execute(params![self.view, change.key])?,
        };
        Ok(())
    }
}

impl Indexes<'_> {
    fn number(&mut self, view: i64, name: &'static str) -> rusqlite::Result<i64> {
        if let Some(&number) = self.known.get(name) {
            return Ok(number);
        }
        let mut add =
            self.transaction.prepare_cached("INSERT OR IGNORE INTO indexes(view_id, name) VALUES (?1, ?2)")?;
        add.execute(params![view, name])?;
        let mut find = self.transaction.prepare_cached("SELECT id FROM indexes WHERE view_id = ?1 AND name = ?2")?;
        let number = find.query_row(params![view, name], |row| row.get(0))?;
        self.known.insert(name, number);
        Ok(number)
    }
}

/// The views that are there, by name, with what changes when one is replaced.
pub fn editions(conn: &Connection) -> rusqlite::Result<Editions> {
    let mut all = conn.prepare("SELECT name, id FROM views WHERE name IS NOT NULL")?;
    let all = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Editions::of(all.collect::<rusqlite::Result<Vec<_>>>()?))
}

/// Gives the name of one view to another, which makes everything that the first one holds unreachable at once.
pub fn rename(conn: &mut Connection, view: &str, with: &str) -> Result<(), Error> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let (old, new) = (stand(&transaction, view)?, stand(&transaction, with)?);
    if new.position < old.position {
        return Err(Error::Moved { view: view.to_owned(), expected: new.position, actual: old.position });
    }
    unname(&transaction, view)?;
    transaction.execute("UPDATE views SET name = ?1 WHERE id = ?2", params![view, new.id]).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// Takes the view's name, which makes everything it holds unreachable at once.
pub fn unname(conn: &Connection, view: &str) -> Result<(), Error> {
    conn.execute("UPDATE views SET name = NULL WHERE name = ?1", [view]).map(drop).map_err(failed)
}

/// Removes up to `rows_max` rows or entries of views without a name, one left over from a crash included; true
/// when nothing is left to remove.
pub fn purge(conn: &mut Connection, rows_max: usize) -> Result<bool, Error> {
    let mut step = || {
        let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let nameless = "SELECT id FROM views WHERE name IS NULL LIMIT 1";
        let Some(view) = transaction.query_row(nameless, [], |row| row.get::<_, i64>(0)).optional()? else {
            return Ok(true);
        };
        let max = i64::try_from(rows_max.max(1)).unwrap_or(i64::MAX);
        let steps = [
            "DELETE FROM rows WHERE view_id = ?1 AND key IN (SELECT key FROM rows WHERE view_id = ?1 LIMIT ?2)",
            "DELETE FROM entries WHERE (index_id, index_key, key) IN (SELECT e.index_id, e.index_key, e.key \
             FROM indexes i CROSS JOIN entries e ON e.index_id = i.id WHERE i.view_id = ?1 LIMIT ?2)",
        ];
        for delete in steps {
            if transaction.prepare_cached(delete)?.execute([view, max])? > 0 {
                return transaction.commit().map(|()| false);
            }
        }
        transaction.execute("DELETE FROM indexes WHERE view_id = ?1", [view])?;
        transaction.execute("DELETE FROM views WHERE id = ?1", [view])?;
        transaction.commit().map(|()| false)
    };
    step().map_err(failed)
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub fn failed(error: rusqlite::Error) -> Error {
    Error::Failed(error.to_string())
}
