//! `cartulary log`: what can be done with a shop's log beside selling.

use std::{io::Write as _, net::SocketAddr, path::PathBuf, sync::Arc};

use commands::copy::{self, Copied, LogCopy, Phase};
use esdb_wire::Mode;
use ports::clock::Clock;
use tokio::signal::unix::{SignalKind, signal};

use super::{Error, Settings, import::report::grouped, progress::Progress};
use crate::{
    app::{engines, wire::Serving},
    auth::{Signer, Verifier},
    clock::SystemClock,
    config::{Config, LogEngine, Wire},
};

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
    /// Serves a bare log over the EventStoreDB protocol, without a shop, until told to stop (SIGINT or SIGTERM).
    ///
    /// Any client of EventStoreDB or KurrentDB may append, read and follow with a token of this folder as its password:
    /// an operator's writes everything, a partner's appends, an analyst's reads. A shop may stand on it, too.
    #[command(after_help = "\
Example:
  cartulary log serve --data log --listen 127.0.0.1:2113
  cartulary token --role operator --data log
  esdb://token:<that token>@127.0.0.1:2113?tls=false     in any client, or as eventstoredb.url of a shop")]
    Serve(Serve),
}

#[derive(Debug, clap::Args)]
struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:2113")]
    listen: SocketAddr,
    /// Prints what it listens on as one line of JSON.
    #[arg(long)]
    json: bool,
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
    match args.command {
        Command::Copy(args) => copy_shop(args).await,
        Command::Serve(args) => serve(args).await,
    }
}

async fn serve(args: Serve) -> Result<(), Error> {
    let config = args.settings.validated()?;
    std::fs::create_dir_all(&config.data)?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let log = engines::log(&config, &clock).await?;
    let signer = Signer::load_or_generate(&config.signing_key())?;
    let verifier = Verifier::new(vec![signer.public()], config.limits.tokens.clone(), Arc::clone(&clock));
    let wire = Wire { listen: Some(args.listen), ..config.wire };
    let Some(serving) = Serving::open(&wire, Mode::Store, log, verifier, clock).await? else { return Ok(()) };
    let (addr, mut out) = (serving.addr, std::io::stdout());
    if args.json {
        writeln!(out, "{}", serde_json::json!({ "listening": addr.to_string(), "protocols": ["eventstoredb"] }))?;
    } else {
        writeln!(out, "listening on {addr}: {}", serving.url())?;
    }
    let end = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    Ok(serving.run(end).await?)
}

async fn copy_shop(args: Copy) -> Result<(), Error> {
    let source = args.settings.existing()?;
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
