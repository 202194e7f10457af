//! Which engine keeps what, and how to reach it.

use std::{fmt, fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};
use toml::Value;

/// What keeps the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogEngine {
    /// A file in the shop's folder; one process writes it.
    Sqlite,
    /// A PostgreSQL server; any number of processes write it.
    Postgres,
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

/// A server that may be asked to keep something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Postgres,
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
}

impl Engines {
    /// Everything inside the process.
    pub const EMBEDDED: Self = Self { log: LogEngine::Sqlite, views: ViewEngine::Sqlite, keys: KeyEngine::Sqlite };

    /// Which setting, if any, asks for a server.
    pub(super) fn uses(self, server: Server) -> Option<&'static str> {
        let wishes = match server {
            Server::Postgres => [
                (self.log == LogEngine::Postgres, "engines.log"),
                (self.keys == KeyEngine::Postgres, "engines.keys"),
                (self.views == ViewEngine::Postgres, "engines.views"),
            ],
        };
        wishes.into_iter().find_map(|(uses, setting)| uses.then_some(setting))
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
