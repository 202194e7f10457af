//! How far it is: a bar with rate and time left on a terminal, a line every few seconds elsewhere.

use std::{io::IsTerminal as _, sync::Mutex, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::import::report::grouped;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// What the bar looks like.
const BAR: &str = "{prefix:>9} {bar:32.cyan/dim} {human_pos}/{human_len} {msg}  {per_sec}  {eta} left";

/// Tells people on standard error how far it is.
pub struct Progress {
    shown: Shown,
}

enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines(Mutex<Lines>),
}

struct Lines {
    what: &'static str,
    unit: &'static str,
    /// What was done before it began: part of the whole, and not of the rate.
    before: u64,
    done: u64,
    total: u64,
    since: Instant,
    next: Instant,
}

impl Progress {
    /// Tells nobody.
    #[must_use]
    pub const fn silent() -> Self {
        Self { shown: Shown::Nothing }
    }

    /// A bar on a terminal, lines elsewhere.
    #[must_use]
    pub fn on_stderr() -> Self {
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(8));
            let style = ProgressStyle::with_template(BAR).map(|style| style.progress_chars("━╸─"));
            return Self { shown: Shown::Bar(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))) };
        }
        let now = Instant::now();
        Self {
            shown: Shown::Lines(Mutex::new(Lines {
                what: "",
                unit: "",
                before: 0,
                done: 0,
                total: 0,
                since: now,
                next: now,
            })),
        }
    }

    /// Begins something of this many rows, or events, or whatever is counted.
    pub(super) fn begin(&self, what: &'static str, unit: &'static str, total: u64) {
        self.resume(what, unit, 0, total);
    }

    /// Goes on with something of which so much was done before: rate and time left are those of what is done from now on.
    pub(super) fn resume(&self, what: &'static str, unit: &'static str, before: u64, total: u64) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                bar.reset();
                bar.set_length(total);
                bar.set_prefix(what);
                bar.set_message(unit);
                bar.set_position(before);
                // The bar notes where it stands, and then forgets how fast it came there.
                bar.tick();
                bar.reset_eta();
            }
            Shown::Lines(lines) => {
                let now = Instant::now();
                let fresh = Lines { what, unit, before, done: before, total, since: now, next: now + LINE_EVERY };
                *lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh;
            }
        }
    }

    /// Moves on by so many of them.
    pub(super) fn advance(&self, done: u64) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => bar.inc(done),
            Shown::Lines(lines) => {
                let mut lines = lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                lines.done += done;
                let now = Instant::now();
                if now >= lines.next {
                    lines.next = now + LINE_EVERY;
                    eprintln!("{}", lines.line(now));
                }
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

impl Lines {
    fn line(&self, now: Instant) -> String {
        let seconds = now.duration_since(self.since).as_secs_f64();
        let rate = self.done.saturating_sub(self.before) as f64 / seconds.max(0.001);
        let left = self.total.saturating_sub(self.done) as f64 / rate.max(0.001);
        let [done, total] = [self.done, self.total].map(grouped);
        let (what, unit, rate) = (self.what, self.unit, grouped(rate as u64));
        format!("{what}: {done} of {total} {unit}, {rate} {unit}/s, {left:.0} s left")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_what_the_rate_so_far_promises() {
        let since = Instant::now();
        let (what, unit, done, total) = ("replaying", "rows", 2_000, 6_000);
        let lines = Lines { what, unit, before: 0, done, total, since, next: since };
        let line = lines.line(since + Duration::from_secs(4));
        assert_eq!(line, "replaying: 2,000 of 6,000 rows, 500 rows/s, 8 s left");
        let lines = Lines { before: 1_600, ..lines };
        let line = lines.line(since + Duration::from_secs(4));
        assert_eq!(line, "replaying: 2,000 of 6,000 rows, 100 rows/s, 40 s left", "what was done before took no time");
    }

    #[test]
    fn a_bar_that_goes_on_begins_where_it_was_and_has_no_rate_yet() {
        let bar = ProgressBar::hidden();
        let progress = Progress { shown: Shown::Bar(bar.clone()) };
        progress.begin("listing", "rows", 10);
        progress.advance(10);
        progress.resume("replaying", "rows", 1_000_000, 3_000_000);
        assert_eq!((bar.position(), bar.length()), (1_000_000, Some(3_000_000)));
        std::thread::sleep(Duration::from_millis(5));
        bar.tick();
        assert!(bar.per_sec() < 1.0, "{} a second, of which nothing was done", bar.per_sec());
    }
}
