//! Drives one order: look at it, run the step that is due, look again.

use domain::{
    coupon::claim,
    ids::{ClaimId, DeliveryId, OrderId, PaymentId, Sku, derive},
    order::{self, Command, Order, SkuAllocation, Undo},
    process::{Next, order as process, order::Step, request_id},
    stock,
};

use super::{Due, Failure, Progress, Steps, Until};
use crate::{
    desk::{Error, Seen},
    request::Request,
};

/// The most steps in one drive: more than any order needs, so that a loop without end is seen.
const STEPS_MAX: usize = 64;

/// What a step came to: something to record on the order, or the order was seen to already.
enum Came {
    Record(Command),
    Done(Progress),
}

/// An order as it was looked at: what is due, and whatever else the one who looked wanted to know.
#[derive(Debug)]
pub struct Look<T> {
    next: Next<Step>,
    due: Due,
    /// What the one who looked wanted to know.
    pub seen: T,
}

impl<T> Look<T> {
    /// Looks at an order as it is at `now`.
    pub fn at(
        id: OrderId,
        now: jiff::Timestamp,
        seen: &Seen<'_, Order>,
        look: impl FnOnce(&Seen<'_, Order>) -> T,
    ) -> Self {
        Self { next: process::next(seen.state, now), due: due(id, seen, now), seen: look(seen) }
    }
}

impl Steps {
    /// Drives an order as far as `until` says.
    ///
    /// # Errors
    /// [`Failure`] when a step could not be finished now; drive again later.
    pub async fn drive_order(&self, id: OrderId, until: Until) -> Result<Progress, Failure> {
        let first = self.look_at(id, |_| ()).await?;
        Ok(self.drive_order_on(id, until, first, |_| ()).await?.0)
    }

    /// The same for an order that was just looked at. Answers what `look` saw of it at last.
    ///
    /// # Errors
    /// As [`Steps::drive_order`].
    pub async fn drive_order_on<T: Send + 'static>(
        &self,
        id: OrderId,
        until: Until,
        first: Look<T>,
        look: impl Fn(&Seen<'_, Order>) -> T + Copy + Send + 'static,
    ) -> Result<(Progress, T), Failure> {
        let mut looked = first;
        for _ in 0..STEPS_MAX {
            let Look { next, due, seen } = looked;
            let step = match next {
                Next::Done => return Ok((Progress::Waiting { until: None }, seen)),
                Next::Await { until } => return Ok((Progress::Waiting { until }, seen)),
                Next::Do(step) => step,
            };
            if until == Until::Reserved && !eager(&step) {
                return Ok((Progress::Waiting { until: Some(due.now) }, seen));
            }
            let name = step.name();
            let came = match step {
                Step::Reserve { .. }
                | Step::HoldCoupon { .. }
                | Step::Claim { .. }
                | Step::Deliver { .. }
                | Step::Follow { .. } => self.goods(due, step).await?,
                _ => self.money(due, step).await?,
            };
            looked = match came {
                Came::Record(command) => self.record(due, name, command, look).await?,
                Came::Done(Progress::Moved) => self.look_at(id, look).await?,
                Came::Done(waiting) => return Ok((waiting, seen)),
            };
        }
        Err(Failure(format!("order {id} did not settle within {STEPS_MAX} steps")))
    }

    async fn look_at<T: Send + 'static>(
        &self,
        id: OrderId,
        look: impl FnOnce(&Seen<'_, Order>) -> T + Send + 'static,
    ) -> Result<Look<T>, Failure> {
        let now = self.shop.clock.now();
        Ok(self.shop.order.inspect(&id, move |seen| Look::at(id, now, &seen, look)).await?)
    }

    /// Records what a step came to, and looks at the order again.
    async fn record<T: Send + 'static>(
        &self,
        due: Due,
        step: &'static str,
        command: Command,
        look: impl Fn(&Seen<'_, Order>) -> T + Copy + Send + 'static,
    ) -> Result<Look<T>, Failure> {
        let (id, now, request) = (due.order, self.shop.clock.now(), due.request(step, b"order"));
        let again = move |seen: Seen<'_, Order>| Look::at(id, now, &seen, look);
        match command {
            Command::RecordReserved { allocations } => self.record_reserved(due, allocations, again).await,
            Command::Close => {
                // Everything that was held *when it was looked at* is let go. Money that was recorded since is not:
                // then look again.
                let request = Request { if_match: Some(due.revision), ..request };
                match self.shop.order.execute_and_look(&id, Command::Close, request, again).await {
                    Ok((_, looked)) => Ok(looked),
                    Err(Error::Stale { .. }) => self.look_at(id, look).await,
                    Err(error) => Err(error.into()),
                }
            }
            command => Ok(self.shop.order.execute_and_look(&id, command, request, again).await?.1),
        }
    }

    /// Runs a step that moves goods.
    async fn goods(&self, due: Due, step: Step) -> Result<Came, Failure> {
        let name = step.name();
        Ok(Came::Record(match step {
            Step::Reserve { units, expires_at } => match self.reserve(due, &units, expires_at).await? {
                Ok(allocations) => Command::RecordReserved { allocations },
                Err(why) => Command::Refuse { why, claimed: Vec::new() },
            },
            Step::HoldCoupon { campaign, claim, member, discount } => {
                let hold = claim::Command::Hold { campaign, member, order: due.order, discount };
                match self.shop.claim.execute(&claim, hold, due.request(name, b"coupon")).await {
                    Ok(_) => Command::RecordCouponHeld,
                    Err(Error::Rejected(why)) => {
                        Command::Refuse { why: order::Refusal::Coupon { detail: why.to_string() }, claimed: Vec::new() }
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Step::Claim { skus, coupon } => match self.claim(due, &skus).await? {
                Ok(()) => {
                    self.redeem(due, coupon).await?;
                    Command::Confirm
                }
                Err((why, claimed)) => Command::Refuse { why, claimed },
            },
            Step::Deliver { region, address, units } => {
                let delivery = DeliveryId::derived(due.id, &[&due.revision.to_be_bytes()]);
                let key = derive(delivery.0, "booking", &[]);
                let request = domain::delivery::Command::Request { order: due.order, region, address, units, key };
                self.shop.delivery.execute(&delivery, request, due.request(name, b"delivery")).await?;
                Command::RecordDeliveryRequested { delivery }
            }
            Step::Follow { delivery } => {
                match self.shop.delivery.inspect(&delivery, |seen| process::follow(seen.state)).await? {
                    Some(command) => command,
                    None => return Ok(Came::Done(Progress::Waiting { until: None })),
                }
            }
            _ => return Ok(Came::Done(Progress::Waiting { until: None })),
        }))
    }

    /// Runs a step that moves money or ends the order.
    async fn money(&self, due: Due, step: Step) -> Result<Came, Failure> {
        let name = step.name();
        Ok(match step {
            Step::Pay { method } => {
                let payment = PaymentId::derived(due.id, &[&due.revision.to_be_bytes()]);
                Came::Done(self.pay(due.order, payment, method, due.request(name, b"order")).await?)
            }
            Step::Waive { amount } => Came::Record(Command::RecordPaid { payment: PaymentId::NONE, amount }),
            Step::Settle { payment } => Came::Done(self.settle(due.order, payment).await?),
            Step::Return { open, payment, buyer, region } => {
                Came::Done(self.advance_returns(due, open, payment, buyer, &region).await?)
            }
            Step::Expire => Came::Record(Command::Expire { now: due.now }),
            Step::Undo { held, skus } => {
                for undo in held {
                    if self.undo(due, undo, &skus).await? == Progress::Moved {
                        // Undoing has changed what is known of the order: look again before closing it.
                        return Ok(Came::Done(Progress::Moved));
                    }
                }
                Came::Record(Command::Close)
            }
            _ => Came::Done(Progress::Waiting { until: None }),
        })
    }

    /// Lets go of one thing that an order still holds. `Moved` when the order itself has changed by it.
    async fn undo(&self, due: Due, undo: Undo, skus: &[Sku]) -> Result<Progress, Failure> {
        match undo {
            Undo::CancelPayment(payment) => return self.cancel_payment(due, payment).await,
            Undo::Refund(payment, amount) => self.give_back(due, payment, amount).await?,
            Undo::ReleaseStock => self.release(due, "undo", skus).await?,
            Undo::Restock(claimed) => self.restock_claimed(due, &claimed).await?,
            Undo::RestoreCoupon(claim) => {
                let restore = claim::Command::Restore { order: due.order };
                self.shop.claim.execute(&claim, restore, due.request("undo", b"coupon")).await?;
            }
        }
        Ok(Progress::Waiting { until: None })
    }

    async fn redeem(&self, due: Due, coupon: Option<ClaimId>) -> Result<(), Failure> {
        if let Some(claim) = coupon {
            let redeem = claim::Command::Redeem { order: due.order };
            self.shop.claim.execute(&claim, redeem, due.request("claim", b"coupon")).await?;
        }
        Ok(())
    }

    async fn restock_claimed(&self, due: Due, claimed: &[SkuAllocation]) -> Result<(), Failure> {
        for SkuAllocation { sku, from } in claimed {
            for stock::Allocation { warehouse, quantity } in from {
                let part = format!("{sku}/{warehouse}");
                // An order's goods come back once, whatever revision it is looked at from.
                let id = request_id(due.id, 0, "restock", part.as_bytes());
                let request = Request { id, ..due.request("restock", b"") };
                let (source, warehouse, quantity) = (due.id, warehouse.clone(), *quantity);
                let restock = stock::Command::Restock { source, warehouse, quantity };
                self.shop.stock.execute(sku, restock, request).await?;
            }
        }
        Ok(())
    }
}

/// Steps that the gateway drives before it answers the buyer.
const fn eager(step: &Step) -> bool {
    matches!(step, Step::Reserve { .. } | Step::HoldCoupon { .. })
}

pub(super) fn due(id: OrderId, seen: &Seen<'_, Order>, now: jiff::Timestamp) -> Due {
    let occurred_at = seen.state.placed().and_then(|placed| placed.backdated).unwrap_or(now);
    Due { id: id.0, order: id, revision: seen.revision, cause: seen.cause, now, occurred_at }
}
