//! The EventStoreDB protocol beside the shop's own door: any client of that database reads and follows the log.
//!
//! Its clients know users and passwords; here the password is one of our tokens, and the user may be anybody. Nobody but
//! the desk writes the shop's own streams, whoever they are.

use std::{net::SocketAddr, sync::Arc};

use esdb_wire::{Certificate, CertificateError, Mode, Right, Server};
use ports::{clock::Clock, store::EventStore};
use proto::v1::Role;
use tokio::net::TcpListener;

use crate::{
    auth::Verifier,
    config::{CertificateFiles, Wire},
};

/// Why the protocol is not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its address is taken, or not ours.
    #[error("the EventStoreDB protocol cannot be served on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its certificate cannot be used.
    #[error("the EventStoreDB protocol cannot be served: wire.certificate_file or wire.key_file cannot be used")]
    Certificate(#[from] CertificateError),
}

/// A listener with everything that it serves.
pub struct Serving {
    /// Where it listens.
    pub addr: SocketAddr,
    listener: TcpListener,
    certificate: Option<Certificate>,
    server: Server,
}

impl Serving {
    /// Takes the address, if the configuration names one.
    ///
    /// # Errors
    /// [`Error`] when it is taken, or the certificate cannot be used.
    pub async fn open(
        wire: &Wire,
        mode: Mode,
        store: Arc<dyn EventStore>,
        verifier: Verifier,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<Self>, Error> {
        let Some(wanted) = wire.listen else { return Ok(None) };
        let read = |files: &CertificateFiles| Certificate::from_files(&files.chain, &files.key);
        let certificate = wire.certificate.as_ref().map(read).transpose()?;
        let refused = |source| Error::Listen { addr: wanted, source };
        let listener = TcpListener::bind(wanted).await.map_err(refused)?;
        let addr = listener.local_addr().map_err(refused)?;
        let access = move |_user: &str, password: &str| right(mode, &verifier, password);
        let (access, advertised) = (Arc::new(access), wire.advertised.clone().unwrap_or_else(|| own(addr)));
        let server = Server { store, mode, access, clock, advertised, limits: wire.limits.clone() };
        Ok(Some(Self { addr, listener, certificate, server }))
    }

    /// Serves until told to end.
    ///
    /// # Errors
    /// [`esdb_wire::Error`] when the transport fails.
    pub async fn run(self, end: impl Future<Output = ()> + Send) -> Result<(), esdb_wire::Error> {
        let Self { listener, certificate, server, .. } = self;
        let connections = esdb_wire::tcp(listener);
        match certificate {
            None => Box::pin(esdb_wire::serve(connections, server, end)).await,
            Some(certificate) => {
                let connections = esdb_wire::tls(connections, &certificate, &server.limits);
                Box::pin(esdb_wire::serve(connections, server, end)).await
            }
        }
    }

    /// What a client is told to reach it, with a token in place of the words for it.
    #[must_use]
    pub fn url(&self) -> String {
        let addr = self.addr;
        match self.certificate {
            None => format!("esdb://token:<a token>@{addr}?tls=false"),
            Some(_) => format!("esdb://token:<a token>@{addr}"),
        }
    }
}

/// Where clients on this machine find it, if nobody says otherwise: nobody can connect to "any address".
fn own(addr: SocketAddr) -> (String, u16) {
    let host = if addr.ip().is_unspecified() { "localhost".to_owned() } else { addr.ip().to_string() };
    (host, addr.port())
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
