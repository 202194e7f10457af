//! The carrier: books at once, then dispatches and delivers, or loses, in its own time.
//!
//! A shop that has missed the news, because it crashed or because this carrier was restarted, repeats the booking: it
//! gets the same tracking number, and hears again whatever has happened by then.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use ports::{
    carrier::{Booking, Carrier, Error, News, Notice},
    clock::Clock,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    behaviour::{Behaviour, Decision, wait},
    notices::Notices,
};

/// How many bookings are remembered; beyond it the oldest is forgotten, and repeating it books it anew under the
/// same tracking number.
pub const BOOKINGS_MAX: usize = 50_000;

/// What the dice decide about a booking: its calls, whether it is refused, and how the goods fare.
const BOOKING: u8 = 16;

/// A carrier in memory.
pub struct SandboxCarrier {
    behaviour: Behaviour,
    clock: Arc<dyn Clock>,
    book: Mutex<Book>,
    notices: Notices<Notice>,
}

#[derive(Default)]
struct Book {
    entries: HashMap<Uuid, Entry>,
    /// Keys by age, so that the oldest can be forgotten.
    oldest: VecDeque<Uuid>,
}

#[derive(Default)]
struct Entry {
    calls: u32,
    /// When it was booked, by the runtime's time and by the clock's.
    booked: Option<(Instant, Timestamp)>,
}

impl SandboxCarrier {
    /// A carrier without bookings.
    #[must_use]
    pub fn new(behaviour: Behaviour, clock: Arc<dyn Clock>) -> Self {
        Self { behaviour, clock, book: Mutex::default(), notices: Notices::new() }
    }

    /// How many different bookings were accepted and are still remembered.
    #[must_use]
    pub fn bookings(&self) -> usize {
        self.lock().entries.values().filter(|entry| entry.booked.is_some()).count()
    }

    /// Books, once per key, and sets the goods on their way; a repeated booking tells the past news again.
    fn accept(&self, booking: &Booking) -> Result<String, Error> {
        let mut dice = self.behaviour.dice(booking.key, Decision::Outcome(BOOKING));
        if dice.comes(self.behaviour.refuse) {
            return Err(Error::Refused("the sandbox does not go there".into()));
        }
        let (known, (since, at)) = {
            let mut book = self.lock();
            let entry = book.entry(booking.key);
            let known = entry.booked.is_some();
            (known, *entry.booked.get_or_insert_with(|| (Instant::now(), self.clock.now())))
        };
        let lost = dice.comes(self.behaviour.lose);
        let end = if lost { News::Failed { reason: "lost".into() } } else { News::Delivered };
        let arrival = self.behaviour.dispatch_after + self.behaviour.deliver_after;
        for (after, news) in [(self.behaviour.dispatch_after, News::Dispatched), (arrival, end)] {
            let delay = after.saturating_sub(since.elapsed());
            if !known || delay.is_zero() {
                let notice = Notice { delivery: booking.delivery, news, at: later(at, after) };
                self.notices.announce(&self.behaviour, &mut dice, delay, notice);
            }
        }
        Ok(format!("SBX{}", booking.key.simple()))
    }

    /// The book is whole even if a thread panicked while holding it: each change is one call.
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Carrier for SandboxCarrier {
    async fn book(&self, booking: &Booking) -> Result<String, Error> {
        let calls = {
            let mut book = self.lock();
            let entry = book.entry(booking.key);
            entry.calls = entry.calls.saturating_add(1);
            entry.calls
        };
        let manners = self.behaviour.manners(&mut self.behaviour.dice(booking.key, Decision::Call(BOOKING, calls)));
        wait(manners.latency / 2).await;
        if manners.unavailable {
            return Err(Error::Unavailable("the sandbox feigns an outage".into()));
        }
        let tracking = self.accept(booking)?;
        wait(manners.latency / 2).await;
        if manners.timeout {
            wait(self.behaviour.timeout_after).await;
            return Err(Error::Timeout);
        }
        Ok(tracking)
    }

    async fn notice(&self) -> Option<Notice> {
        Some(self.notices.next().await)
    }
}

impl Book {
    fn entry(&mut self, key: Uuid) -> &mut Entry {
        if !self.entries.contains_key(&key) {
            if self.entries.len() >= BOOKINGS_MAX
                && let Some(oldest) = self.oldest.pop_front()
            {
                self.entries.remove(&oldest);
            }
            self.oldest.push_back(key);
        }
        self.entries.entry(key).or_default()
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| at.checked_add(by).ok()).unwrap_or(at)
}

#[cfg(test)]
mod tests;
