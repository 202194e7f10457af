//! Why a database cannot be used, and what a failure of PostgreSQL means to the ports.

use std::time::Duration;

use deadpool_postgres::Object;
use ports::{store, views};
use tokio_postgres::error::{DbError, Severity, SqlState};

/// Why an engine cannot be connected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL is not one that can be used.
    #[error("the database's URL cannot be used: {0}")]
    Url(String),
    /// Whom the server's certificate should be from cannot be told.
    #[error("the root certificates cannot be used: {0}")]
    Certificates(String),
    /// The tables were written by a newer program.
    #[error("`{schema}` in the database is at {found}, this program knows up to {known}: it needs a newer program")]
    Newer {
        /// The schema.
        schema: &'static str,
        /// Its version.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// There is a schema of this name that holds something else.
    #[error("the database has a schema `{0}` that is not this program's")]
    Foreign(&'static str),
    /// The server cannot be reached, or refuses.
    #[error(transparent)]
    Server(#[from] Trouble),
}

/// What went wrong between us and the server.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// No connection could be had, so nothing was asked.
    #[error("no connection to PostgreSQL: {0}")]
    Unreachable(String),
    /// The server has not answered in time.
    #[error("PostgreSQL has not answered within {0:?}")]
    Late(Duration),
    /// The connection broke, or the server refused.
    #[error("PostgreSQL: {}", spelled(.0))]
    Postgres(#[from] tokio_postgres::Error),
}

/// The client's errors hide their cause behind `source`; people need to read it.
fn spelled(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}

/// A server that says FATAL or PANIC goes down, maybe after it has committed.
fn is_refusal(error: &DbError) -> bool {
    error.parsed_severity() == Some(Severity::Error)
}

impl Trouble {
    /// Whether the connection is of no more use: it broke, said nothing, or its server goes down or has become a standby,
    /// which keeps its connections, but they can write no more.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Late(_) => true,
            Self::Postgres(error) => error
                .as_db_error()
                .is_none_or(|db| !is_refusal(db) || *db.code() == SqlState::READ_ONLY_SQL_TRANSACTION),
        }
    }

    /// Puts the connection that this happened on back into the pool, unless it is of no more use.
    pub fn retire(&self, client: Object) {
        if self.is_disconnected() {
            drop(Object::take(client));
        }
    }

    /// Whether the server refused for this reason.
    #[must_use]
    pub fn is(&self, reason: &SqlState) -> bool {
        matches!(self, Self::Postgres(error) if error.code() == Some(reason))
    }

    /// What was asked for can never be done: it is not JSON, or holds a zero byte, or is too large.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        let Self::Postgres(error) = self else { return false };
        // Class 22: data exception; 54: limit exceeded.
        error.as_db_error().is_some_and(|db| is_refusal(db) && matches!(db.code().code().get(..2), Some("22" | "54")))
    }

    /// It can be asked again: nobody was there, or the server broke off, was told to, or has too much to do.
    #[must_use]
    pub fn passes(&self) -> bool {
        let Self::Postgres(error) = self else { return true };
        error.as_db_error().is_none_or(|db| {
            // Class 40: rolled back for others' sake; 53: too little of something; 57: an operator, or a statement that took
            // too long. A server that has become a standby has a successor.
            let passing = [SqlState::LOCK_NOT_AVAILABLE, SqlState::READ_ONLY_SQL_TRANSACTION];
            let class = db.code().code().get(..2);
            !is_refusal(db) || matches!(class, Some("40" | "53" | "57")) || passing.contains(db.code())
        })
    }

    /// What a failed read means to the caller of the event store.
    #[must_use]
    pub fn of_read(&self) -> store::Error {
        let damage = |code: &SqlState| *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED;
        match self {
            Self::Postgres(error) if error.code().is_some_and(damage) => store::Error::Corrupt(self.to_string()),
            _ if self.passes() => store::Error::Unavailable(self.to_string()),
            _ => store::Error::Failed(self.to_string()),
        }
    }

    /// What a failed write means to the caller of the event store: only a refusal is certain.
    #[must_use]
    pub fn of_write(&self) -> store::Error {
        match self {
            Self::Unreachable(_) => store::Error::Unavailable(self.to_string()),
            Self::Late(_) => store::Error::Unknown(self.to_string()),
            Self::Postgres(error) => match error.as_db_error() {
                Some(db) if !is_refusal(db) => store::Error::Unknown(self.to_string()),
                Some(db) if *db.code() == SqlState::DISK_FULL => store::Error::Full,
                Some(_) if self.passes() => store::Error::Unavailable(self.to_string()),
                Some(_) => store::Error::Failed(self.to_string()),
                None => store::Error::Unknown(self.to_string()),
            },
        }
    }
}

impl From<Trouble> for views::Error {
    fn from(trouble: Trouble) -> Self {
        if trouble.passes() { Self::Unavailable(trouble.to_string()) } else { Self::Failed(trouble.to_string()) }
    }
}
