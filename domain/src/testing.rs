//! Given / when / then: tests of rules that read like the rules.
//!
//! [`Given`] folds a history, `when` decides a command, `then` expects its events, and then decides the
//! same command again in the new state and expects *nothing*: every domain test is also a retry test.
//! Commands that are meant to add up (receiving goods twice is twice the goods; the desk knows a retry by
//! its request id) say so with `then_each_time`. And every history is decided against twice, once through a snapshot of
//! its state, so that every domain test is a snapshot test, too.

use crate::decider::{Decider, fold};

/// A history of an aggregate.
pub struct Given<D: Decider> {
    history: Vec<D::Event>,
}

/// A history and a wish.
pub struct When<D: Decider> {
    history: Vec<D::Event>,
    command: D::Command,
}

/// Begins a test with what has already happened.
#[must_use]
pub fn given<D: Decider>(history: impl IntoIterator<Item = D::Event>) -> Given<D> {
    Given { history: history.into_iter().collect() }
}

impl<D: Decider> Given<D> {
    /// Adds the wish to decide.
    #[must_use]
    pub fn when(self, command: D::Command) -> When<D> {
        When { history: self.history, command }
    }
}

#[allow(clippy::panic, clippy::allow_attributes, reason = "a test harness fails by panicking")]
impl<D: Decider> When<D> {
    /// Expects exactly `events`, and nothing more when the same command comes again.
    ///
    /// # Panics
    /// When the decision differs, or a retry is not silent.
    #[track_caller]
    pub fn then(self, events: impl IntoIterator<Item = D::Event>) {
        let command = &self.command;
        let after = Self::expect(&self.history, command, &events.into_iter().collect::<Vec<_>>());
        match D::decide(&fold::<D>(&after), command) {
            Ok(again) => assert_eq!(again, [], "the same command again must change nothing"),
            Err(rejection) => panic!("the same command again was rejected: {rejection}"),
        }
    }

    /// Expects exactly `events`; the command is one that adds up each time it is decided.
    ///
    /// # Panics
    /// When the decision differs.
    #[track_caller]
    pub fn then_each_time(self, events: impl IntoIterator<Item = D::Event>) {
        Self::expect(&self.history, &self.command, &events.into_iter().collect::<Vec<_>>());
    }

    /// Expects silence: it is already so.
    ///
    /// # Panics
    /// When anything was decided or rejected.
    #[track_caller]
    pub fn then_nothing(self) {
        Self::expect(&self.history, &self.command, &[]);
    }

    /// Expects a rejection.
    ///
    /// # Panics
    /// When the command was accepted or rejected for another reason.
    #[track_caller]
    pub fn then_rejected(self, expected: &D::Rejection)
    where
        D::Rejection: PartialEq,
    {
        match D::decide(&fold::<D>(&self.history), &self.command) {
            Ok(events) => panic!("expected the rejection {expected:?}, but {events:?} was decided"),
            Err(rejection) => assert_eq!(&rejection, expected),
        }
    }

    #[track_caller]
    fn expect(history: &[D::Event], command: &D::Command, expected: &[D::Event]) -> Vec<D::Event> {
        let state = fold::<D>(history);
        let kept = serde_json::to_vec(&state).and_then(|kept| serde_json::from_slice::<D::State>(&kept));
        let kept = kept.unwrap_or_else(|error| panic!("the state does not survive a snapshot: {error}"));
        match D::decide(&state, command) {
            Ok(events) => {
                assert_eq!(events, expected);
                assert_eq!(D::decide(&kept, command).ok().as_deref(), Some(expected), "decided from a snapshot");
                history.iter().cloned().chain(events).collect()
            }
            Err(rejection) => panic!("rejected: {rejection}"),
        }
    }
}
