//! The tables: made and brought forward at start, one step after the other, by one process at a time.

use std::time::Duration;

use deadpool_postgres::Object;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use crate::error::{Error, Trouble};

/// Each step from one schema to the next; a step that has been released is never changed.
const STEPS: [&str; 2] = [include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// Which steps were done. Made by whoever finds no schema.
const LEDGER: &str = "
    CREATE SCHEMA cartulary;
    CREATE TABLE cartulary.migrations(version bigint PRIMARY KEY, done_at timestamptz NOT NULL DEFAULT now());
    COMMENT ON TABLE cartulary.migrations IS 'Which steps of the schema were done, and when';
";

/// The schema this program works with.
fn known() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Brings the tables to this program's schema. Needs no right to do so where they have it already.
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
    // The session's own limit is meant for other statements.
    let patience = format!("SET LOCAL statement_timeout = {}", migrate_max.as_millis());
    transaction.batch_execute(&patience).await.map_err(Trouble::Postgres)?;
    // Processes that start together take turns; all but the first find everything done.
    transaction.batch_execute("SELECT pg_advisory_xact_lock(4846791580151137096)").await.map_err(Trouble::Postgres)?;
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
        let done = "INSERT INTO cartulary.migrations(version) VALUES ($1)";
        transaction.execute(done, &[&version]).await.map_err(Trouble::Postgres)?;
        tracing::info!(version, "the schema was brought forward");
    }
    transaction.commit().await.map_err(Trouble::Postgres)?;
    Ok(())
}

/// The newest step that was done; `None` where there is no schema.
async fn found(client: &tokio_postgres::Client) -> Result<Option<i64>, Error> {
    let schema = "SELECT FROM pg_namespace WHERE nspname = 'cartulary'";
    if client.query_opt(schema, &[]).await.map_err(Trouble::Postgres)?.is_none() {
        return Ok(None);
    }
    let newest = "SELECT coalesce(max(version), 0)::bigint FROM cartulary.migrations";
    match client.query_one(newest, &[]).await {
        Ok(row) => Ok(Some(row.get(0))),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Err(Error::Foreign),
        Err(error) => Err(Trouble::Postgres(error).into()),
    }
}
