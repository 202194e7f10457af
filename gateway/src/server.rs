//! One listener, two protocols: gRPC over HTTP/2 and JSON over HTTP/1.1 or HTTP/2.
//!
//! tonic's own server leaves most limits open and hides hyper's; this one drives hyper directly, sets every limit of
//! [`Limits`](crate::limits::Limits), and hands each request to the [`Door`]. `run` returns when the shutdown signal came and the
//! open requests are done, or when their time to drain is over.

mod arrivals;
mod connection;
mod door;
mod follow;
pub mod forward;
mod meter;
mod routes;

use std::{io, sync::Arc, time::Duration};

use tokio::{net::TcpListener, task::JoinSet};

pub use door::{Deadline, Door, DoorService};
pub use routes::{Limited, Routes};

/// How long to wait after the system refused a connection, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy when the time to drain was over, and were cut.
    pub cut: usize,
}

/// Serves connections until `shutdown` resolves, then drains.
///
/// # Errors
/// Only when the listener itself is unusable; the trouble of one connection is its own.
pub async fn run(listener: TcpListener, door: Arc<Door>, shutdown: impl Future<Output = ()>) -> io::Result<Drained> {
    listener.local_addr()?;
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                // Closing at once costs nothing, and a balancer tries the next gateway.
                Ok(_) if connections.len() >= door.limits().connections_max => {}
                Ok((socket, _)) => {
                    connections.spawn(connection::serve(socket, Arc::clone(&door)));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    door.close();
    let drained = tokio::time::timeout(door.limits().drain, async { while connections.join_next().await.is_some() {} });
    let finished = drained.await.is_ok();
    let cut = if finished { 0 } else { connections.len() };
    connections.shutdown().await;
    Ok(Drained { cut })
}
