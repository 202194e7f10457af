//! The pure heart of the shop: every rule, and nothing else.
//!
//! A rule is a function of values. Nothing here reads a clock, draws a random number, logs, waits
//! or touches a disk: time and ids arrive inside commands, so that a decision can be replayed, tested
//! in microseconds and trusted. One file per aggregate; see [`decider`] for the shape they share.

#![deny(clippy::float_arithmetic)]

pub mod coupon;
pub mod decider;
pub mod delivery;
pub mod event;
pub mod ids;
pub mod money;
pub mod order;
pub mod payment;
pub mod personal;
pub mod process;
pub mod product;
pub mod returns;
pub mod stock;
pub mod testing;
