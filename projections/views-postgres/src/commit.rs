//! Writing: commits of several views in one transaction, and dropping a view.

use std::collections::{BTreeMap, BTreeSet};

use ports::{
    store::Position,
    views::{Error, RowChange, ViewCommit},
};
use ports_postgres::{Client, Transaction, Trouble};

use crate::{names::Names, schema, wire::Text};

/// Why a commit was not made, or may have been.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Its fault, or the view's.
    #[error(transparent)]
    Port(#[from] Error),
    /// The server's.
    #[error(transparent)]
    Server(#[from] Trouble),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error.into())
    }
}

/// [`ports::views::ViewStore::commit`].
pub async fn commit(client: &mut Client, commits: &[ViewCommit], rows_max: usize) -> Result<(), Failure> {
    let views: BTreeSet<&str> = commits.iter().map(|commit| commit.view.as_str()).collect();
    let names: BTreeMap<&str, Names> =
        views.iter().map(|view| Names::of(view).map(|names| (*view, names))).collect::<Result<_, _>>()?;
    let transaction = client.transaction().await?;
    let mut positions = lock(&transaction, &names).await?;
    for commit in commits {
        let stands = positions.entry(commit.view.as_str()).or_default();
        if *stands != commit.from {
            let (view, expected, actual) = (commit.view.clone(), commit.from, *stands);
            return Err(Error::Moved { view, expected, actual }.into());
        }
        *stands = commit.to;
        if let Some(names) = names.get(commit.view.as_str()) {
            for changes in commit.changes.chunks(rows_max.max(1)) {
                write(&transaction, names, changes).await?;
            }
        }
    }
    let (views, positions): (Vec<&str>, Vec<i64>) =
        positions.into_iter().map(|(view, position)| (view, position.0.cast_signed())).unzip();
    let moved = "UPDATE cartulary_views.views v SET position = m.position \
                 FROM unnest($1::text[], $2::bigint[]) AS m(name, position) WHERE v.name = m.name";
    transaction.execute(&transaction.prepare_cached(moved).await?, &[&views, &positions]).await?;
    Ok(transaction.commit().await?)
}

/// Where the views stand, locked until the transaction ends; each made at the start of the log if there is none. Always in
/// the order of their names, so that two commits wait for each other in one direction only.
async fn lock<'a>(
    transaction: &Transaction<'_>,
    names: &BTreeMap<&'a str, Names>,
) -> Result<BTreeMap<&'a str, Position>, Failure> {
    let find = "SELECT name, position FROM cartulary_views.views WHERE name = ANY($1) ORDER BY name FOR UPDATE";
    let find = transaction.prepare_cached(find).await?;
    let views: Vec<&str> = names.keys().copied().collect();
    let mut found = transaction.query(&find, &[&views]).await?;
    if found.len() < views.len() {
        let there: BTreeSet<String> = found.iter().map(|row| row.get(0)).collect();
        for (view, names) in names.iter().filter(|(view, _)| !there.contains(**view)) {
            // Waits for whoever makes it at the same time.
            let add = "INSERT INTO cartulary_views.views(name, position) VALUES ($1, 0) ON CONFLICT DO NOTHING";
            if transaction.execute(add, &[view]).await? == 1 {
                schema::make(transaction, names).await?;
            }
        }
        found = transaction.query(&find, &[&views]).await?;
    }
    let stands = |row: &tokio_postgres::Row| {
        let name: &str = row.get(0);
        let view = *names.get_key_value(name)?.0;
        Some((view, Position(row.get::<_, i64>(1).cast_unsigned())))
    };
    Ok(found.iter().filter_map(stands).collect())
}

/// Index entries as the statements take them: an array for each column.
#[derive(Default)]
struct Entries<'a> {
    indexes: Vec<&'a str>,
    index_keys: Vec<&'a [u8]>,
    keys: Vec<&'a [u8]>,
}

impl<'a> Entries<'a> {
    fn of(changes: &'a [RowChange], which: impl Fn(&'a RowChange) -> &'a [(&'static str, Vec<u8>)]) -> Self {
        let mut entries = Self::default();
        for change in changes {
            for (index, index_key) in which(change) {
                entries.indexes.push(index);
                entries.index_keys.push(index_key);
                entries.keys.push(&change.key);
            }
        }
        entries
    }

    async fn run(&self, transaction: &Transaction<'_>, sql: &str) -> Result<(), Failure> {
        if !self.keys.is_empty() {
            let statement = transaction.prepare_cached(sql).await?;
            transaction.execute(&statement, &[&self.indexes, &self.index_keys, &self.keys]).await?;
        }
        Ok(())
    }
}

/// Changes rows and their entries, a statement for each kind of change.
async fn write(transaction: &Transaction<'_>, names: &Names, changes: &[RowChange]) -> Result<(), Failure> {
    let Names { rows, entries, .. } = names;
    let unindex = format!(
        "DELETE FROM {entries} e USING unnest($1::text[], $2::bytea[], $3::bytea[]) AS c(index, index_key, key) \
         WHERE e.index = c.index AND e.index_key = c.index_key AND e.key = c.key"
    );
    Entries::of(changes, |change| &change.unindex).run(transaction, &unindex).await?;
    let index = format!(
        "INSERT INTO {entries}(index, index_key, key) SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[]) \
         ON CONFLICT DO NOTHING"
    );
    Entries::of(changes, |change| &change.index).run(transaction, &index).await?;
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

/// [`ports::views::ViewStore::drop_view`]: its tables go as they are, nothing is deleted row by row.
pub async fn drop_view(client: &mut Client, view: &str) -> Result<(), Failure> {
    let names = Names::of(view)?;
    let transaction = client.transaction().await?;
    transaction.execute("DELETE FROM cartulary_views.views WHERE name = $1", &[&view]).await?;
    schema::remove(&transaction, &names).await?;
    Ok(transaction.commit().await?)
}
