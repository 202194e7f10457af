//! Tables: made and brought forward at start, one step after the other, by one process at a time.

use std::time::Duration;

use deadpool_postgres::Object;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use crate::{
    Server,
    error::{Error, Trouble},
};

/// The tables of one engine, in a schema of their own.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// The schema's name, which needs no quotes.
    pub name: &'static str,
    /// Each step from one version to the next; a step that has been released is never changed.
    pub steps: &'static [&'static str],
    /// The advisory lock that those take who bring the tables forward.
    pub lock: i64,
}

impl Schema {
    /// Brings the tables to this program's version. Needs no right to do so where they are that already.
    ///
    /// # Errors
    /// [`Error`] when they are not this program's, or the server does not do it within `migrate_max`, waiting for another
    /// process that does so included.
    pub async fn prepare(&self, server: &Server, migrate_max: Duration) -> Result<(), Error> {
        let mut client = server.client().await?;
        match timeout(migrate_max, self.forward(&mut client, migrate_max)).await {
            Ok(done) => done,
            Err(_elapsed) => Err(Trouble::Late(migrate_max).into()),
        }
    }

    /// The version this program works with.
    fn known(&self) -> i64 {
        i64::try_from(self.steps.len()).unwrap_or(i64::MAX)
    }

    async fn forward(&self, client: &mut Object, migrate_max: Duration) -> Result<(), Error> {
        let Self { name, steps, lock } = self;
        let known = self.known();
        if self.found(client).await? == Some(known) {
            return Ok(());
        }
        let transaction = client.transaction().await.map_err(Trouble::Postgres)?;
        // The session's own settings are meant for other statements: rows may be lost with the server and made again, but nobody
        // makes tables before the next start. Processes that start together take turns; all but the first find everything
        // done.
        let turn = format!(
            "SET LOCAL statement_timeout = {};
             SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';
             SELECT pg_advisory_xact_lock({lock});",
            migrate_max.as_millis()
        );
        transaction.batch_execute(&turn).await.map_err(Trouble::Postgres)?;
        let found = match self.found(transaction.client()).await? {
            Some(found) if found > known => return Err(Error::Newer { schema: name, found, known }),
            Some(found) => found,
            None => {
                transaction.batch_execute(&self.ledger()).await.map_err(Trouble::Postgres)?;
                0
            }
        };
        for (version, step) in (1_i64..).zip(*steps).filter(|(version, _)| *version > found) {
            transaction.batch_execute(step).await.map_err(Trouble::Postgres)?;
            let done = format!("INSERT INTO {name}.migrations(version) VALUES ($1)");
            transaction.execute(&done, &[&version]).await.map_err(Trouble::Postgres)?;
            tracing::info!(schema = name, version, "the tables were brought forward");
        }
        transaction.commit().await.map_err(Trouble::Postgres)?;
        Ok(())
    }

    /// Which steps were done. Made by whoever finds no schema.
    fn ledger(&self) -> String {
        let name = self.name;
        format!(
            "CREATE SCHEMA {name};
             CREATE TABLE {name}.migrations(version bigint PRIMARY KEY, done_at timestamptz NOT NULL DEFAULT now());
             COMMENT ON TABLE {name}.migrations IS 'Which steps of the schema were done, and when';"
        )
    }

    /// The newest step that was done; `None` where there is no schema.
    async fn found(&self, client: &tokio_postgres::Client) -> Result<Option<i64>, Error> {
        let schema = "SELECT FROM pg_namespace WHERE nspname = $1";
        if client.query_opt(schema, &[&self.name]).await.map_err(Trouble::Postgres)?.is_none() {
            return Ok(None);
        }
        let newest = format!("SELECT coalesce(max(version), 0)::bigint FROM {}.migrations", self.name);
        match client.query_one(&newest, &[]).await {
            Ok(row) => Ok(Some(row.get(0))),
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Err(Error::Foreign(self.name)),
            Err(error) => Err(Trouble::Postgres(error).into()),
        }
    }
}
