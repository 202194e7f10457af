//! On which engines the shops of a test program stand.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use gateway::config::{Address, Bus, Config, Engines, KeyEngine, LogEngine, ViewEngine};
use servers::{
    nats::{self, Nats},
    postgres::{self, Postgres},
};

/// The test program whose shops stand on servers.
const ON_SERVERS: &str = "engines-";

/// One server of each kind for all shops of a program; the system ends them with the program.
static SERVERS: OnceLock<(Postgres, Nats)> = OnceLock::new();
/// How many shops there were.
static SHOPS: AtomicU32 = AtomicU32::new(0);

/// Where a shop keeps everything but its key.
pub struct Fleet {
    /// Its database.
    pub database: String,
    /// Its NATS server, and the first word of its streams there.
    pub nats: (String, String),
}

impl Fleet {
    /// A new one, if this is the program whose shops want one.
    ///
    /// # Panics
    /// When a server cannot be had and `CI` is set; elsewhere the program says that it did not run, and ends.
    #[must_use]
    pub fn new() -> Option<Self> {
        let program = std::env::current_exe().expect("a program has a path");
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(ON_SERVERS) {
            return None;
        }
        let (postgres, nats) = SERVERS.get_or_init(|| {
            let postgres = servers::or_not_run(Postgres::start(postgres::Options::default()));
            let nats = servers::or_not_run(Nats::start(nats::Options::default()));
            postgres.zip(nats).unwrap_or_else(|| std::process::exit(0))
        });
        let prefix = format!("shop-{}-{}", std::process::id(), SHOPS.fetch_add(1, Ordering::Relaxed));
        let database = postgres.fresh_database().expect("a database");
        Some(Self { database, nats: (nats.url().to_owned(), prefix) })
    }

    /// Keeps everything of a shop there.
    pub fn keep(&self, config: &mut Config) {
        config.engines = Engines {
            log: LogEngine::Postgres,
            views: ViewEngine::Postgres,
            keys: KeyEngine::Postgres,
            bus: Bus::Nats,
        };
        config.postgres.address = Some(Address::typed(self.database.clone()));
        let (url, prefix) = self.nats.clone();
        config.nats.address = Some(Address::typed(url));
        config.nats.outlet.prefix = prefix;
    }
}
