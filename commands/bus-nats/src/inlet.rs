//! Partner feeds: what a partner publishes to `<prefix>.in.<feed>` is handed to an intake until it is done.
//!
//! A partner names each message in `Nats-Msg-Id` and publishes it until it is acknowledged. The server drops repeats
//! within its window; all others are the intake's to recognise: it derives its request id from feed and message id,
//! and the log has the effect once. So the message is acknowledged only after the intake is done, and a lost
//! acknowledgement or a crash between the two means no more than that it comes again.
//!
//! While nobody can take anything, because a database is away for one, a message is held and offered again and again: an
//! outage ends no message. A feed keeps its order: while one message waits to be tried again, none behind it comes. What the intake refuses for
//! ever, what has been tried too often, and what has no id, is ended with a reason, which the server publishes as
//! `$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>`; the message stays in the stream for as long as all do.

use std::time::Duration;

use async_nats::{
    Request,
    header::NATS_MESSAGE_ID,
    jetstream::{AckKind, Message, consumer::PullConsumer},
};
use bytes::Bytes;
use futures::StreamExt as _;
use ports::bus::{Intake, Parcel, Verdict};
use tokio::time::{interval, sleep, timeout};

use crate::{Error, Nats, subject};

/// How many messages are asked for at a time; they still come one by one.
const ASK_MAX: usize = 100;

/// One partner's feed. Somebody must [`Inlet::step`] it.
#[derive(Debug)]
pub struct Inlet {
    nats: Nats,
    feed: String,
    consumer: Option<PullConsumer>,
}

impl Nats {
    /// The feed `feed`.
    ///
    /// # Errors
    /// [`Error::Settings`] when its name is not a short plain word.
    pub fn inlet(&self, feed: &str) -> Result<Inlet, Error> {
        if !subject::is_name(feed) {
            return Err(Error::Settings(format!("a feed named {feed:?}")));
        }
        Ok(Inlet { nats: self.clone(), feed: feed.to_owned(), consumer: None })
    }
}

impl Inlet {
    /// Makes what the feed needs, so that partners can publish before anybody takes.
    ///
    /// # Errors
    /// An [`Error`] that says what is wrong.
    pub async fn check(&mut self) -> Result<(), Error> {
        self.consumer = Some(self.consumer().await?);
        Ok(())
    }

    /// Hands over what comes within a while; how many messages were ended or done.
    ///
    /// # Errors
    /// An [`Error`]; the next step makes what may be missing, and what was not acknowledged comes again.
    pub async fn step(&mut self, intake: &dyn Intake) -> Result<usize, Error> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => self.consumer().await?,
        };
        let limits = &self.nats.limits;
        let failed = |error: &dyn std::fmt::Display| Error::Failed(error.to_string());
        let asked = consumer.batch().max_messages(ASK_MAX).expires(limits.idle_max).messages();
        let mut messages = asked.await.map_err(|error| failed(&error))?;
        let (mut ended, patience) = (0, limits.idle_max + limits.request_max);
        loop {
            match timeout(patience, messages.next()).await {
                Ok(Some(message)) => {
                    ended += usize::from(self.hand_over(message.map_err(|error| failed(&error))?, intake).await?);
                }
                Ok(None) => break,
                Err(_) => return Err(Error::Unreachable(format!("the feed {} is silent", self.feed))),
            }
        }
        self.consumer = Some(consumer);
        Ok(ended)
    }

    async fn consumer(&self) -> Result<PullConsumer, Error> {
        let stream = self.nats.feeds().await?;
        let filter = self.nats.subject(["in", self.feed.as_str()]);
        self.nats.have_consumer(&stream, self.nats.strictly_one_by_one(format!("feed-{}", self.feed), filter)).await
    }

    /// Hands one message over and tells the server what became of it; false when it comes again.
    async fn hand_over(&self, message: Message, intake: &dyn Intake) -> Result<bool, Error> {
        let limits = &self.nats.limits;
        let attempt = message.info().map_or(1, |info| info.delivered.unsigned_abs());
        let id = message.headers.as_ref().and_then(|headers| headers.get(NATS_MESSAGE_ID));
        let verdict = match id {
            None => Verdict::Never("a message without Nats-Msg-Id cannot be recognised".to_owned()),
            // It was handed over and nobody lived to tell.
            Some(_) if attempt > limits.attempts_max => Verdict::Never(format!("{} attempts", attempt - 1)),
            Some(id) => {
                let id = id.as_str().to_owned();
                let parcel = Parcel { feed: self.feed.clone(), id, attempt, payload: message.payload.clone() };
                self.take(&message, &parcel, intake).await
            }
        };
        match verdict {
            Verdict::Done => self.tell(&message, AckKind::Ack.into()).await.map(|()| true),
            Verdict::Again(why) if attempt < limits.attempts_max => {
                tracing::info!(feed = self.feed, attempt, why, "a partner's message comes again");
                let wait = limits.again_min.saturating_mul(1 << (attempt - 1).min(10)).min(limits.ack_wait);
                self.tell(&message, AckKind::Nak(Some(wait)).into()).await.map(|()| false)
            }
            Verdict::Never(why) | Verdict::Again(why) | Verdict::Away(why) => {
                tracing::warn!(feed = self.feed, attempt, why, "a partner's message is given up");
                self.tell(&message, terminated(&why)).await.map(|()| true)
            }
        }
    }

    /// Lets the intake take it, and tells the server meanwhile that somebody is at it.
    async fn take(&self, message: &Message, parcel: &Parcel, intake: &dyn Intake) -> Verdict {
        let limits = &self.nats.limits;
        let mut beat = interval((limits.ack_wait / 3).max(Duration::from_millis(1)));
        beat.tick().await;
        let taken = self.until_somebody_can(parcel, intake);
        tokio::pin!(taken);
        loop {
            tokio::select! {
                verdict = &mut taken => return verdict,
                _ = beat.tick() => {
                    if let Err(error) = message.ack_with(AckKind::Progress).await {
                        tracing::debug!(%error, "the server does not hear that somebody is at it");
                    }
                }
            }
        }
    }

    /// Offers it until the answer is another than that nobody can take it now.
    async fn until_somebody_can(&self, parcel: &Parcel, intake: &dyn Intake) -> Verdict {
        let limits = &self.nats.limits;
        let (mut wait, mut told) = (limits.again_min, false);
        loop {
            match timeout(limits.take_max, intake.take(parcel)).await {
                Ok(Verdict::Away(why)) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(feed = self.feed, why, "nobody can take a partner's message now; it is held");
                    }
                    sleep(wait).await;
                    wait = (wait * 2).min(limits.ack_wait);
                }
                Ok(verdict) => return verdict,
                Err(_late) => return Verdict::Again(format!("not taken within {:?}", limits.take_max)),
            }
        }
    }

    /// Answers a delivery, and waits until the server has it.
    async fn tell(&self, message: &Message, answer: Bytes) -> Result<(), Error> {
        let to = message.reply.clone().ok_or_else(|| Error::Failed("a delivery without an address".to_owned()))?;
        let request = Request::new().payload(answer).timeout(Some(self.nats.limits.request_max));
        let told = self.nats.client.send_request(to, request).await;
        told.map(|_| ()).map_err(|error| Error::Unreachable(format!("an acknowledgement: {error}")))
    }
}

/// "Never again", and why, in one line.
fn terminated(why: &str) -> Bytes {
    format!("+TERM {}", why.replace(['\r', '\n'], " ")).into()
}
