//! Our server of the protocol on a real socket, over a log that outlives it.

use std::sync::{Arc, OnceLock};

use esdb_wire::{Certificate, Mode, Open, Server, serve, tcp, tls};
use ports::{
    memory::{ManualClock, MemoryStore},
    store::EventStore,
};
use servers::{
    or_not_run,
    postgres::{Options, Postgres},
};
use store_postgres::PostgresStore;
use store_sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};

/// A log that outlives its server.
pub enum Log {
    Memory(MemoryStore),
    Sqlite(TempDir),
    /// A database, by its URL.
    Postgres(String),
    Other(Arc<dyn EventStore>),
}

impl Log {
    pub fn memory() -> Self {
        Self::Memory(MemoryStore::new(Arc::new(ManualClock::default())))
    }

    pub fn sqlite() -> Self {
        Self::Sqlite(TempDir::new().unwrap())
    }

    /// A database of its own on the one server of this program; nothing where there is none.
    pub fn postgres() -> Option<Self> {
        static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
        let server = SERVER.get_or_init(|| or_not_run(Postgres::start(Options::default()))).as_ref()?;
        Some(Self::Postgres(server.fresh_database().unwrap()))
    }

    async fn open(&self) -> Arc<dyn EventStore> {
        match self {
            Self::Memory(store) => Arc::new(store.clone()),
            Self::Other(store) => Arc::clone(store),
            Self::Postgres(url) => {
                let (clock, limits) = (Arc::new(ManualClock::default()), store_postgres::Limits::default());
                Arc::new(PostgresStore::connect(url.as_str(), clock, &limits).await.unwrap())
            }
            Self::Sqlite(folder) => {
                let clock = Arc::new(ManualClock::default());
                Arc::new(SqliteStore::open(folder.path(), clock, &store_sqlite::Limits::default()).unwrap())
            }
        }
    }
}

/// A server that runs.
pub struct Running {
    log: Log,
    port: u16,
    stop: oneshot::Sender<()>,
    serving: JoinSet<Result<(), esdb_wire::Error>>,
}

impl Running {
    /// Serves a log to everybody on a port; 0 takes a free one.
    pub async fn start(log: Log, port: u16) -> Self {
        Self::start_as(log, port, |_| {}).await
    }

    /// The same, but for what `change` changes.
    pub async fn start_as(log: Log, port: u16, change: impl FnOnce(&mut Server)) -> Self {
        Self::start_with(log, port, None, change).await
    }

    /// The same, encrypted if there is a certificate.
    pub async fn start_with(
        log: Log,
        port: u16,
        certificate: Option<Certificate>,
        change: impl FnOnce(&mut Server),
    ) -> Self {
        let listener = listen(port).await;
        let port = listener.local_addr().unwrap().port();
        let mut server = Server {
            store: log.open().await,
            mode: Mode::Store,
            access: Arc::new(Open),
            clock: Arc::new(ManualClock::default()),
            advertised: ("127.0.0.1".to_owned(), port),
            limits: esdb_wire::Limits::default(),
        };
        change(&mut server);
        let (stop, stopped) = oneshot::channel();
        let mut serving = JoinSet::new();
        let (listener, end) = (tcp(listener), async { drop(stopped.await) });
        match certificate {
            None => serving.spawn(serve(listener, server, end)),
            Some(certificate) => serving.spawn(serve(tls(listener, &certificate, &server.limits), server, end)),
        };
        Self { log, port, stop, serving }
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("esdb://127.0.0.1:{}?tls=false", self.port)
    }

    /// Stops in an orderly way and gives the log back, closed.
    pub async fn stop(mut self) -> Log {
        self.stop.send(()).unwrap();
        self.serving.join_next().await.unwrap().unwrap().unwrap();
        self.log
    }
}

/// A port that was just in use may take a moment to be free again.
async fn listen(port: u16) -> TcpListener {
    for _ in 0..600 {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return listener;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    TcpListener::bind(("127.0.0.1", port)).await.unwrap()
}
