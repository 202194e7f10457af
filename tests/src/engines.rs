//! On which engines the shops of a test program stand.

use std::sync::OnceLock;

use gateway::config::{Address, Config, Engines, KeyEngine, LogEngine, ViewEngine};
use servers::postgres::{Options, Postgres};

/// The test program whose shops stand on PostgreSQL.
const ON_POSTGRES: &str = "postgres-";

/// One server for all shops of a program; the system ends it with the program.
static SERVER: OnceLock<Postgres> = OnceLock::new();

/// A database for a new shop, if this is the program whose shops want one.
///
/// # Panics
/// When no server can be had and `CI` is set; elsewhere the program says that it did not run, and ends.
#[must_use]
#[expect(clippy::exit, reason = "nothing in this program can run")]
pub fn database() -> Option<String> {
    let program = std::env::current_exe().expect("a program has a path");
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    if !name.starts_with(ON_POSTGRES) {
        return None;
    }
    let server = SERVER.get_or_init(|| {
        servers::or_not_run(Postgres::start(Options::default())).unwrap_or_else(|| std::process::exit(0))
    });
    Some(server.fresh_database().expect("a database"))
}

/// Keeps everything of a shop in a database.
pub fn on_postgres(config: &mut Config, url: &str) {
    config.engines = Engines { log: LogEngine::Postgres, views: ViewEngine::Postgres, keys: KeyEngine::Postgres };
    config.postgres.address = Some(Address::typed(url.to_owned()));
}
