//! A campaign hands out claims, first come, first served.
//!
//! Quantity, member limit and window are checked in one decision against one stream: three separate checks
//! are how the same member passes twice. What becomes of a claim is the claim's own stream
//! ([`super::claim`]), so that this one carries nothing but claims however many orders follow.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{InvalidTerms, Terms, members::Members};
use crate::{
    decider::Decider,
    ids::{CampaignId, ClaimId, MemberId},
};

/// The longest name of a campaign, in characters.
pub const NAME_MAX: usize = 200;

crate::events! {
    /// What happens to a campaign.
    Event {
        /// It exists.
        Launched = "campaign.launched" 1,
        /// A member has one claim more.
        Claimed = "campaign.claimed" 1,
        /// It was ended before its window closed.
        Ended = "campaign.ended" 1,
    }
}

/// The campaign exists; it can be claimed once its window opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launched {
    /// Which campaign.
    pub campaign: CampaignId,
    /// What people call it.
    pub name: String,
    /// What it promises.
    pub terms: Terms,
}

/// A member has one claim more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claimed {
    /// The claim, derived from campaign, member and `nth`.
    pub claim: ClaimId,
    /// Whose it is.
    pub member: MemberId,
    /// Which of this member's claims on this campaign it is, from 1.
    pub nth: u32,
}

/// Nothing can be claimed any more; claims made before stay good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {}

/// What can be asked of a campaign.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Let it exist.
    Launch {
        /// Which campaign.
        campaign: CampaignId,
        /// What people call it.
        name: String,
        /// What it promises.
        terms: Terms,
    },
    /// Let this member have one claim more. Adds up: a retry is known by its request id.
    Claim {
        /// Who claims.
        member: MemberId,
        /// The time now.
        now: Timestamp,
    },
    /// Let nothing more be claimed.
    End,
}

/// Why a wish about a campaign was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such campaign was launched.
    #[error("the campaign was never launched")]
    NotLaunched,
    /// It was launched with other contents, or has ended.
    #[error("campaign {campaign} was launched already, with other contents or ended")]
    AlreadyLaunched {
        /// Which campaign.
        campaign: CampaignId,
    },
    /// A name that is empty or beyond [`NAME_MAX`].
    #[error("a campaign's name has 1 to {NAME_MAX} characters, not {found}")]
    InvalidName {
        /// Its length in characters.
        found: usize,
    },
    /// Terms that make no sense.
    #[error(transparent)]
    InvalidTerms(#[from] InvalidTerms),
    /// It was ended before its window closed.
    #[error("the campaign has ended")]
    Ended,
    /// Its window is not open yet.
    #[error("the campaign opens at {opens_at}")]
    NotOpen {
        /// When it opens.
        opens_at: Timestamp,
    },
    /// Its window is closed.
    #[error("the campaign closed at {closes_at}")]
    Over {
        /// When it closed.
        closes_at: Timestamp,
    },
    /// The member has all the claims they may have.
    #[error("a member may claim {per_member} at most")]
    MemberLimit {
        /// How many that is.
        per_member: u32,
    },
    /// Every claim is taken.
    #[error("all {quantity} are claimed")]
    SoldOut {
        /// How many there were.
        quantity: u32,
    },
}

/// What a decision about a campaign needs to know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// Nobody launched it.
    #[default]
    Unlaunched,
    /// It can be claimed while its window is open.
    Launched(Box<Details>),
    /// It can no longer be claimed.
    Ended(Box<Details>),
}

/// What a campaign promises and who has claimed it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// Which campaign.
    pub campaign: CampaignId,
    /// What people call it.
    pub name: String,
    /// What it promises.
    pub terms: Terms,
    /// Who claimed how often.
    pub members: Members,
}

impl State {
    /// The campaign, running or not; `None` when nobody launched it.
    #[must_use]
    pub const fn details(&self) -> Option<&Details> {
        match self {
            Self::Unlaunched => None,
            Self::Launched(details) | Self::Ended(details) => Some(details),
        }
    }

    /// How many claims `member` has.
    #[must_use]
    pub fn claims_of(&self, member: MemberId) -> u32 {
        self.details().map_or(0, |details| details.members.count(member))
    }

    /// True when `claim` was made here by `member`. Claims are not kept: they are derived again.
    #[must_use]
    pub fn owns(&self, member: MemberId, claim: ClaimId) -> bool {
        self.details().is_some_and(|details| {
            (1..=details.members.count(member)).any(|nth| claim_id(details.campaign, member, nth) == claim)
        })
    }
}

/// The `nth` claim of `member` on `campaign`, from 1: every node derives the same.
#[must_use]
pub fn claim_id(campaign: CampaignId, member: MemberId, nth: u32) -> ClaimId {
    ClaimId::derived(campaign.0, &[member.0.as_bytes(), &nth.to_le_bytes()])
}

/// The campaign aggregate.
#[derive(Debug)]
pub struct Campaign;

impl Decider for Campaign {
    const CATEGORY: &'static str = "campaign";
    const FOLD: u32 = 1;
    type Id = CampaignId;
    type State = State;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command) -> Result<Vec<Event>, Rejection> {
        match (command, state) {
            (Command::Launch { campaign, name, terms }, _) => launch(state, *campaign, name, terms),
            (_, State::Unlaunched) => Err(Rejection::NotLaunched),
            (Command::Claim { .. }, State::Ended(_)) => Err(Rejection::Ended),
            (Command::Claim { member, now }, State::Launched(details)) => claim(details, *member, *now),
            (Command::End, State::Launched(_)) => Ok(vec![Ended {}.into()]),
            (Command::End, State::Ended(_)) => Ok(vec![]),
        }
    }

    fn evolve(state: State, event: &Event) -> State {
        match (state, event) {
            (_, Event::Launched(Launched { campaign, name, terms })) => State::Launched(Box::new(Details {
                campaign: *campaign,
                name: name.clone(),
                terms: terms.clone(),
                members: Members::default(),
            })),
            (State::Launched(mut details), Event::Claimed(Claimed { member, .. })) => {
                details.members.add(*member);
                State::Launched(details)
            }
            (State::Launched(details), Event::Ended(_)) => State::Ended(details),
            (state, _) => state,
        }
    }
}

fn launch(state: &State, campaign: CampaignId, name: &str, terms: &Terms) -> Result<Vec<Event>, Rejection> {
    match state {
        State::Launched(known) if known.name == name && known.terms == *terms => return Ok(vec![]),
        State::Launched(_) | State::Ended(_) => {
            return Err(Rejection::AlreadyLaunched { campaign });
        }
        State::Unlaunched => {}
    }
    let length = name.chars().count();
    if name.trim().is_empty() || length > NAME_MAX {
        return Err(Rejection::InvalidName { found: length });
    }
    terms.check()?;
    Ok(vec![Launched { campaign, name: name.to_owned(), terms: terms.clone() }.into()])
}

/// Window before member before quantity: a member hears first what no waiting would change.
fn claim(details: &Details, member: MemberId, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    let Terms { quantity, per_member, opens_at, closes_at, .. } = details.terms;
    let claims = details.members.count(member);
    match quantity {
        _ if now < opens_at => Err(Rejection::NotOpen { opens_at }),
        _ if now >= closes_at => Err(Rejection::Over { closes_at }),
        _ if claims >= per_member => Err(Rejection::MemberLimit { per_member }),
        Some(quantity) if details.members.len() >= quantity as usize => Err(Rejection::SoldOut { quantity }),
        Some(_) | None => {
            let nth = claims.saturating_add(1);
            Ok(vec![Claimed { claim: claim_id(details.campaign, member, nth), member, nth }.into()])
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        coupon::Discount,
        decider::fold,
        testing::{Given, given},
    };

    const CAMPAIGN: CampaignId = CampaignId::from_u128(1);
    const ANN: MemberId = MemberId::from_u128(2);
    const BOB: MemberId = MemberId::from_u128(3);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn terms(quantity: Option<u32>, per_member: u32) -> Terms {
        let discount = Discount::Percent { basis_points: 1_000 };
        Terms { discount, minimum_spend: None, quantity, per_member, opens_at: at(10), closes_at: at(20) }
    }

    fn launch(name: &str, terms: Terms) -> Command {
        Command::Launch { campaign: CAMPAIGN, name: name.into(), terms }
    }

    fn launched(quantity: Option<u32>, per_member: u32) -> Event {
        Launched { campaign: CAMPAIGN, name: "spring".into(), terms: terms(quantity, per_member) }.into()
    }

    fn claim_at(member: MemberId, second: i64) -> Command {
        Command::Claim { member, now: at(second) }
    }

    fn claimed(member: MemberId, nth: u32) -> Event {
        Claimed { claim: claim_id(CAMPAIGN, member, nth), member, nth }.into()
    }

    /// A campaign with two claims, one for each member, and what followed.
    fn two<const N: usize>(events: [Event; N]) -> Given<Campaign> {
        given([launched(Some(2), 1)].into_iter().chain(events))
    }

    #[test]
    fn a_campaign_is_launched_once_with_one_body() {
        let new = || given::<Campaign>([]);
        new().when(launch("spring", terms(Some(2), 1))).then([launched(Some(2), 1)]);
        two([])
            .when(launch("spring", terms(Some(3), 1)))
            .then_rejected(&Rejection::AlreadyLaunched { campaign: CAMPAIGN });
        two([Ended {}.into()])
            .when(launch("spring", terms(Some(2), 1)))
            .then_rejected(&Rejection::AlreadyLaunched { campaign: CAMPAIGN });
        new().when(launch(" ", terms(None, 1))).then_rejected(&Rejection::InvalidName { found: 1 });
        new()
            .when(launch("spring", terms(Some(0), 1)))
            .then_rejected(&Rejection::InvalidTerms(InvalidTerms::Quantity { found: 0 }));
    }

    #[test]
    fn claims_add_up_to_the_members_limit() {
        let history = || given::<Campaign>([launched(None, 2), claimed(ANN, 1)]);
        history().when(claim_at(ANN, 10)).then_each_time([claimed(ANN, 2)]);
        history().when(claim_at(BOB, 10)).then_each_time([claimed(BOB, 1)]);
        given::<Campaign>([launched(None, 2), claimed(ANN, 1), claimed(ANN, 2)])
            .when(claim_at(ANN, 10))
            .then_rejected(&Rejection::MemberLimit { per_member: 2 });
    }

    #[test]
    fn the_last_claim_goes_to_who_comes_first() {
        two([claimed(ANN, 1)]).when(claim_at(BOB, 19)).then_each_time([claimed(BOB, 1)]);
        two([claimed(ANN, 1), claimed(BOB, 1)])
            .when(claim_at(MemberId::from_u128(9), 19))
            .then_rejected(&Rejection::SoldOut { quantity: 2 });
    }

    #[test]
    fn a_campaign_is_claimed_within_its_window_only() {
        two([]).when(claim_at(ANN, 9)).then_rejected(&Rejection::NotOpen { opens_at: at(10) });
        two([]).when(claim_at(ANN, 10)).then_each_time([claimed(ANN, 1)]);
        two([]).when(claim_at(ANN, 19)).then_each_time([claimed(ANN, 1)]);
        two([]).when(claim_at(ANN, 20)).then_rejected(&Rejection::Over { closes_at: at(20) });
        given::<Campaign>([]).when(claim_at(ANN, 10)).then_rejected(&Rejection::NotLaunched);
    }

    #[test]
    fn an_ended_campaign_gives_nothing_more_and_takes_nothing_back() {
        two([claimed(ANN, 1)]).when(Command::End).then([Ended {}.into()]);
        two([claimed(ANN, 1), Ended {}.into()]).when(claim_at(BOB, 10)).then_rejected(&Rejection::Ended);
        let state = fold::<Campaign>(&[launched(Some(2), 1), claimed(ANN, 1), Ended {}.into()]);
        assert!(state.owns(ANN, claim_id(CAMPAIGN, ANN, 1)));
        given::<Campaign>([]).when(Command::End).then_rejected(&Rejection::NotLaunched);
    }

    #[test]
    fn a_claim_belongs_to_who_made_it() {
        let state = fold::<Campaign>(&[launched(None, 2), claimed(ANN, 1), claimed(ANN, 2), claimed(BOB, 1)]);
        assert_eq!((state.claims_of(ANN), state.claims_of(BOB)), (2, 1));
        assert!(state.owns(ANN, claim_id(CAMPAIGN, ANN, 2)));
        assert!(!state.owns(ANN, claim_id(CAMPAIGN, ANN, 3)), "never made");
        assert!(!state.owns(BOB, claim_id(CAMPAIGN, ANN, 1)), "somebody else's");
        assert!(!State::default().owns(ANN, claim_id(CAMPAIGN, ANN, 1)));
    }

    proptest! {
        #[test]
        fn claims_never_pass_the_quantity_or_a_members_limit_and_are_all_different(
            quantity in prop::option::of(1_u32..40),
            per_member in 1_u32..5,
            claims in prop::collection::vec((0_u128..20, 5_i64..25), 0..200),
        ) {
            let mut state = fold::<Campaign>(&[launched(quantity, per_member)]);
            let mut model: BTreeMap<MemberId, u32> = BTreeMap::new();
            let mut ids = std::collections::BTreeSet::new();
            for (member, second) in claims {
                let member = MemberId::from_u128(member);
                let open = (10..20).contains(&second);
                let all: u32 = model.values().sum();
                let room = quantity.is_none_or(|most| all < most);
                let mine = model.get(&member).copied().unwrap_or(0);
                let decided = Campaign::decide(&state, &claim_at(member, second));
                prop_assert_eq!(decided.is_ok(), open && room && mine < per_member, "nobody is refused without cause");
                for event in decided.unwrap_or_default() {
                    if let Event::Claimed(Claimed { claim, nth, .. }) = &event {
                        prop_assert!(ids.insert(*claim));
                        prop_assert!(state.claims_of(member) + 1 == *nth);
                    }
                    *model.entry(member).or_default() += 1;
                    state = Campaign::evolve(state, &event);
                }
            }
            let stored = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(serde_json::from_str::<State>(&stored).unwrap(), state);
        }
    }
}
