//! The door over real sockets: policies, both protocols, and every limit run into.
#![expect(clippy::disallowed_methods, reason = "tests start servers and clients as tasks of their own")]
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "door/fake.rs"]
mod fake;
#[path = "door/forward.rs"]
mod forward;
#[path = "door/json.rs"]
mod json;
#[path = "door/limits_connection.rs"]
mod limits_connection;
#[path = "door/limits_request.rs"]
mod limits_request;
#[path = "door/policy.rs"]
mod policy;
#[path = "door/web.rs"]
mod web;
#[path = "door/wire.rs"]
mod wire;
