//! `cartulary config`: what is set, and by whom.

use std::io::Write as _;

use super::{Error, Settings};
use crate::config::Setting;

/// What `config` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Prints every setting as it holds, one a line, as the file would have it.
    #[command(after_help = "\
Examples:
  cartulary config show --origin                     which layer each setting is from
  cartulary config show --config shop.toml           whether a file is right, before it is used
  cartulary config show > shop.toml                  a file with everything in it, to begin with")]
    Show(Show),
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    settings: Settings,
    /// Says for each setting where it is from: a default, the file, a variable, a flag.
    #[arg(long)]
    origin: bool,
    /// Prints one line of JSON per setting.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Error> {
    let Command::Show(show) = &args.command;
    let settings = show.settings.layers()?.settings()?;
    let width = settings.iter().map(|setting| line(setting).len()).max().unwrap_or_default();
    let mut out = std::io::stdout().lock();
    for setting in &settings {
        let origin = setting.origin.as_deref();
        if show.json {
            let line = serde_json::json!({ "key": setting.key, "value": setting.value, "origin": origin });
            writeln!(out, "{line}")?;
        } else if show.origin {
            writeln!(out, "{:width$}  # {}", line(setting), origin.unwrap_or("default"))?;
        } else {
            writeln!(out, "{}", line(setting))?;
        }
    }
    Ok(())
}

/// A dotted key is how TOML spells a setting outside its table.
fn line(setting: &Setting) -> String {
    format!("{} = {}", setting.key, setting.value)
}
