//! Fan-out, wake-ups and partner feeds over NATS JetStream.
//!
//! Three streams, named after the prefix (`shop` here):
//!
//! | stream | subjects | what for |
//! |---|---|---|
//! | `shop-events` | `shop.evt.<aggregate>.<event>.<id>` | every event, in the log's order; see [`Nats`] as a [`ports::bus::Bus`] |
//! | `shop-group-<name>-<n>` | taken from `shop-events` | work shared by several, each aggregate in order; see [`Group`] |
//! | `shop-feeds` | `shop.in.<feed>` | what partners send; see [`Inlet`] |
//!
//! and one plain subject, `shop.wake`, that carries the newest position to whoever listens.
//!
//! - NATS is never the record. It acknowledges before it syncs, unless told otherwise, and may lose what it
//!   acknowledged. So each batch names the sequence that it follows: a stream that is not where it was refuses it,
//!   and the relay looks again. Messages of a lost connection that arrive late are refused by the same rule.
//! - `Nats-Msg-Id` is the event's id: the server drops repeats within the window, consumers for ever.
//! - A server may ignore settings that it does not know. So its version is checked, and every stream and consumer is
//!   read back after it was made or changed; what differs is an error that names the setting.
//! - No call waits for ever: each has a deadline in [`Limits`]. The connection comes and goes by itself.
//!
//! Whoever may publish to `shop.evt.>` can put events there that never happened: give that right to the relay alone.

mod bus;
mod connect;
mod error;
mod group;
mod held;
mod inlet;
mod publish;
mod settings;
mod shape;
mod subject;
mod wake;

pub use connect::Nats;
pub use error::Error;
pub use group::{Group, Job, Partition};
pub use inlet::Inlet;
pub use settings::{Limits, Settings};
