//! An order as a message: the view's situations in the words of the API.
//!
//! The API tells buyers how far the goods are, which the order leaves to its delivery: so an order that is being
//! delivered is shown with its delivery's row beside it.

use domain::order::{Line, Refusal};
use projections::views::{
    deliveries::{Delivery, State as Travel},
    orders::{Ended, Order, State},
};
use proto::v1::{self, OrderState};

use crate::{
    error::Reason,
    services::{convert, envelope},
};

/// The order without its milestones.
pub(super) fn brief(row: &Order, delivery: Option<&Delivery>) -> v1::Order {
    let state = state(row, delivery);
    let updated = row.timeline.last().map_or(row.placed_at, |moment| moment.at);
    let unpaid = matches!(row.state, State::Placed | State::Reserved | State::Unpaid | State::Paying);
    v1::Order {
        order_id: row.order.to_string(),
        buyer_id: row.buyer.to_string(),
        state: state.into(),
        lines: lines(row),
        region: row.region.to_string(),
        ship_to: None,
        coupon: row.coupon.as_ref().map(|coupon| v1::OrderCoupon {
            campaign_id: coupon.campaign.to_string(),
            claim_id: coupon.claim.to_string(),
        }),
        subtotal: Some(convert::to_money(row.subtotal)),
        discount: Some(convert::to_money(row.discount)),
        total: Some(convert::to_money(row.total)),
        refunded: Some(convert::to_money(row.refunded)),
        payment_id: row.payment.map(|payment| payment.to_string()).unwrap_or_default(),
        delivery_id: row.delivery.map(|delivery| delivery.to_string()).unwrap_or_default(),
        return_ids: row.returns.iter().map(|known| known.return_id.to_string()).collect(),
        reason: why(row),
        create_time: Some(convert::to_moment(row.placed_at)),
        update_time: Some(convert::to_moment(updated)),
        expire_time: unpaid.then(|| convert::to_moment(row.expires_at)),
        milestones: Vec::new(),
        etag: envelope::row_etag(row.revision),
    }
}

/// The order with its milestones.
pub(super) fn full(row: &Order, delivery: Option<&Delivery>) -> v1::Order {
    v1::Order { milestones: milestones(row, delivery), ..brief(row, delivery) }
}

/// How far an order is.
fn state(row: &Order, delivery: Option<&Delivery>) -> OrderState {
    match row.state {
        // A coupon that is still being held may yet refuse the order.
        State::Placed | State::Reserved => OrderState::Placed,
        State::Unpaid => OrderState::Reserved,
        State::Paying => OrderState::PaymentPending,
        State::Paid | State::Reviving => OrderState::Paid,
        State::Confirmed => OrderState::Claimed,
        State::Delivering => match delivery.map(|delivery| &delivery.state) {
            None | Some(Travel::Requested) => OrderState::Claimed,
            Some(Travel::Booked) => OrderState::DeliveryBooked,
            Some(Travel::Dispatched | Travel::Delivered | Travel::Failed { .. }) => OrderState::Dispatched,
        },
        State::Delivered => OrderState::Delivered,
        State::Ending | State::Closed => match row.ended {
            Some(Ended::Refused(_)) | None => OrderState::Refused,
            Some(Ended::Expired) => OrderState::Expired,
            Some(Ended::Cancelled(_)) => OrderState::Cancelled,
            Some(Ended::Undeliverable(_)) => OrderState::DeliveryFailed,
        },
    }
}

/// True when nothing more happens to an order, returns aside.
pub(super) const fn is_final(state: OrderState) -> bool {
    match state {
        OrderState::Delivered
        | OrderState::Refused
        | OrderState::Expired
        | OrderState::Cancelled
        | OrderState::DeliveryFailed => true,
        OrderState::Unspecified
        | OrderState::Placed
        | OrderState::Reserved
        | OrderState::PaymentPending
        | OrderState::Paid
        | OrderState::Claimed
        | OrderState::DeliveryBooked
        | OrderState::Dispatched => false,
    }
}

/// The one stored state that all of these are kept under, if there is one: then its index finds them.
pub(super) fn stored(states: &[OrderState]) -> Option<State> {
    let one = |state: &OrderState| match state {
        OrderState::Reserved => Some(State::Unpaid),
        OrderState::PaymentPending => Some(State::Paying),
        OrderState::DeliveryBooked | OrderState::Dispatched => Some(State::Delivering),
        OrderState::Delivered => Some(State::Delivered),
        OrderState::Unspecified
        | OrderState::Placed
        | OrderState::Paid
        | OrderState::Claimed
        | OrderState::Refused
        | OrderState::Expired
        | OrderState::Cancelled
        | OrderState::DeliveryFailed => None,
    };
    let first = states.first().and_then(one)?;
    states.iter().all(|state| one(state) == Some(first)).then_some(first)
}

/// Whether the order may be in one of these states, as far as its own row says.
pub(super) fn may_be_in(row: &Order, states: &[OrderState]) -> bool {
    match row.state {
        State::Delivering => {
            let travelling = [OrderState::Claimed, OrderState::DeliveryBooked, OrderState::Dispatched];
            travelling.iter().any(|state| states.contains(state))
        }
        State::Placed
        | State::Reserved
        | State::Unpaid
        | State::Paying
        | State::Paid
        | State::Confirmed
        | State::Delivered
        | State::Reviving
        | State::Ending
        | State::Closed => states.contains(&state(row, None)),
    }
}

fn lines(row: &Order) -> Vec<v1::OrderLine> {
    let returned = |n: usize| {
        let back = row.returns.iter().flat_map(|known| &known.lines).filter(|line| line.line as usize == n);
        back.fold(0_u32, |sum, line| sum.saturating_add(line.quantity))
    };
    row.lines.iter().enumerate().map(|(n, sold)| v1::OrderLine { returned: returned(n), ..line(sold) }).collect()
}

/// One line as it was agreed.
pub(super) fn line(line: &Line) -> v1::OrderLine {
    let subtotal = line.unit_price.times(line.quantity).unwrap_or(line.amount);
    v1::OrderLine {
        product_id: line.product.to_string(),
        sku: line.sku.to_string(),
        name: line.name.to_string(),
        quantity: line.quantity,
        unit_price: Some(convert::to_money(line.unit_price)),
        subtotal: Some(convert::to_money(subtotal)),
        discount: subtotal.minus(line.amount).ok().map(convert::to_money),
        returned: 0,
    }
}

/// Why it ended, or why its newest payment failed.
fn why(row: &Order) -> String {
    match &row.ended {
        Some(Ended::Refused(Refusal::OutOfStock { .. } | Refusal::NotKept { .. })) => {
            Reason::OutOfStock.name().to_owned()
        }
        Some(Ended::Refused(Refusal::Coupon { .. })) => Reason::CouponNotUsable.name().to_owned(),
        // What was said at a cancellation is sealed: see `why_cancelled`.
        Some(Ended::Expired | Ended::Cancelled(_)) => String::new(),
        Some(Ended::Undeliverable(why)) => why.clone(),
        None => row.payment_failure.clone().unwrap_or_default(),
    }
}

/// Adds what was said when the order was called off.
pub(super) fn why_cancelled(order: &mut v1::Order, words: &str) {
    words.clone_into(&mut order.reason);
    let cancelled = order.milestones.iter_mut().filter(|milestone| milestone.state() == OrderState::Cancelled);
    cancelled.for_each(|milestone| words.clone_into(&mut milestone.reason));
}

/// The timeline in the words of the API. Steps that mean nothing to a buyer are left out.
fn milestones(row: &Order, delivery: Option<&Delivery>) -> Vec<v1::OrderMilestone> {
    let held = if row.coupon.is_some() { "coupon_held" } else { "reserved" };
    let mut milestones: Vec<v1::OrderMilestone> = Vec::new();
    for moment in &row.timeline {
        let (state, reason) = match moment.what.as_str() {
            "placed" => (OrderState::Placed, String::new()),
            what if what == held => (OrderState::Reserved, String::new()),
            "payment_requested" => (OrderState::PaymentPending, String::new()),
            "payment_failed" => (OrderState::Reserved, Reason::PaymentDeclined.name().to_owned()),
            "paid" | "paid_late" => (OrderState::Paid, String::new()),
            "confirmed" => (OrderState::Claimed, String::new()),
            "delivered" => {
                milestones.extend(dispatched(delivery));
                (OrderState::Delivered, String::new())
            }
            "refused" => (OrderState::Refused, why(row)),
            "expired" => (OrderState::Expired, String::new()),
            "cancelled" => (OrderState::Cancelled, why(row)),
            "undeliverable" => (OrderState::DeliveryFailed, why(row)),
            _ => continue,
        };
        milestones.push(milestone(state, moment.at, reason));
    }
    if row.state == State::Delivering {
        milestones.extend(dispatched(delivery));
    }
    milestones
}

fn dispatched(delivery: Option<&Delivery>) -> Option<v1::OrderMilestone> {
    let at = delivery.and_then(|delivery| delivery.dispatched_at)?;
    Some(milestone(OrderState::Dispatched, at, String::new()))
}

fn milestone(state: OrderState, at: jiff::Timestamp, reason: String) -> v1::OrderMilestone {
    v1::OrderMilestone { state: state.into(), time: Some(convert::to_moment(at)), reason }
}
