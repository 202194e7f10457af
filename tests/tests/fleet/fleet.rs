//! The fleet: seven processes of the real program, one PostgreSQL, one NATS, and a network between them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use domain::ids::MemberId;
use gateway::auth::{Roles, Signer};
use ports::clock::Clock as _;
use proto::v1::Role;
use rustix::process::Signal;
use serde_json::Value;
use servers::{
    NotHere,
    nats::{self, Nats},
    postgres::{self, Postgres},
};
use tempfile::TempDir;
use tests::{
    client::Client,
    say,
    victim::{self, Victim},
};

use crate::{
    load::{DOORS, Doors, GATES},
    proxy::Proxy,
};

/// The processes, by their place among [`Fleet::nodes`]: gateways, nodes that decide, and those without a door.
pub const EAST: usize = 0;
pub const WEST: usize = 1;
pub const NORTH: usize = 2;
pub const SOUTH: usize = 3;
pub const PROCESSES: usize = 4;
pub const VIEWS: usize = 5;
pub const RELAY: usize = 6;
/// Their names and their roles.
const NODES: [(&str, &str); 7] = [
    ("east", "gateway"),
    ("west", "gateway"),
    ("north", "commands"),
    ("south", "commands"),
    ("processes", "processes"),
    ("views", "projections"),
    ("relay", "relay"),
];
/// How long the tokens are good.
const TOKEN_TTL: Duration = Duration::from_secs(60 * 60);
/// The shop's own staff.
const OPERATOR: MemberId = MemberId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
/// How many lines of a node's log are told when it fails.
const LAST_WORDS: usize = 6;

/// Set otherwise than by default: a server that says nothing is given up sooner, because it is silent for seconds here; and
/// whoever has not paid loses the order while the faults go on.
const SETTINGS: &str = "\
shop.order_ttl = '20s'
engines.log = 'postgres'
engines.views = 'postgres'
engines.bus = 'nats'
command_nodes.connect_max = '500ms'
command_nodes.ping_every = '300ms'
command_nodes.ping_max = '300ms'
command_nodes.rest_max = '1s'
postgres.log.connect_max = '1s'
postgres.log.append_max = '1500ms'
postgres.log.statement_max = '1s'
postgres.log.read_max = '2s'
postgres.views.connect_max = '1s'
postgres.views.commit_max = '2s'
postgres.views.read_max = '2s'
nats.limits.connect_max = '1s'
nats.limits.request_max = '1s'
nats.limits.ack_max = '1s'
nats.limits.ping_every = '1s'
relay.retry_max = '1s'
runner.eager_grace = '500ms'
runner.retry_max = '1s'
";

/// The servers, not yet used.
pub struct Servers {
    postgres: Postgres,
    nats: Nats,
}

impl Servers {
    /// Starts them: they are ours, because they are frozen and killed.
    pub fn start() -> Result<Self, NotHere> {
        let postgres = Postgres::start(postgres::Options { own: true, ..Default::default() })?;
        let nats = Nats::start(nats::Options { own: true, ..Default::default() })?;
        Ok(Self { postgres, nats })
    }
}

/// One process of the fleet.
pub struct Node {
    name: &'static str,
    config: PathBuf,
    log: PathBuf,
    victim: Option<Victim>,
    /// The way to PostgreSQL.
    pub database: Proxy,
    /// The gateways' way to it, if it decides.
    pub asked: Option<Proxy>,
}

/// Everything.
pub struct Fleet {
    // Before the servers and the folder: fields are dropped in this order.
    pub nodes: Vec<Node>,
    pub postgres: Postgres,
    pub nats: Nats,
    /// The way of the one who relays to NATS.
    pub bus: Proxy,
    /// The database, without a network between.
    pub database: String,
    pub doors: Arc<Doors>,
    signer: Signer,
    folder: TempDir,
}

impl Fleet {
    /// Starts the nodes.
    pub async fn open(servers: Servers) -> Self {
        let Servers { postgres, nats } = servers;
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("signing.pem");
        let signer = Signer::load_or_generate(&key).expect("a key");
        let database = postgres.fresh_database().expect("a database");
        let bus = Proxy::to(port(nats.url())).await;
        let mut nodes = Vec::new();
        let [north, south] = [Proxy::to(0).await, Proxy::to(0).await];
        let deciding = format!("command_nodes.urls = ['http://{}', 'http://{}']", north.addr, south.addr);
        let mut asked = [(NORTH, north), (SOUTH, south)].into_iter().peekable();
        for (n, (name, role)) in NODES.into_iter().enumerate() {
            let data = folder.path().join(name);
            fs::create_dir(&data).expect("a folder");
            fs::copy(&key, data.join("signing.pem")).expect("one key for all");
            let way = Proxy::to(port(&database)).await;
            let (config, log) = (folder.path().join(format!("{name}.toml")), folder.path().join(format!("{name}.log")));
            let through = database.replace(&format!(":{}/", port(&database)), &format!(":{}/", way.addr.port()));
            let deciding = if n < GATES { &deciding } else { "" };
            let text = configuration(&data, role, &through, &format!("nats://{}", bus.addr), deciding);
            fs::write(&config, text).expect("written");
            let asked = asked.next_if(|(node, _)| *node == n).map(|(_, way)| way);
            nodes.push(Node { name, config, log, victim: None, database: way, asked });
        }
        let mut fleet = Self { nodes, postgres, nats, bus, database, doors: Arc::default(), signer, folder };
        for node in 0..fleet.nodes.len() {
            fleet.start(node);
        }
        fleet
    }

    /// Starts a node.
    pub fn start(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        let started = tokio::task::block_in_place(|| Victim::serve(&it.config, &it.log));
        let victim =
            started.unwrap_or_else(|status| panic!("{} ended with {status}: {}", it.name, last_words(&it.log)));
        if node < DOORS {
            self.doors.set(node, Some(victim.addr));
        }
        if let Some(way) = &it.asked {
            way.lead_to(victim.addr.port());
        }
        it.victim = Some(victim);
    }

    /// Kills a node.
    pub fn kill(&mut self, node: usize) {
        let victim = self.nodes[node].victim.take().expect("it runs");
        if node < DOORS {
            self.doors.set(node, None);
        }
        tokio::task::block_in_place(|| victim.kill());
    }

    /// Stops a node in the midst of what it does; its connections stay.
    pub fn freeze(&self, node: usize) {
        self.nodes[node].victim.as_ref().expect("it runs").signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self, node: usize) {
        self.nodes[node].victim.as_ref().expect("it runs").signal(Signal::CONT);
    }

    /// How many bytes the gateways have asked of each node that decides.
    pub fn asked(&self) -> Vec<u64> {
        self.nodes.iter().filter_map(|node| node.asked.as_ref()).map(Proxy::asked).collect()
    }

    /// Nothing but a kill of ours ends a node.
    pub fn all_run(&mut self) {
        for node in &mut self.nodes {
            let ended = node.victim.as_mut().is_none_or(|victim| !victim.is_running());
            assert!(!ended, "{} has ended by itself: {}", node.name, last_words(&node.log));
        }
    }

    /// What the nodes complained of last, for whoever looks for the reason of a failure.
    pub fn complaints(&self) -> String {
        let told = self.nodes.iter().map(|node| format!("{}: {}", node.name, last_words(&node.log)));
        told.collect::<Vec<_>>().join("\n")
    }

    /// A token that is good at every node.
    pub fn token(&self, member: MemberId, role: Role) -> String {
        let now = gateway::clock::SystemClock.now();
        self.signer.issue(member, Roles::of(&[role]), now, TOKEN_TTL).expect("a token")
    }

    /// Clients of the shop's own staff at a node.
    pub async fn operator(&self, node: usize) -> Client {
        let addr = self.nodes[node].victim.as_ref().expect("it runs").addr;
        Client::connect(addr, OPERATOR, &self.token(OPERATOR, Role::Operator)).await
    }

    /// Puts something new on the shelf.
    pub async fn stock(&self, sku: &str, units: u32) {
        say::stock(&mut self.operator(EAST).await, sku, 250, units).await;
    }

    /// Holds NATS against the log.
    pub fn reconcile(&self) -> Value {
        let config = self.folder.path().join("reconcile.toml");
        let text = configuration(&self.folder.path().join("reconcile"), "relay", &self.database, self.nats.url(), "");
        fs::write(&config, text).expect("written");
        let mut command = victim::command();
        command.args(["bus", "reconcile", "--json", "--config"]).arg(&config);
        let output = tokio::task::block_in_place(|| command.output()).expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("a line of JSON")
    }
}

/// What a node is told.
fn configuration(data: &Path, role: &str, database: &str, nats: &str, deciding: &str) -> String {
    let data = data.display();
    format!(
        "listen = '127.0.0.1:0'\ndata = '{data}'\nroles = ['{role}']\npostgres.url = '{database}'\nnats.url = '{nats}'\n\
         {deciding}\n{SETTINGS}"
    )
}

/// The port in a server's URL.
fn port(url: &str) -> u16 {
    let address = url.rsplit("://").next().unwrap_or_default().split('/').next().unwrap_or_default();
    address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a URL with a port")
}

fn last_words(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n    ")
}
