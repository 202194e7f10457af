//! The members' keys, shared by all processes of a fleet.
//!
//! Nothing is remembered here: a member who is forgotten by one process is forgotten in all of them at once. Forgetting
//! empties the key and has the server clear away the row's old version, and that is as far as PostgreSQL goes: its own
//! write-ahead log, its archive, replicas and backups hold the key until they are recycled or expire. Keep them no longer
//! than a forgotten member may be remembered, or keep the keys elsewhere.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use ports::keys::{Error, Keys, MemberKey};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    Limits,
    error::Trouble,
    schema,
    server::{self, Server},
};

const FIND: &str = "SELECT key FROM cartulary.keys WHERE member = $1";
const MAKE: &str = "INSERT INTO cartulary.keys(member, key) VALUES ($1, $2) ON CONFLICT (member) DO NOTHING";
const PAGE: &str =
    "SELECT key, member FROM cartulary.keys WHERE $1::uuid IS NULL OR member > $1 ORDER BY member LIMIT $2";
const FORGET: &str = "
    INSERT INTO cartulary.keys AS k (member, forgotten_at) VALUES ($1, now())
    ON CONFLICT (member) DO UPDATE SET key = NULL, forgotten_at = coalesce(k.forgotten_at, now())";
/// The old version of the row holds the key until this.
const CLEAR: &str = "VACUUM cartulary.keys";

/// Every member's key in a PostgreSQL database.
#[derive(Clone)]
pub struct PostgresKeys {
    server: Server,
    patience: Duration,
}

/// What the table knows of a member.
enum Known {
    Key(MemberKey),
    Forgotten,
}

impl PostgresKeys {
    /// Connects to the database of the log, or another one of its kind, and makes its tables if need be.
    ///
    /// # Errors
    /// [`crate::Error`] as [`crate::PostgresStore::connect`].
    pub async fn connect(url: &str, limits: &Limits) -> Result<Self, crate::Error> {
        let server = Server::new(server::config(url, limits)?, limits.readers_max, limits.read_max, limits)?;
        schema::prepare(&mut server.client().await?).await?;
        Ok(Self { server, patience: limits.read_max })
    }

    async fn find(&self, member: Uuid) -> Result<Option<Known>, Error> {
        let rows = self.server.query(FIND, &[&member], self.patience).await.map_err(failed)?;
        rows.first().map(known).transpose()
    }

    /// Statements that do the same when they are asked twice, as [`Server::query`] may.
    async fn change(&self, sql: &str, params: &[server::Param<'_>]) -> Result<(), Error> {
        self.server.query(sql, params, self.patience).await.map(drop).map_err(failed)
    }
}

#[async_trait]
impl Keys for PostgresKeys {
    async fn key(&self, member: Uuid) -> Result<MemberKey, Error> {
        let known = match self.find(member).await? {
            Some(known) => Some(known),
            None => {
                let mut key = [0; 32];
                getrandom::fill(&mut key).map_err(|error| Error(error.to_string()))?;
                self.change(MAKE, &[&member, &key.as_slice()]).await?;
                // Another process may have been faster: the key is the one that is there now.
                self.find(member).await?
            }
        };
        match known {
            Some(Known::Key(key)) => Ok(key),
            Some(Known::Forgotten) => Err(Error::forgotten(member)),
            None => Err(Error(format!("the key of member {member} was not kept"))),
        }
    }

    async fn existing(&self, member: Uuid) -> Result<Option<MemberKey>, Error> {
        Ok(match self.find(member).await? {
            Some(Known::Key(key)) => Some(key),
            Some(Known::Forgotten) | None => None,
        })
    }

    async fn forget(&self, member: Uuid) -> Result<(), Error> {
        self.change(FORGET, &[&member]).await?;
        self.change(CLEAR, &[]).await
    }

    async fn page(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<(Uuid, Option<MemberKey>)>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.server.query(PAGE, &[&after, &limit], self.patience).await.map_err(failed)?;
        let member = |row: &Row| {
            Ok(match known(row)? {
                Known::Key(key) => (row.get(1), Some(key)),
                Known::Forgotten => (row.get(1), None),
            })
        };
        rows.iter().map(member).collect()
    }

    async fn adopt(&self, member: Uuid, key: MemberKey) -> Result<(), Error> {
        self.change(MAKE, &[&member, &key.0.as_slice()]).await?;
        match self.find(member).await? {
            Some(Known::Key(had)) if had == key => Ok(()),
            Some(Known::Key(_)) => Err(Error::other_key(member)),
            Some(Known::Forgotten) => Err(Error::forgotten(member)),
            None => Err(Error(format!("the key of member {member} was not kept"))),
        }
    }
}

impl fmt::Debug for PostgresKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresKeys(…)")
    }
}

fn known(row: &Row) -> Result<Known, Error> {
    match row.get::<_, Option<&[u8]>>(0) {
        None => Ok(Known::Forgotten),
        Some(bytes) => {
            let key = bytes.try_into().map_err(|_| Error(format!("a key has {} bytes", bytes.len())))?;
            Ok(Known::Key(MemberKey(key)))
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn failed(trouble: Trouble) -> Error {
    Error(trouble.to_string())
}
