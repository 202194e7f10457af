//! A return of delivered goods: requested, received at a warehouse, completed once the money is back.
//!
//! The order's own stream has already checked that these goods were delivered and are not being returned
//! twice; here lives what happens to them afterwards. The refund itself is the payment's business.

use serde::{Deserialize, Serialize};

use crate::{
    decider::Decider,
    ids::{MemberId, OrderId, PaymentId, ProductId, Region, ReturnId, Sku, WarehouseId},
    money::{Money, MoneyError},
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
        Requested = "return.requested" 1,
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
    /// The buyer's words; may be empty.
    pub reason: String,
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
        /// The buyer's words.
        reason: String,
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
    const FOLD: u32 = 1;
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
    match wish.reason.chars().count() {
        found if found > REASON_MAX => Err(Rejection::ReasonTooLong { found }),
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{decider::fold, money::Currency, testing::given};

    fn gbp(amount: i64) -> Money {
        Money::new(amount, Currency::GBP)
    }

    fn line(quantity: u32, amount: i64) -> Line {
        let (product, sku) = (ProductId::new("22629").unwrap(), Sku::new("22629-red").unwrap());
        Line { product, sku, quantity, amount: gbp(amount) }
    }

    fn wish(lines: &[Line], refund: Money) -> Requested {
        Requested {
            order: OrderId::from_u128(1),
            buyer: MemberId::from_u128(2),
            payment: PaymentId::from_u128(3),
            lines: lines.to_vec(),
            refund,
            region: Region::new("GB").unwrap(),
            reason: "too small".into(),
        }
    }

    fn command(wish: Requested) -> Command {
        let Requested { order, buyer, payment, lines, refund, region, reason } = wish;
        Command::Request { order, buyer, payment, lines, refund, region, reason }
    }

    fn requested() -> Event {
        wish(&[line(1, 195), line(2, 0)], gbp(195)).into()
    }

    fn warehouse(text: &str) -> WarehouseId {
        WarehouseId::new(text).unwrap()
    }

    fn received() -> Event {
        Received { warehouse: warehouse("london") }.into()
    }

    fn completed() -> Event {
        Completed {}.into()
    }

    fn refuse(wish: Requested, why: &Rejection) {
        given::<Return>([]).when(command(wish)).then_rejected(why);
    }

    #[test]
    fn a_return_goes_step_by_step_and_each_step_once() {
        let receive = |text| Command::Receive { warehouse: warehouse(text) };
        given::<Return>([]).when(command(wish(&[line(1, 195), line(2, 0)], gbp(195)))).then([requested()]);
        given::<Return>([requested()]).when(receive("london")).then([received()]);
        given::<Return>([requested(), received()]).when(Command::Complete).then([completed()]);
        given::<Return>([requested(), received(), completed()]).when(receive("london")).then_nothing();

        given::<Return>([]).when(receive("london")).then_rejected(&Rejection::NotRequested);
        given::<Return>([]).when(Command::Complete).then_rejected(&Rejection::NotRequested);
        given::<Return>([requested()]).when(Command::Complete).then_rejected(&Rejection::NotReceived);
        given::<Return>([requested(), received()])
            .when(receive("leeds"))
            .then_rejected(&Rejection::AlreadyReceived { warehouse: warehouse("london") });
    }

    #[test]
    fn a_return_has_one_body() {
        given::<Return>([requested(), received()])
            .when(command(wish(&[line(1, 1)], gbp(1))))
            .then_rejected(&Rejection::AlreadyRequested { order: OrderId::from_u128(1), refund: gbp(195) });
    }

    #[test]
    fn the_refund_is_exactly_the_sum_of_the_lines() {
        let lines = [line(1, 195), line(1, 200)];
        for refund in [394, 396] {
            refuse(wish(&lines, gbp(refund)), &Rejection::RefundMismatch { sum: gbp(395), refund: gbp(refund) });
        }
        let euros = Money::new(395, Currency::EUR);
        let mismatch = MoneyError::Mismatch { left: Currency::EUR, right: Currency::GBP };
        refuse(wish(&lines, euros), &Rejection::Money(mismatch));
        refuse(wish(&[line(1, i64::MAX), line(1, 1)], gbp(0)), &Rejection::Money(MoneyError::Overflow));
    }

    #[test]
    fn lines_quantities_amounts_and_words_have_limits() {
        let sku = line(1, 1).sku;
        refuse(wish(&[], gbp(0)), &Rejection::NoLines);
        let many = vec![line(1, 0); LINES_MAX + 1];
        refuse(wish(&many, gbp(0)), &Rejection::TooManyLines { found: LINES_MAX + 1 });
        for found in [0, UNITS_MAX + 1] {
            refuse(wish(&[line(found, 1)], gbp(1)), &Rejection::InvalidQuantity { sku: sku.clone(), found });
        }
        refuse(wish(&[line(1, -1)], gbp(-1)), &Rejection::InvalidAmount { sku, found: gbp(-1) });
        let wordy = Requested { reason: "x".repeat(REASON_MAX + 1), ..wish(&[line(1, 1)], gbp(1)) };
        refuse(wordy, &Rejection::ReasonTooLong { found: REASON_MAX + 1 });
    }

    proptest! {
        #[test]
        fn any_history_folds_and_reads_back(
            history in prop::collection::vec(prop::sample::select(vec![requested(), received(), completed()]), 0..12),
        ) {
            let state = fold::<Return>(&history);
            prop_assert_eq!(state.requested().is_some(), history.contains(&requested()));
            let stored = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(serde_json::from_str::<State>(&stored).unwrap(), state);
        }

        #[test]
        fn goods_come_back_at_most_once(
            places in prop::collection::vec(prop::option::of(prop::sample::select(vec!["london", "leeds"])), 0..20),
        ) {
            let mut state = fold::<Return>(&[requested()]);
            let mut receipts = 0;
            for place in places {
                let command = place.map_or(Command::Complete, |p| Command::Receive { warehouse: warehouse(p) });
                let Ok(events) = Return::decide(&state, &command) else { continue };
                receipts += events.iter().filter(|e| matches!(e, Event::Received(_))).count();
                state = events.iter().fold(state, Return::evolve);
                prop_assert_eq!(Return::decide(&state, &command), Ok(vec![]));
            }
            prop_assert!(receipts <= 1);
            prop_assert_eq!(state.warehouse().is_some(), receipts == 1);
        }
    }
}
