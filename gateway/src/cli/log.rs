//! `cartulary log`: what can be done with a shop's log beside selling.

use std::{io::Write as _, path::PathBuf, sync::Arc};

use commands::copy::{self, Copied, LogCopy, Phase};
use ports::clock::Clock;

use super::{Error, Settings, import::report::grouped, progress::Progress};
use crate::{app::engines, clock::SystemClock, config::Config};

/// What `log` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Copies a shop's log and its members' keys to the engines of another configuration.
    ///
    /// Ids, streams, revisions, order and times stay; what the other log has already must be how this one begins, so an
    /// interrupted copy goes on where it ended. At the end both are read once more and must come to one hash. Views are
    /// not copied: the other shop folds them anew.
    #[command(after_help = "\
Examples:
  cartulary log copy --data shop --to fleet.toml         with fleet.toml: engines.log = 'postgres', postgres.url_file = …
  cartulary log copy --config fleet.toml --to-data shop  and back again

Nobody may sell on the target meanwhile. The source may: what is sold during the copy is taken by the next one, so stop it,
copy again (seconds), and start the target.")]
    Copy(Copy),
}

#[derive(Debug, clap::Args)]
struct Copy {
    #[command(flatten)]
    settings: Settings,
    /// The configuration of the shop that is copied to, TOML.
    #[arg(long, value_name = "FILE", required_unless_present = "to_data")]
    to: Option<PathBuf>,
    /// The folder of the shop that is copied to.
    #[arg(long, value_name = "FOLDER")]
    to_data: Option<PathBuf>,
    /// Copies the log only: the keys are where the target finds them already.
    #[arg(long)]
    without_keys: bool,
    /// Prints what was copied as one line of JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<(), Error> {
    let Command::Copy(args) = args.command;
    let source = args.settings.validated()?;
    let target = Settings { config: args.to, data: args.to_data, set: Vec::new() }.apart()?;
    if same(&source, &target) {
        return Err(Error::Usage("source and target are the same shop".into()));
    }
    std::fs::create_dir_all(&target.data)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (from, to) = (engines::log(&source, &clock).await?, engines::log(&target, &clock).await?);
    let members = match args.without_keys {
        true => None,
        false => {
            let (from, to) = (engines::keys(&source).await?, engines::keys(&target).await?);
            Some(copy::keys(from.as_ref(), to.as_ref()).await?)
        }
    };
    let copied = copy_log(LogCopy::begin(from, to).await?).await?;
    tell(&copied, members, args.json)
}

/// Keys come first: whoever reads the copied log must be able to open it.
async fn copy_log(mut copy: LogCopy) -> Result<Copied, Error> {
    let progress = Progress::on_stderr();
    let mut shown = None;
    loop {
        let (phase, events) = copy.phase();
        if shown != Some(phase) {
            shown = Some(phase);
            progress.begin(name(phase), "events", events);
        }
        if phase == Phase::Done {
            progress.end();
            return Ok(copy.finish()?);
        }
        progress.advance(copy.step().await?);
    }
}

const fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Compare => "comparing",
        Phase::Copy => "copying",
        Phase::Verify => "verifying",
        Phase::Done => "done",
    }
}

/// Whether two configurations name one log.
fn same(one: &Config, other: &Config) -> bool {
    use crate::config::LogEngine;
    one.engines.log == other.engines.log
        && match one.engines.log {
            LogEngine::Sqlite => one.data == other.data,
            LogEngine::Postgres => one.postgres.url() == other.postgres.url(),
            LogEngine::EventStoreDb => one.eventstoredb.url() == other.eventstoredb.url(),
        }
}

fn tell(copied: &Copied, members: Option<u64>, json: bool) -> Result<(), Error> {
    let Copied { events, copied, sha256 } = copied;
    let mut out = std::io::stdout().lock();
    if json {
        let line = serde_json::json!({ "events": events, "copied": copied, "members": members, "sha256": sha256 });
        writeln!(out, "{line}")?;
        return Ok(());
    }
    writeln!(
        out,
        "{} events, {} of them copied now; SHA-256 of both logs: {sha256}",
        grouped(*events),
        grouped(*copied)
    )?;
    match members {
        Some(members) => writeln!(out, "the keys of {} members", grouped(members))?,
        None => writeln!(out, "no keys were copied")?,
    }
    Ok(())
}
