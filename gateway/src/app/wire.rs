//! The EventStoreDB protocol beside the shop's own door: any client of that database reads and follows the log.
//!
//! Its clients know users and passwords; here the password is one of our tokens, and the user may be anybody. Nobody but
//! the desk writes the shop's own streams, whoever they are.

use std::{net::SocketAddr, sync::Arc};

use esdb_wire::{Mode, Right, Server};
use ports::{clock::Clock, store::EventStore};
use proto::v1::Role;
use tokio::net::TcpListener;

use crate::{auth::Verifier, config::Wire};

/// Why the protocol is not served.
#[derive(Debug, thiserror::Error)]
#[error("the EventStoreDB protocol cannot be served on {addr}")]
pub struct Error {
    addr: SocketAddr,
    source: std::io::Error,
}

/// A listener with everything that it serves.
pub struct Serving {
    /// Where it listens.
    pub addr: SocketAddr,
    listener: TcpListener,
    server: Server,
}

impl Serving {
    /// Takes the address, if the configuration names one.
    ///
    /// # Errors
    /// [`Error`] when it is taken.
    pub async fn open(
        wire: &Wire,
        mode: Mode,
        store: Arc<dyn EventStore>,
        verifier: Verifier,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<Self>, Error> {
        let Some(wanted) = wire.listen else { return Ok(None) };
        let refused = |source| Error { addr: wanted, source };
        let listener = TcpListener::bind(wanted).await.map_err(refused)?;
        let addr = listener.local_addr().map_err(refused)?;
        let access = move |_user: &str, password: &str| right(mode, &verifier, password);
        let (access, advertised) = (Arc::new(access), (addr.ip().to_string(), addr.port()));
        let server = Server { store, mode, access, clock, advertised, limits: wire.limits.clone() };
        Ok(Some(Self { addr, listener, server }))
    }

    /// Serves until told to end.
    ///
    /// # Errors
    /// [`esdb_wire::Error`] when the transport fails.
    pub async fn run(self, end: impl Future<Output = ()> + Send) -> Result<(), esdb_wire::Error> {
        esdb_wire::serve(esdb_wire::tcp(self.listener), self.server, end).await
    }
}

fn right(mode: Mode, verifier: &Verifier, token: &str) -> Option<Right> {
    let roles = verifier.token(token).ok()?.roles;
    match mode {
        _ if roles.has(Role::Operator) && mode == Mode::Store => Some(Right::All),
        _ if roles.has(Role::Operator) || roles.has(Role::Partner) => Some(Right::AppendForeign),
        _ if roles.has(Role::Analyst) => Some(Right::Read),
        Mode::Shop | Mode::Store => None,
    }
}
