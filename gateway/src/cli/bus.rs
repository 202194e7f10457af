//! `cartulary bus`: what went out, held against the log.

use std::{io::Write as _, sync::Arc};

use commands::relay::Report;
use ports::clock::Clock;

use super::{Error, Settings, import::report::grouped};
use crate::{app::engines, clock::SystemClock};

/// What `bus` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Compares the whole bus with the whole log, and publishes what the bus lacks.
    ///
    /// The shop may go on meanwhile where its log allows several processes. Events that the bus holds and the log does not
    /// are counted and stay: whoever published them has to be found.
    #[command(after_help = "\
Example:
  cartulary bus reconcile --config fleet.toml --json     after NATS was wiped, or a disk was lost")]
    Reconcile(Reconcile),
}

#[derive(Debug, clap::Args)]
struct Reconcile {
    #[command(flatten)]
    settings: Settings,
    /// Prints what was found as one line of JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<(), Error> {
    let Command::Reconcile(args) = args.command;
    let config = args.settings.existing()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let log = engines::log(&config, &clock).await?;
    let Some(nats) = engines::bus(&config).await? else {
        return Err(Error::Usage("there is no bus: set engines.bus = 'nats' and nats.url".into()));
    };
    let mut relay = engines::relay(&config, &log, &nats).await?;
    let report = relay.reconcile(clock.now()).await?;
    tell(&report, args.json)
}

fn tell(report: &Report, json: bool) -> Result<(), Error> {
    let Report { events, messages, appended, filled, repeats, strangers, expired } = *report;
    let mut out = std::io::stdout().lock();
    if json {
        let line = serde_json::json!({
            "events": events, "messages": messages, "appended": appended, "filled": filled, "repeats": repeats,
            "strangers": strangers, "expired": expired,
        });
        writeln!(out, "{line}")?;
        return Ok(());
    }
    let counts = [
        (events, "events of the log were looked for"),
        (messages, "messages of the bus were looked at"),
        (appended, "events behind the bus's end were published"),
        (filled, "events missing in its midst were published again"),
        (repeats, "messages repeat another: harmless"),
        (strangers, "messages are of events that the log does not have: find out who published them"),
        (expired, "events are older than what the bus keeps"),
    ];
    for (count, what) in counts {
        writeln!(out, "{:>12} {what}", grouped(count))?;
    }
    Ok(())
}
