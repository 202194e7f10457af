//! Real servers for tests: each is started by the test itself, on loopback and a free port, in a throw-away folder,
//! and goes with the test, however that ends.
//!
//! A test keeps its server in a variable, or in a `static` for all tests of one binary; statics are never dropped, so the
//! system ends the server with the process that started it, and the next start sweeps up what is left ([`folder`]).
//! Where no server can be had, [`NotHere`] says why; [`or_not_run`] is what a test does about it.
//!
//! Somebody who has a server already names it, and it is used wherever the test does not have to freeze or kill it:
//!
//! | variable | what it names |
//! |---|---|
//! | `CARTULARY_TEST_POSTGRES` | a PostgreSQL, `postgres://user:password@host:port`, whose user may create databases |
//! | `CARTULARY_TEST_NATS` | a NATS server with JetStream, 2.12 or newer, `nats://host:port` |
//! | `CARTULARY_UMADB_SERVER` | the program of UmaDB, which is started like any other |

pub mod certificates;
pub mod folder;
pub mod nats;
pub mod postgres;
pub mod process;
pub mod python;
pub mod umadb;

pub use certificates::Authority;
pub use folder::Folder;
pub use process::{Identity, Process, free_port, output, ready};

/// Why a server cannot be had here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotHere(pub String);

impl NotHere {
    /// From a failure, and what was being done.
    pub fn because(what: impl std::fmt::Display, why: impl std::fmt::Display) -> Self {
        Self(format!("{what}: {why}"))
    }
}

/// The server, or nothing for a test to run on: then it says so and is left out.
///
/// # Panics
/// Without a server where `CI` is set: there nothing may be left out silently.
#[expect(clippy::panic, clippy::print_stderr, reason = "a test says so when it did not run")]
pub fn or_not_run<T>(server: Result<T, NotHere>) -> Option<T> {
    match server {
        Ok(server) => Some(server),
        Err(why) if std::env::var_os("CI").is_some() => panic!("NOT RUN: {why}"),
        Err(why) => {
            eprintln!("NOT RUN: {why}");
            None
        }
    }
}
