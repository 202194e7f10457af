//! What a run tells: counts, faults, situations, violations, and a fingerprint of everything that happened.

use std::{collections::BTreeMap, fmt::Write as _};

use ports::store::Recorded;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{
    audit::{Evidence, Violation},
    faults::Fault,
    node::Ground,
};

/// The most violations told in full, and the most events of a stream told with one.
const VIOLATIONS_TOLD_MAX: usize = 12;
const EVENTS_TOLD_MAX: usize = 40;
/// How much of a violation is told in a line, and how many counts stand side by side in a table.
const LINE_MAX: usize = 240;
const COLUMNS: usize = 3;

/// What must have been asked in every run, by the client's name for it.
const KINDS: [&str; 15] = [
    "list",
    "receive",
    "count",
    "reprice",
    "launch",
    "claim",
    "place",
    "pay",
    "cancel",
    "return",
    "receive return",
    "refund",
    "repeat",
    "other body",
    "invalid",
];

/// The events that show a run to have been in every corner; zero of any fails it.
const CORNERS: [&str; 22] = [
    "order.refused",
    "order.expired",
    "order.cancelled",
    "order.payment_failed",
    "order.paid_late",
    "order.confirmed",
    "order.delivered",
    "order.undeliverable",
    "order.closed",
    "order.return_opened",
    "order.returned",
    "stock.released",
    "stock.restocked",
    "stock.counted",
    "claim.held",
    "claim.redeemed",
    "claim.restored",
    "payment.declined",
    "payment.cancelled",
    "payment.voided",
    "payment.refunded",
    "payment.refund_failed",
];

/// The fewest commands of a run.
pub const COMMANDS_MIN: u64 = 2_000;

/// What one seed came to.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Commands by kind; repetitions that network and clients add on their own are not counted.
    pub commands: BTreeMap<&'static str, u64>,
    /// Answers by name, to every sending.
    pub answers: BTreeMap<&'static str, u64>,
    /// Faults by type.
    pub faults: BTreeMap<&'static str, u64>,
    /// Events by stored type.
    pub events: BTreeMap<String, u64>,
    /// Simulated seconds: with faults, and in all.
    pub simulated: (u64, u64),
    /// SKUs on which a crash had left a hold that only its lapse has freed.
    pub swept: usize,
    /// A hash of the log and of every count: the same seed has the same.
    pub fingerprint: String,
    /// Everything that must not be, in words.
    pub violations: Vec<String>,
    /// The log and the requests as lines, for people.
    #[serde(skip)]
    pub timeline: Vec<String>,
}

impl Report {
    /// Sums up a run.
    pub(super) fn new(
        ground: &Ground,
        log: &[Recorded],
        evidence: &Evidence,
        violations: &[Violation],
        swept: usize,
        traded_ms: u64,
    ) -> Self {
        let mut commands: BTreeMap<_, u64> = KINDS.iter().map(|kind| (*kind, 0)).collect();
        let mut answers: BTreeMap<_, u64> = BTreeMap::new();
        for asked in &evidence.asked {
            *commands.entry(asked.kind).or_default() += 1;
            for (_, answer) in &asked.answers {
                *answers.entry(answer.name()).or_default() += 1;
            }
        }
        let mut events: BTreeMap<String, u64> = CORNERS.iter().map(|kind| ((*kind).to_owned(), 0)).collect();
        for recorded in log {
            *events.entry(recorded.kind.clone()).or_default() += 1;
        }
        let faults: BTreeMap<_, _> =
            ground.faults.counts().into_iter().map(|(fault, count)| (fault.name(), count)).collect();
        let mut violations = tell(violations, evidence);
        missing("fault", &faults, Fault::ALL.iter().map(|fault| fault.name()), &mut violations);
        missing("command", &commands, KINDS, &mut violations);
        let corners: BTreeMap<&str, u64> = events.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        missing("event", &corners, CORNERS, &mut violations);
        let total: u64 = commands.values().sum::<u64>() - commands.get("repeat at rest").copied().unwrap_or(0);
        if total < COMMANDS_MIN {
            violations.push(format!("only {total} commands, not {COMMANDS_MIN}"));
        }
        let simulated = (traded_ms / 1_000, ground.clock.elapsed_ms() / 1_000);
        let fingerprint = fingerprint(log, &(&commands, &answers, &faults, simulated));
        let timeline = timeline(evidence);
        Self {
            seed: ground.seed,
            commands,
            answers,
            faults,
            events,
            simulated,
            swept,
            fingerprint,
            violations,
            timeline,
        }
    }

    /// True when nothing is wrong.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.violations.is_empty()
    }

    /// The run in a line, with its violations below.
    #[must_use]
    pub fn line(&self) -> String {
        let verdict = if self.passed() { "ok" } else { "VIOLATED" };
        let sum = |counts: &BTreeMap<&str, u64>| counts.values().sum::<u64>();
        let (commands, faults, events) = (sum(&self.commands), sum(&self.faults), self.events.values().sum::<u64>());
        let (traded, all) = self.simulated;
        let seed = self.seed;
        let mut line = format!(
            "seed {seed:<6} {verdict:<8} {commands} commands, {faults} faults, {events} events, {} swept, {traded} s with \
             faults, {all} s in all, {}",
            self.swept,
            self.short()
        );
        for violation in &self.violations {
            let rule = violation.lines().next().unwrap_or_default();
            let _ = write!(line, "\n  ✗ {}", rule.chars().take(LINE_MAX).collect::<String>());
        }
        line
    }

    /// The run as a table.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = format!("{}\n", self.line().lines().next().unwrap_or_default());
        let events: BTreeMap<&str, u64> = self.events.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        let columns =
            [("commands", &self.commands), ("answers", &self.answers), ("faults", &self.faults), ("events", &events)];
        for (name, counts) in columns {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "  {name:<9} {:>6}", counts.values().sum::<u64>());
            for line in counts.iter().collect::<Vec<_>>().chunks(COLUMNS) {
                let cells: Vec<_> = line.iter().map(|(what, count)| format!("{count:>6} {what:<32}")).collect();
                let _ = writeln!(table, "  {}", cells.concat().trim_end());
            }
        }
        for violation in &self.violations {
            let _ = writeln!(table, "  ✗ {violation}");
        }
        table
    }

    /// The beginning of the fingerprint.
    #[must_use]
    pub fn short(&self) -> &str {
        self.fingerprint.get(..12).unwrap_or(&self.fingerprint)
    }
}

/// What several runs came to: how many hold, and every fault type with its sum and its smallest count.
#[must_use]
pub fn summary(reports: &[Report]) -> String {
    let held = reports.iter().filter(|report| report.passed()).count();
    let mut text = format!("{held} of {} seeds hold; faults in all (fewest in a run):\n", reports.len());
    for fault in Fault::ALL.iter().map(|fault| fault.name()) {
        let counts = reports.iter().map(|report| report.faults.get(fault).copied().unwrap_or(0));
        let (sum, min) = (counts.clone().sum::<u64>(), counts.min().unwrap_or(0));
        let _ = writeln!(text, "  {sum:>8} ({min:>4})  {fault}");
    }
    text
}

fn missing<'a>(
    what: &str,
    counts: &BTreeMap<&str, u64>,
    all: impl IntoIterator<Item = &'a str>,
    violations: &mut Vec<String>,
) {
    for name in all {
        if counts.get(name).copied().unwrap_or(0) == 0 {
            violations.push(format!("no {what} of type \"{name}\" in the whole run: it proves nothing about it"));
        }
    }
}

/// The violations with the events that led to them.
fn tell(violations: &[Violation], evidence: &Evidence) -> Vec<String> {
    let mut told = Vec::new();
    for Violation { rule, what, streams } in violations.iter().take(VIOLATIONS_TOLD_MAX) {
        let mut text = format!("{rule}: {what}");
        for stream in streams {
            let events: Vec<_> = evidence.log.iter().filter(|fact| fact.stream == *stream).collect();
            let skipped = events.len().saturating_sub(EVENTS_TOLD_MAX);
            let _ = write!(text, "\n      {stream}: {} events", events.len());
            for fact in events.iter().skip(skipped) {
                let _ = write!(text, "\n        {}", fact.line());
            }
        }
        told.push(text);
    }
    if violations.len() > VIOLATIONS_TOLD_MAX {
        let mut rules: BTreeMap<_, u64> = BTreeMap::new();
        for violation in violations {
            *rules.entry(violation.rule).or_default() += 1;
        }
        told.push(format!("{} violations in all: {rules:?}", violations.len()));
    }
    told
}

fn fingerprint(log: &[Recorded], counts: &impl std::fmt::Debug) -> String {
    let mut hash = Sha256::new();
    for recorded in log {
        hash.update(recorded.position.0.to_be_bytes());
        hash.update(recorded.stream.as_bytes());
        hash.update(recorded.revision.to_be_bytes());
        hash.update(recorded.id.as_bytes());
        hash.update(recorded.kind.as_bytes());
        hash.update(recorded.recorded_at.to_string().as_bytes());
        hash.update(&recorded.data);
        hash.update(&recorded.metadata);
    }
    hash.update(format!("{counts:?}").as_bytes());
    let digest = hash.finalize();
    digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The log, line by line, then every request with its answers.
fn timeline(evidence: &Evidence) -> Vec<String> {
    let mut lines: Vec<String> = evidence.log.iter().map(super::audit::Fact::line).collect();
    for asked in &evidence.asked {
        lines.push(format!("asked at {} ms ({}, {} times): {:?}", asked.at_ms, asked.kind, asked.sends, asked.request));
        lines.extend(asked.answers.iter().map(|(at, answer)| format!("    heard at {at} ms: {answer:?}")));
    }
    lines
}
