//! Where the server is and what is to be there, and every bound by name.

use std::{path::PathBuf, time::Duration};

use crate::{Error, subject};

/// Where the server is, and what is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// One or more servers of one cluster, `nats://user:password@host:port` or `tls://…`.
    pub servers: Vec<String>,
    /// The `.creds` file, if the servers want one.
    pub credentials_file: Option<PathBuf>,
    /// Who vouches for the servers, beside those whom the system trusts (PEM); matters for `tls://`.
    pub root_certificate_file: Option<PathBuf>,
    /// The first word of every subject and stream: shops with different words share a server.
    pub prefix: String,
    /// Copies of every message in a cluster: 1, 3 or 5.
    pub replicas: usize,
    /// After which time events leave their stream; nothing means never.
    pub keeps: Option<Duration>,
    /// The largest size of the event stream, in bytes; a full one refuses events, and the relay waits. Nothing: as
    /// large as the server allows.
    pub bytes_max: Option<u64>,
}

impl Settings {
    /// A single server, and the prefix `shop`.
    #[must_use]
    pub fn new(server: &str) -> Self {
        Self {
            servers: vec![server.to_owned()],
            credentials_file: None,
            root_certificate_file: None,
            prefix: "shop".to_owned(),
            replicas: 1,
            keeps: None,
            bytes_max: None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if !subject::is_name(&self.prefix) {
            return Err(Error::Settings(format!("the prefix {:?} is not a word", self.prefix)));
        }
        if self.servers.is_empty() {
            return Err(Error::Settings("no server is named".to_owned()));
        }
        if ![1, 3, 5].contains(&self.replicas) {
            return Err(Error::Settings(format!("{} replicas; it is 1, 3 or 5", self.replicas)));
        }
        Ok(())
    }
}

/// The bounds of everything that is asked of NATS. The reason stands at each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The longest time until a server answers a connection.
    pub connect_max: Duration,
    /// The longest time until the server answers about streams and consumers.
    pub request_max: Duration,
    /// The longest time until a message is acknowledged. A frozen server is noticed by it.
    pub ack_max: Duration,
    /// How often the connection is tried; two tries without an answer end it.
    pub ping_every: Duration,
    /// How many messages are on their way at once: it bounds what a slow server makes us hold.
    pub in_flight_max: usize,
    /// How long the server remembers message ids. A relay that was down for less repeats nothing even where it cannot
    /// ask; the memory costs the server about 100 bytes an event.
    pub duplicate_window: Duration,
    /// How far the end of the event stream is searched for a message of the relay's, should others publish there.
    pub strangers_max: u32,
    /// The longest part of a subject, in bytes; longer ids are cut (the whole is in `ce-subject`). A server refuses
    /// lines of more than 4 KiB.
    pub subject_part_max: usize,
    /// How long a worker may take for a message before another gets it. A crashed worker's partition rests for so long.
    pub ack_wait: Duration,
    /// The longest wait for a message, in one call.
    pub idle_max: Duration,
    /// How often a parcel is handed over before it is given up.
    pub attempts_max: u64,
    /// How long the intake may take for a parcel.
    pub take_max: Duration,
    /// The first wait before a parcel comes again; it doubles each time.
    pub again_min: Duration,
    /// How long partners' messages stay, taken or not: to be looked at.
    pub feeds_keep: Duration,
    /// The largest size of what partners sent, in bytes; beyond, they are refused and have to try again.
    pub feeds_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_max: Duration::from_secs(5),
            request_max: Duration::from_secs(5),
            ack_max: Duration::from_secs(5),
            ping_every: Duration::from_secs(5),
            in_flight_max: 2_000,
            duplicate_window: Duration::from_secs(120),
            strangers_max: 100,
            subject_part_max: 256,
            ack_wait: Duration::from_secs(30),
            idle_max: Duration::from_secs(1),
            attempts_max: 10,
            take_max: Duration::from_secs(60),
            again_min: Duration::from_millis(200),
            feeds_keep: Duration::from_secs(7 * 24 * 3_600),
            feeds_bytes_max: 1 << 30,
        }
    }
}
