//! Coupons: handed out within their limits, and each in one hand at a time.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fact, Findings, orders::Orders};

/// A campaign, by what it promised and what was handed out.
#[derive(Default)]
struct Campaign {
    quantity: Option<i64>,
    per_member: i64,
    window: (String, String),
    members: BTreeMap<String, i64>,
}

/// One claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Free,
    Held,
    Redeemed,
}

#[derive(Debug, Default)]
struct Claim {
    state: State,
    order: String,
}

/// Counts what was handed out, and follows every claim from hand to hand.
pub(super) fn check(log: &[Fact], orders: &Orders, findings: &mut Findings) {
    let owners = hand_out(log, findings);
    let mut claims: BTreeMap<String, Claim> = BTreeMap::new();
    for fact in log.iter().filter(|fact| fact.category() == "claim") {
        let claim = claims.entry(fact.subject().to_owned()).or_default();
        let (stream, order) = ([fact.stream.as_str()], fact.text("/order"));
        let what = || format!("{} after {claim:?}", fact.line());
        let own = claim.order == order;
        let next = match (fact.kind.as_str(), claim.state) {
            ("claim.held", State::Free) => Some(State::Held),
            ("claim.redeemed", State::Held) if own => Some(State::Redeemed),
            ("claim.restored", State::Held | State::Redeemed) if own => Some(State::Free),
            _ => None,
        };
        findings.expect(next.is_some(), "a coupon is in one hand at a time", &stream, what);
        if fact.kind == "claim.held" {
            let owner = owners.get(fact.subject());
            let theirs = owner.is_some_and(|owner| {
                (owner.0.as_str(), owner.1.as_str()) == (fact.text("/campaign"), fact.text("/member"))
            });
            findings.expect(theirs, "a coupon is used by who claimed it", &stream, what);
            let fits = orders.0.get(order).is_some_and(|placed| {
                placed.claim.as_deref() == Some(fact.subject())
                    && placed.buyer == fact.text("/member")
                    && placed.discount == fact.number("/discount/amount")
            });
            findings.expect(fits, "a coupon is used as the order was placed", &stream, what);
        }
        *claim = Claim { state: next.unwrap_or(claim.state), order: order.to_owned() };
    }
    for (id, claim) in &claims {
        let (stream, order) = (format!("claim-{id}"), format!("order-{}", claim.order));
        let delivered = orders.0.get(&claim.order).is_some_and(|order| order.delivered);
        let sound = match claim.state {
            State::Free => !delivered,
            State::Held => false,
            State::Redeemed => delivered,
        };
        findings.expect(sound, "a coupon ends as its order does", &[&stream, &order], || {
            format!("{claim:?}, its order is {}delivered", if delivered { "" } else { "not " })
        });
    }
    for (id, order) in orders.0.iter().filter(|(_, order)| order.delivered) {
        if let Some(claim) = &order.claim {
            let redeemed = claims.get(claim).is_some_and(|c| c.state == State::Redeemed && c.order == *id);
            let streams = [format!("order-{id}"), format!("claim-{claim}")];
            findings.expect(redeemed, "a discount costs a coupon", &[&streams[0], &streams[1]], || {
                format!("order {id} was delivered, its claim is {:?}", claims.get(claim))
            });
        }
    }
}

/// Campaign and member of every claim that was handed out.
fn hand_out(log: &[Fact], findings: &mut Findings) -> BTreeMap<String, (String, String)> {
    let mut campaigns: BTreeMap<String, Campaign> = BTreeMap::new();
    let mut owners = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for fact in log.iter().filter(|fact| fact.category() == "campaign") {
        let campaign = campaigns.entry(fact.subject().to_owned()).or_default();
        let (stream, what) = ([fact.stream.as_str()], || fact.line());
        match fact.kind.as_str() {
            "campaign.launched" => {
                campaign.quantity = fact.data.pointer("/terms/quantity").and_then(serde_json::Value::as_i64);
                campaign.per_member = fact.number("/terms/per_member");
                campaign.window = (fact.text("/terms/opens_at").into(), fact.text("/terms/closes_at").into());
            }
            "campaign.claimed" => {
                let member = fact.text("/member").to_owned();
                owners.insert(fact.text("/claim").to_owned(), (fact.subject().to_owned(), member.clone()));
                findings.expect(ids.insert(fact.text("/claim")), "every claim is another", &stream, what);
                let theirs = campaign.members.entry(member).or_default();
                *theirs += 1;
                let theirs = *theirs;
                findings.expect(theirs == fact.number("/nth"), "claims are counted", &stream, what);
                findings.expect(theirs <= campaign.per_member, "a member's limit holds", &stream, what);
                let all: i64 = campaign.members.values().sum();
                let within = campaign.quantity.is_none_or(|most| all <= most);
                findings.expect(within, "a campaign's quantity holds", &stream, what);
                findings.expect(campaign.is_open(fact), "a campaign is claimed within its window", &stream, what);
            }
            _ => {}
        }
    }
    owners
}

impl Campaign {
    fn is_open(&self, fact: &Fact) -> bool {
        let window = (self.window.0.parse::<jiff::Timestamp>(), self.window.1.parse::<jiff::Timestamp>());
        match (window, fact.occurred_at()) {
            ((Ok(opens), Ok(closes)), Some(at)) => (opens..closes).contains(&at),
            _ => false,
        }
    }
}
