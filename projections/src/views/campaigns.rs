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
    /// Claims that an order holds now.
    pub held: u64,
    /// Claims that a paid order has used, those given back since not counted.
    pub redeemed: u64,
    /// How often an order gave a claim back, whether it had held or redeemed it.
    pub restored: u64,
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
    /// Something happened to one of its claims.
    Claim(&'a claim::Event),
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
            Event::Claim(event) => touched.row(campaign_of(event), Change::Claim(event)),
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
                redeemed: 0,
                restored: 0,
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
            Change::Claim(event) => used(&mut row, event)?,
        }
        Ok(Some(row))
    }

    fn indexes(row: &Campaign) -> Vec<(&'static str, Key)> {
        vec![(BY_OPENING, key(&(row.terms.opens_at,)))]
    }
}

const fn campaign_of(event: &claim::Event) -> CampaignId {
    match event {
        claim::Event::Held(held) => held.campaign,
        claim::Event::Redeemed(redeemed) => redeemed.campaign,
        claim::Event::Restored(restored) => restored.campaign,
    }
}

fn used(row: &mut Campaign, event: &claim::Event) -> Result<(), Fault> {
    match event {
        claim::Event::Held(_) => row.held += 1,
        claim::Event::Redeemed(_) => {
            less(&mut row.held, "held claims")?;
            row.redeemed += 1;
        }
        claim::Event::Restored(restored) => {
            if restored.redeemed {
                less(&mut row.redeemed, "redeemed claims")?;
            } else {
                less(&mut row.held, "held claims")?;
            }
            row.restored += 1;
        }
    }
    Ok(())
}

fn less(count: &mut u64, what: &'static str) -> Result<(), Fault> {
    *count = count.checked_sub(1).ok_or(Fault::Count { what })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Told, december, fault, gbp, row, told};
    use domain::{
        coupon::{
            Discount,
            campaign::{Claimed, Ended, Launched},
            claim::{Held, Redeemed, Restored},
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

    fn claim(n: u128) -> String {
        format!("claim-{}", ClaimId::from_u128(n))
    }

    fn held(n: u128) -> Told {
        let (member, order) = (MemberId::from_u128(n), OrderId::from_u128(n));
        told(claim(n), 3, Held { campaign: campaign(), member, order, discount: gbp(5) })
    }

    fn redeemed(n: u128) -> Told {
        told(claim(n), 4, Redeemed { campaign: campaign(), order: OrderId::from_u128(n) })
    }

    fn restored(n: u128, redeemed: bool) -> Told {
        told(claim(n), 5, Restored { campaign: campaign(), order: OrderId::from_u128(n), redeemed })
    }

    fn check(story: &[Told], claimed: u64, remaining: Option<u64>, ended: bool) {
        let row = row::<Campaigns>(story);
        assert_eq!((row.claimed, row.remaining(), row.ended), (claimed, remaining, ended));
        assert_eq!((row.campaign, row.name.as_str()), (campaign(), "Winter"));
    }

    #[test]
    fn a_campaign_counts_its_claims_and_what_is_left() {
        check(&[launched(Some(2))], 0, Some(2), false);
        check(&[launched(None), claimed(1)], 1, None, false);
        check(&[launched(Some(2)), claimed(1), claimed(2), held(2)], 2, Some(0), false);
        check(&[launched(Some(2)), claimed(1), told(stream(), 3, Ended {})], 1, Some(1), true);
    }

    #[test]
    fn a_campaign_counts_what_orders_do_with_its_claims() {
        let counts = |used: &[Told]| {
            let row = row::<Campaigns>(&[&[launched(Some(2)), claimed(1), claimed(2)], used].concat());
            assert_eq!((row.claimed, row.remaining()), (2, Some(0)), "what orders do takes no claim away");
            assert_eq!(row.revision, 2, "what orders do is no change of the campaign");
            (row.held, row.redeemed, row.restored)
        };
        assert_eq!(counts(&[]), (0, 0, 0));
        assert_eq!(counts(&[held(1), held(2)]), (2, 0, 0));
        assert_eq!(counts(&[held(1), redeemed(1), held(2)]), (1, 1, 0));
        assert_eq!(counts(&[held(1), held(2), restored(2, false)]), (1, 0, 1));
        assert_eq!(counts(&[held(1), redeemed(1), restored(1, true), held(2)]), (1, 0, 1));
        assert_eq!(counts(&[held(1), restored(1, false), held(1), redeemed(1)]), (0, 1, 1));
    }

    #[test]
    fn what_cannot_be_folded_names_what_is_missing() {
        for orphan in [claimed(1), held(1), redeemed(1), restored(1, false)] {
            assert_eq!(fault::<Campaigns>(&[orphan]), Fault::missing("campaign", &campaign()));
        }
        for (early, what) in
            [(redeemed(1), "held claims"), (restored(1, false), "held claims"), (restored(1, true), "redeemed claims")]
        {
            assert_eq!(fault::<Campaigns>(&[launched(None), claimed(1), early]), Fault::Count { what });
        }
    }
}
