//! What was typed: every setting by its name, each of them optional, none of them checked yet.

use std::{collections::BTreeMap, mem, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use toml::Value;
use tonic::transport::Uri;

use super::{
    CommandNodes, Config, Error,
    engines::{
        Address, Bus, CertificateFiles, Engines, EventStoreDb, KeyEngine, LogEngine, Nats, Postgres, Server, Sqlite,
        ViewEngine, Wire,
    },
    feeds::{self, TypedFeed},
    sections::*,
};

/// The sandbox's two partners.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Sandbox {
    payments: Partner,
    carrier: Partner,
}

/// The embedded engine's two parts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TypedSqlite {
    log: SqliteLog,
    views: SqliteViews,
}

/// A PostgreSQL server.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TypedPostgres {
    url: Option<String>,
    url_file: Option<PathBuf>,
    root_certificate_file: Option<PathBuf>,
    log: PostgresLog,
    views: PostgresViews,
}

/// A NATS server, or several of one cluster, with commas between.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TypedNats {
    url: Option<String>,
    url_file: Option<PathBuf>,
    credentials_file: Option<PathBuf>,
    root_certificate_file: Option<PathBuf>,
    outlet: NatsOutlet,
    feeds: BTreeMap<String, TypedFeed>,
    limits: NatsLimits,
}

/// An EventStoreDB server.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TypedEventStoreDb {
    url: Option<String>,
    url_file: Option<PathBuf>,
    limits: EventStoreDbLog,
}

/// The EventStoreDB protocol, served.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TypedWire {
    listen: Option<String>,
    advertised: Option<String>,
    certificate_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    limits: WireLimits,
}

/// Which engine keeps what.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TypedEngines {
    log: Option<LogEngine>,
    views: Option<ViewEngine>,
    keys: Option<KeyEngine>,
    bus: Option<Bus>,
}

impl TypedEngines {
    /// Keys belong beside the log: whoever can read one must be able to read the other.
    fn chosen(self, base: Engines) -> Engines {
        let log = self.log.unwrap_or(base.log);
        let keys = match log {
            LogEngine::Postgres => KeyEngine::Postgres,
            LogEngine::Sqlite | LogEngine::EventStoreDb => KeyEngine::Sqlite,
        };
        let (views, bus) = (self.views.unwrap_or(base.views), self.bus.unwrap_or(base.bus));
        Engines { log, views, keys: self.keys.unwrap_or(keys), bus }
    }
}

/// The address of a server that something of the shop is kept on.
fn address(
    server: &str,
    url: Option<String>,
    file: Option<PathBuf>,
    wanted: Option<&str>,
) -> Result<Option<Address>, Error> {
    let refuse = |what: &str, why: String| Err(Error::Value { key: format!("{server}.{what}"), why });
    let address = match (url, file) {
        (Some(_), Some(_)) => return refuse("url", "and url_file cannot both be set".to_owned()),
        (Some(url), None) => Some(Address::typed(url)),
        (None, Some(path)) => match Address::from_file(path.clone()) {
            Ok(address) => Some(address),
            Err(error) => return refuse("url_file", format!("cannot be read: {}: {error}", path.display())),
        },
        (None, None) => None,
    };
    match (&address, wanted) {
        (None, Some(wanted)) => refuse("url", format!("(or {server}.url_file) must be set: {wanted} is {server}")),
        _ => Ok(address),
    }
}

/// The servers that queries go to: typed ones, then those from files.
fn replicas(views: &mut PostgresViews) -> Result<Vec<Address>, Error> {
    let typed = mem::take(&mut views.replica_urls).into_iter().map(|url| Ok(Address::typed(url)));
    let files = mem::take(&mut views.replica_url_files).into_iter().map(|path| {
        Address::from_file(path.clone()).map_err(|error| Error::Value {
            key: "postgres.views.replica_url_files".to_owned(),
            why: format!("cannot be read: {}: {error}", path.display()),
        })
    });
    typed.chain(files).collect()
}

impl TypedWire {
    fn read(self, base: Wire) -> Result<Wire, Error> {
        let refuse = |key: &str, why: &str| Err(Error::Value { key: key.to_owned(), why: why.to_owned() });
        Ok(Wire {
            listen: socket("wire.listen", self.listen)?,
            advertised: self.advertised.as_deref().map(advertised).transpose()?,
            certificate: match (self.certificate_file, self.key_file) {
                (None, None) => None,
                (Some(chain), Some(key)) => Some(CertificateFiles { chain, key }),
                (Some(_), None) => return refuse("wire.key_file", "must be set: wire.certificate_file is"),
                (None, Some(_)) => return refuse("wire.certificate_file", "must be set: wire.key_file is"),
            },
            limits: self.limits.over("wire.limits", base.limits)?,
        })
    }
}

impl Nodes {
    fn read(mut self, base: CommandNodes) -> Result<CommandNodes, Error> {
        let refuse = |why| Error::Value { key: "command_nodes.urls".to_owned(), why };
        let read = |typed: String| {
            let url: Option<Uri> = typed.parse().ok();
            let plain = |url: &Uri| {
                let bare = url.path_and_query().is_none_or(|path| path == "/");
                url.scheme_str() == Some("http") && url.authority().is_some() && bare
            };
            url.filter(plain)
                .ok_or_else(|| refuse(format!("must hold addresses such as http://10.0.0.1:50051, not {typed:?}")))
        };
        let urls = mem::take(&mut self.urls).into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if let Some((_, twice)) = urls.iter().enumerate().find(|(n, url)| urls[..*n].contains(url)) {
            return Err(refuse(format!("name {twice} twice")));
        }
        Ok(CommandNodes { urls, limits: self.over("command_nodes", base.limits)? })
    }
}

impl CommandNodes {
    fn show(&self, shown: &mut Vec<(String, Value)>) {
        let urls = self.urls.iter().map(|url| Value::String(url.to_string())).collect();
        shown.push(("command_nodes.urls".to_owned(), Value::Array(urls)));
        Nodes::show("command_nodes", &self.limits, shown);
    }
}

/// Where to listen.
fn socket(key: &str, typed: Option<String>) -> Result<Option<SocketAddr>, Error> {
    let why = "must be an address with a port, such as 127.0.0.1:50051";
    let read = typed.map(|typed| typed.parse()).transpose();
    read.map_err(|_| Error::Value { key: key.to_owned(), why: why.to_owned() })
}

/// `host:port`, as clients from elsewhere name it.
fn advertised(typed: &str) -> Result<(String, u16), Error> {
    let parts = typed.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let read = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    let why = "must be a host and a port, such as log.example.com:2113";
    read.ok_or_else(|| Error::Value { key: "wire.advertised".to_owned(), why: why.to_owned() })
}

/// A part of the shop that a process can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    Gateway,
    Commands,
    Projections,
    Processes,
    Relay,
}

/// What a process does that is not told.
const EVERY_ROLE: [Role; 5] = [Role::Gateway, Role::Commands, Role::Projections, Role::Processes, Role::Relay];

/// Everything that can be typed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Typed {
    listen: Option<String>,
    data: Option<PathBuf>,
    roles: Option<Vec<Role>>,
    command_nodes: Nodes,
    limits: Door,
    tokens: Tokens,
    shop: Shop,
    desk: Desk,
    runner: Runner,
    engines: TypedEngines,
    sqlite: TypedSqlite,
    postgres: TypedPostgres,
    eventstoredb: TypedEventStoreDb,
    nats: TypedNats,
    wire: TypedWire,
    relay: Relay,
    engine: Engine,
    sandbox: Sandbox,
}

impl Typed {
    /// Checks every value.
    pub(super) fn validate(self) -> Result<Config, Error> {
        let base = Config::new(self.data.unwrap_or_else(|| super::DATA.into()));
        let refuse = |key: &str, why: &str| Error::Value { key: key.to_owned(), why: why.to_owned() };
        let listen = socket("listen", self.listen)?.unwrap_or(base.listen);
        let roles = self.roles.unwrap_or_else(|| EVERY_ROLE.to_vec());
        if roles.is_empty() {
            return Err(refuse("roles", "must name at least one"));
        }
        let command_nodes = self.command_nodes.read(base.command_nodes)?;
        let (gateway, decides) = (roles.contains(&Role::Gateway), roles.contains(&Role::Commands));
        match (decides, command_nodes.urls.is_empty()) {
            (false, true) if gateway => {
                return Err(refuse("command_nodes.urls", "must name who decides: roles has gateway without commands"));
            }
            (true, false) => return Err(refuse("command_nodes.urls", "are for a process without the role commands")),
            _ => {}
        }
        let engines = self.engines.chosen(base.engines);
        let TypedPostgres { url, url_file, root_certificate_file, log, mut views } = self.postgres;
        let wanted = engines.uses(Server::Postgres);
        let postgres = Postgres {
            address: address("postgres", url, url_file, wanted)?,
            root_certificate_file,
            replicas: replicas(&mut views)?,
            log: log.over("postgres.log", base.postgres.log)?,
            views: views.over("postgres.views", base.postgres.views)?,
        };
        let TypedEventStoreDb { url, url_file, limits } = self.eventstoredb;
        let eventstoredb = EventStoreDb {
            address: address("eventstoredb", url, url_file, engines.uses(Server::EventStoreDb))?,
            limits: limits.over("eventstoredb.limits", base.eventstoredb.limits)?,
        };
        let wire = self.wire.read(base.wire)?;
        let TypedNats { url, url_file, credentials_file, root_certificate_file, outlet, feeds, limits } = self.nats;
        let nats = Nats {
            address: address("nats", url, url_file, engines.uses(Server::Nats))?,
            credentials_file,
            root_certificate_file,
            outlet: outlet.over("nats.outlet", base.nats.outlet)?,
            feeds: feeds::read(feeds)?,
            limits: limits.over("nats.limits", base.nats.limits)?,
        };
        let tokens = self.tokens.over("tokens", base.limits.tokens.clone())?;
        let limits = if decides && !gateway { base.limits.for_gateways() } else { base.limits };
        Ok(Config {
            listen,
            data: base.data,
            gateway,
            commands: decides,
            command_nodes,
            projections: roles.contains(&Role::Projections),
            processes: roles.contains(&Role::Processes),
            relays: roles.contains(&Role::Relay),
            limits: crate::limits::Limits { tokens, ..self.limits.over("limits", limits)? },
            shop: self.shop.over("shop", base.shop)?,
            desk: self.desk.over("desk", base.desk)?,
            runner: self.runner.over("runner", base.runner)?,
            engines,
            sqlite: Sqlite {
                log: self.sqlite.log.over("sqlite.log", base.sqlite.log)?,
                views: self.sqlite.views.over("sqlite.views", base.sqlite.views)?,
            },
            postgres,
            eventstoredb,
            nats,
            wire,
            relay: self.relay.over("relay", base.relay)?,
            engine: self.engine.over("engine", base.engine)?,
            payments: self.sandbox.payments.over("sandbox.payments", base.payments)?,
            carrier: self.sandbox.carrier.over("sandbox.carrier", base.carrier)?,
        })
    }
}

/// Every setting with its value, as it would be typed.
pub(super) fn shown(config: &Config) -> Vec<(String, Value)> {
    let text = |text: String| Value::String(text);
    let roles = [
        (config.gateway, Role::Gateway),
        (config.commands, Role::Commands),
        (config.projections, Role::Projections),
        (config.processes, Role::Processes),
        (config.relays, Role::Relay),
    ];
    let roles = roles.iter().filter(|(runs, _)| *runs).filter_map(|(_, role)| Value::try_from(role).ok()).collect();
    let mut shown = vec![
        ("listen".to_owned(), text(config.listen.to_string())),
        ("data".to_owned(), text(config.data.display().to_string())),
        ("roles".to_owned(), Value::Array(roles)),
    ];
    config.command_nodes.show(&mut shown);
    Door::show("limits", &config.limits, &mut shown);
    Tokens::show("tokens", &config.limits.tokens, &mut shown);
    Shop::show("shop", &config.shop, &mut shown);
    Desk::show("desk", &config.desk, &mut shown);
    Runner::show("runner", &config.runner, &mut shown);
    let named = |engine: Result<Value, toml::ser::Error>| engine.unwrap_or_else(|_| text("?".into()));
    shown.extend([
        ("engines.log".to_owned(), named(Value::try_from(config.engines.log))),
        ("engines.views".to_owned(), named(Value::try_from(config.engines.views))),
        ("engines.keys".to_owned(), named(Value::try_from(config.engines.keys))),
        ("engines.bus".to_owned(), named(Value::try_from(config.engines.bus))),
    ]);
    SqliteLog::show("sqlite.log", &config.sqlite.log, &mut shown);
    SqliteViews::show("sqlite.views", &config.sqlite.views, &mut shown);
    shown.extend(config.postgres.address.as_ref().map(|address| address.shown("postgres")));
    let certificate = config.postgres.root_certificate_file.as_ref();
    shown.extend(
        certificate.map(|file| ("postgres.root_certificate_file".to_owned(), text(file.display().to_string()))),
    );
    PostgresLog::show("postgres.log", &config.postgres.log, &mut shown);
    let (files, typed): (Vec<_>, Vec<_>) =
        config.postgres.replicas.iter().partition(|replica| replica.file().is_some());
    let typed = typed.into_iter().map(|replica| text(replica.to_string()));
    shown.push(("postgres.views.replica_urls".to_owned(), Value::Array(typed.collect())));
    let files = files.into_iter().filter_map(Address::file).map(|file| text(file.display().to_string()));
    shown.push(("postgres.views.replica_url_files".to_owned(), Value::Array(files.collect())));
    PostgresViews::show("postgres.views", &config.postgres.views, &mut shown);
    shown.extend(config.eventstoredb.address.as_ref().map(|address| address.shown("eventstoredb")));
    EventStoreDbLog::show("eventstoredb.limits", &config.eventstoredb.limits, &mut shown);
    shown.extend(config.wire.listen.map(|listen| ("wire.listen".to_owned(), text(listen.to_string()))));
    let advertised = config.wire.advertised.iter().map(|(host, port)| text(format!("{host}:{port}")));
    shown.extend(advertised.map(|advertised| ("wire.advertised".to_owned(), advertised)));
    shown.extend(config.wire.certificate.iter().flat_map(|CertificateFiles { chain, key }| {
        [("wire.certificate_file", chain), ("wire.key_file", key)]
            .map(|(setting, file)| (setting.to_owned(), text(file.display().to_string())))
    }));
    WireLimits::show("wire.limits", &config.wire.limits, &mut shown);
    shown.extend(config.nats.address.as_ref().map(|address| address.shown("nats")));
    let files = [
        ("credentials_file", &config.nats.credentials_file),
        ("root_certificate_file", &config.nats.root_certificate_file),
    ];
    shown.extend(
        files
            .into_iter()
            .filter_map(|(name, file)| Some((format!("nats.{name}"), text(file.as_ref()?.display().to_string())))),
    );
    shown.extend(feeds::shown(&config.nats.feeds));
    NatsOutlet::show("nats.outlet", &config.nats.outlet, &mut shown);
    NatsLimits::show("nats.limits", &config.nats.limits, &mut shown);
    Relay::show("relay", &config.relay, &mut shown);
    Engine::show("engine", &config.engine, &mut shown);
    Partner::show("sandbox.payments", &config.payments, &mut shown);
    Partner::show("sandbox.carrier", &config.carrier, &mut shown);
    shown
}
