//! Drives one delivery: book it with the carrier under the order's address.

use domain::{
    delivery::{Command, Delivery},
    ids::{DeliveryId, OrderId},
    personal::Personal,
    process::{Next, delivery as process, delivery::Step},
};
use ports::carrier::{Booking, Error};

use super::{Due, Failure, Progress, Steps};
use crate::desk::Seen;

impl Steps {
    /// Books a delivery if it is to be booked, or asks again for one under way when `chase` says so. Answers whose
    /// order it is, and when to chase it.
    ///
    /// # Errors
    /// [`Failure`] when the carrier did not answer; drive again later, with the same stored key.
    pub async fn drive_delivery(&self, id: DeliveryId, chase: bool) -> Result<(Option<OrderId>, Progress), Failure> {
        let now = self.shop.clock.now();
        let look = move |seen: Seen<'_, Delivery>| {
            let order = seen.state.details().map(|details| details.order);
            let (revision, cause) = (seen.revision, seen.cause);
            let due = order.map(|order| Due { id: id.0, order, revision, cause, now, occurred_at: now });
            (process::next(seen.state, now, chase), due)
        };
        let (next, due) = self.shop.delivery.inspect(&id, look).await?;
        let Some(due) = due else {
            return Ok((None, Progress::Waiting { until: None }));
        };
        let until = match next {
            Next::Done => None,
            Next::Await { until } => until,
            Next::Do(step) => {
                self.book(id, due, step).await?;
                now.checked_add(process::CHASE_AFTER).ok()
            }
        };
        Ok((Some(due.order), Progress::Waiting { until }))
    }

    async fn book(&self, id: DeliveryId, due: Due, step: Step) -> Result<(), Failure> {
        let Step::Book { key, order, region, units } = step;
        let address = self.address(order).await?;
        let booking = Booking { key, delivery: id.0, address, region: region.to_string(), units };
        let command = match self.in_time(self.carrier.book(&booking), Error::Timeout).await {
            Ok(tracking) => Command::RecordBooked { tracking },
            Err(Error::Refused(reason)) => Command::RecordFailed { reason, at: due.now },
            Err(error) => return Err(Failure(error.to_string())),
        };
        self.shop.delivery.execute(&id, command, due.request("book", b"")).await?;
        Ok(())
    }

    /// Opens the order's address for the label; a member who was forgotten has none.
    async fn address(&self, order: OrderId) -> Result<Option<String>, Failure> {
        let ship_to =
            self.shop.order.inspect(&order, |seen| seen.state.placed().and_then(|placed| placed.ship_to.clone()));
        let Some(Personal::Sealed { member, ciphertext }) = ship_to.await? else {
            return Ok(None);
        };
        let key = self.keys.existing(member.0).await.map_err(|error| Failure(error.to_string()))?;
        let Some(key) = key else { return Ok(None) };
        let plaintext = key.open(&ciphertext).map_err(|error| Failure(error.to_string()))?;
        serde_json::from_slice(&plaintext).map(Some).map_err(|error| Failure(error.to_string()))
    }
}
