//! A whole shop in the process: on a free port, in a folder that goes with it.
//!
//! It keeps everything inside the process, but for the test program `engines`, whose shops keep it on real servers.

use std::{net::SocketAddr, path::Path, time::Duration};

use domain::ids::MemberId;
use gateway::{
    app::{App, Running},
    auth::Roles,
    config::Config,
};
use jiff::Timestamp;
use ports::clock::Clock as _;
use proto::v1::Role;
use tempfile::TempDir;

use crate::{client::Client, engines::Fleet};

/// How long the tokens of tests are good.
const TOKEN_TTL: Duration = Duration::from_secs(60 * 60);
/// The member behind [`TestShop::operator`].
const OPERATOR: MemberId = MemberId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

/// A shop to be tested.
pub struct TestShop {
    folder: TempDir,
    fleet: Option<Fleet>,
    settings: Box<dyn Fn(&mut Config) + Send + Sync>,
    running: Option<Running>,
}

impl TestShop {
    /// Opens a new shop with the defaults.
    pub async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    /// Opens a new shop whose configuration `settings` has changed; so it is at every restart.
    pub async fn open_with(settings: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let fleet = Fleet::new();
        let mut shop = Self { folder, fleet, settings: Box::new(settings), running: None };
        shop.start().await;
        shop
    }

    async fn start(&mut self) {
        let mut config = Config::new(self.folder.path());
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        if let Some(fleet) = &self.fleet {
            fleet.keep(&mut config);
        }
        (self.settings)(&mut config);
        self.running = Some(App::start(config).await.expect("the shop opens"));
    }

    /// Closes the shop and opens it again on the same folder, at another address.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    /// Closes the shop; its folder stays until it is dropped.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown().await;
        }
    }

    /// The shop while it is open.
    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("the shop is open")
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.running().addr
    }

    /// The folder of everything that it keeps in files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The servers that it stands on, if it does.
    pub fn fleet(&self) -> Option<&Fleet> {
        self.fleet.as_ref()
    }

    /// The time now, by the shop's clock.
    pub fn now(&self) -> Timestamp {
        gateway::clock::SystemClock.now()
    }

    /// A token for a member.
    pub fn token(&self, member: MemberId, roles: &[Role]) -> String {
        let signer = &self.running().signer;
        signer.issue(member, Roles::of(roles), self.now(), TOKEN_TTL).expect("a token")
    }

    /// Clients of a member, over a connection of their own.
    pub async fn client(&self, member: MemberId, roles: &[Role]) -> Client {
        Client::connect(self.addr(), member, &self.token(member, roles)).await
    }

    /// Clients of the shop's own staff.
    pub async fn operator(&self) -> Client {
        self.client(OPERATOR, &[Role::Operator]).await
    }

    /// Clients of the `n`-th buyer.
    pub async fn buyer(&self, n: u64) -> Client {
        self.client(buyer(n), &[Role::Buyer]).await
    }
}

/// The `n`-th buyer.
#[must_use]
pub fn buyer(n: u64) -> MemberId {
    MemberId::from_u128(0x0190_0000_0000_7000_8000_0001_0000_0000 + u128::from(n))
}
