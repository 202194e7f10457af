//! Which engine keeps what, and how to reach it.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use toml::Value;

use super::Feed;

/// What keeps the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogEngine {
    /// A file in the shop's folder; one process writes it.
    Sqlite,
    /// A PostgreSQL server; any number of processes write it.
    Postgres,
    /// An EventStoreDB or KurrentDB server; any number of processes write it.
    #[serde(rename = "eventstoredb")]
    EventStoreDb,
}

/// What keeps the views' rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewEngine {
    /// A file in the shop's folder.
    Sqlite,
    /// A PostgreSQL server; any number of processes read it.
    Postgres,
}

/// What keeps the members' keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyEngine {
    /// A file in the shop's folder.
    Sqlite,
    /// The PostgreSQL server.
    Postgres,
}

/// Where events go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bus {
    /// Nowhere.
    None,
    /// Streams of a NATS server.
    Nats,
}

/// A server that may be asked to keep something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Postgres,
    EventStoreDb,
    Nats,
}

/// Which engine keeps what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engines {
    /// The log.
    pub log: LogEngine,
    /// The views' rows.
    pub views: ViewEngine,
    /// The members' keys.
    pub keys: KeyEngine,
    /// The outlet.
    pub bus: Bus,
}

impl Engines {
    /// Everything inside the process.
    pub const EMBEDDED: Self =
        Self { log: LogEngine::Sqlite, views: ViewEngine::Sqlite, keys: KeyEngine::Sqlite, bus: Bus::None };

    /// Which setting, if any, asks for a server.
    pub(super) fn uses(self, server: Server) -> Option<&'static str> {
        let wishes = [
            (self.log == LogEngine::Postgres, Server::Postgres, "engines.log"),
            (self.keys == KeyEngine::Postgres, Server::Postgres, "engines.keys"),
            (self.views == ViewEngine::Postgres, Server::Postgres, "engines.views"),
            (self.log == LogEngine::EventStoreDb, Server::EventStoreDb, "engines.log"),
            (self.bus == Bus::Nats, Server::Nats, "engines.bus"),
        ];
        wishes.into_iter().find_map(|(uses, of, setting)| (uses && of == server).then_some(setting))
    }
}

/// The embedded engine's limits.
#[derive(Debug, Clone, Default)]
pub struct Sqlite {
    /// As the event store and the keys.
    pub log: store_sqlite::Limits,
    /// As the view store.
    pub views: views_sqlite::Limits,
}

/// A PostgreSQL server.
#[derive(Debug, Clone, Default)]
pub struct Postgres {
    /// How to reach it.
    pub address: Option<Address>,
    /// Who vouches for it, if that is to be proved by somebody else than those whom the system trusts.
    pub root_certificate_file: Option<PathBuf>,
    /// Servers that follow it, for queries of views.
    pub replicas: Vec<Address>,
    /// As the event store.
    pub log: store_postgres::Limits,
    /// As the view store.
    pub views: views_postgres::Limits,
}

impl Postgres {
    /// How to reach it; a configuration that is valid has it wherever the server is asked for.
    #[must_use]
    pub fn url(&self) -> &str {
        self.address.as_ref().map_or("", Address::url)
    }

    /// The same, with what its connections are to prove.
    #[must_use]
    pub fn server(&self) -> store_postgres::Address {
        self.trusted(self.url())
    }

    /// The same of those that follow it.
    #[must_use]
    pub fn followers(&self) -> Vec<store_postgres::Address> {
        self.replicas.iter().map(|replica| self.trusted(replica.url())).collect()
    }

    fn trusted(&self, url: &str) -> store_postgres::Address {
        store_postgres::Address::from(url).trusting(self.root_certificate_file.as_deref())
    }
}

/// An EventStoreDB or KurrentDB server.
#[derive(Debug, Clone, Default)]
pub struct EventStoreDb {
    /// How to reach it, `esdb://user:password@host:port?tls=false`.
    pub address: Option<Address>,
    /// The bounds of what is asked of it.
    pub limits: store_eventstoredb::Limits,
}

impl EventStoreDb {
    /// How to reach it; a configuration that is valid has it wherever the server is asked for.
    #[must_use]
    pub fn url(&self) -> &str {
        self.address.as_ref().map_or("", Address::url)
    }
}

/// The EventStoreDB protocol, served from the log.
#[derive(Debug, Clone, Default)]
pub struct Wire {
    /// Where to listen, if it is served at all; port 0 takes any free one.
    pub listen: Option<SocketAddr>,
    /// Under which host and port clients find it, where that is another than where it listens: they are told when they
    /// discover a cluster.
    pub advertised: Option<(String, u16)>,
    /// What encrypts it; without, it is plain.
    pub certificate: Option<CertificateFiles>,
    /// Its bounds.
    pub limits: esdb_wire::Limits,
}

/// How a server proves who it is, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the server's own certificate first.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A NATS server.
#[derive(Debug, Clone, Default)]
pub struct Nats {
    /// How to reach it: one server, or several of one cluster with commas between.
    pub address: Option<Address>,
    /// What proves to it who we are, if it wants that: a credentials file, as `nsc` writes it.
    pub credentials_file: Option<PathBuf>,
    /// Who vouches for it, beside those whom the system trusts.
    pub root_certificate_file: Option<PathBuf>,
    /// What is to be there.
    pub outlet: Outlet,
    /// What partners publish, by the feed's name.
    pub feeds: BTreeMap<String, Feed>,
    /// The bounds of what is asked of it.
    pub limits: bus_nats::Limits,
}

/// What is to be at a NATS server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlet {
    /// The first word of every subject and stream: shops with different words share a server.
    pub prefix: String,
    /// Copies of every message in a cluster: 1, 3 or 5.
    pub replicas: usize,
    /// After which time events leave their stream; nothing means never.
    pub keeps: Option<Duration>,
    /// The largest size of the event stream, in bytes; nothing: as large as the server allows.
    pub bytes_max: Option<u64>,
}

impl Default for Outlet {
    fn default() -> Self {
        let bus_nats::Settings { prefix, replicas, keeps, bytes_max, .. } = bus_nats::Settings::new("");
        Self { prefix, replicas, keeps, bytes_max }
    }
}

impl Nats {
    /// What the bus is told.
    #[must_use]
    pub fn settings(&self) -> bus_nats::Settings {
        let Outlet { prefix, replicas, keeps, bytes_max } = self.outlet.clone();
        let servers = self.address.iter().flat_map(|address| address.url().split(','));
        let servers = servers.map(|server| server.trim().to_owned()).collect();
        let (credentials_file, root_certificate_file) =
            (self.credentials_file.clone(), self.root_certificate_file.clone());
        bus_nats::Settings { servers, credentials_file, root_certificate_file, prefix, replicas, keeps, bytes_max }
    }
}

/// The address of a server. It may hold a password, so it is never printed whole.
#[derive(Clone)]
pub struct Address {
    url: String,
    file: Option<PathBuf>,
}

impl Address {
    /// An address as it was typed.
    #[must_use]
    pub const fn typed(url: String) -> Self {
        Self { url, file: None }
    }

    /// Reads it from a file, as secrets are handed to containers; white space around it is nobody's intention.
    pub(super) fn from_file(file: PathBuf) -> io::Result<Self> {
        let url = fs::read_to_string(&file)?.trim().to_owned();
        Ok(Self { url, file: Some(file) })
    }

    /// The whole address, for the one who connects.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The file that it is from, if it is from one.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The setting as it is shown: the file it is from, or the address without its password.
    pub(super) fn shown(&self, server: &str) -> (String, Value) {
        match &self.file {
            Some(file) => (format!("{server}.url_file"), Value::String(file.display().to_string())),
            None => (format!("{server}.url"), Value::String(self.to_string())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `scheme://user:password@host`; a password may itself hold an `@`.
        let secret = self.url.split_once("://").and_then(|(scheme, rest)| {
            let (user, host) = rest.rsplit_once('@')?;
            Some((scheme, user.split_once(':')?.0, host))
        });
        match secret {
            Some((scheme, user, host)) => write!(f, "{scheme}://{user}:***@{host}"),
            None if self.url.contains("password") => f.write_str("***"),
            None => f.write_str(&self.url),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let shown = |url: &str| Address::typed(url.to_owned()).to_string();
        assert_eq!(shown("postgres://shop:s@cr:t@db:5432/shop"), "postgres://shop:***@db:5432/shop");
        assert_eq!(shown("postgres://shop@db/shop"), "postgres://shop@db/shop");
        assert_eq!(shown("nats://db:4222"), "nats://db:4222");
        assert_eq!(shown("host=db user=shop password=secret"), "***");
        assert_eq!(shown("postgres://db/shop?user=shop&password=secret"), "***");
        assert!(!format!("{:?}", Address::typed("a://b:secret@c".to_owned())).contains("secret"));
    }
}
