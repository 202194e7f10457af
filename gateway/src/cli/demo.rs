//! `cartulary demo`: a shop with a real catalogue, real orders and people who go on buying, in one command.
//!
//! Everything it shows goes through the public gateway: the extract is imported like anybody's file, the
//! shoppers are clients like any other, and the lines to try work as they are printed. It is loaded once; the
//! next start on the same folder goes on where the last one ended.

mod shoppers;
mod status;
mod tries;

use std::{
    fs, io,
    io::{IsTerminal as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use domain::ids::MemberId;
use ports::{clock::Clock as _, store::EventStore};
use projections::positions::Positions;
use proto::v1::Role;
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use self::{shoppers::Shoppers, status::Status, tries::Try};
use super::{
    Error, Settings,
    client::Client,
    import::{
        self,
        plan::{self, Plan},
        report::{Report, grouped},
    },
    progress::Progress,
};
use crate::{
    app::{App, Running},
    auth::{Roles, Signer},
    clock::SystemClock,
    config::Layers,
};

/// The shop's catalogue and past: see `data/ATTRIBUTION.md`.
const EXTRACT: &[u8] = include_bytes!("../../data/uci_extract.csv");
/// Where the demo keeps its shop unless it is told otherwise.
const DATA: &str = ".data/demo";
/// Says in the folder that the extract is loaded.
const LOADED: &str = "demo.loaded";
/// Remembers in the folder how far loading is.
const JOURNAL: &str = "demo.journal";
/// How many units of each product are received for the shoppers, beside what the extract sells.
const SHELF: u64 = 500;
/// How long the printed token is good.
const TOKEN_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What `demo` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
    /// Where to listen [default: 127.0.0.1:50051].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// How many orders the shoppers place in a second; 0 sends them home.
    #[arg(long, value_name = "ORDERS", default_value_t = 2.0)]
    rate: f64,
    /// What the shoppers' dice are seeded with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Throws the demo's shop away and begins a new one.
    #[arg(long)]
    fresh: bool,
    /// Loads, prints what to try, and ends.
    #[arg(long)]
    once: bool,
    /// Prints address, token and what to try as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) async fn run(args: Args) -> Result<(), Error> {
    if !(0.0..=1_000.0).contains(&args.rate) {
        return Err(Error::Usage("--rate must be from 0 to 1000".into()));
    }
    let mut layers = args.settings.over(Layers::default().set_text("data", DATA)?)?;
    if let Some(listen) = &args.listen {
        layers = layers.set_text("listen", listen)?;
    }
    let config = layers.validate()?;
    let data = config.data.clone();
    if args.fresh {
        discard(&data)?;
    }
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut running = App::start(config).await?;
    let inside = Inside::of(&running);
    let ended = tokio::select! {
        ended = show(&args, inside, &data) => ended,
        fallen = running.fallen() => Err(fallen.into()),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    if io::stderr().is_terminal() {
        eprintln!("\rclosing: finishing what was begun");
    }
    running.shutdown().await;
    ended
}

/// What the demo sees of its shop beside what every client sees.
struct Inside {
    addr: SocketAddr,
    signer: Arc<Signer>,
    log: Arc<dyn EventStore>,
    positions: Positions,
}

impl Inside {
    fn of(running: &Running) -> Self {
        let (signer, log) = (Arc::clone(&running.signer), Arc::clone(running.log()));
        Self { addr: reachable(running.addr), signer, log, positions: running.positions.clone() }
    }
}

/// Loads, prints, and keeps the shoppers buying until it is dropped.
async fn show(args: &Args, inside: Inside, data: &Path) -> Result<(), Error> {
    let addr = inside.addr;
    let member = MemberId::derived(Uuid::nil(), &[b"the demo's operator"]);
    let token = inside.signer.issue(member, Roles::of(&[Role::Operator]), SystemClock.now(), TOKEN_TTL)?;
    let mut plan = plan::plan(EXTRACT).map_err(|error| Error::System(io::Error::other(error)))?;
    plan.products.iter_mut().for_each(|product| product.units += SHELF);
    // With more on the shelf it is another plan: an import of the extract itself must not take it for its own.
    plan.fingerprint.reverse();
    let report = load(&plan, data, addr, &token).await?;
    let tries = tries::all(addr, &token, member, &plan);
    announce(args.json, addr, &token, report.as_ref(), &plan, &tries)?;
    if args.once {
        return Ok(());
    }
    if !args.json {
        eprintln!("People are buying now. Ctrl-C closes the shop; it goes on from here when it is opened again.\n");
    }
    let client = Client::connect(&format!("http://{addr}"), &token).await.map_err(import::Error::from)?;
    let status = Status::new(args.json);
    let shoppers = Shoppers::new(&plan, client, args.seed, args.rate, &status);
    tokio::join!(shoppers.buy(), status.tell(&inside));
    Ok(())
}

/// Imports the extract unless that was done; a start that was interrupted goes on.
async fn load(plan: &Plan, data: &Path, addr: SocketAddr, token: &str) -> Result<Option<Report>, Error> {
    let loaded = data.join(LOADED);
    if loaded.exists() {
        return Ok(None);
    }
    let settings = import::Settings {
        endpoint: format!("http://{addr}"),
        token: token.to_owned(),
        parallel: 64,
        limit: None,
        resume_file: Some(data.join(JOURNAL)),
    };
    let report = import::replay::replay(plan, &settings, &Progress::on_stderr()).await?;
    fs::write(loaded, "the extract is in this shop\n")?;
    Ok(Some(report))
}

/// The address that somebody on this machine can call.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = if addr.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { addr.ip() };
    SocketAddr::new(ip, addr.port())
}

/// Removes a folder that is a shop, and no other.
fn discard(data: &Path) -> Result<(), Error> {
    let mut entries = match fs::read_dir(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if entries.next().is_some() && !crate::config::signing_key(data).exists() {
        return Err(Error::Usage(format!("{} holds something that is no shop; it is left alone", data.display())));
    }
    Ok(fs::remove_dir_all(data)?)
}

fn announce(
    json: bool,
    addr: SocketAddr,
    token: &str,
    report: Option<&Report>,
    plan: &Plan,
    tries: &[Try],
) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    if json {
        let line = serde_json::json!({
            "listening": addr.to_string(), "token": token, "products": plan.products.len(), "loaded": report, "try": tries,
        });
        writeln!(out, "{line}")?;
        return Ok(out.flush()?);
    }
    let colour = out.is_terminal();
    let [bold, dim, plain] = if colour { ["\x1b[1m", "\x1b[2m", "\x1b[0m"] } else { ["", "", ""] };
    let products = grouped(plan.products.len() as u64);
    writeln!(out, "\n{bold}Cartulary is open on {addr}{plain}   gRPC and JSON on one port, {products} products")?;
    if let Some(report) = report {
        let [sold, returned, refused] = [report.sold, report.returned, report.refused].map(grouped);
        let orders = grouped(report.orders as u64);
        writeln!(
            out,
            "{dim}{orders} real orders of a British wholesaler were replayed in {:.1} s: of {} invoice lines {sold} sold, \
             {returned} returned, {refused} refused with a reason{plain}",
            report.listing_seconds + report.replay_seconds,
            grouped(report.rows),
        )?;
    }
    for Try { what, line } in tries {
        // The token is long and nobody reads it.
        let line = line.replace(token, &format!("{dim}{token}{plain}"));
        writeln!(out, "\n{bold}{what}{plain}\n  {line}")?;
    }
    writeln!(out)?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extract_has_each_kind_of_row() {
        let plan = plan::plan(EXTRACT).expect("a file of orders");
        let mut reasons: Vec<String> = plan.refused.iter().map(|refused| refused.reason.to_string()).collect();
        reasons.sort();
        reasons.dedup();
        let expected = [
            "CREDIT_WITHOUT_SALE",
            "NEGATIVE_PRICE",
            "NEGATIVE_QUANTITY_WITHOUT_CREDIT",
            "NO_LIST_PRICE",
            "SUB_MINOR_PRICE",
            "UNKNOWN_INVOICE_KIND",
        ];
        assert_eq!(reasons, expected);
        assert!(plan.tasks.iter().any(|task| task.lines.len() > 600), "a large invoice");
        assert!(plan.tasks.iter().any(|task| task.undoes.is_some()), "a return");
        assert_eq!(plan.rows, 2_974, "as data/ATTRIBUTION.md says");
    }

    #[test]
    fn only_a_shop_is_thrown_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("shop");
        assert!(discard(&data).is_ok(), "there is nothing to throw away");
        fs::create_dir(&data).expect("a folder");
        fs::write(data.join("thesis.txt"), "years of work").expect("a file");
        assert!(matches!(discard(&data), Err(Error::Usage(_))));
        assert!(data.join("thesis.txt").exists());
        fs::write(crate::config::signing_key(&data), "").expect("a key");
        assert!(discard(&data).is_ok() && !data.exists());
    }

    #[test]
    fn an_address_that_means_all_is_called_at_home() {
        let all: SocketAddr = "0.0.0.0:7".parse().expect("an address");
        assert_eq!(reachable(all).to_string(), "127.0.0.1:7");
        assert_eq!(reachable("10.0.0.1:7".parse().expect("an address")).to_string(), "10.0.0.1:7");
    }
}
