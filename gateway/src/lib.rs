//! The one door: gRPC and JSON services, the command line, the composition root.

pub mod app;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod error;
pub mod limits;
pub mod page_token;
pub mod policy;
#[cfg(test)]
mod readme;
pub mod server;
pub mod services;
pub mod transcode;
