//! How a node dies: at a fault's own point, or whenever the controller says so.
//!
//! A component that reaches a crash point lights the fuse and never goes on: it waits for ever, until the
//! controller drops the whole node around it, exactly as far as it had come.

use std::{future::pending, time::Duration};

use tokio::sync::mpsc;

/// What a node asks its controller for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// Drop everything at once.
    Now,
    /// Drop everything after this long: an operator restarts what cannot go on by itself.
    After(Duration),
}

/// A node's way to its own death.
#[derive(Debug, Clone)]
pub struct Fuse(mpsc::UnboundedSender<Death>);

/// The controller's end of a fuse.
pub type Deaths = mpsc::UnboundedReceiver<Death>;

/// How long an operator takes to restart a node whose store has stopped.
const RESTART_AFTER: Duration = Duration::from_millis(1_500);

impl Fuse {
    /// A fuse and the controller's end of it.
    #[must_use]
    pub fn new() -> (Self, Deaths) {
        let (sender, deaths) = mpsc::unbounded_channel();
        (Self(sender), deaths)
    }

    /// Kills the node; the caller never goes on.
    pub async fn blow(&self) {
        self.send(Death::Now);
        pending::<()>().await;
    }

    /// Asks for a restart in a while.
    pub fn restart_soon(&self) {
        self.send(Death::After(RESTART_AFTER));
    }

    fn send(&self, death: Death) {
        // Without a controller the run is over, and nobody need die any more.
        let _over = self.0.send(death);
    }
}
