//! What was acknowledged is there, once, and is acknowledged in the same way ever after.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Evidence, Fact, Findings};
use crate::sim::record::{Answer, Asked, Effect};

/// A caller and their id of a wish.
type Wisher = (Uuid, Uuid);

/// Everything that was said about one id of one caller.
#[derive(Default)]
struct Said<'a> {
    asked: Vec<&'a Asked>,
}

/// An effect that was told: of which body, and when it was heard of.
struct Told<'a> {
    body: u64,
    at_ms: u64,
    effect: &'a Effect,
}

/// Holds every answer against the log.
pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    let mut caused: BTreeMap<Wisher, Vec<&Fact>> = BTreeMap::new();
    for fact in &evidence.log {
        if let (Some(member), Some(request)) = (fact.member(), fact.request()) {
            caused.entry((member, request)).or_default().push(fact);
        }
    }
    let mut said: BTreeMap<Wisher, Said<'_>> = BTreeMap::new();
    for asked in &evidence.asked {
        said.entry((asked.request.member().0, asked.request.id)).or_default().asked.push(asked);
    }
    for asked in evidence.asked.iter().filter(|asked| asked.at_ms >= evidence.calm_from_ms) {
        let settled = asked.answers.iter().any(|(_, answer)| answer.settles());
        findings.expect(settled, "everybody is answered once faults have stopped", &[], || {
            format!("{:?} was sent {} times, the last answer is {:?}", asked.request, asked.sends, asked.answers.last())
        });
    }
    let head = evidence.log.last().map_or(0, |fact| fact.position);
    for (wisher, said) in &said {
        let facts = caused.get(wisher).map_or(&[][..], Vec::as_slice);
        once(facts, findings);
        nothing_for_a_refusal(said, facts, findings);
        for told in said.told() {
            is_there(&told, facts, head, findings);
        }
        the_same_for_ever(said, findings);
    }
}

impl<'a> Said<'a> {
    /// Every effect that was told, in no order.
    fn told(&self) -> Vec<Told<'a>> {
        let mut told = Vec::new();
        for asked in &self.asked {
            for (at_ms, answer) in &asked.answers {
                if let Answer::Done(effect) = answer
                    && !effect.kinds.is_empty()
                {
                    told.push(Told { body: asked.request.body_hash(), at_ms: *at_ms, effect });
                }
            }
        }
        told
    }
}

/// The events of one request in one stream lie side by side: it was done in one go, once.
fn once(facts: &[&Fact], findings: &mut Findings) {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for fact in facts {
        if let Some(before) = last.insert(&fact.stream, fact.revision) {
            findings
                .expect(fact.revision == before + 1, "a request has its effect once", &[&fact.stream], || fact.line());
        }
    }
}

/// A request that heard nothing but refusals has changed nothing.
fn nothing_for_a_refusal(said: &Said<'_>, facts: &[&Fact], findings: &mut Findings) {
    let nothing = |asked: &&Asked| {
        let heard = asked.answers.iter().all(|(_, answer)| matches!(answer, Answer::Refused(_) | Answer::Busy(_)));
        heard && asked.answers.len() == asked.sends as usize
    };
    if said.asked.iter().all(nothing)
        && let Some(fact) = facts.first()
    {
        findings.expect(false, "what was refused changes nothing", &[&fact.stream], || {
            format!("{} after {:?}", fact.line(), said.asked)
        });
    }
}

/// An acknowledged effect is in the log, where it was told.
fn is_there(told: &Told<'_>, facts: &[&Fact], head: u64, findings: &mut Findings) {
    let Effect { stream, revision, position, kinds, replayed } = told.effect;
    let there: Vec<&&Fact> = facts.iter().filter(|fact| fact.stream == *stream).collect();
    let what = || format!("{:?} was told, there is {:?}", told.effect, lines(&there));
    let as_told = there.iter().map(|fact| &fact.kind).eq(kinds);
    findings.expect(as_told, "nothing acknowledged is lost", &[stream], what);
    let Some(last) = there.last() else { return };
    findings.expect(last.revision + 1 == *revision, "an effect is at the revision that was told", &[stream], what);
    let readable = last.position <= *position && *position <= head && (!replayed || last.position == *position);
    findings.expect(readable, "an effect can be read at the position that was told", &[stream], what);
}

/// Once an effect was heard of, everybody who asks under that id from then on hears just that, or that the id is used.
fn the_same_for_ever(said: &Said<'_>, findings: &mut Findings) {
    let told = said.told();
    let Some(first) = told.iter().min_by_key(|told| told.at_ms) else { return };
    let streams = [first.effect.stream.as_str()];
    for other in &told {
        let same = (&other.effect.stream, other.effect.revision, &other.effect.kinds)
            == (&first.effect.stream, first.effect.revision, &first.effect.kinds);
        findings.expect(same, "a repeated request is answered as before", &streams, || {
            format!("{:?}, then {:?}", first.effect, other.effect)
        });
    }
    let bodies: BTreeSet<u64> = told.iter().map(|told| told.body).collect();
    findings.expect(bodies.len() == 1, "an id has one body", &streams, || {
        format!("{} bodies were done under one id: {:?}", bodies.len(), said.asked)
    });
    for asked in said.asked.iter().filter(|asked| asked.at_ms > first.at_ms) {
        let same_body = asked.request.body_hash() == first.body;
        for (_, answer) in &asked.answers {
            let fits = match answer {
                Answer::Done(effect) => same_body && effect.kinds == first.effect.kinds,
                Answer::Refused(_) => false,
                Answer::Reused => !same_body,
                Answer::Busy(_) | Answer::Unknown(_) | Answer::Told(_) => true,
            };
            let rule = match same_body {
                true => "a repeated request is answered as before",
                false => "an id with another body is refused",
            };
            findings.expect(fits, rule, &streams, || {
                format!("{:?} is answered {answer:?} after {:?}", asked.request, first.effect)
            });
        }
    }
}

fn lines(facts: &[&&Fact]) -> Vec<String> {
    facts.iter().map(|fact| fact.line()).collect()
}
