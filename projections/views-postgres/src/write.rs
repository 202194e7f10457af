//! Writing the rows of one view and their index entries, a statement for each kind of change.
//!
//! Rows that are new, as nearly all are when a view is folded from nothing, go in by `COPY`: the server neither looks
//! for a row that might be there nor plans anything. It costs some more round trips, so a few rows go the other way.

use ports::views::RowChange;
use ports_postgres::{Transaction, Trouble};
use tokio::pin;
use tokio_postgres::{
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};

use crate::{names::Names, wire::Text};

/// Writes changes. If at least `copy_rows_min` of the rows are said to be new, those go in by `COPY`, which fails with
/// a unique violation if one is not.
pub async fn write(
    transaction: &Transaction<'_>,
    names: &Names,
    changes: &[RowChange],
    copy_rows_min: usize,
) -> Result<(), Trouble> {
    let is_new = |change: &&RowChange| change.new && change.row.is_some() && change.unindex.is_empty();
    let (new, changed): (Vec<&RowChange>, Vec<&RowChange>) = changes.iter().partition(is_new);
    if new.len() < copy_rows_min.max(1) {
        return change(transaction, names, &changes.iter().collect::<Vec<_>>()).await;
    }
    change(transaction, names, &changed).await?;
    let rows = new.iter().filter_map(|change| Some((change.key.as_slice(), Text(change.row.as_deref()?))));
    copy(transaction, &names.rows, &[Type::BYTEA, Type::TEXT], rows.collect(), |(key, row)| [key, row]).await?;
    let entries = entries(&new, |change| &change.index).collect();
    let types = [Type::TEXT, Type::BYTEA, Type::BYTEA];
    copy(transaction, &names.entries, &types, entries, |(index, index_key, key)| [index, index_key, key]).await
}

/// Loads rows into a table as they are.
async fn copy<R: Sync, const N: usize>(
    transaction: &Transaction<'_>,
    table: &str,
    types: &[Type; N],
    rows: Vec<R>,
    columns: impl Fn(&R) -> [&(dyn ToSql + Sync); N],
) -> Result<(), Trouble> {
    let statement = transaction.prepare_cached(&format!("COPY {table} FROM STDIN (FORMAT binary)")).await?;
    let writer = BinaryCopyInWriter::new(transaction.copy_in(&statement).await?, types);
    pin!(writer);
    for row in &rows {
        writer.as_mut().write(&columns(row)).await?;
    }
    writer.finish().await?;
    Ok(())
}

/// Changes rows and their entries, whatever was there.
async fn change(transaction: &Transaction<'_>, names: &Names, changes: &[&RowChange]) -> Result<(), Trouble> {
    let Names { rows, entries: table, .. } = names;
    let unindex = format!(
        "DELETE FROM {table} e USING unnest($1::text[], $2::bytea[], $3::bytea[]) AS c(index, index_key, key) \
         WHERE e.index = c.index AND e.index_key = c.index_key AND e.key = c.key"
    );
    Entries::of(entries(changes, |change| &change.unindex)).run(transaction, &unindex).await?;
    let index = format!(
        "INSERT INTO {table}(index, index_key, key) SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[]) \
         ON CONFLICT DO NOTHING"
    );
    Entries::of(entries(changes, |change| &change.index)).run(transaction, &index).await?;
    let (put, remove): (Vec<&RowChange>, Vec<&RowChange>) = changes.iter().partition(|change| change.row.is_some());
    if !put.is_empty() {
        let keys: Vec<&[u8]> = put.iter().map(|change| change.key.as_slice()).collect();
        let texts: Vec<Text<'_>> = put.iter().filter_map(|change| change.row.as_deref()).map(Text).collect();
        let sql = format!(
            "INSERT INTO {rows}(key, row) SELECT * FROM unnest($1::bytea[], $2::text[]) \
             ON CONFLICT (key) DO UPDATE SET row = excluded.row"
        );
        transaction.execute(&transaction.prepare_cached(&sql).await?, &[&keys, &texts]).await?;
    }
    if !remove.is_empty() {
        let keys: Vec<&[u8]> = remove.iter().map(|change| change.key.as_slice()).collect();
        let sql = format!("DELETE FROM {rows} WHERE key = ANY($1)");
        transaction.execute(&transaction.prepare_cached(&sql).await?, &[&keys]).await?;
    }
    Ok(())
}

/// Index entries as the statements take them: an array for each column.
#[derive(Default)]
struct Entries<'a> {
    indexes: Vec<&'a str>,
    index_keys: Vec<&'a [u8]>,
    keys: Vec<&'a [u8]>,
}

/// An index entry: index, index key, the row's key.
type Entry<'a> = (&'a str, &'a [u8], &'a [u8]);

impl<'a> Entries<'a> {
    fn of(entries: impl Iterator<Item = Entry<'a>>) -> Self {
        let mut columns = Self::default();
        for (index, index_key, key) in entries {
            columns.indexes.push(index);
            columns.index_keys.push(index_key);
            columns.keys.push(key);
        }
        columns
    }

    async fn run(&self, transaction: &Transaction<'_>, sql: &str) -> Result<(), Trouble> {
        if !self.keys.is_empty() {
            let statement = transaction.prepare_cached(sql).await?;
            transaction.execute(&statement, &[&self.indexes, &self.index_keys, &self.keys]).await?;
        }
        Ok(())
    }
}

/// The entries of these changes; `which` are those that come, or those that go.
fn entries<'a>(
    changes: &[&'a RowChange],
    which: impl Fn(&'a RowChange) -> &'a [(&'static str, Vec<u8>)],
) -> impl Iterator<Item = Entry<'a>> {
    let of = move |change: &&'a RowChange| {
        let key = change.key.as_slice();
        which(change).iter().map(move |(index, index_key)| (*index, index_key.as_slice(), key))
    };
    changes.iter().flat_map(of).collect::<Vec<_>>().into_iter()
}
