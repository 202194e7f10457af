//! What every engine on PostgreSQL needs, whichever port it serves: connections with deadlines of our own, tables that are
//! brought forward at start, and what a failure of the server means.
//!
//! It knows no table and no port's rules: those are the engines', `store-postgres` and `views-postgres`.

mod address;
mod error;
mod schema;
mod server;
mod tls;

pub use address::Address;
pub use deadpool_postgres::{Object as Client, Transaction};
pub use error::{Error, Trouble};
pub use schema::Schema;
pub use server::{Param, Server, Sessions};
