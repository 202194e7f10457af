//! What every engine on PostgreSQL needs, whichever port it serves: connections with deadlines of our own, tables that are
//! brought forward at start, and what a failure of the server means.
//!
//! It knows no table and no port's rules: those are the engines', `store-postgres` and `views-postgres`.

mod error;
mod schema;
mod server;

pub use deadpool_postgres::{Object as Client, Transaction};
pub use error::{Error, Trouble};
pub use schema::Schema;
pub use server::{Param, Server, Sessions};
