//! Which process an event is about, read off its stream's name.

use domain::{
    decider::Decider,
    delivery::Delivery,
    ids::{DeliveryId, OrderId, PaymentId, ReturnId},
    order::Order,
    payment::Payment,
    returns::Return,
};
use serde::{Deserialize, Serialize};

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Key {
    /// An order on its way.
    Order(OrderId),
    /// A payment and its refunds.
    Payment(PaymentId),
    /// A delivery.
    Delivery(DeliveryId),
    /// A return.
    Return(ReturnId),
}

impl Key {
    /// The process whose stream this is, if it is a process's.
    #[must_use]
    pub fn of(stream: &str) -> Option<Self> {
        let (category, id) = stream.split_once('-')?;
        match category {
            Order::CATEGORY => id.parse().ok().map(Self::Order),
            Payment::CATEGORY => id.parse().ok().map(Self::Payment),
            Delivery::CATEGORY => id.parse().ok().map(Self::Delivery),
            Return::CATEGORY => id.parse().ok().map(Self::Return),
            _ => None,
        }
    }
}
