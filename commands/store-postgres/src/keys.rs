//! The members' keys, for a fleet: in the log's database, outside the log.
//!
//! Nothing is remembered between calls: a process that kept a key would go on opening what another has forgotten.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{SinkExt as _, TryStreamExt as _};
use ports::keys::{Error, Keys, MemberKey};
use ports_postgres::{Address, Client, Server, Trouble};
use tokio::{pin, time::timeout};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{Limits, schema::SCHEMA};

const FIND: &str = "SELECT key FROM cartulary.member_keys WHERE member = $1";
const MAKE: &str = "INSERT INTO cartulary.member_keys(member, key) VALUES ($1, $2) ON CONFLICT (member) DO NOTHING";
const PAGE: &str = "
    SELECT key, member FROM cartulary.member_keys WHERE $1::uuid IS NULL OR member > $1 ORDER BY member LIMIT $2";
/// One forgets at a time: two that rewrite the same part would wait for each other in a circle.
const TURN: &str = "SELECT pg_advisory_xact_lock(4846791580151137098)";
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
    /// Connects to a database, which may be the log's or another. Forgetting needs the right to truncate the tables: their owner has it.
    ///
    /// # Errors
    /// [`crate::Error`] when the server cannot be reached within [`Limits::connect_max`], or its tables are a newer
    /// program's.
    pub async fn connect(address: impl Into<Address>, limits: &Limits) -> Result<Self, crate::Error> {
        let server = Server::new(&address.into(), &limits.keys())?;
        SCHEMA.prepare(&server, limits.migrate_max).await?;
        Ok(Self { server, limits: limits.clone() })
    }

    /// What the table knows: nothing, that the member was forgotten, or the key.
    async fn find(&self, member: Uuid) -> Result<Option<Option<MemberKey>>, Error> {
        let rows = self.server.query(FIND, &[&member]).await.map_err(failed)?;
        rows.first().map(|row| known(row, member)).transpose()
    }

    /// Keeps a key for a member of whom nothing is known. Doing it twice is doing it once.
    async fn make(&self, member: Uuid, key: &MemberKey) -> Result<(), Error> {
        self.server.query(MAKE, &[&member, &key.0.as_slice()]).await.map(drop).map_err(failed)
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
            getrandom::fill(&mut key.0).map_err(|error| Error::Failed(error.to_string()))?;
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
        let mut client = self.server.client().await.map_err(failed)?;
        let trouble = match timeout(self.limits.read_max, forget(&mut client, member)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => Trouble::Postgres(error),
            Err(_elapsed) => Trouble::Late(self.limits.read_max),
        };
        trouble.retire(client);
        Err(failed(trouble))
    }

    async fn page(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<(Uuid, Option<MemberKey>)>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.server.query(PAGE, &[&after, &limit]).await.map_err(failed)?;
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
    let key = key.try_into().map_err(|_| Error::Failed(format!("the key of member {member} is damaged")))?;
    Ok(Some(MemberKey(key)))
}

/// Marks the member as forgotten, and writes the part of the table that held the key anew, without it: the old file goes
/// with the commit. `VACUUM` would not do: it keeps what some older snapshot, of whatever kind, might still see.
async fn forget(client: &mut Client, member: Uuid) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(TURN).await?;
    let row = transaction.query_one(&transaction.prepare_cached(FORGET).await?, &[&member]).await?;
    // The server's own name for it, quoted if need be.
    let part: &str = row.get(0);
    transaction.batch_execute(&format!("LOCK TABLE {part}")).await?;
    let rows: Vec<Bytes> = transaction.copy_out(&format!("COPY {part} TO STDOUT")).await?.try_collect().await?;
    transaction.batch_execute(&format!("TRUNCATE {part}")).await?;
    // Frozen rows are there for everybody, also for a query that began before.
    let sink = transaction.copy_in(&format!("COPY {part} FROM STDIN (FREEZE)")).await?;
    pin!(sink);
    for row in rows {
        sink.feed(row).await?;
    }
    sink.finish().await?;
    transaction.commit().await
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn failed(trouble: Trouble) -> Error {
    if trouble.passes() { Error::Unavailable(trouble.to_string()) } else { Error::Failed(trouble.to_string()) }
}
