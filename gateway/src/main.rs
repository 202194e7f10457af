//! The `cartulary` binary: arguments in, exit code out. Everything else is in the library.

use std::{io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;
use gateway::cli::{self, Cli};
use tracing_subscriber::EnvFilter;

/// A quarter less CPU per order than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The variable that says what is logged, e.g. `info,gateway=debug`.
const LOG: &str = "CARTULARY_LOG";
/// What is logged otherwise. What a lost connection means is said once by whoever needed it; the clients beneath would say it
/// again for each connection and each try.
const LOGGED: &str = "info,deadpool.postgres=error,kurrentdb=off";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env(LOG).unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    // Several were built in, because our clients each bring their own; the libraries want to be told which one to use.
    if tokio_rustls::rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("the provider of cryptography was chosen already");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no threads to run on: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            eprintln!("error: {:#}", anyhow::Error::new(error));
            ExitCode::from(code)
        }
    }
}
