//! The tables of the log and the keys.

use ports_postgres::Schema;

/// Log and keys may be in one database or in two.
pub const SCHEMA: Schema = Schema {
    name: "cartulary",
    steps: &[include_str!("schema/1.sql"), include_str!("schema/2.sql")],
    lock: 4_846_791_580_151_137_096,
};
