//! What became of every row, and whether the classes sum to the file.
//!
//! A row is *sold* when its order was confirmed and delivered, *returned* when the goods are back and the money too,
//! *refused* with a reason, or *left* when a limit ended the run before it. A credit that undoes several sales is
//! returned when all of them are.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::{self, Write as _},
    io,
    time::Duration,
};

use serde::Serialize;

use super::{
    classify::{Reason, Refused},
    plan::Plan,
};

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Done to the end.
    Done,
    /// The shop refused it.
    Refused {
        /// Why.
        reason: Reason,
        /// In the shop's words.
        detail: String,
    },
}

/// What became of a file.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Rows in the file.
    pub rows: u64,
    /// Rows that were sold.
    pub sold: u64,
    /// Rows that were returned.
    pub returned: u64,
    /// Rows that were refused.
    pub refused: u64,
    /// Rows that a limit left out.
    pub left: u64,
    /// Refused rows by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Products listed.
    pub products: usize,
    /// Orders delivered.
    pub orders: usize,
    /// Returns refunded.
    pub returns: usize,
    /// How long the first pass took, in seconds: products and stock.
    pub listing_seconds: f64,
    /// How long the second pass took, in seconds: orders and returns.
    pub replay_seconds: f64,
    /// Whether every row is in one class.
    pub complete: bool,
    /// The refused rows, by line.
    #[serde(skip)]
    pub rejects: Vec<Refused>,
}

impl Report {
    /// Counts what became of each row; `verdicts` has an entry for each task that was begun.
    pub(super) fn count(plan: &Plan, verdicts: &[Verdict], (listing, replay): (Duration, Duration)) -> Self {
        let mut rejects: HashMap<u64, Refused> =
            plan.refused.iter().map(|refused| (refused.line, refused.clone())).collect();
        let mut sold = 0;
        // Credits of which at least a part was done.
        let mut parts: BTreeSet<u64> = BTreeSet::new();
        let (mut orders, mut returns) = (0, 0);
        for (task, verdict) in plan.tasks.iter().zip(verdicts) {
            let done = *verdict == Verdict::Done;
            orders += usize::from(done && task.undoes.is_none());
            returns += usize::from(done && task.undoes.is_some());
            for line in &task.lines {
                match verdict {
                    Verdict::Done if task.undoes.is_none() => sold += 1,
                    Verdict::Done => _ = parts.insert(line.line),
                    Verdict::Refused { reason, detail } => {
                        let (reason, detail) = (reason.clone(), detail.clone());
                        rejects.insert(line.line, Refused { line: line.line, reason, detail });
                    }
                }
            }
        }
        for (line, refused) in &mut rejects {
            if parts.remove(line) {
                refused.reason = Reason::PartlyReturned;
            }
        }
        // A credit of which a part was not begun is left, whatever became of the other part.
        let left = plan.tasks.iter().skip(verdicts.len()).flat_map(|task| &task.lines).map(|line| line.line);
        let left: BTreeSet<u64> = left.collect();
        parts.retain(|line| !left.contains(line));
        rejects.retain(|line, _| !left.contains(line));
        let mut rejects: Vec<Refused> = rejects.into_values().collect();
        rejects.sort_by_key(|refused| refused.line);
        let mut reasons = BTreeMap::new();
        for refused in &rejects {
            *reasons.entry(refused.reason.to_string()).or_default() += 1;
        }
        let (returned, refused, left) = (parts.len() as u64, rejects.len() as u64, left.len() as u64);
        Self {
            rows: plan.rows,
            sold,
            returned,
            refused,
            left,
            reasons,
            products: plan.products.len(),
            orders,
            returns,
            listing_seconds: listing.as_secs_f64(),
            replay_seconds: replay.as_secs_f64(),
            complete: sold + returned + refused + left == plan.rows,
            rejects,
        }
    }

    /// Writes the refused rows as CSV: `line,reason,detail`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_rejects(&self, mut out: impl io::Write) -> io::Result<()> {
        writeln!(out, "line,reason,detail")?;
        for Refused { line, reason, detail } in &self.rejects {
            writeln!(out, "{line},{reason},\"{}\"", detail.replace('"', "\"\"").replace(['\r', '\n'], " "))?;
        }
        out.flush()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.replay_seconds.max(0.001);
        let rate = |count: u64| grouped((count as f64 / seconds) as u64);
        let total = [self.sold, self.returned, self.refused, self.left].map(grouped);
        let [sold, returned, refused, left] = &total;
        let width = total.iter().map(String::len).max().unwrap_or(0);
        writeln!(f, "{} rows", grouped(self.rows))?;
        writeln!(f, "  sold      {sold:>width$}   {} orders", grouped(self.orders as u64))?;
        writeln!(f, "  returned  {returned:>width$}   {} returns", grouped(self.returns as u64))?;
        writeln!(f, "  refused   {refused:>width$}")?;
        for (reason, count) in &self.reasons {
            writeln!(f, "            {:>width$}   {reason}", grouped(*count))?;
        }
        if self.left > 0 {
            writeln!(f, "  left      {left:>width$}   by --limit")?;
        }
        let sum = if self.complete { "the classes sum to the file" } else { "THE CLASSES DO NOT SUM TO THE FILE" };
        writeln!(f, "  {sum}")?;
        write!(
            f,
            "{} products in {:.1} s; orders and returns in {:.1} s: {} rows/s, {} orders/s",
            grouped(self.products as u64),
            self.listing_seconds,
            self.replay_seconds,
            rate(self.sold + self.returned),
            rate(self.orders as u64),
        )
    }
}

/// A number with its thousands apart, as people read it.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        // Writing to a string does not fail.
        _ = text.write_char(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::cli::import::plan::{Line, Task};

    /// A plan of tasks as (sale that is undone, lines), with one more row refused.
    fn plan(tasks: &[(Option<usize>, &[u64])], rows: u64) -> Plan {
        let line = |line: &u64| Line { line: *line, product: 0, units: 1, price: 100 };
        let task = |(undoes, lines): &(Option<usize>, &[u64])| Task {
            at: Timestamp::UNIX_EPOCH,
            invoice: "1".into(),
            undoes: *undoes,
            customer: None,
            country: "GB".into(),
            lines: lines.iter().map(line).collect(),
        };
        Plan {
            fingerprint: [0; 32],
            rows,
            begins: Timestamp::UNIX_EPOCH,
            products: vec![],
            tasks: tasks.iter().map(task).collect(),
            refused: vec![Refused { line: 99, reason: Reason::BadRow, detail: "a \"quote\"".into() }],
        }
    }

    /// The letters of the verdicts (`.` done, `x` refused), and sold, returned, refused, left.
    fn check(plan: &Plan, verdicts: &str, classes: [u64; 4], complete: bool) -> Report {
        let refused = || Verdict::Refused { reason: Reason::Shop("OUT_OF_STOCK".into()), detail: String::new() };
        let verdicts: Vec<Verdict> =
            verdicts.chars().map(|verdict| if verdict == '.' { Verdict::Done } else { refused() }).collect();
        let report = Report::count(plan, &verdicts, (Duration::ZERO, Duration::from_secs(2)));
        assert_eq!([report.sold, report.returned, report.refused, report.left], classes);
        assert_eq!(report.complete, complete);
        report
    }

    #[test]
    fn every_row_is_in_one_class() {
        let file = plan(&[(None, &[2, 3]), (None, &[4]), (Some(0), &[5]), (Some(1), &[5, 6])], 6);
        check(&file, "....", [3, 2, 1, 0], true);
        check(&file, "..", [3, 0, 1, 2], true);
        check(&file, "...", [3, 0, 1, 2], true);
        check(&file, "..x", [3, 0, 1, 2], true);
        let report = check(&file, "...x", [3, 0, 3, 0], true);
        assert_eq!(
            report.reasons,
            BTreeMap::from([("BAD_ROW".into(), 1), ("OUT_OF_STOCK".into(), 1), ("PARTLY_RETURNED".into(), 1)])
        );
        check(&file, "x.x.", [1, 1, 4, 0], true);
    }

    #[test]
    fn a_sum_that_is_not_the_file_is_said() {
        let report = check(&plan(&[(None, &[2])], 3), ".", [1, 0, 1, 0], false);
        assert!(report.to_string().contains("DO NOT SUM"));
    }

    #[test]
    fn rejects_are_csv_and_numbers_are_readable() {
        let mut csv = Vec::new();
        check(&plan(&[], 1), "", [0, 0, 1, 0], true).write_rejects(&mut csv).unwrap();
        assert_eq!(String::from_utf8(csv).unwrap(), "line,reason,detail\n99,BAD_ROW,\"a \"\"quote\"\"\"\n");
        assert_eq!([0, 999, 1_000, 320_705].map(grouped), ["0", "999", "1,000", "320,705"]);
    }
}
