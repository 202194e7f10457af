//! A struct of any aggregate's events as an event of the shop.

use domain::{
    coupon::{campaign, claim},
    delivery,
    event::Event,
    order, payment, product, returns, stock,
};

/// A struct of any aggregate's event as an event of the shop.
pub trait IntoEvent {
    fn into_event(self) -> Event;
}

macro_rules! into_event {
    ($($enum:path { $($event:path),+ })+) => {$($(
        impl IntoEvent for $event {
            fn into_event(self) -> Event {
                <$enum>::from(self).into()
            }
        }
    )+)+};
}

into_event! {
    product::Event {
        product::Listed, product::Revised, product::VariantAdded, product::Repriced, product::Delisted,
        product::Relisted
    }
    stock::Event {
        stock::Opened, stock::Received, stock::Counted, stock::Reserved, stock::Claimed, stock::Released,
        stock::Restocked
    }
    order::Event {
        order::Placed, order::Reserved, order::CouponHeld, order::Refused, order::PaymentRequested,
        order::PaymentFailed, order::Paid, order::Confirmed, order::DeliveryRequested, order::Delivered,
        order::Undeliverable, order::Expired, order::Cancelled, order::PaidLate, order::Closed,
        order::ReturnOpened, order::Returned
    }
    campaign::Event { campaign::Launched, campaign::Claimed, campaign::Ended }
    claim::Event { claim::Held, claim::Redeemed, claim::Restored }
    payment::Event {
        payment::Requested, payment::Authorized, payment::Captured, payment::Declined, payment::Cancelled,
        payment::Voided, payment::RefundRequested, payment::Refunded, payment::RefundFailed
    }
    delivery::Event {
        delivery::Requested, delivery::Booked, delivery::Dispatched, delivery::Delivered, delivery::Failed
    }
    returns::Event { returns::Requested, returns::Received, returns::Completed }
}
