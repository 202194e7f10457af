//! The command line: one file per command.
//!
//! Exit codes: 0 when all went well, 1 when something failed while running, 2 when the command line or the
//! configuration is wrong. Answers for people and scripts go to standard output (`--json` where a script would
//! want it); everything else goes to standard error.

mod bench;
mod bus;
mod client;
mod config;
mod demo;
pub mod import;
mod log;
pub mod progress;
mod serve;
mod token;
mod views;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{
    app,
    auth::KeyError,
    config::{Config, Error as ConfigError, Layers, LogEngine},
};

/// An event-sourced commerce engine.
#[derive(Debug, Parser)]
#[command(
    name = "cartulary",
    version,
    about,
    long_about = None,
    after_help = "\
Examples:
  cartulary demo                                     a shop with real orders, and lines to try
  cartulary serve --data shop                        a shop of your own, until Ctrl-C
  export CARTULARY_TOKEN=$(cartulary token --role operator --data shop)
  cartulary import --orders orders.csv.gz            replay a retailer's year
  cartulary bench --skus 1                           a flash sale
  cartulary log copy --data shop --to fleet.toml     from a laptop's files to a fleet's servers

Settings come from --config FILE (TOML), then CARTULARY_* variables, then --set NAME=VALUE, then flags.
What is logged: CARTULARY_LOG, e.g. info or gateway=debug.
Exit codes: 0 all well, 1 something failed while running, 2 the command line or the configuration is wrong."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the shop until it is told to stop (SIGINT or SIGTERM).
    Serve(serve::Args),
    /// Runs a shop with a real catalogue, real orders and shoppers, and prints what to try.
    Demo(demo::Args),
    /// Replays a retailer's invoice lines through the gateway.
    Import(import::Args),
    /// Puts a bounded load of real orders on a running shop, and says how fast it answers.
    Bench(bench::Args),
    /// Issues a token that the shop in a folder accepts.
    Token(token::Args),
    /// Moves a shop's log, and its members' keys, to other engines; serves a bare log.
    Log(log::Args),
    /// Folds views anew, while they go on serving.
    Views(views::Args),
    /// Holds what went out to the bus against the log.
    Bus(bus::Args),
    /// Shows what is set, and by whom.
    Config(config::Args),
}

/// Where the configuration comes from.
#[derive(Debug, clap::Args)]
struct Settings {
    /// A configuration file, TOML.
    #[arg(long, value_name = "FILE", env = "CARTULARY_CONFIG")]
    config: Option<PathBuf>,
    /// The folder of everything that lasts [default: data].
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Any setting by its name, e.g. `--set limits.in_flight_max=256`; may be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
}

impl Settings {
    /// The layers: file, environment, flags.
    fn layers(&self) -> Result<Layers, ConfigError> {
        self.over(Layers::default())
    }

    /// The same, over settings that a command begins with.
    fn over(&self, layers: Layers) -> Result<Layers, ConfigError> {
        self.over_in(std::env::vars(), layers)
    }

    /// The same, in this environment.
    fn over_in(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
        mut layers: Layers,
    ) -> Result<Layers, ConfigError> {
        if let Some(path) = &self.config {
            layers = layers.file(path)?;
        }
        layers = layers.environment(environment)?;
        for setting in &self.set {
            let (key, value) = setting.split_once('=').ok_or_else(|| ConfigError::Layer {
                origin: format!("--set {setting}"),
                why: "expected NAME=VALUE".into(),
            })?;
            layers = layers.set(key.trim(), value.trim())?;
        }
        match &self.data {
            Some(data) => layers.set_text("data", &data.to_string_lossy()),
            None => Ok(layers),
        }
    }

    fn validated(&self) -> Result<Config, ConfigError> {
        self.layers()?.validate()
    }

    /// The configuration of a shop that is there: a mistyped folder must not become one.
    fn existing(&self) -> Result<Config, Error> {
        let config = self.validated()?;
        match config.engines.log {
            LogEngine::Sqlite if !store_sqlite::is_there(&config.data) => Err(no_shop(&config)),
            _ => Ok(config),
        }
    }

    /// The configuration of another shop than the one that the environment speaks of.
    fn apart(&self) -> Result<Config, ConfigError> {
        let layers = self.config.iter().try_fold(Layers::default(), |layers, path| layers.file(path))?;
        match &self.data {
            Some(data) => layers.set_text("data", &data.to_string_lossy())?.validate(),
            None => layers.validate(),
        }
    }
}

/// There is no shop in the folder.
fn no_shop(config: &Config) -> Error {
    let data = config.data.display();
    Error::Usage(format!("there is no shop in {data}; start one with: cartulary serve --data {data}"))
}

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error("the configuration is wrong")]
    Config(#[from] ConfigError),
    /// An argument is wrong.
    #[error("{0}")]
    Usage(String),
    /// The shop does not open.
    #[error("the shop does not open")]
    Start(#[from] app::Error),
    /// The shop closed by itself.
    #[error("the shop closed by itself")]
    Fallen(#[from] app::Fallen),
    /// The signing key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An engine does not open.
    #[error(transparent)]
    Engine(#[from] app::engines::Error),
    /// The copy did not come to its end.
    #[error("the copy did not come to its end; begin it again to go on")]
    Copy(#[from] commands::copy::Error),
    /// The EventStoreDB protocol cannot be served.
    #[error(transparent)]
    Wire(#[from] app::wire::Error),
    /// The EventStoreDB protocol is served no more.
    #[error(transparent)]
    WireEnded(#[from] esdb_wire::Error),
    /// Log and bus cannot be compared.
    #[error("log and bus cannot be compared now")]
    Relay(#[from] commands::relay::Error),
    /// A view was not rebuilt.
    #[error("the view {view} was not rebuilt: its old rows go on serving")]
    Rebuild {
        /// The view's name.
        view: &'static str,
        /// Why.
        #[source]
        error: projections::rebuild::Error,
    },
    /// The import did not come to its end.
    #[error(transparent)]
    Import(#[from] import::Error),
    /// The shop cannot be asked.
    #[error(transparent)]
    Shop(#[from] client::Error),
    /// The system refuses a signal handler or standard output.
    #[error("the system refuses")]
    System(#[from] std::io::Error),
}

impl Error {
    /// The exit code that tells a script which kind of failure it was.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Usage(_) => 2,
            Self::Start(_)
            | Self::Fallen(_)
            | Self::Key(_)
            | Self::Engine(_)
            | Self::Copy(_)
            | Self::Relay(_)
            | Self::Rebuild { .. }
            | Self::Wire(_)
            | Self::WireEnded(_)
            | Self::Import(_)
            | Self::Shop(_)
            | Self::System(_) => 1,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// [`Error`]; its exit code tells which kind.
pub async fn run(cli: Cli) -> Result<(), Error> {
    match cli.command {
        Command::Serve(args) => serve::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Import(args) => import::run(args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Token(args) => token::run(&args),
        Command::Log(args) => log::run(args).await,
        Command::Views(args) => views::run(args).await,
        Command::Bus(args) => bus::run(args).await,
        Command::Config(args) => config::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_settings_and_a_wrong_one_is_said_by_name() {
        // Whoever runs the tests may have variables that are theirs.
        let layers = |set: &str| {
            let settings = Settings { config: None, data: Some("5".into()), set: vec![set.into()] };
            settings.over_in([], Layers::default())
        };
        let error = layers("limits.in_flight").expect_err("no value");
        let layers = layers("limits.in_flight_max = 7").and_then(Layers::validate).expect("valid");
        assert_eq!((layers.limits.in_flight_max, layers.data), (7, PathBuf::from("5")));
        assert_eq!(error.to_string(), "--set limits.in_flight: expected NAME=VALUE");
        assert_eq!(Error::from(error).exit_code(), 2);
    }
}
