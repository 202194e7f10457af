//! Writing: commits of several views in one transaction, and dropping a view.

use std::collections::{BTreeMap, BTreeSet};

use ports::{
    store::Position,
    views::{Editions, Error, ViewCommit},
};
use ports_postgres::{Client, Transaction, Trouble};
use tokio_postgres::error::SqlState;

use crate::{Limits, names::Names, schema, write::write};

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

/// [`ports::views::ViewStore::commit`]; where its views stand then.
pub async fn commit<'a>(
    client: &mut Client,
    commits: &'a [ViewCommit],
    limits: &Limits,
    editions: &Editions,
) -> Result<BTreeMap<&'a str, Standing>, Failure> {
    match attempt(client, commits, editions, limits.statement_rows_max, limits.copy_rows_min).await {
        // A row was said to be new, and is not.
        Err(Failure::Server(trouble)) if trouble.is(&SqlState::UNIQUE_VIOLATION) => {
            attempt(client, commits, editions, limits.statement_rows_max, usize::MAX).await
        }
        done => done,
    }
}

async fn attempt<'a>(
    client: &mut Client,
    commits: &'a [ViewCommit],
    editions: &Editions,
    rows_max: usize,
    copy_rows_min: usize,
) -> Result<BTreeMap<&'a str, Standing>, Failure> {
    let views: BTreeSet<&str> = commits.iter().map(|commit| commit.view.as_str()).collect();
    let names: BTreeMap<&str, Names> =
        views.iter().map(|view| Names::of(view).map(|names| (*view, names))).collect::<Result<_, _>>()?;
    let transaction = client.transaction().await?;
    let mut standings = lock(&transaction, &names).await?;
    let replaced: Vec<&str> =
        standings.iter().filter(|(view, stands)| stands.is_replaced(view, editions)).map(|(view, _)| *view).collect();
    for commit in commits {
        let stands = standings.entry(commit.view.as_str()).or_default();
        if stands.position != commit.from || replaced.contains(&commit.view.as_str()) {
            let (view, expected, actual) = (commit.view.clone(), commit.from, stands.position);
            return Err(Error::Moved { view, expected, actual }.into());
        }
        stands.position = commit.to;
        if let Some(names) = names.get(commit.view.as_str()) {
            for changes in commit.changes.chunks(rows_max.max(1)) {
                write(&transaction, names, changes, copy_rows_min).await?;
            }
        }
    }
    let (views, positions): (Vec<&str>, Vec<i64>) =
        standings.iter().map(|(view, stands)| (*view, stands.position.0.cast_signed())).unzip();
    let moved = "UPDATE cartulary_views.views v SET position = m.position \
                 FROM unnest($1::text[], $2::bigint[]) AS m(name, position) WHERE v.name = m.name";
    transaction.execute(&transaction.prepare_cached(moved).await?, &[&views, &positions]).await?;
    transaction.commit().await?;
    Ok(standings)
}

/// Where a view stands.
#[derive(Default)]
pub struct Standing {
    /// Its place in the log.
    pub position: Position,
    /// Grows when it is replaced.
    pub edition: i64,
    /// By this transaction.
    made: bool,
}

impl Standing {
    fn is_replaced(&self, view: &str, editions: &Editions) -> bool {
        !self.made && editions.is_replaced(view, self.edition)
    }
}

/// Where the views stand, locked until the transaction ends; each made at the start of the log if there is none. Always in
/// the order of their names, so that two commits wait for each other in one direction only.
async fn lock<'a>(
    transaction: &Transaction<'_>,
    names: &BTreeMap<&'a str, Names>,
) -> Result<BTreeMap<&'a str, Standing>, Failure> {
    let find =
        "SELECT name, position, edition FROM cartulary_views.views WHERE name = ANY($1) ORDER BY name FOR UPDATE";
    let find = transaction.prepare_cached(find).await?;
    let views: Vec<&str> = names.keys().copied().collect();
    let mut found = transaction.query(&find, &[&views]).await?;
    let mut made: BTreeSet<&str> = BTreeSet::new();
    if found.len() < views.len() {
        let there: BTreeSet<String> = found.iter().map(|row| row.get(0)).collect();
        for (view, names) in names.iter().filter(|(view, _)| !there.contains(**view)) {
            // Waits for whoever makes it at the same time.
            let add = "INSERT INTO cartulary_views.views(name, position) VALUES ($1, 0) ON CONFLICT DO NOTHING";
            if transaction.execute(add, &[view]).await? == 1 {
                schema::make(transaction, names).await?;
                made.insert(view);
            }
        }
        found = transaction.query(&find, &[&views]).await?;
    }
    let stands = |row: &tokio_postgres::Row| {
        let name: &str = row.get(0);
        let view = *names.get_key_value(name)?.0;
        let position = Position(row.get::<_, i64>(1).cast_unsigned());
        Some((view, Standing { position, edition: row.get(2), made: made.contains(view) }))
    };
    Ok(found.iter().filter_map(stands).collect())
}

/// [`ports::views::ViewStore::replace`].
pub async fn replace(client: &mut Client, view: &str, with: &str) -> Result<(), Failure> {
    let names = BTreeMap::from([(view, Names::of(view)?), (with, Names::of(with)?)]);
    let transaction = client.transaction().await?;
    let standings = lock(&transaction, &names).await?;
    let stands = |view: &str| standings.get(view).map(|standing| standing.position).unwrap_or_default();
    if stands(with) < stands(view) {
        let (expected, actual) = (stands(with), stands(view));
        return Err(Error::Moved { view: view.to_owned(), expected, actual }.into());
    }
    schema::replace(&transaction, &names[view], &names[with]).await?;
    transaction.execute("DELETE FROM cartulary_views.views WHERE name = $1", &[&view]).await?;
    transaction.execute("UPDATE cartulary_views.views SET name = $1 WHERE name = $2", &[&view, &with]).await?;
    Ok(transaction.commit().await?)
}

/// [`ports::views::ViewStore::drop_view`]: its tables go as they are, nothing is deleted row by row.
pub async fn drop_view(client: &mut Client, view: &str) -> Result<(), Failure> {
    let names = Names::of(view)?;
    let transaction = client.transaction().await?;
    transaction.execute("DELETE FROM cartulary_views.views WHERE name = $1", &[&view]).await?;
    schema::remove(&transaction, &names).await?;
    Ok(transaction.commit().await?)
}
