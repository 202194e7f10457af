//! Why the database cannot be used, and what a failure of PostgreSQL means to the port.

use std::time::Duration;

use ports::views;
use tokio_postgres::error::{Severity, SqlState};

/// Why the views cannot be connected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL is not one that this store can use.
    #[error("the database's URL cannot be used: {0}")]
    Url(String),
    /// The database was written by a newer program.
    #[error("the views have schema {found}, this program knows schemas up to {known}: they need a newer program")]
    Newer {
        /// Its schema version.
        found: i64,
        /// The newest schema this program knows.
        known: i64,
    },
    /// There is a schema of this name that holds something else.
    #[error("the database has a schema `cartulary_views` that is not this program's")]
    Foreign,
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

impl Trouble {
    /// Whether the connection is of no more use: it broke, said nothing, or its server goes down or has become a standby.
    pub fn is_disconnected(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Late(_) => true,
            Self::Postgres(error) => error.as_db_error().is_none_or(|db| {
                db.parsed_severity() != Some(Severity::Error) || *db.code() == SqlState::READ_ONLY_SQL_TRANSACTION
            }),
        }
    }

    /// It can be asked again: nobody was there, or the server broke off, was told to, or has too much to do.
    fn passes(&self) -> bool {
        let Self::Postgres(error) = self else { return true };
        error.as_db_error().is_none_or(|db| {
            // Class 40: rolled back for others' sake; 53: too little of something; 57: an operator, or a statement that took
            // too long. A server that has become a standby has a successor.
            let passing = [SqlState::LOCK_NOT_AVAILABLE, SqlState::READ_ONLY_SQL_TRANSACTION];
            let class = db.code().code().get(..2);
            let refused = db.parsed_severity() == Some(Severity::Error);
            !refused || matches!(class, Some("40" | "53" | "57")) || passing.contains(db.code())
        })
    }

    /// Whether the view that was asked for has no tables: it was never committed, or dropped.
    pub fn is_no_view(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE))
    }
}

impl From<Trouble> for views::Error {
    fn from(trouble: Trouble) -> Self {
        if trouble.passes() { Self::Unavailable(trouble.to_string()) } else { Self::Failed(trouble.to_string()) }
    }
}
