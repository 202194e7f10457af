//! Coupon claims: a row per claim, the coupon in a member's hand.
//!
//! A claim is made on its campaign's stream and lives on its own; this view joins both under the claim's id.

use domain::{
    coupon::{campaign, claim},
    event::Event,
    ids::{CampaignId, ClaimId, MemberId, OrderId},
    money::Money,
};
use jiff::Timestamp;
use ports::views::Key;
use serde::{Deserialize, Serialize};

use crate::{
    event::{Category, Fact},
    key::key,
    reader::Query,
    view::{Fault, Touched, View},
};

const BY_MEMBER: &str = "by_member";
const BY_CAMPAIGN: &str = "by_campaign";

/// The view of claims.
#[derive(Debug)]
pub struct Claims;

/// A coupon in a member's hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Which claim.
    pub claim: ClaimId,
    /// The campaign it comes from.
    pub campaign: CampaignId,
    /// Whose it is.
    pub member: MemberId,
    /// Which of the member's claims on the campaign it is, from 1.
    pub nth: u32,
    /// What became of it.
    pub state: State,
    /// When it was made.
    pub claimed_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It can be used.
    Free,
    /// An order holds it.
    Held {
        /// Which.
        order: OrderId,
        /// What it takes off that order.
        discount: Money,
    },
    /// It is used.
    Redeemed {
        /// By which order.
        order: OrderId,
    },
}

/// A member's claims, the newest first.
#[must_use]
pub fn of_member(member: MemberId) -> Query<Claims> {
    Query::index(BY_MEMBER).under(&(member,)).backward()
}

/// A member's claims on one campaign, in order.
#[must_use]
pub fn of_member_on(campaign: CampaignId, member: MemberId) -> Query<Claims> {
    Query::index(BY_CAMPAIGN).under(&(campaign, member))
}

/// What a fact means to a claim.
#[derive(Debug)]
pub enum Change<'a> {
    /// It was made, on this campaign.
    Made(CampaignId, &'a campaign::Claimed),
    /// Something happened to it.
    Used(&'a claim::Event),
}

impl View for Claims {
    const NAME: &'static str = "claims";
    const VERSION: u32 = 1;
    const READS: &'static [Category] = &[Category::Campaign, Category::Claim];
    const INDEXES: &'static [&'static str] = &[BY_MEMBER, BY_CAMPAIGN];
    type Key = ClaimId;
    type Row = Claim;
    type Change<'a> = Change<'a>;

    fn touch<'a>(fact: &'a Fact, touched: &mut Touched<'a, Self>) -> Result<(), Fault> {
        match &fact.event {
            Event::Campaign(campaign::Event::Claimed(claimed)) => {
                touched.row(claimed.claim, Change::Made(fact.subject().parse()?, claimed));
            }
            Event::Claim(event) => touched.row(fact.subject().parse()?, Change::Used(event)),
            _ => {}
        }
        Ok(())
    }

    fn apply(key: &ClaimId, row: Option<Claim>, change: Change<'_>, fact: &Fact) -> Result<Option<Claim>, Fault> {
        let row = match (row, change) {
            (_, Change::Made(campaign, claimed)) => Claim {
                claim: *key,
                campaign,
                member: claimed.member,
                nth: claimed.nth,
                state: State::Free,
                claimed_at: fact.occurred_at,
                changed_at: fact.occurred_at,
            },
            (None, Change::Used(_)) => return Err(Fault::missing("claim", key)),
            (Some(row), Change::Used(event)) => {
                let state = match event {
                    claim::Event::Held(held) => State::Held { order: held.order, discount: held.discount },
                    claim::Event::Redeemed(redeemed) => State::Redeemed { order: redeemed.order },
                    claim::Event::Restored(_) => State::Free,
                };
                Claim { state, changed_at: fact.occurred_at, ..row }
            }
        };
        Ok(Some(row))
    }

    fn indexes(row: &Claim) -> Vec<(&'static str, Key)> {
        vec![
            (BY_MEMBER, key(&(row.member, row.claimed_at))),
            (BY_CAMPAIGN, key(&(row.campaign, row.member, u64::from(row.nth)))),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Told, fault, gbp, row, told};
    use domain::coupon::{
        campaign::Claimed,
        claim::{Held, Redeemed, Restored},
    };

    const CAMPAIGN: CampaignId = CampaignId::from_u128(7);
    const MEMBER: MemberId = MemberId::from_u128(1);
    const CLAIM: ClaimId = ClaimId::from_u128(2);
    const ORDER: OrderId = OrderId::from_u128(3);

    fn made() -> Told {
        told(format!("campaign-{CAMPAIGN}"), 1, Claimed { claim: CLAIM, member: MEMBER, nth: 2 })
    }

    fn held() -> Told {
        let held = Held { campaign: CAMPAIGN, member: MEMBER, order: ORDER, discount: gbp(5) };
        told(format!("claim-{CLAIM}"), 2, held)
    }

    fn redeemed() -> Told {
        told(format!("claim-{CLAIM}"), 3, Redeemed { campaign: CAMPAIGN, order: ORDER })
    }

    fn restored(redeemed: bool) -> Told {
        told(format!("claim-{CLAIM}"), 4, Restored { campaign: CAMPAIGN, order: ORDER, redeemed })
    }

    fn check(story: &[Told], state: &State) {
        let row = row::<Claims>(story);
        assert_eq!(&row.state, state);
        assert_eq!((row.claim, row.campaign, row.member, row.nth), (CLAIM, CAMPAIGN, MEMBER, 2));
    }

    #[test]
    fn a_claim_is_free_held_redeemed_and_free_again() {
        check(&[made()], &State::Free);
        check(&[made(), held()], &State::Held { order: ORDER, discount: gbp(5) });
        check(&[made(), held(), redeemed()], &State::Redeemed { order: ORDER });
        check(&[made(), held(), restored(false)], &State::Free);
        check(&[made(), held(), redeemed(), restored(true)], &State::Free);
    }

    #[test]
    fn a_claim_that_was_never_made_cannot_be_used() {
        for orphan in [held(), redeemed(), restored(false)] {
            assert_eq!(fault::<Claims>(&[orphan]), Fault::missing("claim", &CLAIM));
        }
    }
}
