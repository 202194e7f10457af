//! What providers and carriers tell of their own accord, recorded like any other answer.
//!
//! A notice may come twice, late, or before the call it is about has answered. The request id derives from its
//! contents, and the aggregates ignore what no longer fits: so recording it is always harmless.

use std::time::Duration;

use domain::{
    delivery,
    event::Actor,
    ids::{DeliveryId, PaymentId, RequestId},
    money::Money,
};
use futures::{StreamExt as _, stream};
use ports::{
    carrier::{self, News},
    payment::{self, Act, Answer},
};
use uuid::Uuid;

use super::{Failure, Steps, payment::record};
use crate::{desk::Error, outage::Outage, request::Request};

/// How long to wait before a notice that could not be recorded is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// How many notices are recorded at the same time; each waits for the disk.
const AT_ONCE: usize = 256;

/// Records the payment provider's notices until there will never be another. A notice stays in hand until it
/// is recorded.
pub async fn provider_notices(steps: Steps) {
    let outage = Outage::new("payment notices cannot be recorded");
    let told = stream::unfold(&steps.provider, async |provider| Some((provider.notice().await?, provider)));
    told.for_each_concurrent(AT_ONCE, async |notice| {
        while let Err(error) = steps.record_payment_notice(&notice).await {
            outage.failed(&error);
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        outage.worked();
    })
    .await;
}

/// Records the carrier's notices until there will never be another. A notice stays in hand until it is
/// recorded.
pub async fn carrier_notices(steps: Steps) {
    let outage = Outage::new("carrier notices cannot be recorded");
    let told = stream::unfold(&steps.carrier, async |carrier| Some((carrier.notice().await?, carrier)));
    told.for_each_concurrent(AT_ONCE, async |notice| {
        while let Err(error) = steps.record_carrier_notice(&notice).await {
            outage.failed(&error);
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        outage.worked();
    })
    .await;
}

impl Steps {
    /// Records one notice of the payment provider.
    ///
    /// # Errors
    /// [`Failure`] when it could not be recorded now.
    pub async fn record_payment_notice(&self, notice: &payment::Notice) -> Result<(), Failure> {
        let (id, key) = (PaymentId(notice.payment), notice.key);
        let known = self
            .shop
            .payment
            .inspect(&id, move |seen| {
                seen.state.details().map(|details| {
                    let refund = details.refunds.iter().find(|(_, refund)| refund.key == key).map(|(id, _)| *id);
                    (details.amount.currency, refund)
                })
            })
            .await?;
        let Some((currency, refund)) = known else {
            return Ok(());
        };
        let (act, outcome): (u8, u8) = (
            match notice.act {
                Act::Authorize => 0,
                Act::Capture => 1,
                Act::Void => 2,
                Act::Refund => 3,
            },
            u8::from(matches!(notice.answer, Answer::Approved { .. })),
        );
        let amount = Money::new(notice.amount, currency);
        let Some(command) = record(notice.act, notice.key, amount, refund, notice.answer.clone(), notice.at) else {
            return Ok(());
        };
        let request = self.notice_request(notice.payment, &[notice.key.as_bytes(), &[act, outcome]]);
        match self.shop.payment.execute(&id, command, request).await {
            Ok(_) | Err(Error::Rejected(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Records one notice of the carrier.
    ///
    /// # Errors
    /// [`Failure`] when it could not be recorded now.
    pub async fn record_carrier_notice(&self, notice: &carrier::Notice) -> Result<(), Failure> {
        let at = notice.at;
        let (word, command) = match &notice.news {
            News::Dispatched => ("dispatched", delivery::Command::RecordDispatched { at }),
            News::Delivered => ("delivered", delivery::Command::RecordDelivered { at }),
            News::Failed { reason } => ("failed", delivery::Command::RecordFailed { reason: reason.clone(), at }),
        };
        let request = self.notice_request(notice.delivery, &[word.as_bytes()]);
        match self.shop.delivery.execute(&DeliveryId(notice.delivery), command, request).await {
            Ok(_) | Err(Error::Rejected(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn notice_request(&self, about: Uuid, contents: &[&[u8]]) -> Request {
        let request = Request::new(RequestId::derived(about, contents), Actor::Provider, 0, self.shop.clock.now());
        Request { correlation: about, ..request }
    }
}
