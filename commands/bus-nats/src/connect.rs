//! The connection, and whether the server at its other end will do.

use std::sync::Arc;

use async_nats::{
    Client, ConnectOptions, ServerAddr,
    connection::State,
    jetstream::{self, context::ContextBuilder},
};
use tokio::time::timeout;

use crate::{Error, Limits, Settings, subject};

/// The oldest server that does: older ones silently ignore settings that are needed here.
const VERSION_MIN: &str = "2.12.0";
/// How many messages of all batches are on their way at once; one more fails.
const IN_FLIGHT_ALL: usize = 1 << 17;

/// A connection to NATS. A clone is the same connection.
#[derive(Debug, Clone)]
pub struct Nats {
    pub(crate) client: Client,
    pub(crate) jetstream: jetstream::Context,
    pub(crate) settings: Arc<Settings>,
    pub(crate) limits: Arc<Limits>,
}

impl Nats {
    /// Begins to connect. For `tls://` the process must have chosen its provider of cryptography
    /// (`rustls::crypto::CryptoProvider::install_default`), or it is the only one that was built in. The server need not be there: it is looked for as long as this exists, and every call fails
    /// in its time until it is. [`Nats::check`] tells at once.
    ///
    /// # Errors
    /// [`Error::Settings`] when the settings cannot be used.
    pub async fn connect(settings: Settings, limits: Limits) -> Result<Self, Error> {
        settings.check()?;
        let refused = |error: &dyn std::fmt::Display| Error::Settings(error.to_string());
        let servers: Result<Vec<ServerAddr>, _> = settings.servers.iter().map(|server| server.parse()).collect();
        let servers = servers.map_err(|error| refused(&error))?;
        let mut options = ConnectOptions::new();
        if let Some(file) = &settings.credentials_file {
            let why = |error| Error::Settings(format!("{}: {error}", file.display()));
            options = options.credentials_file(file).await.map_err(why)?;
        }
        if let Some(file) = &settings.root_certificate_file {
            options = options.add_root_certificates(file.clone());
        }
        let options = options
            .name(format!("cartulary {}", settings.prefix))
            .retry_on_initial_connect()
            .connection_timeout(limits.connect_max)
            .request_timeout(Some(limits.request_max))
            .ping_interval(limits.ping_every);
        let client = options.connect(servers).await.map_err(|error| refused(&error))?;
        let jetstream = ContextBuilder::new()
            .timeout(limits.ack_max)
            .ack_timeout(limits.ack_max)
            // Each batch bounds itself. Places shared by several would let them wait for each other, for ever.
            .max_ack_inflight(IN_FLIGHT_ALL)
            .backpressure_on_inflight(false)
            .build(client.clone());
        Ok(Self { client, jetstream, settings: Arc::new(settings), limits: Arc::new(limits) })
    }

    /// Whether a server answers, is new enough, and has what is needed, as it is needed; what is not there is made.
    ///
    /// # Errors
    /// An [`Error`] that says what is wrong.
    pub async fn check(&self) -> Result<(), Error> {
        self.events().await.map(|_| ())
    }

    /// Whether a server answers and is new enough.
    pub(crate) async fn check_server(&self) -> Result<(), Error> {
        let within = self.limits.connect_max;
        match timeout(within, self.client.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Error::Unreachable(error.to_string())),
            Err(_) => return Err(Error::Unreachable(format!("{:?}, not within {within:?}", self.settings.servers))),
        }
        let info = match self.client.connection_state() {
            State::Connected => self.client.try_server_info(),
            State::Pending | State::Disconnected => None,
        };
        let info = info.ok_or_else(|| Error::Unreachable(format!("{:?}", self.settings.servers)))?;
        if version(&info.version) < version(VERSION_MIN) {
            return Err(Error::TooOld { found: info.version, needed: VERSION_MIN });
        }
        if !info.jetstream {
            return Err(Error::NoJetStream(format!("{} says so", info.server_name)));
        }
        Ok(())
    }

    /// A subject of this shop.
    pub(crate) fn subject<'a>(&'a self, parts: impl IntoIterator<Item = &'a str>) -> String {
        let prefix = std::iter::once(self.settings.prefix.as_str());
        subject::of(prefix.chain(parts), self.limits.subject_part_max)
    }
}

/// The numbers of `2.15.1` or `2.12.0-RC.1`; what is no number is 0.
fn version(said: &str) -> [u32; 3] {
    let numbers = said.split('-').next().unwrap_or_default();
    let mut numbers = numbers.split('.').map(|number| number.parse().unwrap_or(0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::{VERSION_MIN, version};

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for new in ["2.12.0", "2.12.0-RC.1", "2.15.1", "3.0.0", "2.100.0"] {
            assert!(version(new) >= version(VERSION_MIN), "{new}");
        }
        for old in ["2.9.10", "2.11.99", "1.99.99", "", "nonsense"] {
            assert!(version(old) < version(VERSION_MIN), "{old}");
        }
    }
}
