//! A payment provider and a carrier that misbehave on demand.
//!
//! They live in the process and move no money, so a shop runs, demonstrates and is tested without any account
//! anywhere. They are also the rudest partners the shop will meet: slow, unsure, down, repeating themselves
//! and late, as much as [`Behaviour`] says, and always the same way for the same seed. Whatever they do,
//! they keep the ports' promises: one idempotency key is one act with one answer.
//!
//! A buyer's *token* chooses a payment's fate by name, whatever the dice would say:
//!
//! | token | what happens |
//! |---|---|
//! | `tok_ok` | everything is approved and answered |
//! | `tok_decline` | the authorization is declined, `insufficient_funds` |
//! | `tok_timeout` | the first call of every act does it, but answers [`Timeout`]; the second answers |
//! | `tok_slow` | every call takes [`SLOW`] |
//! | `tok_norefund` | paid as usual, but every refund is declined, `refund_refused` |
//! | any other | as the dice say |
//!
//! [`Timeout`]: ports::payment::Error::Timeout

mod behaviour;
mod carrier;
mod notices;
mod payment;

pub use behaviour::{Behaviour, SLOW};
pub use carrier::{BOOKINGS_MAX, SandboxCarrier};
pub use notices::NOTICES_MAX;
pub use payment::{Account, LEDGER_MAX, Ledger, SandboxPayments};
