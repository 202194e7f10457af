//! The server on a stream of connections: every bound of the transport set, and an orderly end.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt as _};
use ports::{clock::Clock, store::EventStore};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tonic::transport::server::Connected;

use crate::{
    Access, Limits, Mode,
    append::{Writer, random_id},
    features::{Alone, Features},
    streams::{Places, Service},
    wire::{gossip::gossip_server, server_features::server_features_server, streams::streams_server},
};

/// Bytes of a message that says nothing.
const EMPTY_BYTES_MAX: usize = 1 << 10;

/// What is served, to whom, and within which bounds.
#[derive(Clone)]
pub struct Server {
    /// The log.
    pub store: Arc<dyn EventStore>,
    /// Whether it is a shop's.
    pub mode: Mode,
    /// Who may do what.
    pub access: Arc<dyn Access>,
    /// The time that subscriptions are told.
    pub clock: Arc<dyn Clock>,
    /// Under which host and port clients reach this server; told to those that discover a cluster.
    pub advertised: (String, u16),
    /// Every bound.
    pub limits: Limits,
}

/// Why serving ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The transport failed.
    #[error("the EventStoreDB protocol could not be served: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The operating system gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(String),
}

/// Serves the connections that `listener` yields, until `shutdown` is ready; then subscriptions end with `UNAVAILABLE`,
/// and what is being written may go on for [`Limits::drain`].
///
/// A connection is anything that reads and writes bytes: [`crate::tcp()`], or [`crate::tls()`] on top of it.
///
/// # Errors
/// [`Error`] when the transport fails.
pub async fn serve<L, C>(listener: L, server: Server, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error>
where
    L: Stream<Item = io::Result<C>> + Send,
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stop, stopping) = watch::channel(false);
    let limits = server.limits.clone();
    let router = router(server, stopping.clone())?;
    let seats = Arc::new(Semaphore::new(limits.connections_max));
    let connections = listener.filter_map(|connection| {
        let seat = Arc::clone(&seats).try_acquire_owned();
        futures::future::ready(match (connection, seat) {
            (Ok(connection), Ok(seat)) => Some(Ok::<_, io::Error>(Seated { connection, _seat: seat })),
            (Ok(_), Err(_full)) => {
                tracing::warn!("a connection was closed: there are too many");
                None
            }
            (Err(error), _) => {
                tracing::warn!(%error, "a connection could not be accepted");
                None
            }
        })
    });
    let signal = async {
        shutdown.await;
        stop.send_replace(true);
    };
    let overdue = async {
        let mut stopping = stopping;
        if stopping.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(limits.drain).await;
    };
    tokio::select! {
        served = router.serve_with_incoming_shutdown(connections, signal) => Ok(served?),
        () = overdue => Ok(()),
    }
}

fn router(server: Server, stop: watch::Receiver<bool>) -> Result<tonic::transport::server::Router, Error> {
    let Server { store, mode, access, clock, advertised: (address, port), limits } = server;
    let service = Service {
        writer: Arc::new(Writer::new(store, &limits)),
        access,
        mode,
        clock: Arc::clone(&clock),
        places: Places::new(&limits),
        stop,
        limits: Arc::new(limits.clone()),
    };
    let id = random_id().map_err(|why| Error::Random(why.to_string()))?;
    let streams = streams_server::StreamsServer::new(service)
        .max_decoding_message_size(limits.request_bytes_max)
        .max_encoding_message_size(limits.response_bytes_max);
    let features = server_features_server::ServerFeaturesServer::new(Features);
    let gossip = gossip_server::GossipServer::new(Alone { id, clock, address, port });
    Ok(tonic::transport::Server::builder()
        .max_concurrent_streams(limits.streams_per_connection_max)
        .http2_keepalive_interval(Some(limits.keepalive_every))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout))
        .http2_max_header_list_size(limits.header_bytes_max)
        .http2_max_pending_accept_reset_streams(Some(limits.pending_resets_max))
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .add_service(streams)
        .add_service(features.max_decoding_message_size(EMPTY_BYTES_MAX))
        .add_service(gossip.max_decoding_message_size(EMPTY_BYTES_MAX)))
}

/// A connection that holds one of the places there are.
struct Seated<C> {
    connection: C,
    _seat: OwnedSemaphorePermit,
}

impl<C> Connected for Seated<C> {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl<C: AsyncRead + Unpin> AsyncRead for Seated<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(cx, buf)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Seated<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(cx, bytes)
    }
}
