//! Opening what keeps the shop: log, keys and rows, each on the engine that the configuration chose.

use std::sync::Arc;

use bus_nats::Nats;
use commands::relay::Relay;
use ports::{
    clock::Clock,
    keys::Keys,
    store::{self, EventStore},
    views::ViewStore,
};
use store_eventstoredb::EventStoreDb;
use store_postgres::{PostgresKeys, PostgresStore};
use store_sqlite::{SqliteKeys, SqliteStore};
use tokio::task::JoinError;
use views_postgres::PostgresViews;
use views_sqlite::SqliteViews;

use crate::config::{Bus, Config, KeyEngine, LogEngine, ViewEngine};

/// Why an engine does not open.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The embedded log or keys do not open.
    #[error("the log or the keys in the folder do not open")]
    Sqlite(#[from] store_sqlite::Error),
    /// The embedded views do not open.
    #[error("the views in the folder do not open")]
    SqliteViews(#[from] views_sqlite::Error),
    /// The log, the keys or the views on PostgreSQL do not open.
    #[error("PostgreSQL cannot be used")]
    Postgres(#[from] store_postgres::Error),
    /// The EventStoreDB server cannot be named like that.
    #[error("the EventStoreDB server cannot be used")]
    EventStoreDb(#[from] store_eventstoredb::Invalid),
    /// NATS cannot be used.
    #[error("NATS cannot be used")]
    Nats(#[from] bus_nats::Error),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Log(#[from] store::Error),
    /// The thread that opened files has panicked.
    #[error("opening the files failed")]
    Opening(#[from] JoinError),
}

/// The engines, opened.
pub(super) struct Engines {
    pub(super) log: Arc<dyn EventStore>,
    pub(super) keys: Arc<dyn Keys>,
    pub(super) rows: Arc<dyn ViewStore>,
}

impl Engines {
    pub(super) async fn open(config: &Config, clock: &Arc<dyn Clock>) -> Result<Self, Error> {
        Ok(Self { log: log(config, clock).await?, keys: keys(config).await?, rows: rows(config).await? })
    }
}

/// Opens the log.
///
/// # Errors
/// [`Error`] when its engine cannot be reached or used.
pub async fn log(config: &Config, clock: &Arc<dyn Clock>) -> Result<Arc<dyn EventStore>, Error> {
    let clock = Arc::clone(clock);
    Ok(match config.engines.log {
        LogEngine::Sqlite => {
            let (data, limits) = (config.data.clone(), config.sqlite.log.clone());
            Arc::new(blocking(move || SqliteStore::open(&data, clock, &limits)).await?)
        }
        LogEngine::Postgres => {
            Arc::new(PostgresStore::connect(config.postgres.server(), clock, &config.postgres.log).await?)
        }
        LogEngine::EventStoreDb => {
            let store = EventStoreDb::new(config.eventstoredb.url(), config.eventstoredb.limits.clone())?;
            // It connects when it is first asked something: better now than at the first order.
            store.head().await?;
            Arc::new(store)
        }
    })
}

/// Opens the members' keys.
///
/// # Errors
/// [`Error`] when their engine cannot be reached or used.
pub async fn keys(config: &Config) -> Result<Arc<dyn Keys>, Error> {
    Ok(match config.engines.keys {
        KeyEngine::Sqlite => {
            let (data, limits) = (config.data.clone(), config.sqlite.log.clone());
            Arc::new(blocking(move || SqliteKeys::open(&data, &limits)).await?)
        }
        KeyEngine::Postgres => Arc::new(PostgresKeys::connect(config.postgres.server(), &config.postgres.log).await?),
    })
}

/// Opens the views' rows.
///
/// # Errors
/// [`Error`] when their engine cannot be reached or used.
pub async fn rows(config: &Config) -> Result<Arc<dyn ViewStore>, Error> {
    Ok(match config.engines.views {
        ViewEngine::Sqlite => {
            let (data, limits) = (config.data.clone(), config.sqlite.views.clone());
            Arc::new(blocking(move || SqliteViews::open(&data, &limits)).await?)
        }
        ViewEngine::Postgres => {
            let (server, replicas) = (config.postgres.server(), config.postgres.followers());
            Arc::new(PostgresViews::with_replicas(server, &replicas, &config.postgres.views).await?)
        }
    })
}

/// The connection to where events go out, if they do; that need not be there yet.
///
/// # Errors
/// [`Error`] when its settings cannot be used.
pub async fn bus(config: &Config) -> Result<Option<Nats>, Error> {
    Ok(match config.engines.bus {
        Bus::None => None,
        Bus::Nats => Some(Nats::connect(config.nats.settings(), config.nats.limits.clone()).await?),
    })
}

/// The relay from the log to the bus.
///
/// # Errors
/// [`Error`] when its place cannot be read.
pub async fn relay(config: &Config, log: &Arc<dyn EventStore>, nats: &Nats) -> Result<Relay, Error> {
    let source = format!("/{}", config.nats.outlet.prefix);
    let (log, bus) = (Arc::clone(log), Arc::new(nats.clone()));
    Ok(Relay::open(log, bus, "nats", &source, config.relay.clone()).await?)
}

/// Opening a file waits for the disk, perhaps for the repair of what a crash left.
async fn blocking<T, E>(open: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Error>
where
    T: Send + 'static,
    E: Send + 'static,
    Error: From<E>,
{
    Ok(tokio::task::spawn_blocking(open).await??)
}
