//! How the sandbox behaves, and the dice that decide it.
//!
//! Every decision has its own generator, seeded from the run's seed, the idempotency key and what is being
//! decided. So it does not matter in which order, how often or from which thread calls come: the same
//! seed and key end the same way, which is what makes a failed simulation repeatable.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use uuid::Uuid;

/// How long a call takes for a buyer with `tok_slow`.
pub const SLOW: Duration = Duration::from_secs(2);

/// How well or badly the sandbox behaves. Probabilities are from 0 to 1; what is outside counts as the nearer end.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// What the dice are seeded with: the same seed is the same fate for every key.
    pub seed: u64,
    /// The shortest and the longest time a call takes.
    pub latency: (Duration, Duration),
    /// The probability that a call finds nobody there: nothing happens, and it says so.
    pub unavailable: f64,
    /// The probability that a call does its act but gives no answer.
    pub timeout: f64,
    /// How much longer a call takes that gives no answer.
    pub timeout_after: Duration,
    /// The probability that an authorization is declined for good.
    pub decline: f64,
    /// The probability that an attempt at a refund is declined for good; another key is another attempt.
    pub decline_refund: f64,
    /// The probability that a booking is refused for good.
    pub refuse: f64,
    /// The probability that an act which was answered is also notified. One that was not answered always is.
    pub echo: f64,
    /// The probability that a notice comes twice.
    pub duplicate: f64,
    /// The probability that a notice is late, so that later ones overtake it.
    pub late: f64,
    /// The most by which a late or repeated notice is late.
    pub late_by: Duration,
    /// How long after the booking goods are dispatched.
    pub dispatch_after: Duration,
    /// How long after that they are delivered.
    pub deliver_after: Duration,
    /// The probability that they are lost instead.
    pub lose: f64,
}

impl Behaviour {
    /// A partner that approves at once, answers always, notifies of nothing that it has answered, and delivers
    /// at once.
    #[must_use]
    pub const fn calm(seed: u64) -> Self {
        Self {
            seed,
            latency: (Duration::ZERO, Duration::ZERO),
            unavailable: 0.0,
            timeout: 0.0,
            timeout_after: Duration::ZERO,
            decline: 0.0,
            decline_refund: 0.0,
            refuse: 0.0,
            echo: 0.0,
            duplicate: 0.0,
            late: 0.0,
            late_by: Duration::ZERO,
            dispatch_after: Duration::ZERO,
            deliver_after: Duration::ZERO,
            lose: 0.0,
        }
    }

    /// A partner as bad as they come, for simulations: every fault happens every few calls.
    #[must_use]
    pub const fn rough(seed: u64) -> Self {
        Self {
            latency: (Duration::from_millis(1), Duration::from_millis(300)),
            unavailable: 0.1,
            timeout: 0.15,
            timeout_after: Duration::from_secs(2),
            decline: 0.1,
            decline_refund: 0.2,
            refuse: 0.05,
            echo: 0.8,
            duplicate: 0.3,
            late: 0.3,
            late_by: Duration::from_secs(60),
            dispatch_after: Duration::from_secs(2),
            deliver_after: Duration::from_secs(5),
            lose: 0.1,
            ..Self::calm(seed)
        }
    }

    /// The dice for one decision about `key`.
    pub(crate) fn dice(&self, key: Uuid, decision: Decision) -> Dice {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..24].copy_from_slice(key.as_bytes());
        let (what, attempt) = match decision {
            Decision::Outcome(subject) => (u32::from(subject), 0),
            Decision::Call(subject, attempt) => (0x100 | u32::from(subject), attempt),
        };
        seed[24..28].copy_from_slice(&what.to_le_bytes());
        seed[28..].copy_from_slice(&attempt.to_le_bytes());
        Dice { seed, rng: None }
    }

    /// How one call goes.
    pub(crate) fn manners(&self, dice: &mut Dice) -> Manners {
        let latency = dice.between(self.latency.0, self.latency.1);
        let unavailable = dice.comes(self.unavailable);
        let timeout = dice.comes(self.timeout);
        Manners { latency, unavailable, timeout }
    }
}

/// What is being decided; the number is the kind of act.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Decision {
    /// What becomes of the act: the same at every call.
    Outcome(u8),
    /// How one call goes, by its number from 1: another at every call, or no retry would ever get through.
    Call(u8, u32),
}

/// How one call goes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manners {
    /// How long it takes.
    pub latency: Duration,
    /// Nothing happens.
    pub unavailable: bool,
    /// The act happens, but no answer comes.
    pub timeout: bool,
}

/// A generator that is seeded when it is first asked something open: with probabilities of 0 and 1, which is how
/// benchmarks run, it never is.
#[derive(Debug)]
pub(crate) struct Dice {
    seed: [u8; 32],
    rng: Option<StdRng>,
}

impl Dice {
    /// True with this probability.
    pub(crate) fn comes(&mut self, probability: f64) -> bool {
        if probability > 0.0 && probability < 1.0 { self.rng().random_bool(probability) } else { probability >= 1.0 }
    }

    /// A duration from `least` to `most`; `least` when there is nothing between.
    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        if least < most { self.rng().random_range(least..=most) } else { least }
    }

    fn rng(&mut self) -> &mut StdRng {
        self.rng.get_or_insert_with(|| StdRng::from_seed(self.seed))
    }
}

/// Waits, unless there is nothing to wait for: a timer costs more than all the rest of a calm call.
pub(crate) async fn wait(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes(behaviour: &Behaviour, key: u128, decision: Decision) -> bool {
        behaviour.dice(Uuid::from_u128(key), decision).comes(0.5)
    }

    #[test]
    fn the_same_seed_key_and_decision_always_fall_the_same_way() {
        let (one, other) = (Behaviour::calm(1), Behaviour::calm(2));
        let throw = |b: &Behaviour| (0..200).map(|key| comes(b, key, Decision::Outcome(0))).collect::<Vec<_>>();
        assert_eq!(throw(&one), throw(&one));
        assert_ne!(throw(&one), throw(&other));
        let heads = throw(&one).iter().filter(|heads| **heads).count();
        assert!((60..140).contains(&heads), "{heads} of 200");
    }

    #[test]
    fn each_call_of_one_act_is_thrown_anew() {
        let calm = Behaviour::calm(1);
        let falls: Vec<bool> = (1..100).map(|attempt| comes(&calm, 7, Decision::Call(0, attempt))).collect();
        assert!(falls.contains(&true) && falls.contains(&false));
    }

    #[test]
    fn certainties_need_no_generator_and_nonsense_is_the_nearer_certainty() {
        let mut dice = Behaviour::calm(1).dice(Uuid::nil(), Decision::Outcome(0));
        assert!(!dice.comes(0.0) && !dice.comes(-3.0) && !dice.comes(f64::NAN));
        assert!(dice.comes(1.0) && dice.comes(7.0));
        assert_eq!(dice.between(SLOW, Duration::ZERO), SLOW);
        assert!(dice.rng.is_none());
    }
}
