//! Everything the shop needs from the world, on one page.
//!
//! A port is a small, object-safe trait that speaks bytes and plain values, never domain types; a vendor has
//! a crate and that crate implements one port. Each method says what holds after it returns and what may
//! hold after a crash inside it. [`memory`] has every port in memory; [`conformance`] has the suites that
//! every adapter must pass.
//!
//! | port | what it is | adapters |
//! |---|---|---|
//! | [`store::EventStore`] | the append-only log | `memory`, `store-sqlite`, `store-eventstoredb` |
//! | [`views::ViewStore`] | rows, indexes and checkpoints of views | `memory`, `views-sqlite` |
//! | [`keys::Keys`] | a key per member, outside the log | `memory`, `store-sqlite` |
//! | [`payment::PaymentProvider`] | authorize, capture, void, refund | `sandbox` |
//! | [`carrier::Carrier`] | book a delivery | `sandbox` |
//! | [`bus::Bus`] | fan-out in the log's order, wake-ups | `memory`, `bus-nats` |
//! | [`clock::Clock`] | what time it is | `memory`, the gateway's system clock |

pub mod bus;
pub mod carrier;
pub mod clock;
pub mod conformance;
pub mod keys;
pub mod memory;
pub mod payment;
pub mod store;
pub mod views;
