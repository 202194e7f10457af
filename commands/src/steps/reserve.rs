//! Reserving all lines of an order or none, releasing, claiming.
//!
//! The first round reserves all SKUs at once. Two carts that cross (one has x and wants y, the other has y and
//! wants x) would both be refused then, though one of them could be served. So a refusal that is owed to an order
//! which is itself still being reserved, or has just let go, is tried once more, one SKU after another in SKU order,
//! waiting for such orders to be decided. Whoever waits holds only lower SKUs, so nobody waits in a circle.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use domain::{
    ids::{OrderId, Sku},
    order::{self, Refusal, Situation, SkuAllocation},
    process::order::allocations,
    stock::{Allocation, Command, Event, Rejection, Stock},
};
use futures::future::{join_all, try_join_all};
use jiff::Timestamp;

use super::{Due, Failure, Steps};
use crate::desk::{Error, Seen};

/// How many of a SKU's newest holders are asked whether they are still being reserved.
const HOLDERS_MAX: usize = 8;
/// How often the second round looks again at a SKU that an undecided order holds.
const WAITS_MAX: u32 = 100;
/// How long it waits in between.
const WAIT: Duration = Duration::from_millis(10);
/// How often an order's hold on a SKU can be let go and had anew before the order itself changes.
const TRIES_MAX: u32 = 32;

type Reserved = Result<Vec<Allocation>, Rejection>;

impl Steps {
    /// Reserves all units, or none.
    pub(super) async fn reserve(
        &self,
        due: Due,
        units: &BTreeMap<Sku, u32>,
        expires_at: Timestamp,
    ) -> Result<Result<Arc<[SkuAllocation]>, Refusal>, Failure> {
        let all = units.iter().map(|(sku, quantity)| self.reserve_one(due, "first", sku, *quantity, expires_at));
        let reserved: Vec<Result<Reserved, Failure>> = join_all(all).await;
        let mut held = Vec::with_capacity(units.len());
        let mut refused = Vec::new();
        for ((sku, quantity), one) in units.iter().zip(reserved) {
            match one? {
                Ok(from) => held.push((sku.clone(), from)),
                Err(why) => refused.push((sku, *quantity, why)),
            }
        }
        let Some((sku, quantity, why)) = refused.first() else {
            return Ok(Ok(allocations(held)));
        };
        self.release(due, "first", held.iter().map(|(sku, _)| sku)).await?;
        if units.len() > 1 {
            let chances = refused.iter().map(|(sku, quantity, _)| self.may_be_had(sku, *quantity, due.order));
            if try_join_all(chances).await?.into_iter().all(|yes| yes) {
                return self.reserve_in_order(due, units, expires_at).await;
            }
        }
        Ok(Err(refusal(sku, *quantity, why)))
    }

    /// The second round: one SKU after another.
    async fn reserve_in_order(
        &self,
        due: Due,
        units: &BTreeMap<Sku, u32>,
        expires_at: Timestamp,
    ) -> Result<Result<Arc<[SkuAllocation]>, Refusal>, Failure> {
        let mut held: Vec<(Sku, Vec<Allocation>)> = Vec::new();
        let mut waits = 0;
        for (sku, quantity) in units {
            loop {
                match self.reserve_one(due, "second", sku, *quantity, expires_at).await? {
                    Ok(from) => {
                        held.push((sku.clone(), from));
                        break;
                    }
                    Err(why) => {
                        if waits == WAITS_MAX || !self.may_be_had(sku, *quantity, due.order).await? {
                            self.release(due, "second", held.iter().map(|(sku, _)| sku)).await?;
                            return Ok(Err(refusal(sku, *quantity, &why)));
                        }
                        waits += 1;
                        tokio::time::sleep(WAIT).await;
                    }
                }
            }
        }
        Ok(Ok(allocations(held)))
    }

    /// Reserves one SKU's units. What the order holds already is its own again.
    async fn reserve_one(
        &self,
        due: Due,
        round: &str,
        sku: &Sku,
        quantity: u32,
        expires_at: Timestamp,
    ) -> Result<Reserved, Failure> {
        let (order, now) = (due.order, self.shop.clock.now());
        for nth in 0..TRIES_MAX {
            // The nth try is one request, whoever makes it: a driver that was overtaken reserves nothing anew.
            let part = format!("{round}/{sku}/{nth}");
            let command = Command::Reserve { order, quantity, expires_at, now };
            match self.shop.stock.execute(sku, command, due.request("reserve", part.as_bytes())).await {
                Ok(outcome) => {
                    let fresh = outcome.events.into_iter().find_map(|event| match event {
                        Event::Reserved(reserved) if !outcome.replayed => Some(reserved.allocations),
                        _ => None,
                    });
                    if let Some(from) = fresh {
                        return Ok(Ok(from));
                    }
                    if let Some(from) = self.held(sku, order).await? {
                        return Ok(Ok(from));
                    }
                    self.unmoved(due).await?;
                }
                Err(Error::Rejected(why)) => return Ok(Err(why)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Failure(format!("the hold of order {order} on {sku} was let go again and again")))
    }

    /// What the order holds of a SKU by the SKU's own word.
    async fn held(&self, sku: &Sku, order: OrderId) -> Result<Option<Vec<Allocation>>, Failure> {
        let look = move |seen: Seen<'_, Stock>| seen.state.held_by(order).map(<[Allocation]>::to_vec);
        Ok(self.shop.stock.inspect(sku, look).await?)
    }

    /// Checks that nobody else has carried the order on.
    async fn unmoved(&self, due: Due) -> Result<(), Failure> {
        let revision = self.shop.order.inspect(&due.order, |seen| seen.revision).await?;
        if revision == due.revision { Ok(()) } else { Err(Failure(format!("order {} has moved on", due.order))) }
    }

    /// Records that everything is reserved, and looks at the order. If it has been carried on without this driver, to
    /// where it needs no hold any more, what this driver has reserved is let go.
    pub(super) async fn record_reserved<T: Send + 'static>(
        &self,
        due: Due,
        allocations: Arc<[SkuAllocation]>,
        look: impl FnOnce(Seen<'_, order::Order>) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let skus: Vec<Sku> = allocations.iter().map(|held| held.sku.clone()).collect();
        let record = order::Command::RecordReserved { allocations };
        let request = due.request("reserve", b"order");
        let recorded = self.shop.order.execute_and_look(&due.order, record, request, look).await;
        if !recorded.as_ref().is_ok_and(|(outcome, _)| !outcome.replayed && !outcome.events.is_empty()) {
            self.release_if_past(due, &skus).await?;
        }
        recorded.map(|(_, looked)| looked).map_err(Failure::from)
    }

    /// Lets go of what an order holds that needs no hold any more.
    async fn release_if_past(&self, due: Due, skus: &[Sku]) -> Result<(), Failure> {
        let past = |seen: Seen<'_, order::Order>| {
            use Situation as S;
            let situation = seen.state.situation();
            situation.terminal() || matches!(situation, S::Confirmed | S::Delivering { .. } | S::Ending { .. })
        };
        if self.shop.order.inspect(&due.order, past).await? {
            self.release(due, "overtaken", skus).await?;
        }
        Ok(())
    }

    /// Whether a SKU that was refused may be had all the same: one of its newest holders is an order that is still
    /// being reserved, or has let go of it since.
    async fn may_be_had(&self, sku: &Sku, quantity: u32, but: OrderId) -> Result<bool, Failure> {
        let look = move |seen: Seen<'_, Stock>| {
            let holders: Vec<_> = seen.state.newest_holders(HOLDERS_MAX).collect();
            (seen.state.available() >= quantity, holders)
        };
        let (free, newest) = self.shop.stock.inspect(sku, look).await?;
        if free {
            return Ok(true);
        }
        for holder in newest.into_iter().filter(|holder| *holder != but) {
            let undecided = |seen: Seen<'_, order::Order>| {
                matches!(seen.state.situation(), Situation::Placed | Situation::Reviving)
            };
            if self.shop.order.inspect(&holder, undecided).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lets go of whatever the order holds of these SKUs.
    pub(super) async fn release<'a>(
        &self,
        due: Due,
        round: &str,
        skus: impl IntoIterator<Item = &'a Sku>,
    ) -> Result<(), Failure> {
        let releases = skus.into_iter().map(|sku| {
            let part = format!("{round}/{sku}/{}", due.now.as_nanosecond());
            let request = due.request("release", part.as_bytes());
            self.shop.stock.execute(sku, Command::Release { order: due.order }, request)
        });
        for released in join_all(releases).await {
            match released {
                // A SKU that is not kept holds nothing.
                Ok(_) | Err(Error::Rejected(Rejection::NotKept)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes what the order holds of these SKUs off the shelf; if a hold is gone, says which units left all
    /// the same.
    pub(super) async fn claim(
        &self,
        due: Due,
        skus: &[Sku],
    ) -> Result<Result<(), (Refusal, Vec<SkuAllocation>)>, Failure> {
        let order = due.order;
        let claims = skus.iter().map(|sku| {
            let request = due.request("claim", sku.as_str().as_bytes());
            self.shop.stock.execute(sku, Command::Claim { order }, request)
        });
        let mut claimed = Vec::with_capacity(skus.len());
        let mut refused = None;
        for (sku, outcome) in skus.iter().zip(join_all(claims).await) {
            match outcome {
                Ok(outcome) => claimed.extend(outcome.events.into_iter().find_map(|event| match event {
                    Event::Claimed(event) => Some(SkuAllocation { sku: sku.clone(), from: event.allocations }),
                    _ => None,
                })),
                Err(Error::Rejected(why)) => refused = Some(refusal(sku, 0, &why)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(refused.map_or(Ok(()), |why| Err((why, claimed))))
    }
}

fn refusal(sku: &Sku, requested: u32, why: &Rejection) -> Refusal {
    match why {
        Rejection::NotKept => Refusal::NotKept { sku: sku.clone() },
        Rejection::OutOfStock { requested, available } => {
            Refusal::OutOfStock { sku: sku.clone(), requested: *requested, available: *available }
        }
        _ => Refusal::OutOfStock { sku: sku.clone(), requested, available: 0 },
    }
}
