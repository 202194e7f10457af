//! Notices that wait for their time: a queue by due time, without a task of its own.
//!
//! Whoever awaits [`Notices::next`] does the waiting. A notice leaves the queue in the same poll that hands it out, so
//! a caller that gives up waiting loses nothing.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::behaviour::{Behaviour, Dice};

/// The most notices that wait to be heard. Beyond it the sandbox falls silent, as a real partner gives up on a
/// deaf shop; repeating a call tells the same.
pub const NOTICES_MAX: usize = 100_000;

/// A queue of notices by due time.
#[derive(Debug)]
pub(crate) struct Notices<T> {
    waiting: Mutex<Waiting<T>>,
    /// Wakes a listener when something may be due earlier than it thought.
    pushed: Notify,
}

#[derive(Debug)]
struct Waiting<T> {
    queue: BinaryHeap<Reverse<Due<T>>>,
    /// Counts pushes, so that notices due at one moment come in the order in which they were pushed.
    pushes: u64,
}

#[derive(Debug)]
struct Due<T> {
    at: Instant,
    nth: u64,
    notice: T,
}

impl<T: Clone> Notices<T> {
    pub(crate) fn new() -> Self {
        Self { waiting: Mutex::new(Waiting { queue: BinaryHeap::new(), pushes: 0 }), pushed: Notify::new() }
    }

    /// Says `notice` after `delay`, or as much later and as often as the dice want.
    pub(crate) fn announce(&self, behaviour: &Behaviour, dice: &mut Dice, delay: Duration, notice: T) {
        let late_by = |dice: &mut Dice| dice.between(Duration::ZERO, behaviour.late_by);
        let delay = if dice.comes(behaviour.late) { delay + late_by(dice) } else { delay };
        if dice.comes(behaviour.duplicate) {
            self.push(delay + late_by(dice), notice.clone());
        }
        self.push(delay, notice);
    }

    /// The next notice that is due, waiting for one. Cancel-safe.
    pub(crate) async fn next(&self) -> T {
        loop {
            let pushed = self.pushed.notified();
            match self.pop() {
                Ok(notice) => return notice,
                Err(Some(due)) => {
                    tokio::select! {
                        // In this order, so that a seed replays a run.
                        biased;
                        () = tokio::time::sleep_until(due) => {}
                        () = pushed => {}
                    }
                }
                Err(None) => pushed.await,
            }
        }
    }

    /// The first notice if it is due, else when it will be.
    fn pop(&self) -> Result<T, Option<Instant>> {
        let mut waiting = self.lock();
        match waiting.queue.peek() {
            Some(Reverse(first)) if first.at > Instant::now() => Err(Some(first.at)),
            Some(_) | None => waiting.queue.pop().map(|Reverse(first)| first.notice).ok_or(None),
        }
    }

    fn push(&self, delay: Duration, notice: T) {
        {
            let mut waiting = self.lock();
            if waiting.queue.len() >= NOTICES_MAX {
                return;
            }
            waiting.pushes += 1;
            let nth = waiting.pushes;
            waiting.queue.push(Reverse(Due { at: Instant::now() + delay, nth, notice }));
        }
        self.pushed.notify_one();
    }

    /// A queue is whole even if a thread panicked while holding it: each change is one call.
    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.nth).cmp(&(other.at, other.nth))
    }
}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Due<T> {}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn notices_come_when_they_are_due_and_in_order() {
        let notices = Notices::new();
        let start = Instant::now();
        notices.push(3 * SECOND, "third");
        notices.push(SECOND, "first");
        notices.push(SECOND, "second");
        for (expected, seconds) in [("first", 1), ("second", 1), ("third", 3)] {
            assert_eq!(notices.next().await, expected);
            assert_eq!(start.elapsed(), seconds * SECOND);
        }
        assert!(timeout(SECOND, notices.next()).await.is_err(), "nothing is left");
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_notice_overtakes_one_that_is_waited_for() {
        let (notices, start) = (Notices::new(), Instant::now());
        notices.push(60 * SECOND, "late");
        let push = async {
            tokio::time::sleep(SECOND).await;
            notices.push(Duration::ZERO, "early");
        };
        let (heard, ()) = tokio::join!(notices.next(), push);
        assert_eq!((heard, start.elapsed()), ("early", SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_of_an_empty_queue_hears_the_first_notice() {
        let notices = Notices::new();
        let push = async {
            tokio::time::sleep(SECOND).await;
            notices.push(Duration::ZERO, "first");
        };
        let heard = timeout(2 * SECOND, async { tokio::join!(notices.next(), push).0 }).await;
        assert_eq!(heard, Ok("first"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_gives_up_loses_nothing() {
        let notices = Notices::new();
        notices.push(2 * SECOND, "kept");
        assert!(timeout(SECOND, notices.next()).await.is_err());
        assert_eq!(timeout(2 * SECOND, notices.next()).await, Ok("kept"));
    }

    #[tokio::test(start_paused = true)]
    async fn two_listeners_hear_two_notices() {
        let notices = Notices::new();
        notices.push(SECOND, 1);
        notices.push(SECOND, 2);
        let heard = timeout(5 * SECOND, async { tokio::join!(notices.next(), notices.next()) }).await;
        assert!(matches!(heard, Ok((1, 2) | (2, 1))), "{heard:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deaf_shop_costs_bounded_memory() {
        let notices = Notices::new();
        for n in 0..NOTICES_MAX + 10 {
            notices.push(Duration::ZERO, n);
        }
        assert_eq!(notices.lock().queue.len(), NOTICES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn the_dice_make_a_notice_late_or_come_twice() {
        let behaviour = Behaviour { duplicate: 1.0, late: 1.0, late_by: 10 * SECOND, ..Behaviour::calm(1) };
        let mut dice = behaviour.dice(uuid::Uuid::nil(), crate::behaviour::Decision::Outcome(0));
        let notices = Notices::new();
        let start = Instant::now();
        notices.announce(&behaviour, &mut dice, SECOND, ());
        notices.next().await;
        assert!(start.elapsed() > SECOND && start.elapsed() <= 11 * SECOND);
        notices.next().await;
        assert!(start.elapsed() <= 21 * SECOND);
    }
}
