//! What a benchmark found: rates with their latencies, ratios with their goals, and what must be said beside them.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::{load::Measured, machine::Machine};

/// One benchmark's findings.
pub struct Report {
    name: &'static str,
    rows: Vec<Row>,
    ratios: Vec<Ratio>,
    notes: Vec<String>,
    not_run: Vec<String>,
}

struct Row {
    what: String,
    per_second: f64,
    /// Median, 99th and 99.9th percentile, in µs.
    latency: Option<[u64; 3]>,
}

/// A figure beside the one it is compared to.
struct Ratio {
    what: String,
    value: f64,
    goal: Goal,
    unit: &'static str,
}

/// What a figure should be.
#[derive(Clone, Copy)]
pub enum Goal {
    /// No less than this.
    Least(f64),
    /// No more than this.
    Most(f64),
    /// Whatever it is.
    None,
}

impl Goal {
    fn met(self, value: f64) -> Option<bool> {
        match self {
            Self::Least(goal) => Some(value >= goal),
            Self::Most(goal) => Some(value <= goal),
            Self::None => None,
        }
    }

    const fn bound(self) -> Option<f64> {
        match self {
            Self::Least(goal) | Self::Most(goal) => Some(goal),
            Self::None => None,
        }
    }
}

impl Report {
    /// Nothing found yet.
    pub const fn new(name: &'static str) -> Self {
        Self { name, rows: Vec::new(), ratios: Vec::new(), notes: Vec::new(), not_run: Vec::new() }
    }

    /// Adds what a load measured, and answers its rate.
    pub fn measured(&mut self, what: impl Into<String>, measured: &Measured) -> f64 {
        let rate = measured.per_second();
        self.rate(what, rate, Some(&measured.latency));
        rate
    }

    /// Adds a rate.
    pub fn rate(&mut self, what: impl Into<String>, per_second: f64, latency: Option<&Histogram<u64>>) {
        let latency = latency.map(|latency| [0.5, 0.99, 0.999].map(|q| latency.value_at_quantile(q)));
        self.rows.push(Row { what: what.into(), per_second, latency });
    }

    /// Adds the ratio of two rates.
    pub fn ratio(&mut self, what: impl Into<String>, rate: f64, to: f64, goal: Goal) {
        self.figure(what, if to > 0.0 { rate / to } else { 0.0 }, "×", goal);
    }

    /// Adds a figure with a goal.
    pub fn figure(&mut self, what: impl Into<String>, value: f64, unit: &'static str, goal: Goal) {
        self.ratios.push(Ratio { what: what.into(), value, goal, unit });
    }

    /// Adds something that must be said.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Says what was not measured, and why.
    pub fn not_run(&mut self, what: &str, why: &str) {
        self.not_run.push(format!("{what}: {why}"));
    }

    /// The findings for people.
    pub fn table(&self, machine: &Machine) -> String {
        let mut text = format!("\n{} · {}\n", self.name, machine.line());
        let wide = |what: &String| what.chars().count();
        let width = self.rows.iter().map(|row| &row.what).chain(self.ratios.iter().map(|ratio| &ratio.what));
        let width = width.map(wide).max().unwrap_or(0);
        let mut say = |line: String| writeln!(text, "{line}").expect("a string takes everything");
        if !self.rows.is_empty() {
            say(format!("  {:width$}  {:>10}  {:>9}  {:>9}  {:>9}", "", "per second", "p50 ms", "p99 ms", "p99.9 ms"));
        }
        for Row { what, per_second, latency } in &self.rows {
            let [p50, p99, p999] = latency.map_or_else(Default::default, |latency| latency.map(millis));
            say(format!("  {what:width$}  {per_second:>10.0}  {p50:>9}  {p99:>9}  {p999:>9}"));
        }
        for Ratio { what, value, goal, unit } in &self.ratios {
            let goal = match (goal.met(*value), goal) {
                (Some(met), Goal::Least(goal)) => format!("goal ≥ {goal} {unit}: {}", verdict(met)),
                (Some(met), Goal::Most(goal)) => format!("goal ≤ {goal} {unit}: {}", verdict(met)),
                _ => String::new(),
            };
            say(format!("  {what:width$}  {value:>10.2} {unit:<3} {goal}").trim_end().to_owned());
        }
        self.notes.iter().for_each(|note| say(format!("  {note}")));
        self.not_run.iter().for_each(|what| say(format!("  NOT RUN {what}")));
        text.trim_end().to_owned()
    }

    /// The findings for programs.
    pub fn json(&self, machine: &Machine) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "what": row.what,
                "per_second": row.per_second,
                "p50_us": row.latency.map(|[p50, ..]| p50),
                "p99_us": row.latency.map(|[_, p99, _]| p99),
                "p999_us": row.latency.map(|[.., p999]| p999),
            })
        });
        let figures = self.ratios.iter().map(|ratio| {
            let Ratio { what, value, goal, unit } = ratio;
            json!({ "what": what, "value": value, "unit": unit, "goal": goal.bound(), "met": goal.met(*value) })
        });
        json!({
            "benchmark": self.name,
            "machine": machine.json(),
            "rates": rows.collect::<Vec<_>>(),
            "figures": figures.collect::<Vec<_>>(),
            "notes": self.notes,
            "not_run": self.not_run,
        })
    }
}

const fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

fn millis(micros: u64) -> String {
    format!("{}.{:02}", micros / 1_000, micros % 1_000 / 10)
}
