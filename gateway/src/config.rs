//! The configuration: what was typed becomes a validated [`Config`], or one sentence that says what is wrong.
//!
//! Three layers, the later ones win: a TOML file, the environment (`CARTULARY_LIMITS__IN_FLIGHT_MAX=256`: two
//! underscores where the file has a table), and flags. Every limit of every component can be set by its own name; a
//! name that nothing has is refused wherever it stands, because a limit that was misspelt is a limit that is not set.

mod engines;
mod feeds;
mod kinds;
mod layers;
mod sections;
mod typed;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use sandbox::Behaviour;

pub use engines::{
    Address, Bus, CertificateFiles, Engines, EventStoreDb, KeyEngine, LogEngine, Nats, Outlet, Postgres, Sqlite,
    ViewEngine, Wire,
};
pub use feeds::Feed;
pub use layers::{Layers, Setting};

use crate::{limits::Limits, services::Rules};

/// Where a gateway listens unless it is told otherwise.
pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 50_051);
/// The folder of everything that lasts, unless it is told otherwise.
pub const DATA: &str = "data";

/// A validated configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The folder of everything that lasts: log, snapshots, keys, views, the signing key.
    pub data: PathBuf,
    /// Whether this process serves the API; one that does neither this nor decide answers about its health only.
    pub gateway: bool,
    /// Whether this process decides what changes something. A gateway that does not forwards it to nodes that do.
    pub commands: bool,
    /// Whether this process folds the views.
    pub projections: bool,
    /// Whether this process runs the order processes.
    pub processes: bool,
    /// Whether this process relays events to the bus, if there is one. Of several that do, one is heard.
    pub relays: bool,
    /// Who decides, where this process does not.
    pub command_nodes: CommandNodes,
    /// The door's limits.
    pub limits: Limits,
    /// What the services decide for themselves.
    pub shop: Rules,
    /// The command desk's limits.
    pub desk: commands::desk::Limits,
    /// The process runner's limits.
    pub runner: commands::runner::Limits,
    /// Which engine keeps what.
    pub engines: Engines,
    /// The embedded engine's limits.
    pub sqlite: Sqlite,
    /// The PostgreSQL server, if there is one.
    pub postgres: Postgres,
    /// The EventStoreDB server, if there is one.
    pub eventstoredb: EventStoreDb,
    /// The NATS server, if there is one.
    pub nats: Nats,
    /// The EventStoreDB protocol, served from the log.
    pub wire: Wire,
    /// The relay's limits.
    pub relay: commands::relay::Limits,
    /// The projection engine's limits.
    pub engine: projections::engine::Limits,
    /// How the sandbox's payment provider behaves.
    pub payments: Behaviour,
    /// How the sandbox's carrier behaves.
    pub carrier: Behaviour,
}

impl Config {
    /// The defaults, with everything that lasts under `data`.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            listen: LISTEN,
            data: data.into(),
            gateway: true,
            commands: true,
            command_nodes: CommandNodes::default(),
            projections: true,
            processes: true,
            relays: true,
            limits: Limits::default(),
            shop: Rules::default(),
            desk: commands::desk::Limits::default(),
            runner: commands::runner::Limits::default(),
            engines: Engines::EMBEDDED,
            sqlite: Sqlite::default(),
            postgres: Postgres::default(),
            eventstoredb: EventStoreDb::default(),
            nats: Nats::default(),
            wire: Wire::default(),
            relay: commands::relay::Limits::default(),
            engine: projections::engine::Limits::default(),
            payments: Behaviour::calm(0),
            carrier: Behaviour::calm(0),
        }
    }

    /// The key that signs tokens.
    #[must_use]
    pub fn signing_key(&self) -> PathBuf {
        signing_key(&self.data)
    }
}

/// The processes that decide for a gateway.
#[derive(Debug, Clone, Default)]
pub struct CommandNodes {
    /// Where they listen: `http://10.0.0.1:50051`. Every gateway of a shop names the same ones in the same words.
    pub urls: Vec<tonic::transport::Uri>,
    /// The bounds of what is asked of them.
    pub limits: crate::server::forward::Limits,
}

/// The key that signs tokens, in a shop's folder.
#[must_use]
pub fn signing_key(data: &Path) -> PathBuf {
    data.join("signing.pem")
}

/// Why a configuration is not one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something in a layer is not what it must be.
    #[error("{origin}: {why}")]
    Layer {
        /// Which layer.
        origin: String,
        /// What is wrong with it.
        why: String,
    },
    /// A value is outside its bounds.
    #[error("{key} {why}")]
    Value {
        /// The setting, e.g. `limits.drain`.
        key: String,
        /// What is wrong with it.
        why: String,
    },
}
