//! The write side: commands become events, and orders are carried to their end.
//!
//! The [`desk`] is the one load–decide–append–retry loop; [`steps`] runs what a process names as due;
//! the [`runner`] finds due processes in the log; the [`relay`] publishes the log to a bus, and by [`wakeups`] nodes
//! hear of each other's appends. Everything here is a value with a `step`: the gateway spawns the loops, and the
//! simulation drives the very same values from a seed.

pub mod codec;
pub mod copy;
pub mod desk;
mod lane;
pub mod outage;
pub mod relay;
pub mod request;
pub mod runner;
pub mod shop;
pub mod steps;
#[cfg(test)]
mod vague;
pub mod wakeups;
