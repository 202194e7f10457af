//! `cartulary views`: what can be done with a shop's views beside reading them.

use std::{io::Write as _, sync::Arc};

use ports::{
    clock::Clock,
    store::{self, EventStore, Position},
    views::ViewStore,
};
use projections::{fold::AnyView, rebuild::Rebuild};

use super::{Error, Settings, import::report::grouped, progress::Progress};
use crate::{app::engines, clock::SystemClock, config::Config};

/// What `views` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Folds views anew from the log, beside the old ones, which go on serving until the new ones take their place.
    ///
    /// For rows that were damaged, or folded by a program with a bug. The shop may go on meanwhile where its log and its views
    /// are on servers; a shop in files is closed first. If it is broken off, the old rows are as they were, and the next
    /// rebuild removes what this one has left behind.
    #[command(after_help = "\
Examples:
  cartulary views rebuild orders sales --config fleet.toml
  cartulary views rebuild --all --data shop --json")]
    Rebuild(Rebuilding),
}

#[derive(Debug, clap::Args)]
struct Rebuilding {
    /// The views, by their names.
    #[arg(value_name = "VIEW", required_unless_present = "all")]
    views: Vec<String>,
    /// Every view.
    #[arg(long, conflicts_with = "views")]
    all: bool,
    #[command(flatten)]
    settings: Settings,
    /// Prints what was rebuilt, a line of JSON for each view.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<(), Error> {
    let Command::Rebuild(args) = args.command;
    let wanted = wanted(&args.views)?;
    let config = args.settings.existing()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (log, rows) = (engines::log(&config, &clock).await?, engines::rows(&config).await?);
    for view in wanted {
        let (events, position) = rebuild(&log, &rows, view.as_ref(), &config).await?;
        let mut out = std::io::stdout().lock();
        if args.json {
            let line =
                serde_json::json!({ "view": view.name(), "rows": view.id(), "events": events, "position": position });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{}: rebuilt from {} events", view.name(), grouped(events))?;
        }
    }
    Ok(())
}

/// The views of these names, or all of them if there are none.
fn wanted(names: &[String]) -> Result<Vec<Box<dyn AnyView>>, Error> {
    let all = projections::views::all();
    let known: Vec<&str> = all.iter().map(|view| view.name()).collect();
    if let Some(stranger) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(Error::Usage(format!("there is no view {stranger}; there are {}", known.join(", "))));
    }
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    Ok(all.into_iter().filter(|view| is_wanted(view.name())).collect())
}

/// How often the view store may fail during one rebuild.
const FAILURES_MAX: u32 = 5;

/// How many events it came through, and where the view stands.
async fn rebuild(
    log: &Arc<dyn EventStore>,
    rows: &Arc<dyn ViewStore>,
    view: &dyn AnyView,
    config: &Config,
) -> Result<(u64, u64), Error> {
    let failed = |error: projections::rebuild::Error| Error::Rebuild { view: view.name(), error };
    let unread = |error: store::Error| failed(projections::engine::Error::from(error).into());
    let progress = Progress::on_stderr();
    let head = log.head().await.map_err(unread)?;
    progress.begin(view.name(), "events", log.distance(Position::START, head).await.map_err(unread)?);
    let begun = Rebuild::begin(Arc::clone(log), Arc::clone(rows), view, config.engine).await;
    let mut rebuild = begun.map_err(|error| failed(error.into()))?;
    let (mut events, mut failures) = (0, 0);
    loop {
        let step = match rebuild.step().await {
            Ok(step) => step,
            // The engine goes on with smaller steps.
            Err(error @ projections::rebuild::Error::Engine(projections::engine::Error::Views(_)))
                if failures < FAILURES_MAX =>
            {
                failures += 1;
                tracing::warn!(view = view.name(), %error, "a step of the rebuild is tried again");
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        events += step.events;
        progress.advance(step.events);
        if step.done {
            progress.end();
            return Ok((events, step.position.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_known_by_its_name() {
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            wanted(&names).map(|views| views.iter().map(|view| view.name()).collect::<Vec<_>>())
        };
        assert_eq!(names(&["sales", "orders"]).expect("there are"), ["orders", "sales"]);
        assert_eq!(names(&[]).expect("all").len(), projections::views::all().len());
        let error = names(&["orders.3"]).expect_err("that is no name");
        assert!(error.to_string().contains("catalog"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}
