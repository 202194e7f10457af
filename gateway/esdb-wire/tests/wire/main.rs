//! The protocol over real sockets: unmodified clients of three languages, encrypted ones, and a hostile one.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod clients;
mod encrypted;
mod hostile;
mod limits;
mod original;
mod raw;
mod rust_client;
mod server;
