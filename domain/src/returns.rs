//! A return of delivered goods: requested, received at a warehouse, completed once the money is back.
//!
//! The order's own stream has already checked that these goods were delivered and are not being returned
//! twice; here lives what happens to them afterwards. The refund itself is the payment's business.

use serde::{Deserialize, Serialize};

use crate::{
    decider::Decider,
    ids::{MemberId, OrderId, PaymentId, ProductId, Region, ReturnId, Sku, WarehouseId},
    money::{Money, MoneyError},
    personal::Personal,
    stock::UNITS_MAX,
};

/// The most lines of a return.
pub const LINES_MAX: usize = 2_000;
/// The longest reason a buyer may give, in characters.
pub const REASON_MAX: usize = 1_000;

crate::events! {
    /// What happens to a return.
    Event {
        /// The buyer sends goods back.
        Requested = "return.requested" 1 personal [reason],
        /// They are at a warehouse.
        Received = "return.received" 1,
        /// Goods are restocked and money is back: nothing is left to do.
        Completed = "return.completed" 1,
    }
}

/// The buyer sends goods back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Requested {
    /// The order they came with.
    pub order: OrderId,
    /// Who sends them back.
    pub buyer: MemberId,
    /// The payment that is refunded.
    pub payment: PaymentId,
    /// What comes back; at least one line.
    pub lines: Vec<Line>,
    /// What the buyer gets back: the sum of the lines.
    pub refund: Money,
    /// Where the goods had gone, frozen from the order.
    pub region: Region,
    /// The buyer's words, if they said any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Personal<String>>,
}

/// One kind of goods that comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The product, frozen from the order line.
    pub product: ProductId,
    /// What was shipped.
    pub sku: Sku,
    /// How many units; at least 1.
    pub quantity: u32,
    /// What is given back for them in all, after discounts; may be zero.
    pub amount: Money,
}

/// The goods are at a warehouse and can be restocked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Received {
    /// Which warehouse.
    pub warehouse: WarehouseId,
}

/// Goods are restocked and money is back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completed {}

/// What can be asked of a return.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Let these goods come back.
    Request {
        /// The order they came with.
        order: OrderId,
        /// Who sends them back.
        buyer: MemberId,
        /// The payment that is refunded.
        payment: PaymentId,
        /// What comes back.
        lines: Vec<Line>,
        /// What the buyer gets back: the sum of the lines.
        refund: Money,
        /// Where the goods had gone.
        region: Region,
        /// The buyer's words, sealed as the order has them.
        reason: Option<Personal<String>>,
    },
    /// Let the goods be at this warehouse.
    Receive {
        /// Which warehouse.
        warehouse: WarehouseId,
    },
    /// Let nothing be left to do.
    Complete,
}

/// Why a wish about a return was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such return was requested.
    #[error("the return was never requested")]
    NotRequested,
    /// The return was requested with other contents.
    #[error("the return is of order {order} over {refund} already")]
    AlreadyRequested {
        /// The order it is of.
        order: OrderId,
        /// What is given back for it.
        refund: Money,
    },
    /// A return of nothing.
    #[error("a return has at least one line")]
    NoLines,
    /// More lines than [`LINES_MAX`].
    #[error("{found} lines are given, at most {LINES_MAX} are allowed")]
    TooManyLines {
        /// How many.
        found: usize,
    },
    /// A quantity of zero or beyond [`UNITS_MAX`].
    #[error("the quantity of {sku} must be between 1 and {UNITS_MAX}, not {found}")]
    InvalidQuantity {
        /// Which SKU.
        sku: Sku,
        /// What was given.
        found: u32,
    },
    /// A line that would cost the buyer money.
    #[error("the amount of {sku} must not be negative, like {found}")]
    InvalidAmount {
        /// Which SKU.
        sku: Sku,
        /// What was given.
        found: Money,
    },
    /// A refund that is not the sum of its lines.
    #[error("the lines add up to {sum}, the refund is {refund}")]
    RefundMismatch {
        /// What the lines add up to.
        sum: Money,
        /// What was given.
        refund: Money,
    },
    /// Lines that cannot be added up.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// A reason beyond [`REASON_MAX`].
    #[error("the reason has {found} characters, at most {REASON_MAX} are allowed")]
    ReasonTooLong {
        /// Its length in characters.
        found: usize,
    },
    /// The goods are at another warehouse.
    #[error("the goods were received at {warehouse} already")]
    AlreadyReceived {
        /// Where they are.
        warehouse: WarehouseId,
    },
    /// The goods are not back yet.
    #[error("the goods were not received yet")]
    NotReceived,
}

/// What a decision about a return needs to know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// Nobody requested it.
    #[default]
    Unrequested,
    /// The goods are on their way back.
    Requested(Box<Requested>),
    /// The goods are at a warehouse.
    Received(Box<Requested>, WarehouseId),
    /// Nothing is left to do.
    Completed(Box<Requested>, WarehouseId),
}

impl State {
    /// What was requested, once it was: the lines to restock and the money to give back.
    #[must_use]
    pub const fn requested(&self) -> Option<&Requested> {
        match self {
            Self::Unrequested => None,
            Self::Requested(request) | Self::Received(request, _) | Self::Completed(request, _) => Some(request),
        }
    }

    /// Where the goods are, once they are back.
    #[must_use]
    pub const fn warehouse(&self) -> Option<&WarehouseId> {
        match self {
            Self::Unrequested | Self::Requested(_) => None,
            Self::Received(_, warehouse) | Self::Completed(_, warehouse) => Some(warehouse),
        }
    }
}

/// The return aggregate.
#[derive(Debug)]
pub struct Return;

impl Decider for Return {
    const CATEGORY: &'static str = "return";
    const FOLD: u32 = 2;
    type Id = ReturnId;
    type State = State;
    type Command = Command;
    type Event = Event;
    type Rejection = Rejection;

    fn decide(state: &State, command: &Command) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::Request { order, buyer, payment, lines, refund, region, reason } => {
                let wish = Requested {
                    order: *order,
                    buyer: *buyer,
                    payment: *payment,
                    lines: lines.clone(),
                    refund: *refund,
                    region: region.clone(),
                    reason: reason.clone(),
                };
                request(state, wish)
            }
            Command::Receive { warehouse } => receive(state, warehouse),
            Command::Complete => match state {
                State::Unrequested => Err(Rejection::NotRequested),
                State::Requested(_) => Err(Rejection::NotReceived),
                State::Received(..) => Ok(vec![Completed {}.into()]),
                State::Completed(..) => Ok(vec![]),
            },
        }
    }

    fn evolve(state: State, event: &Event) -> State {
        match (state, event) {
            (_, Event::Requested(requested)) => State::Requested(Box::new(requested.clone())),
            (State::Requested(request), Event::Received(Received { warehouse })) => {
                State::Received(request, warehouse.clone())
            }
            (State::Received(request, warehouse), Event::Completed(_)) => State::Completed(request, warehouse),
            (state, _) => state,
        }
    }
}

fn request(state: &State, wish: Requested) -> Result<Vec<Event>, Rejection> {
    if let Some(known) = state.requested() {
        let already = Rejection::AlreadyRequested { order: known.order, refund: known.refund };
        return if *known == wish { Ok(vec![]) } else { Err(already) };
    }
    if wish.lines.is_empty() {
        return Err(Rejection::NoLines);
    }
    if wish.lines.len() > LINES_MAX {
        return Err(Rejection::TooManyLines { found: wish.lines.len() });
    }
    let mut sum = Money::zero(wish.refund.currency);
    for Line { sku, quantity, amount, .. } in &wish.lines {
        if !(1..=UNITS_MAX).contains(quantity) {
            return Err(Rejection::InvalidQuantity { sku: sku.clone(), found: *quantity });
        }
        if amount.amount < 0 {
            return Err(Rejection::InvalidAmount { sku: sku.clone(), found: *amount });
        }
        sum = sum.plus(*amount)?;
    }
    if sum != wish.refund {
        return Err(Rejection::RefundMismatch { sum, refund: wish.refund });
    }
    let words = wish.reason.as_ref().and_then(Personal::value);
    match words.map(|words| words.chars().count()) {
        Some(found) if found > REASON_MAX => Err(Rejection::ReasonTooLong { found }),
        _ => Ok(vec![wish.into()]),
    }
}

fn receive(state: &State, warehouse: &WarehouseId) -> Result<Vec<Event>, Rejection> {
    match state {
        State::Unrequested => Err(Rejection::NotRequested),
        State::Requested(_) => Ok(vec![Received { warehouse: warehouse.clone() }.into()]),
        State::Received(_, known) | State::Completed(_, known) if known == warehouse => Ok(vec![]),
        State::Received(_, known) | State::Completed(_, known) => {
            Err(Rejection::AlreadyReceived { warehouse: known.clone() })
        }
    }
}

#[cfg(test)]
mod tests;
