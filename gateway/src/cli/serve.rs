//! `cartulary serve`: the shop, until somebody stops it.

use std::io::Write as _;

use tokio::signal::unix::{SignalKind, signal};

use super::{Error, Settings};
use crate::app::{App, Running};

/// What `serve` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
    /// Where to listen [default: 127.0.0.1:50051].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Prints what it listens on as one line of JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<(), Error> {
    let mut layers = args.settings.layers()?;
    if let Some(listen) = &args.listen {
        layers = layers.set_text("listen", listen)?;
    }
    let config = layers.validate()?;
    // Installed before anything opens: a signal during the start must not kill a write.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let data = config.data.display().to_string();
    let mut running = App::start(config).await?;
    // Once there is a real one, this line goes with the sandbox.
    tracing::warn!("payment provider and carrier are the sandbox's: no money is moved and nothing is delivered");
    announce(&running, &data, args.json)?;
    let fallen = tokio::select! {
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        fallen = running.fallen() => Some(fallen),
    };
    tracing::info!("closing: finishing what was begun");
    let drained = running.shutdown().await;
    if drained.cut > 0 {
        tracing::warn!(connections = drained.cut, "the time to drain was over: connections were cut");
    }
    fallen.map_or(Ok(()), |fallen| Err(fallen.into()))
}

fn announce(running: &Running, data: &str, json: bool) -> Result<(), Error> {
    let addr = running.addr;
    let mut out = std::io::stdout().lock();
    if json {
        let wire = running.wire.map(|wire| wire.to_string());
        let protocols = ["grpc", "json"];
        let line = serde_json::json!({
            "listening": addr.to_string(), "protocols": protocols, "data": data, "eventstoredb": wire,
        });
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "listening on {addr}: gRPC (HTTP/2) and JSON (http://{addr}/)")?;
        if let Some(wire) = running.wire {
            writeln!(out, "the log for EventStoreDB's clients: esdb://token:$CARTULARY_TOKEN@{wire}?tls=false")?;
        }
    }
    out.flush()?;
    if running.first_start {
        let folder = if data == crate::config::DATA { String::new() } else { format!(" --data {data}") };
        eprintln!("a new shop in {data}; get a token with: cartulary token --role operator{folder}");
    }
    Ok(())
}
