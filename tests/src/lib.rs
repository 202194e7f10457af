//! Acceptance, vendors, simulation, benches, tidy.
//!
//! What the tests share: a whole shop in a folder of its own ([`shop`]), typed clients with a token
//! ([`client`]), the messages that most tests send ([`say`]), and a client for the JSON twin that knows nothing of the
//! API ([`http`]). The simulation ([`sim`]) and the benchmarks
//! (`tests/benches`) are programs of their own.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

pub mod arguments;
pub mod books;
pub mod client;
pub mod engines;
pub mod http;
pub mod raw;
pub mod say;
pub mod shop;
pub mod sim;
pub mod victim;
