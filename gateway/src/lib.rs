//! The one door: gRPC and JSON services, the command line, the composition root.

pub mod auth;
pub mod error;
pub mod page_token;
