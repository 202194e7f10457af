//! Coupon campaigns: a row per campaign with its terms and what became of its claims.
//!
//! What a shopper asks of a hot campaign (is anything left?) is one row here and touches no hot stream. Members'
//! own claims are another view: [`super::claims`].

use domain::{
    coupon::{Terms, campaign, claim},
    event::Event,
    ids::CampaignId,
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

const BY_OPENING: &str = "by_opening";

/// The view of campaigns.
#[derive(Debug)]
pub struct Campaigns;

/// The status of a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// Which campaign.
    pub campaign: CampaignId,
    /// What people call it.
    pub name: String,
    /// What it promises.
    pub terms: Terms,
    /// Whether it was ended before its window closed.
    pub ended: bool,
    /// Claims made.
    pub claimed: u64,
    /// How often an order took a claim in its hand, whether or not it was paid then.
    pub held: u64,
    /// When it was launched.
    pub launched_at: Timestamp,
    /// The revision of its newest event: its etag.
    pub revision: u64,
}

impl Campaign {
    /// How many claims are left; `None` when there is no limit.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        self.terms.quantity.map(|quantity| u64::from(quantity).saturating_sub(self.claimed))
    }
}

/// Campaigns by the moment at which they open, the latest first.
#[must_use]
pub fn newest() -> Query<Campaigns> {
    Query::index(BY_OPENING).backward()
}

/// What a fact means to a campaign.
#[derive(Debug)]
pub enum Change<'a> {
    /// Something happened to the campaign.
    Campaign(&'a campaign::Event),
    /// An order holds one of its claims.
    Held,
}

impl View for Campaigns {
    const NAME: &'static str = "campaigns";
    const VERSION: u32 = 1;
    const READS: &'static [Category] = &[Category::Campaign, Category::Claim];
    const INDEXES: &'static [&'static str] = &[BY_OPENING];
    type Key = CampaignId;
    type Row = Campaign;
    type Change<'a> = Change<'a>;

    fn touch<'a>(fact: &'a Fact, touched: &mut Touched<'a, Self>) -> Result<(), Fault> {
        match &fact.event {
            Event::Campaign(event) => {
                touched.own(fact.subject().parse()?, Change::Campaign(event), fact);
            }
            Event::Claim(claim::Event::Held(held)) => touched.row(held.campaign, Change::Held),
            _ => {}
        }
        Ok(())
    }

    fn apply(
        key: &CampaignId,
        row: Option<Campaign>,
        change: Change<'_>,
        fact: &Fact,
    ) -> Result<Option<Campaign>, Fault> {
        let mut row = match (row, &change) {
            (None, Change::Campaign(campaign::Event::Launched(launched))) => Campaign {
                campaign: *key,
                name: launched.name.clone(),
                terms: launched.terms.clone(),
                ended: false,
                claimed: 0,
                held: 0,
                launched_at: fact.occurred_at,
                revision: fact.revision,
            },
            (Some(row), _) => row,
            (None, _) => return Err(Fault::missing("campaign", key)),
        };
        match change {
            Change::Campaign(event) => {
                row.revision = fact.revision;
                match event {
                    campaign::Event::Launched(_) => {}
                    campaign::Event::Claimed(_) => row.claimed += 1,
                    campaign::Event::Ended(_) => row.ended = true,
                }
            }
            Change::Held => row.held += 1,
        }
        Ok(Some(row))
    }

    fn indexes(row: &Campaign) -> Vec<(&'static str, Key)> {
        vec![(BY_OPENING, key(&(row.terms.opens_at,)))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Told, december, fault, gbp, row, told};
    use domain::{
        coupon::{
            Discount,
            campaign::{Claimed, Ended, Launched},
            claim::Held,
        },
        ids::{ClaimId, MemberId, OrderId},
    };

    fn campaign() -> CampaignId {
        CampaignId::from_u128(7)
    }

    fn stream() -> String {
        format!("campaign-{}", campaign())
    }

    fn launched(quantity: Option<u32>) -> Told {
        let terms = Terms {
            discount: Discount::Amount(gbp(500)),
            minimum_spend: None,
            quantity,
            per_member: 1,
            opens_at: december(2),
            closes_at: december(9),
        };
        told(stream(), 1, Launched { campaign: campaign(), name: "Winter".into(), terms })
    }

    fn claimed(n: u128) -> Told {
        let (claim, member) = (ClaimId::from_u128(n), MemberId::from_u128(n));
        told(stream(), 2, Claimed { claim, member, nth: 1 })
    }

    fn held(n: u128) -> Told {
        let (member, order) = (MemberId::from_u128(n), OrderId::from_u128(n));
        let claim = format!("claim-{}", ClaimId::from_u128(n));
        told(claim, 3, Held { campaign: campaign(), member, order, discount: gbp(5) })
    }

    fn check(story: &[Told], claimed: u64, remaining: Option<u64>, held: u64, ended: bool) {
        let row = row::<Campaigns>(story);
        assert_eq!((row.claimed, row.remaining(), row.held, row.ended), (claimed, remaining, held, ended));
        assert_eq!((row.campaign, row.name.as_str()), (campaign(), "Winter"));
    }

    #[test]
    fn a_campaign_counts_its_claims_and_what_is_left() {
        check(&[launched(Some(2))], 0, Some(2), 0, false);
        check(&[launched(None), claimed(1)], 1, None, 0, false);
        check(&[launched(Some(2)), claimed(1), claimed(2), held(2)], 2, Some(0), 1, false);
        check(&[launched(Some(2)), claimed(1), told(stream(), 3, Ended {})], 1, Some(1), 0, true);
    }

    #[test]
    fn what_cannot_be_folded_names_what_is_missing() {
        for orphan in [claimed(1), held(1)] {
            assert_eq!(fault::<Campaigns>(&[orphan]), Fault::missing("campaign", &campaign()));
        }
    }
}
