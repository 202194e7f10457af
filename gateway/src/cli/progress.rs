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
        Self { shown: Shown::Lines(Mutex::new(Lines { what: "", unit: "", done: 0, total: 0, since: now, next: now })) }
    }

    /// Begins something of this many rows, or events, or whatever is counted.
    pub(super) fn begin(&self, what: &'static str, unit: &'static str, total: u64) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                bar.reset();
                bar.set_length(total);
                bar.set_prefix(what);
                bar.set_message(unit);
            }
            Shown::Lines(lines) => {
                let now = Instant::now();
                let fresh = Lines { what, unit, done: 0, total, since: now, next: now + LINE_EVERY };
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
        let rate = self.done as f64 / seconds.max(0.001);
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
        let lines = Lines { what: "replaying", unit: "rows", done: 2_000, total: 6_000, since, next: since };
        let line = lines.line(since + Duration::from_secs(4));
        assert_eq!(line, "replaying: 2,000 of 6,000 rows, 500 rows/s, 8 s left");
    }
}
