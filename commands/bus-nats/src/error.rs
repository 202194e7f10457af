//! Why NATS could not do what it was asked, and what that means to the port.

use ports::bus;

/// Why NATS could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// What was configured cannot be used.
    #[error("NATS: {0}")]
    Settings(String),
    /// No server answered in time.
    #[error("no NATS server answers: {0}")]
    Unreachable(String),
    /// The server is too old for what is needed.
    #[error("the NATS server is version {found:?}; {needed} or newer is needed")]
    TooOld {
        /// Its version, as it says.
        found: String,
        /// The oldest version that does.
        needed: &'static str,
    },
    /// The server, or this account, has no JetStream.
    #[error("the NATS server has no JetStream for this account: {0}")]
    NoJetStream(String),
    /// Something there is not as it should be: the server ignored or refused a setting, or somebody else made it.
    #[error("{of} of the NATS server: {setting} is {found}, and should be {wanted}{}", said(refused.as_ref()))]
    Setting {
        /// The stream or consumer.
        of: String,
        /// Which setting.
        setting: &'static str,
        /// As it should be.
        wanted: String,
        /// As it is.
        found: String,
        /// What the server said when it was to be changed, if it refused.
        refused: Option<String>,
    },
    /// Anything else that the server refused.
    #[error("NATS: {0}")]
    Failed(String),
}

fn said(refused: Option<&String>) -> String {
    refused.map(|why| format!("; the server refuses to change it: {why}")).unwrap_or_default()
}

impl From<Error> for bus::Error {
    fn from(error: Error) -> Self {
        let said = error.to_string();
        match error {
            Error::Unreachable(_) => Self::Unknown(said),
            Error::Settings(_) | Error::TooOld { .. } | Error::NoJetStream(_) | Error::Setting { .. } => {
                Self::Unfit(said)
            }
            Error::Failed(_) => Self::Failed(said),
        }
    }
}
