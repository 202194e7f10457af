//! Returns: a row per return, where the goods and the money are.

use domain::{
    event::Event,
    ids::{MemberId, OrderId, PaymentId, Region, ReturnId, WarehouseId},
    money::Money,
    returns::{self, Line},
};
use jiff::Timestamp;
use ports::views::Key;
use serde::{Deserialize, Serialize};

use crate::{
    event::{Category, Fact},
    key::key,
    reader::Query,
    sealed::Sealed,
    view::{Fault, Touched, View},
};

const BY_ORDER: &str = "by_order";
const BY_BUYER: &str = "by_buyer";

/// The view of returns.
#[derive(Debug)]
pub struct Returns;

/// The status of a return.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Return {
    /// Which return.
    pub return_id: ReturnId,
    /// The order the goods came with.
    pub order: OrderId,
    /// Who sends them back.
    pub buyer: MemberId,
    /// The payment that is refunded.
    pub payment: PaymentId,
    /// What comes back.
    pub lines: Vec<Line>,
    /// What the buyer gets back.
    pub refund: Money,
    /// Where the goods had gone.
    pub region: Region,
    /// The buyer's words, if they said any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Sealed>,
    /// Where goods and money are.
    pub state: State,
    /// Where the goods came in, once they have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warehouse: Option<WarehouseId>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When nothing was left to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// The revision of its newest event: its etag.
    pub revision: u64,
}

/// Where goods and money are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The buyer has them.
    Requested,
    /// They are at a warehouse.
    Received,
    /// They are restocked and the money is back.
    Completed,
}

/// The returns of an order, the newest first.
#[must_use]
pub fn of_order(order: OrderId) -> Query<Returns> {
    Query::index(BY_ORDER).under(&(order,)).backward()
}

/// A buyer's returns, the newest first.
#[must_use]
pub fn of_buyer(buyer: MemberId) -> Query<Returns> {
    Query::index(BY_BUYER).under(&(buyer,)).backward()
}

impl View for Returns {
    const NAME: &'static str = "returns";
    const VERSION: u32 = 2;
    const READS: &'static [Category] = &[Category::Return];
    const INDEXES: &'static [&'static str] = &[BY_ORDER, BY_BUYER];
    type Key = ReturnId;
    type Row = Return;
    type Change<'a> = &'a returns::Event;

    fn touch<'a>(fact: &'a Fact, touched: &mut Touched<'a, Self>) -> Result<(), Fault> {
        if let Event::Return(event) = &fact.event {
            touched.own(fact.subject().parse()?, event, fact);
        }
        Ok(())
    }

    fn apply(
        key: &ReturnId,
        row: Option<Return>,
        change: &returns::Event,
        fact: &Fact,
    ) -> Result<Option<Return>, Fault> {
        let mut row = match (row, change) {
            (None, returns::Event::Requested(requested)) => Return {
                return_id: *key,
                order: requested.order,
                buyer: requested.buyer,
                payment: requested.payment,
                lines: requested.lines.clone(),
                refund: requested.refund,
                region: requested.region.clone(),
                reason: Sealed::first(fact.id, requested.reason.as_ref()),
                state: State::Requested,
                warehouse: None,
                requested_at: fact.occurred_at,
                completed_at: None,
                revision: fact.revision,
            },
            (Some(row), _) => row,
            (None, _) => return Err(Fault::missing("return", key)),
        };
        row.revision = fact.revision;
        match change {
            returns::Event::Requested(_) => {}
            returns::Event::Received(received) => {
                row.warehouse = Some(received.warehouse.clone());
                row.state = State::Received;
            }
            returns::Event::Completed(_) => {
                row.completed_at = Some(fact.occurred_at);
                row.state = State::Completed;
            }
        }
        Ok(Some(row))
    }

    fn indexes(row: &Return) -> Vec<(&'static str, Key)> {
        vec![(BY_ORDER, key(&(row.order, row.requested_at))), (BY_BUYER, key(&(row.buyer, row.requested_at)))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{IntoEvent, Told, fault, gbp, row, told, word};
    use domain::{
        ids::EventId,
        personal::Personal,
        returns::{Completed, Received, Requested},
    };

    const RETURN: ReturnId = ReturnId::from_u128(1);

    fn happens(day: i64, event: impl IntoEvent) -> Told {
        told(format!("return-{RETURN}"), day, event)
    }

    fn words() -> Personal<String> {
        Personal::Sealed { member: MemberId::from_u128(3), ciphertext: b"broken".to_vec() }
    }

    fn requested() -> Told {
        let lines = vec![Line { product: word("mug"), sku: word("M-1"), quantity: 1, amount: gbp(250) }];
        let (order, buyer, payment) = (OrderId::from_u128(2), MemberId::from_u128(3), PaymentId::from_u128(4));
        let reason = Some(words());
        happens(1, Requested { order, buyer, payment, lines, refund: gbp(250), region: word("GB"), reason })
    }

    fn check(story: &[Told], state: State, warehouse: Option<&str>, completed: Option<&str>) {
        let row = row::<Returns>(story);
        let completed_at = row.completed_at.map(|at| at.to_string());
        assert_eq!((row.state, row.warehouse.as_ref().map(WarehouseId::as_str)), (state, warehouse));
        assert_eq!(completed_at.as_deref().map(|at| &at[..10]), completed);
        let reason = Some(Sealed { event: EventId::from_u128(1), field: 0, value: words() });
        assert_eq!((row.refund, row.lines.len(), row.reason), (gbp(250), 1, reason));
    }

    #[test]
    fn a_return_shows_where_goods_and_money_are() {
        let received = happens(2, Received { warehouse: word("main") });
        check(&[requested()], State::Requested, None, None);
        check(&[requested(), received.clone()], State::Received, Some("main"), None);
        let completed = happens(3, Completed {});
        check(&[requested(), received, completed], State::Completed, Some("main"), Some("2010-12-03"));
    }

    #[test]
    fn a_return_that_was_never_requested_is_missing() {
        assert_eq!(fault::<Returns>(&[happens(1, Completed {})]), Fault::missing("return", &RETURN));
    }
}
