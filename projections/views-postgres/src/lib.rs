//! View rows on PostgreSQL, for a fleet: workers fold, gateways read, each in its own process.
//!
//! Everything is in the schema `cartulary_views`. A view has two tables of its own, named after it: `orders.3:rows` and
//! `orders.3:entries`, so that dropping one is a matter of a moment and leaves nothing to vacuum, and a checkpoint in
//! `views`. A commit is one transaction: rows, entries and checkpoint together; which worker moves a view is settled by
//! a lock on its checkpoint. It is not synced at once, because the log can fold it again: after a crash of the server
//! the views stand at an earlier commit, whole.
//!
//! For people with psql each view is also an SQL view under its own name, the row as `jsonb`:
//! `SELECT row ->> 'state', count(*) FROM cartulary_views."orders.3" GROUP BY 1`.
//!
//! A view that takes another's place ([`ports::views::ViewStore::replace`]) takes its tables' names and the SQL view with its
//! rights. Queries may go to replicas: [`PostgresViews::with_replicas`].
//!
//! How connections are encrypted says [`Address`].

mod commit;
mod limits;
mod names;
mod query;
mod readers;
mod schema;
mod store;
mod wire;
mod write;

pub use limits::Limits;
pub use ports_postgres::{Address, Error};
pub use store::PostgresViews;
