//! The one table that all views share, and the tables of each view.

use std::time::Duration;

use deadpool_postgres::{Object, Transaction};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use crate::{
    error::{Error, Trouble},
    names::Names,
};

/// Each step from one schema to the next; a step that has been released is never changed.
const STEPS: [&str; 1] = ["
    CREATE TABLE cartulary_views.views(name text COLLATE \"C\" PRIMARY KEY, position bigint NOT NULL);
    COMMENT ON TABLE cartulary_views.views IS 'How far in the log each view is folded; <view>.<version of its fold>';
"];

/// Which steps were done. Made by whoever finds no schema.
const LEDGER: &str = "
    CREATE SCHEMA cartulary_views;
    CREATE TABLE cartulary_views.migrations(version bigint PRIMARY KEY, done_at timestamptz NOT NULL DEFAULT now());
    COMMENT ON TABLE cartulary_views.migrations IS 'Which steps of the schema were done, and when';
";

/// The schema this program works with.
fn known() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Brings the schema to this program's. Needs no right to do so where it is that already.
pub async fn prepare(client: &mut Object, migrate_max: Duration) -> Result<(), Error> {
    match timeout(migrate_max, forward(client, migrate_max)).await {
        Ok(done) => done,
        Err(_elapsed) => Err(Trouble::Late(migrate_max).into()),
    }
}

async fn forward(client: &mut Object, migrate_max: Duration) -> Result<(), Error> {
    if found(client).await? == Some(known()) {
        return Ok(());
    }
    let transaction = client.transaction().await.map_err(Trouble::Postgres)?;
    // The session's own settings are meant for other statements: what is folded can be folded again after a crash of the
    // server, but nobody would make these tables again before the next start.
    let patience =
        format!("SET LOCAL statement_timeout = {}; SET LOCAL synchronous_commit = on", migrate_max.as_millis());
    transaction.batch_execute(&patience).await.map_err(Trouble::Postgres)?;
    // Processes that start together take turns; all but the first find everything done.
    transaction.batch_execute("SELECT pg_advisory_xact_lock(4846791580151137097)").await.map_err(Trouble::Postgres)?;
    let found = match found(transaction.client()).await? {
        Some(found) if found > known() => return Err(Error::Newer { found, known: known() }),
        Some(found) => found,
        None => {
            transaction.batch_execute(LEDGER).await.map_err(Trouble::Postgres)?;
            0
        }
    };
    for (version, step) in (1_i64..).zip(STEPS).filter(|(version, _)| *version > found) {
        transaction.batch_execute(step).await.map_err(Trouble::Postgres)?;
        let done = "INSERT INTO cartulary_views.migrations(version) VALUES ($1)";
        transaction.execute(done, &[&version]).await.map_err(Trouble::Postgres)?;
        tracing::info!(version, "the schema of the views was brought forward");
    }
    transaction.commit().await.map_err(Trouble::Postgres)?;
    Ok(())
}

/// The newest step that was done; `None` where there is no schema.
async fn found(client: &tokio_postgres::Client) -> Result<Option<i64>, Error> {
    let schema = "SELECT FROM pg_namespace WHERE nspname = 'cartulary_views'";
    if client.query_opt(schema, &[]).await.map_err(Trouble::Postgres)?.is_none() {
        return Ok(None);
    }
    let newest = "SELECT coalesce(max(version), 0)::bigint FROM cartulary_views.migrations";
    match client.query_one(newest, &[]).await {
        Ok(row) => Ok(Some(row.get(0))),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Err(Error::Foreign),
        Err(error) => Err(Trouble::Postgres(error).into()),
    }
}

/// Makes the tables of a view. A row is text, not jsonb, because its bytes come back as they were written.
pub async fn make(transaction: &Transaction<'_>, names: &Names) -> Result<(), Trouble> {
    let Names { rows, entries, people } = names;
    let tables = format!(
        "CREATE TABLE {rows}(key bytea PRIMARY KEY, row text NOT NULL);
         CREATE TABLE {entries}(index text COLLATE \"C\", index_key bytea, key bytea, PRIMARY KEY (index, index_key, key));
         CREATE VIEW {people} AS SELECT key, row::jsonb AS row FROM {rows};
         COMMENT ON VIEW {people} IS 'The rows of this view, for people';"
    );
    Ok(transaction.batch_execute(&tables).await?)
}

/// Removes the tables of a view, if they are there.
pub async fn remove(transaction: &Transaction<'_>, names: &Names) -> Result<(), Trouble> {
    let Names { rows, entries, people } = names;
    let tables = format!("DROP VIEW IF EXISTS {people}; DROP TABLE IF EXISTS {rows}, {entries};");
    Ok(transaction.batch_execute(&tables).await?)
}
