//! The auditor: a second, simpler model of the shop that the real one must agree with.
//!
//! It reads the finished log as plain JSON, the sandbox's ledger and what the clients remember. It shares no
//! type, no fold and no rule with the domain; where it re-tells a rule, it does so in its own words. Whatever
//! does not add up is a violation, told with the streams it is about.

use sandbox::Ledger;
use uuid::Uuid;

use super::record::Asked;

mod coupons;
mod fact;
mod money;
mod orders;
mod requests;
mod returns;
mod stock;

pub use fact::{Fact, read};

/// What a run leaves behind.
pub struct Evidence {
    /// The whole log.
    pub log: Vec<Fact>,
    /// What the provider really moved.
    pub ledger: Ledger,
    /// What the clients remember.
    pub asked: Vec<Asked>,
    /// From when on nothing but provider and carrier failed any more, in simulated milliseconds.
    pub calm_from_ms: u64,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule that is broken, in a few words.
    pub rule: &'static str,
    /// What is wrong.
    pub what: String,
    /// The streams that tell how it came to that.
    pub streams: Vec<String>,
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Violation>);

impl Findings {
    /// Something is wrong, unless `holds`.
    fn expect(&mut self, holds: bool, rule: &'static str, streams: &[&str], what: impl FnOnce() -> String) {
        if !holds {
            let streams = streams.iter().map(|stream| (*stream).to_owned()).collect();
            self.0.push(Violation { rule, what: what(), streams });
        }
    }
}

/// Checks everything.
#[must_use]
pub fn audit(evidence: &Evidence) -> Vec<Violation> {
    let mut findings = Findings::default();
    fact::check(&evidence.log, &mut findings);
    requests::check(evidence, &mut findings);
    let stock = stock::check(&evidence.log, &mut findings);
    let money = money::check(evidence, &mut findings);
    let orders = orders::check(&evidence.log, &stock, &money, &mut findings);
    coupons::check(&evidence.log, &orders, &mut findings);
    returns::check(&evidence.log, &orders, &stock, &mut findings);
    findings.0
}

/// What only people can bring to an end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loose {
    /// Returns whose goods nobody has taken in.
    pub returns: Vec<Uuid>,
    /// Refunds that the provider declined: payment, refund, minor units.
    pub refunds: Vec<(Uuid, Uuid, i64)>,
    /// SKUs that are held for somebody, and how many units of each are there.
    pub held: Vec<(String, u32)>,
}

/// Finds what is loose in a log.
#[must_use]
pub fn loose(log: &[Fact]) -> Loose {
    let mut findings = Findings::default();
    Loose {
        returns: returns::open(log),
        refunds: money::failed_refunds(log, &mut findings),
        held: stock::held(log, &mut findings),
    }
}

#[cfg(test)]
mod tests;
