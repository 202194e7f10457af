//! Connections to the server, each call with a deadline of our own.

use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Timeouts};
use tokio::time::timeout;
use tokio_postgres::{NoTls, Row, types::ToSql};

use crate::{
    Address,
    error::{Error, Trouble},
};

/// How every session of ours differs from the server's defaults, whatever those are.
///
/// - A statement that waited for a lock sees what others committed meanwhile.
/// - Every query of ours walks an index. A plan that was made while a table was small would otherwise go on reading all of
///   it until the statistics are renewed.
const SESSION: &str = "
    SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;
    SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off;
";

/// How often a read is asked again on another connection, when its own turns out to be broken: a restarted server has
/// broken all of them.
const READ_TRIES: usize = 3;

/// A parameter of a statement.
pub type Param<'a> = &'a (dyn ToSql + Sync);

/// What the connections of a pool are like.
#[derive(Debug, Clone, Copy)]
pub struct Sessions {
    /// How many there are at most; further callers wait.
    pub size: usize,
    /// How long making one, or waiting for a free one, may take.
    pub connect_max: Duration,
    /// How long an answer may take.
    pub answer_max: Duration,
    /// How long the server may work at a statement before it gives up by itself.
    pub statement_max: Duration,
    /// What else a session begins with.
    pub settings: &'static str,
}

/// A bounded number of connections to the server.
#[derive(Debug, Clone)]
pub struct Server {
    pool: Pool,
    connect_max: Duration,
    answer_max: Duration,
}

impl Server {
    /// Connections to a database, none of them made yet.
    ///
    /// # Errors
    /// [`Error::Url`] or [`Error::Certificates`] when they cannot be used.
    pub fn new(address: &Address, sessions: &Sessions) -> Result<Self, Error> {
        let Sessions { size, connect_max, answer_max, statement_max, settings } = *sessions;
        let session = format!("{SESSION} {settings} SET statement_timeout = {};", statement_max.as_millis().max(1));
        let settle = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let session = session.clone();
            Box::pin(async move { client.batch_execute(&session).await.map_err(HookError::Backend) })
        });
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let (mut config, tls) = address.read()?;
        config.connect_timeout(connect_max);
        if config.get_application_name().is_none() {
            config.application_name("cartulary");
        }
        let manager = match tls {
            Some(tls) => Manager::from_config(config, tls, fast),
            None => Manager::from_config(config, NoTls, fast),
        };
        let builder = Pool::builder(manager).max_size(size.max(1)).post_create(settle);
        let pool = builder.timeouts(Timeouts::default()).build();
        let pool = pool.map_err(|error| Trouble::Unreachable(error.to_string()))?;
        Ok(Self { pool, connect_max, answer_max })
    }

    /// The same connections, for a caller of another patience.
    #[must_use]
    pub fn within(&self, answer_max: Duration) -> Self {
        Self { answer_max, ..self.clone() }
    }

    /// A connection, from the pool or new.
    ///
    /// # Errors
    /// [`Trouble::Unreachable`]: nothing was asked.
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

    /// A connection that has this statement prepared: whatever fails until then has changed nothing.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn prepared(&self, sql: &str) -> Result<Object, Trouble> {
        let client = self.client().await?;
        let trouble = match timeout(self.answer_max, client.prepare_cached(sql)).await {
            Ok(Ok(_)) => return Ok(client),
            Ok(Err(error)) => Trouble::Postgres(error),
            Err(_elapsed) => Trouble::Late(self.answer_max),
        };
        trouble.retire(client);
        Err(trouble)
    }

    /// The rows of a query that changes nothing, or may be made twice. Asked again where a connection was broken.
    ///
    /// # Errors
    /// [`Trouble`].
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
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn call(&self, client: Object, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Trouble> {
        let ask = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, params).await
        };
        let answered = match timeout(self.answer_max, ask).await {
            Ok(answered) => answered.map_err(Trouble::Postgres),
            Err(_elapsed) => Err(Trouble::Late(self.answer_max)),
        };
        if let Err(trouble) = &answered {
            trouble.retire(client);
        }
        answered
    }
}
