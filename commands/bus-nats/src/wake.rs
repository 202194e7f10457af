//! Wake-ups: the newest position on a plain subject. Whoever is not there does not hear it.

use std::time::Duration;

use async_nats::Subscriber;
use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _};
use ports::{
    bus::{Announcements, Error},
    store::Position,
};
use tokio::time::timeout;

use crate::Nats;

impl Nats {
    pub(crate) async fn tell(&self, head: Position) -> Result<(), Error> {
        let told = self.client.publish(self.subject(["wake"]), head.to_string().into());
        within(self.limits.request_max, told).await
    }

    pub(crate) async fn hear(&self) -> Result<Box<dyn Announcements>, Error> {
        let heard = within(self.limits.request_max, self.client.subscribe(self.subject(["wake"]))).await?;
        Ok(Box::new(Ear(heard)))
    }
}

async fn within<T, E: std::fmt::Display>(
    patience: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Error> {
    let done = timeout(patience, work).await.map_err(|_| Error::Failed(format!("not sent within {patience:?}")))?;
    done.map_err(|error| Error::Failed(error.to_string()))
}

struct Ear(Subscriber);

#[async_trait]
impl Announcements for Ear {
    async fn next(&mut self) -> Result<Position, Error> {
        let gone = || Error::Failed("the subscription has ended".to_owned());
        let position = |payload: &[u8]| std::str::from_utf8(payload).ok()?.parse().ok().map(Position);
        loop {
            let mut furthest = position(&self.0.next().await.ok_or_else(gone)?.payload);
            while let Some(Some(message)) = self.0.next().now_or_never() {
                furthest = furthest.max(position(&message.payload));
            }
            if let Some(furthest) = furthest {
                return Ok(furthest);
            }
        }
    }
}
