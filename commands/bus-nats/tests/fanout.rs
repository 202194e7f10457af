//! Fan-out over a real server that is frozen, killed, restarted, wiped and misconfigured, and consumers that crash.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and runs what it kills as a task"
)]

#[path = "fanout/encrypted.rs"]
mod encrypted;
#[path = "fanout/example.rs"]
mod example;
#[path = "fanout/feeds.rs"]
mod feeds;
#[path = "fanout/proxy.rs"]
mod proxy;
#[path = "fanout/relay.rs"]
mod relay;
#[path = "fanout/scene.rs"]
mod scene;
#[path = "fanout/settings.rs"]
mod settings;
#[path = "fanout/share.rs"]
mod share;
