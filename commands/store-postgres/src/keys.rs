//! The members' keys, for a fleet: in the log's database, outside the log.
//!
//! Nothing is remembered between calls: a process that kept a key would go on opening what another has forgotten.

use std::fmt;

use async_trait::async_trait;
use deadpool_postgres::Object;
use ports::keys::{Error, Keys, MemberKey};
use tokio::time::timeout;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    Limits,
    error::Trouble,
    schema,
    server::{self, Server},
};

const FIND: &str = "SELECT key FROM cartulary.member_keys WHERE member = $1";
const MAKE: &str = "INSERT INTO cartulary.member_keys(member, key) VALUES ($1, $2) ON CONFLICT (member) DO NOTHING";
const PAGE: &str = "
    SELECT key, member FROM cartulary.member_keys WHERE $1::uuid IS NULL OR member > $1 ORDER BY member LIMIT $2";
const FORGET: &str = "
    INSERT INTO cartulary.member_keys(member, forgotten_at) VALUES ($1, now())
    ON CONFLICT (member) DO UPDATE SET key = NULL, forgotten_at = coalesce(member_keys.forgotten_at, now())
    RETURNING tableoid::regclass::text";

/// Every member's key in a PostgreSQL database.
///
/// When [`Keys::forget`] returns, no process can read the key, and the files of its table hold no byte of it. What a
/// server keeps beside its tables is not in our hands: the write-ahead log until its segments are recycled, and every
/// archive, replica's log and backup until it expires. Whoever promises a day by which the forgotten are gone
/// chooses those times accordingly, or keeps keys in a database of their own that is not archived.
pub struct PostgresKeys {
    server: Server,
    limits: Limits,
}

impl PostgresKeys {
    /// Connects to a database by its URL, as [`crate::PostgresStore::connect`] does; it may be the log's or another.
    /// Forgetting needs the right to vacuum the tables: their owner has it.
    ///
    /// # Errors
    /// [`crate::Error`] when the server cannot be reached within [`Limits::connect_max`], or its tables are a newer
    /// program's.
    pub async fn connect(url: &str, limits: &Limits) -> Result<Self, crate::Error> {
        let config = server::config(url, limits)?;
        let server = Server::new(config, limits.key_connections_max, limits.read_max, limits)?;
        schema::prepare(&mut server.client().await?).await?;
        Ok(Self { server, limits: limits.clone() })
    }

    /// What the table knows: nothing, that the member was forgotten, or the key.
    async fn find(&self, member: Uuid) -> Result<Option<Option<MemberKey>>, Error> {
        let rows = self.server.query(FIND, &[&member], self.limits.read_max).await.map_err(failed)?;
        rows.first().map(|row| known(row, member)).transpose()
    }

    /// Keeps a key for a member of whom nothing is known. Doing it twice is doing it once.
    async fn make(&self, member: Uuid, key: &MemberKey) -> Result<(), Error> {
        self.server.query(MAKE, &[&member, &key.0.as_slice()], self.limits.read_max).await.map(drop).map_err(failed)
    }
}

impl fmt::Debug for PostgresKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresKeys(…)")
    }
}

#[async_trait]
impl Keys for PostgresKeys {
    async fn key(&self, member: Uuid) -> Result<MemberKey, Error> {
        let mut found = self.find(member).await?;
        if found.is_none() {
            let mut key = MemberKey([0; 32]);
            getrandom::fill(&mut key.0).map_err(|error| Error(error.to_string()))?;
            // Whoever is first makes it.
            self.make(member, &key).await?;
            found = self.find(member).await?;
        }
        found.flatten().ok_or_else(|| Error::forgotten(member))
    }

    async fn existing(&self, member: Uuid) -> Result<Option<MemberKey>, Error> {
        Ok(self.find(member).await?.flatten())
    }

    async fn forget(&self, member: Uuid) -> Result<(), Error> {
        let rows = self.server.query(FORGET, &[&member], self.limits.read_max).await.map_err(failed)?;
        let part: String = rows.first().map(|row| row.get(0)).ok_or_else(|| Error("nothing was forgotten".into()))?;
        let client = self.server.client().await.map_err(failed)?;
        // A statement of its own: it cannot be part of a transaction. The name is the server's own, quoted if need be.
        let rewrite = format!("VACUUM (FULL) {part}");
        match timeout(self.limits.read_max, client.batch_execute(&rewrite)).await {
            Ok(rewritten) => rewritten.map_err(|error| failed(Trouble::Postgres(error))),
            Err(_elapsed) => {
                drop(Object::take(client));
                Err(failed(Trouble::Late(self.limits.read_max)))
            }
        }
    }

    async fn page(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<(Uuid, Option<MemberKey>)>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.server.query(PAGE, &[&after, &limit], self.limits.read_max).await.map_err(failed)?;
        let member = |row: &Row| {
            let member = row.get(1);
            Ok((member, known(row, member)?))
        };
        rows.iter().map(member).collect()
    }

    async fn adopt(&self, member: Uuid, key: MemberKey) -> Result<(), Error> {
        self.make(member, &key).await?;
        match self.find(member).await?.flatten() {
            Some(had) if had == key => Ok(()),
            Some(_) => Err(Error::other_key(member)),
            None => Err(Error::forgotten(member)),
        }
    }
}

/// The member's key, or `None` once they were forgotten.
fn known(row: &Row, member: Uuid) -> Result<Option<MemberKey>, Error> {
    let Some(key) = row.get::<_, Option<&[u8]>>(0) else { return Ok(None) };
    let key = key.try_into().map_err(|_| Error(format!("the key of member {member} is damaged")))?;
    Ok(Some(MemberKey(key)))
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn failed(trouble: Trouble) -> Error {
    Error(trouble.to_string())
}
