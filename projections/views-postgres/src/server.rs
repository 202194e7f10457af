//! Connections to the server, each call with a deadline of our own.

use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Timeouts};
use tokio::time::timeout;
use tokio_postgres::{Config, NoTls, Row, config::SslMode, types::ToSql};

use crate::{
    Limits,
    error::{Error, Trouble},
};

/// How a session differs from the server's defaults, whatever those are.
///
/// - A commit sees what others committed while it waited for a view's lock.
/// - Commits are not synced at once: the log can fold them again.
/// - Every query of ours walks an index. A plan that was made while a view was small would otherwise go on reading all of
///   it until the statistics are renewed.
const SESSION: &str = "
    SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;
    SET synchronous_commit = off;
    SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
    SET jit = off; SET client_min_messages = warning;
";

/// How often a read is asked again on another connection, when its own turns out to be broken: a restarted server has
/// broken all of them.
const READ_TRIES: usize = 3;

/// A parameter of a statement.
pub type Param<'a> = &'a (dyn ToSql + Sync);

/// A bounded number of connections to the server.
#[derive(Debug, Clone)]
pub struct Server {
    pool: Pool,
    connect_max: Duration,
    answer_max: Duration,
}

/// Reads a URL, or the `key=value` form.
pub fn config(url: &str, limits: &Limits) -> Result<Config, Error> {
    let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Error::Url(cause)
    })?;
    if matches!(config.get_ssl_mode(), SslMode::Require) {
        return Err(Error::Url("sslmode=require, but connections are not encrypted".to_owned()));
    }
    config.ssl_mode(SslMode::Disable);
    config.connect_timeout(limits.connect_max);
    if config.get_application_name().is_none() {
        config.application_name("cartulary");
    }
    Ok(config)
}

impl Server {
    /// At most `size` connections, none of them made yet; the server, too, gives up a statement after `answer_max`.
    pub fn new(config: Config, size: usize, answer_max: Duration, limits: &Limits) -> Result<Self, Error> {
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let session = format!("{SESSION} SET statement_timeout = {};", answer_max.as_millis().max(1));
        let settle = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let session = session.clone();
            Box::pin(async move { client.batch_execute(&session).await.map_err(HookError::Backend) })
        });
        let builder =
            Pool::builder(Manager::from_config(config, NoTls, fast)).max_size(size.max(1)).post_create(settle);
        let pool = builder.timeouts(Timeouts::default()).build();
        let pool = pool.map_err(|error| Trouble::Unreachable(error.to_string()))?;
        Ok(Self { pool, connect_max: limits.connect_max, answer_max })
    }

    /// A connection, from the pool or new.
    pub async fn client(&self) -> Result<Object, Trouble> {
        match timeout(self.connect_max, self.pool.get()).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(deadpool_postgres::PoolError::Backend(error))) => {
                Err(Trouble::Unreachable(Trouble::Postgres(error).to_string()))
            }
            Ok(Err(error)) => Err(Trouble::Unreachable(error.to_string())),
            Err(_elapsed) => Err(Trouble::Unreachable(format!("none within {:?}", self.connect_max))),
        }
    }

    /// The rows of a query that changes nothing. Asked again where a connection was broken.
    pub async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Trouble> {
        for _ in 1..READ_TRIES {
            match self.call(self.client().await?, sql, params).await {
                Err(Trouble::Postgres(error)) if error.as_db_error().is_none() => {}
                answered => return answered,
            }
        }
        self.call(self.client().await?, sql, params).await
    }

    /// One statement on this connection. Afterwards the connection is in the pool again, or of no more use and gone.
    async fn call(&self, client: Object, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Trouble> {
        let ask = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, params).await
        };
        let answered = match timeout(self.answer_max, ask).await {
            Ok(answered) => answered.map_err(Trouble::Postgres),
            Err(_elapsed) => Err(Trouble::Late(self.answer_max)),
        };
        if answered.as_ref().is_err_and(Trouble::is_disconnected) {
            drop(Object::take(client));
        }
        answered
    }
}
