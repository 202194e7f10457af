//! One quiet line that says the shop is alive.

use std::{
    io::IsTerminal as _,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ports::store::Position;

use super::Inside;
use crate::cli::import::report::grouped;

/// How often the line is renewed on a terminal.
const EVERY: Duration = Duration::from_millis(500);
/// How often a new line is written where there is no terminal.
const EVERY_LINE: Duration = Duration::from_secs(60);
/// How much of the rate shown is the newest look: the eye wants the trend.
const FRESH: f64 = 0.1;

/// What the shoppers have done so far.
pub(super) struct Status {
    /// Orders whose stock was reserved.
    pub(super) orders: AtomicU64,
    /// Orders that the shop refused.
    pub(super) refused: AtomicU64,
    quiet: bool,
}

impl Status {
    /// `quiet` says nothing.
    pub(super) const fn new(quiet: bool) -> Self {
        Self { orders: AtomicU64::new(0), refused: AtomicU64::new(0), quiet }
    }

    /// Tells how the shop is, until it is dropped.
    pub(super) async fn tell(&self, inside: &Inside) {
        let bar = (!self.quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{prefix:.green} {wide_msg}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner())).with_prefix("●")
        });
        let every = if bar.is_some() { EVERY } else { EVERY_LINE };
        let (mut before, mut rate) = (0, None);
        loop {
            tokio::time::sleep(every).await;
            let orders = self.orders.load(Ordering::Relaxed);
            let newest = (orders - before) as f64 / every.as_secs_f64();
            let trend = rate.map_or(newest, |rate: f64| rate + (newest - rate) * FRESH);
            (before, rate) = (orders, Some(trend));
            let line = self.line(inside, trend).await;
            match &bar {
                Some(bar) => bar.set_message(line),
                None if self.quiet => {}
                None => eprintln!("{line}"),
            }
        }
    }

    /// Orders, the log, and how far the slowest view is behind it.
    async fn line(&self, inside: &Inside, rate: f64) -> String {
        let log = &inside.log;
        let head = log.head().await.unwrap_or(Position::START);
        let events = log.distance(Position::START, head).await.unwrap_or(0);
        let views = inside.positions.all();
        let slowest = views.iter().map(|(_, standing)| standing.position).min().unwrap_or(head);
        let behind = log.distance(slowest, head).await.unwrap_or(0);
        let [orders, refused] = [&self.orders, &self.refused].map(|count| grouped(count.load(Ordering::Relaxed)));
        let [events, behind] = [events, behind].map(grouped);
        format!("{orders} orders · {rate:.1}/s · {refused} refused · {events} events · views {behind} behind")
    }
}
