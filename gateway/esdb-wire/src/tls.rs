//! TLS on top of the connections of a listener: the certificate, and handshakes that nobody else waits for.

use std::{io, path::Path, sync::Arc};

use futures::{Stream, StreamExt as _, future::ready};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
    server::TlsStream,
};

use crate::Limits;

/// Why a certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file is not there, cannot be read, or is no PEM of the kind.
    #[error("{file}: {why}")]
    File {
        /// Which file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// They do not belong together, or are of a kind that is not served.
    #[error("certificate and key cannot be used together: {0}")]
    Unfit(#[from] tokio_rustls::rustls::Error),
}

/// How a server proves who it is.
#[derive(Clone)]
pub struct Certificate(Arc<ServerConfig>);

impl Certificate {
    /// Reads the chain, the server's own certificate first, and the private key, both PEM.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        let refuse = |file: &Path, why: &dyn std::fmt::Display| CertificateError::File {
            file: file.display().to_string(),
            why: why.to_string(),
        };
        let certificates = CertificateDer::pem_file_iter(chain).map_err(|why| refuse(chain, &why))?;
        let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(|why| refuse(chain, &why))?;
        if certificates.is_empty() {
            return Err(refuse(chain, &"it holds no certificate"));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|why| refuse(key, &why))?;
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
        let mut config = builder.with_single_cert(certificates, private)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

/// The connections of `listener`, encrypted, for [`crate::serve()`]. Whoever does not finish the handshake within
/// [`Limits::handshake_max`] is let go, and at most [`Limits::handshakes_max`] are at it at once.
pub fn tls<L, C>(
    listener: L,
    certificate: &Certificate,
    limits: &Limits,
) -> impl Stream<Item = io::Result<TlsStream<C>>> + Send + use<L, C>
where
    L: Stream<Item = io::Result<C>> + Send,
    C: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (acceptor, patience) = (TlsAcceptor::from(Arc::clone(&certificate.0)), limits.handshake_max);
    let shake = move |connection: io::Result<C>| {
        let acceptor = acceptor.clone();
        async move {
            match timeout(patience, acceptor.accept(connection?)).await {
                Ok(shaken) => shaken.map(Some).or_else(|error| {
                    tracing::debug!(%error, "a handshake failed");
                    Ok(None)
                }),
                Err(_late) => Ok(None),
            }
        }
    };
    let shaken = listener.map(shake).buffer_unordered(limits.handshakes_max.max(1));
    shaken.filter_map(|shaken| ready(shaken.transpose()))
}
