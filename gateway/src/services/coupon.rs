//! Coupons: campaigns and the claims on them.

use std::sync::Arc;

use domain::{
    coupon::{
        Discount, InvalidTerms, Terms,
        campaign::{Command, Event, NAME_MAX, Rejection},
    },
    ids::{CampaignId, ClaimId, MemberId},
};
use jiff::Timestamp;
use projections::views::{campaigns as view, claims};
use proto::v1::{self, CampaignState, ClaimState, campaign_terms, coupon_service_server::CouponService};
use tonic::{Request, Response, Status};

use super::{
    Context, convert,
    envelope::{self, Asked},
    refusal,
    views::{Listing, unread},
};
use crate::{
    auth::caller,
    error::{Reason, invalid, missing, status},
};

/// The most coupons that a campaign may hand out.
const QUANTITY_MAX: u32 = 100_000_000;
/// Basis points in a percent.
const BASIS_POINTS: u32 = 100;

pub(super) struct Coupons(pub(super) Arc<Context>);

#[tonic::async_trait]
impl CouponService for Coupons {
    async fn launch_campaign(
        &self,
        request: Request<v1::LaunchCampaignRequest>,
    ) -> Result<Response<v1::LaunchCampaignResponse>, Status> {
        let asked = envelope::open(&self.0, request)?;
        let campaign = envelope::derived(&asked, CampaignId::derived);
        let wish = asked.body.terms.as_ref().ok_or_else(|| missing("terms"))?;
        let name = convert::text("terms.name", &wish.name, NAME_MAX)?;
        let terms = read_terms(wish, self.0.now())?;
        let launch = Command::Launch { campaign, name, terms };
        let outcome = self.0.shop.campaign.execute(&campaign, launch, asked.request).await;
        let outcome = outcome.map_err(|error| refusal::of(error, |why| rejected(&why, campaign)))?;
        Ok(Response::new(v1::LaunchCampaignResponse {
            campaign_id: campaign.to_string(),
            etag: envelope::etag(outcome.revision),
            position: outcome.position.0,
        }))
    }

    async fn get_campaign(&self, request: Request<v1::GetCampaignRequest>) -> Result<Response<v1::Campaign>, Status> {
        let deadline = envelope::deadline(&self.0, &request);
        let asked = request.into_inner();
        let id: CampaignId = convert::id("campaign_id", &asked.campaign_id)?;
        self.0.views.reached::<view::Campaigns>(asked.min_position, deadline).await?;
        let row = self.0.views.campaigns.get(&id).await.map_err(|error| unread(&error))?;
        let row = row.ok_or_else(|| not_found(id))?;
        Ok(Response::new(shown(&row, self.0.now())))
    }

    async fn end_campaign(
        &self,
        request: Request<v1::EndCampaignRequest>,
    ) -> Result<Response<v1::EndCampaignResponse>, Status> {
        let asked = envelope::open(&self.0, request)?;
        let id: CampaignId = convert::id("campaign_id", &asked.body.campaign_id)?;
        let outcome = self.0.shop.campaign.execute(&id, Command::End, asked.request).await;
        let outcome = outcome.map_err(|error| refusal::of(error, |why| rejected(&why, id)))?;
        Ok(Response::new(v1::EndCampaignResponse {
            etag: envelope::etag(outcome.revision),
            position: outcome.position.0,
        }))
    }

    async fn claim_coupon(
        &self,
        request: Request<v1::ClaimCouponRequest>,
    ) -> Result<Response<v1::ClaimCouponResponse>, Status> {
        let asked = envelope::open(&self.0, request)?;
        claim(&self.0, asked).await.map(Response::new)
    }

    async fn list_claims(
        &self,
        request: Request<v1::ListClaimsRequest>,
    ) -> Result<Response<v1::ListClaimsResponse>, Status> {
        let (caller, deadline) = (caller(&request), envelope::deadline(&self.0, &request));
        let asked = request.into_inner();
        let member: Option<MemberId> = convert::optional_id("member_id", &asked.member_id)?;
        let member = member.unwrap_or(caller.member);
        caller.may_reach(member)?;
        self.0.views.reached::<claims::Claims>(asked.min_position, deadline).await?;
        let listing = Listing {
            query: &["ListClaims", &member.to_string()],
            page_size: asked.page_size,
            page_token: &asked.page_token,
        };
        let query = claims::of_member(member);
        let (rows, next_page_token) = self.0.page(&self.0.views.claims, &query, listing, |_| true).await?;
        let claims = rows.iter().map(shown_claim).collect();
        Ok(Response::new(v1::ListClaimsResponse { claims, next_page_token }))
    }
}

async fn claim(context: &Context, asked: Asked<v1::ClaimCouponRequest>) -> Result<v1::ClaimCouponResponse, Status> {
    let Asked { caller, request, body, .. } = asked;
    let id: CampaignId = convert::id("campaign_id", &body.campaign_id)?;
    let member = match convert::optional_id("member_id", &body.member_id)? {
        Some(member) if member != caller.member => {
            caller.may_set("member_id", v1::Role::Operator)?;
            member
        }
        Some(_) | None => caller.member,
    };
    let command = Command::Claim { member, now: context.now() };
    let outcome = context.shop.campaign.execute(&id, command, request).await;
    let outcome = outcome.map_err(|error| refusal::of(error, |why| rejected(&why, id)))?;
    let claimed = outcome.events.iter().find_map(|event| match event {
        Event::Claimed(claimed) => Some(claimed.claim),
        Event::Launched(_) | Event::Ended(_) => None,
    });
    let claim = claimed.ok_or_else(|| refusal::internal("a claim left no trace", &id))?;
    Ok(v1::ClaimCouponResponse { claim_id: claim.to_string(), position: outcome.position.0 })
}

/// The terms under which a member holds a claim.
pub(super) async fn terms(
    context: &Context,
    campaign: CampaignId,
    claim: ClaimId,
    member: MemberId,
) -> Result<Terms, Status> {
    let looked = context.shop.campaign.inspect(&campaign, move |seen| {
        let owned = seen.state.owns(member, claim);
        seen.state.details().map(|details| owned.then(|| details.terms.clone()))
    });
    let terms = looked.await.map_err(|error| refusal::of(error, |why| rejected(&why, campaign)))?;
    terms.ok_or_else(|| not_found(campaign))?.ok_or_else(|| {
        let message = format!("the buyer has no claim {claim} on campaign {campaign}");
        status(Reason::ClaimNotFound, message, [("claim_id", claim.to_string())])
    })
}

fn read_terms(wish: &v1::CampaignTerms, now: Timestamp) -> Result<Terms, Status> {
    let discount = match &wish.discount {
        Some(campaign_terms::Discount::PercentOff(percent)) => {
            Discount::Percent { basis_points: percent.saturating_mul(BASIS_POINTS) }
        }
        Some(campaign_terms::Discount::AmountOff(amount)) => {
            Discount::Amount(convert::money("terms.amount_off", Some(amount))?)
        }
        None => return Err(missing("terms.percent_off or terms.amount_off")),
    };
    if wish.quantity > QUANTITY_MAX {
        return Err(invalid("terms.quantity", format!("must be at most {QUANTITY_MAX}")));
    }
    let terms = Terms {
        discount,
        minimum_spend: convert::optional_money("terms.minimum_subtotal", wish.minimum_subtotal.as_ref())?,
        quantity: Some(wish.quantity).filter(|quantity| *quantity > 0),
        per_member: wish.per_member.max(1),
        opens_at: convert::moment("terms.start_time", wish.start_time.as_ref())?.unwrap_or(now),
        closes_at: convert::moment("terms.end_time", wish.end_time.as_ref())?.unwrap_or(Timestamp::MAX),
    };
    terms.check().map_err(|why| bad_terms(&why))?;
    Ok(terms)
}

fn shown_terms(name: &str, terms: &Terms) -> v1::CampaignTerms {
    let discount = match &terms.discount {
        Discount::Percent { basis_points } => campaign_terms::Discount::PercentOff(basis_points / BASIS_POINTS),
        Discount::Amount(amount) => campaign_terms::Discount::AmountOff(convert::to_money(*amount)),
    };
    v1::CampaignTerms {
        name: name.to_owned(),
        discount: Some(discount),
        quantity: terms.quantity.unwrap_or(0),
        per_member: terms.per_member,
        start_time: Some(convert::to_moment(terms.opens_at)),
        end_time: (terms.closes_at < Timestamp::MAX).then(|| convert::to_moment(terms.closes_at)),
        minimum_subtotal: terms.minimum_spend.map(convert::to_money),
    }
}

fn shown(row: &view::Campaign, now: Timestamp) -> v1::Campaign {
    let state = if row.ended || now >= row.terms.closes_at {
        CampaignState::Ended
    } else if now < row.terms.opens_at {
        CampaignState::Scheduled
    } else if row.remaining() == Some(0) {
        CampaignState::Exhausted
    } else {
        CampaignState::Open
    };
    v1::Campaign {
        campaign_id: row.campaign.to_string(),
        terms: Some(shown_terms(&row.name, &row.terms)),
        state: state.into(),
        claimed: convert::count(row.claimed),
        remaining: row.remaining().map(convert::count),
        redeemed: convert::count(row.redeemed),
        create_time: Some(convert::to_moment(row.launched_at)),
        etag: envelope::row_etag(row.revision),
    }
}

fn shown_claim(row: &claims::Claim) -> v1::Claim {
    let (state, order) = match &row.state {
        claims::State::Free => (ClaimState::Available, None),
        claims::State::Held { order, .. } => (ClaimState::Held, Some(order)),
        claims::State::Redeemed { order } => (ClaimState::Redeemed, Some(order)),
    };
    v1::Claim {
        claim_id: row.claim.to_string(),
        campaign_id: row.campaign.to_string(),
        member_id: row.member.to_string(),
        state: state.into(),
        order_id: order.map(ToString::to_string).unwrap_or_default(),
        create_time: Some(convert::to_moment(row.claimed_at)),
    }
}

fn not_found(id: CampaignId) -> Status {
    status(Reason::CampaignNotFound, format!("there is no campaign {id}"), [("campaign_id", id.to_string())])
}

fn bad_terms(why: &InvalidTerms) -> Status {
    let field = match why {
        InvalidTerms::Percent { .. } => return invalid("terms.percent_off", "must be 1 to 100"),
        InvalidTerms::Amount { .. } => "terms.amount_off",
        InvalidTerms::Currency { .. } => "terms.minimum_subtotal",
        InvalidTerms::Quantity { .. } => "terms.quantity",
        InvalidTerms::PerMember { .. } => "terms.per_member",
        InvalidTerms::Window { .. } => "terms.end_time",
    };
    invalid(field, format!("cannot be so: {why}"))
}

/// What a rejection means outside.
fn rejected(why: &Rejection, id: CampaignId) -> Status {
    let say = |reason, metadata: &[(&'static str, String)]| {
        let campaign = std::iter::once(("campaign_id", id.to_string()));
        status(reason, why.to_string(), campaign.chain(metadata.iter().cloned()))
    };
    match why {
        Rejection::NotLaunched => not_found(id),
        Rejection::AlreadyLaunched { .. } => say(Reason::AlreadyExists, &[]),
        Rejection::InvalidName { .. } => invalid("terms.name", format!("must have 1 to {NAME_MAX} characters")),
        Rejection::InvalidTerms(why) => bad_terms(why),
        Rejection::Ended => say(Reason::CouponEnded, &[]),
        Rejection::NotOpen { opens_at } => say(Reason::CouponNotOpen, &[("start_time", opens_at.to_string())]),
        Rejection::Over { closes_at } => say(Reason::CouponEnded, &[("end_time", closes_at.to_string())]),
        Rejection::MemberLimit { per_member } => {
            say(Reason::CouponMemberLimit, &[("per_member", per_member.to_string())])
        }
        Rejection::SoldOut { quantity } => say(Reason::CouponExhausted, &[("quantity", quantity.to_string())]),
    }
}
