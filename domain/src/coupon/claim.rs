//! A claim: the coupon in a member's hand, used by one order at a time.
//!
//! An order holds it while it is being paid, redeems it with the capture, and gives it back when it comes
//! to nothing. Every step names its order, so that a late or repeated step of one order never
//! touches what another order holds; and its campaign, so that a view counts what became of a campaign's claims
//! without asking for another row.

use serde::{Deserialize, Serialize};

use crate::{
    decider::Decider,
    ids::{CampaignId, ClaimId, MemberId, OrderId},
    money::Money,
};

crate::events! {
    /// What happens to a claim.
    Event {
        /// An order holds it.
        Held = "claim.held" 1,
        /// The order that held it was paid.
        Redeemed = "claim.redeemed" 1,
        /// The order gave it back.
        Restored = "claim.restored" 1,
    }
}

/// An order holds the claim; no other order can.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The campaign it comes from.
    pub campaign: CampaignId,
    /// Whose it is.
    pub member: MemberId,
    /// The order that uses it.
    pub order: OrderId,
    /// What it takes off that order.
    pub discount: Money,
}

/// The order that held the claim was paid: the claim is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Redeemed {
    /// The campaign it comes from.
    pub campaign: CampaignId,
    /// The order that used it.
    pub order: OrderId,
}

/// The order gave the claim back: it can be used again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restored {
    /// The campaign it comes from.
    pub campaign: CampaignId,
    /// The order that held or had redeemed it.
    pub order: OrderId,
    /// Whether that order had redeemed it; else it only held it.
    pub redeemed: bool,
}

/// What an order can ask of a claim. Whether the claim was ever made, and by this member, is the campaign's to
/// say ([`super::campaign::State::owns`]).
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Let this order use it.
    Hold {
        /// The campaign it comes from.
        campaign: CampaignId,
        /// Whose it is.
        member: MemberId,
        /// The order that uses it.
        order: OrderId,
        /// What it takes off that order.
        discount: Money,
    },
    /// Let it be used up by the order that holds it.
    Redeem {
        /// The order.
        order: OrderId,
    },
    /// Let this order not use it, whether it only held it or had redeemed it.
    Restore {
        /// The order.
        order: OrderId,
    },
}

/// Why a wish about a claim was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Another order holds it.
    #[error("the coupon is in use by order {order}")]
    InUse {
        /// The order that holds it.
        order: OrderId,
    },
    /// Another order was paid with it.
    #[error("the coupon was redeemed by order {order}")]
    AlreadyRedeemed {
        /// The order that used it.
        order: OrderId,
    },
    /// The order does not hold it.
    #[error("order {order} does not hold the coupon")]
    NotHeld {
        /// The order.
        order: OrderId,
    },
    /// A discount that would make the order dearer.
    #[error("a discount must not be negative, like {found}")]
    NegativeDiscount {
        /// What was given.
        found: Money,
    },
}

/// What a decision about a claim needs to know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// No order uses it.
    #[default]
    Free,
    /// An order holds it.
    Held {
        /// The campaign it comes from.
        campaign: CampaignId,
        /// The order.
        order: OrderId,
    },
    /// An order was paid with it.
    Redeemed {
        /// The campaign it comes from.
        campaign: CampaignId,
        /// The order.
        order: OrderId,
    },
}

impl State {
    /// The order that holds or has redeemed it.
    #[must_use]
    pub const fn order(&self) -> Option<OrderId> {
        match self {
            Self::Free => None,
            Self::Held { order, .. } | Self::Redeemed { order, .. } => Some(*order),
        }
    }
}

/// The claim aggregate.
#[derive(Debug)]
pub struct Claim;

impl Decider for Claim {
    const CATEGORY: &'static str = "claim";
    const FOLD: u32 = 1;
    type Id = ClaimId;
    type State = State;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::Hold { campaign, member, order, discount } => {
                hold(*state, Held { campaign: *campaign, member: *member, order: *order, discount: *discount })
            }
            Command::Redeem { order } => redeem(*state, *order),
            Command::Restore { order } => Ok(restore(*state, *order)),
        }
    }

    fn evolve(_: State, event: &Event) -> State {
        match event {
            Event::Held(Held { campaign, order, .. }) => State::Held { campaign: *campaign, order: *order },
            Event::Redeemed(Redeemed { campaign, order }) => State::Redeemed { campaign: *campaign, order: *order },
            Event::Restored(_) => State::Free,
        }
    }
}

fn hold(state: State, wish: Held) -> Result<Vec<Event>, Rejection> {
    if wish.discount.amount < 0 {
        return Err(Rejection::NegativeDiscount { found: wish.discount });
    }
    match state {
        State::Free => Ok(vec![wish.into()]),
        State::Held { order, .. } | State::Redeemed { order, .. } if order == wish.order => Ok(vec![]),
        State::Held { order, .. } => Err(Rejection::InUse { order }),
        State::Redeemed { order, .. } => Err(Rejection::AlreadyRedeemed { order }),
    }
}

fn redeem(state: State, by: OrderId) -> Result<Vec<Event>, Rejection> {
    match state {
        State::Free => Err(Rejection::NotHeld { order: by }),
        State::Held { campaign, order } if order == by => Ok(vec![Redeemed { campaign, order }.into()]),
        State::Redeemed { order, .. } if order == by => Ok(vec![]),
        State::Held { order, .. } => Err(Rejection::InUse { order }),
        State::Redeemed { order, .. } => Err(Rejection::AlreadyRedeemed { order }),
    }
}

/// Nothing where another order has it by now, or none: the undo came late, or came before.
fn restore(state: State, by: OrderId) -> Vec<Event> {
    match state {
        State::Held { campaign, order } if order == by => vec![Restored { campaign, order, redeemed: false }.into()],
        State::Redeemed { campaign, order } if order == by => {
            vec![Restored { campaign, order, redeemed: true }.into()]
        }
        State::Free | State::Held { .. } | State::Redeemed { .. } => vec![],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        money::Currency,
        testing::{Given, given},
    };

    const MINE: OrderId = OrderId::from_u128(1);
    const OTHER: OrderId = OrderId::from_u128(2);
    const CAMPAIGN: CampaignId = CampaignId::from_u128(3);

    fn held(order: OrderId) -> Event {
        Held { campaign: CAMPAIGN, member: MemberId::from_u128(4), order, discount: Money::new(500, Currency::GBP) }
            .into()
    }

    fn hold_for(order: OrderId, discount: i64) -> Command {
        Command::Hold {
            campaign: CAMPAIGN,
            member: MemberId::from_u128(4),
            order,
            discount: Money::new(discount, Currency::GBP),
        }
    }

    fn hold(order: OrderId) -> Command {
        hold_for(order, 500)
    }

    fn redeem(order: OrderId) -> Command {
        Command::Redeem { order }
    }

    fn restore(order: OrderId) -> Command {
        Command::Restore { order }
    }

    fn redeemed(order: OrderId) -> Event {
        Redeemed { campaign: CAMPAIGN, order }.into()
    }

    fn restored(order: OrderId) -> Event {
        Restored { campaign: CAMPAIGN, order, redeemed: false }.into()
    }

    fn taken_back(order: OrderId) -> Event {
        Restored { campaign: CAMPAIGN, order, redeemed: true }.into()
    }

    fn after<const N: usize>(events: [Event; N]) -> Given<Claim> {
        given(events)
    }

    #[test]
    fn one_order_holds_redeems_and_gives_back() {
        after([]).when(hold(MINE)).then([held(MINE)]);
        after([held(MINE)]).when(redeem(MINE)).then([redeemed(MINE)]);
        after([held(MINE)]).when(restore(MINE)).then([restored(MINE)]);
        after([held(MINE), redeemed(MINE)]).when(hold(MINE)).then_nothing();
    }

    #[test]
    fn another_order_waits_until_it_is_given_back() {
        after([held(OTHER)]).when(hold(MINE)).then_rejected(&Rejection::InUse { order: OTHER });
        after([held(OTHER)]).when(redeem(MINE)).then_rejected(&Rejection::InUse { order: OTHER });
        let used = || after([held(OTHER), redeemed(OTHER)]);
        used().when(hold(MINE)).then_rejected(&Rejection::AlreadyRedeemed { order: OTHER });
        used().when(redeem(MINE)).then_rejected(&Rejection::AlreadyRedeemed { order: OTHER });
        after([held(OTHER), restored(OTHER)]).when(hold(MINE)).then([held(MINE)]);
        after([held(OTHER), redeemed(OTHER), taken_back(OTHER)]).when(hold(MINE)).then([held(MINE)]);
    }

    #[test]
    fn what_is_not_held_is_not_redeemed() {
        after([]).when(redeem(MINE)).then_rejected(&Rejection::NotHeld { order: MINE });
        after([held(MINE), restored(MINE)]).when(redeem(MINE)).then_rejected(&Rejection::NotHeld { order: MINE });
    }

    #[test]
    fn a_refunded_order_gives_back_what_it_had_redeemed() {
        after([held(MINE), redeemed(MINE)]).when(restore(MINE)).then([taken_back(MINE)]);
        after([held(MINE), redeemed(MINE), taken_back(MINE)]).when(restore(MINE)).then_nothing();
    }

    #[test]
    fn a_late_or_second_undo_changes_nothing() {
        after([]).when(restore(MINE)).then_nothing();
        after([held(OTHER)]).when(restore(MINE)).then_nothing();
        after([held(OTHER), redeemed(OTHER)]).when(restore(MINE)).then_nothing();
        after([held(MINE), restored(MINE), held(OTHER)]).when(restore(MINE)).then_nothing();
    }

    #[test]
    fn an_order_that_was_revived_holds_it_again() {
        after([held(MINE), restored(MINE)]).when(hold(MINE)).then([held(MINE)]);
    }

    #[test]
    fn a_discount_never_makes_an_order_dearer() {
        let found = Money::new(-1, Currency::GBP);
        after([]).when(hold_for(MINE, -1)).then_rejected(&Rejection::NegativeDiscount { found });
    }

    proptest! {
        #[test]
        fn at_most_one_order_has_the_claim(steps in prop::collection::vec((0_u128..3, 0_u8..3), 0..60)) {
            let mut state = State::default();
            // The model keeps, per order that has the claim, whether it redeemed it, and knows no more than the events
            // tell: what it counts is what a view can count.
            let mut has = std::collections::BTreeMap::new();
            for (order, step) in steps {
                let order = OrderId::from_u128(order);
                let command = [hold(order), redeem(order), restore(order)][usize::from(step)].clone();
                let Ok(events) = Claim::decide(&state, &command) else { continue };
                for event in &events {
                    let campaign = match event {
                        Event::Held(e) => {
                            prop_assert_eq!(has.insert(e.order, false), None);
                            e.campaign
                        }
                        Event::Redeemed(e) => {
                            prop_assert_eq!(has.insert(e.order, true), Some(false));
                            e.campaign
                        }
                        Event::Restored(e) => {
                            prop_assert_eq!(has.remove(&e.order), Some(e.redeemed));
                            e.campaign
                        }
                    };
                    prop_assert_eq!(campaign, CAMPAIGN);
                }
                state = events.iter().fold(state, Claim::evolve);
                prop_assert!(has.len() <= 1);
                prop_assert_eq!(has.keys().next().copied(), state.order());
                prop_assert_eq!(Claim::decide(&state, &command), Ok(vec![]), "a retry is silent");
            }
        }
    }
}
