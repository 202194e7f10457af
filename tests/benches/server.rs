//! The shop as a process of its own, and a look behind its counter.
//!
//! The process is this program, run a second time: what `cartulary serve` starts, and one thing more. For every line
//! on its standard input it prints one line of figures that no client can see: where the log ends, where the
//! views stand, and what the desks have done.

use std::{ffi::OsString, fs, net::SocketAddr, path::Path, process::ExitCode, time::Duration};

use gateway::{
    app::{App, Running},
    auth::{Roles, Signer},
    clock::SystemClock,
    config::{self, Layers},
};
use ports::clock::Clock as _;
use proto::v1::Role;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{
    again::{Again, listening, say},
    caller::member,
};

/// The hidden name under which this program is the shop.
pub const SERVE: &str = "serve";
/// Stands before the number of the only processor that the shop may use.
const CORE: &str = "--core=";
/// How long the tokens of callers are good.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the views may take to catch up.
const CATCH_UP_MAX: Duration = Duration::from_secs(600);
/// How often to look whether they have.
const LOOK: Duration = Duration::from_millis(10);
/// How long nothing may happen before nothing more is expected to. Longer than the runner waits with a step that it
/// tries again.
const STILL: Duration = Duration::from_secs(1);

/// Which parts of the shop run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// The door and the desks.
    Door,
    /// Those and the process runner.
    Processes,
    /// The door, the desks and the relay.
    Relay,
    /// Views as well.
    All,
}

impl Parts {
    const fn roles(self) -> &'static str {
        match self {
            Self::Door => "roles=[\"gateway\", \"commands\"]",
            Self::Processes => "roles=[\"gateway\", \"commands\", \"processes\"]",
            Self::Relay => "roles=[\"gateway\", \"commands\", \"relay\"]",
            Self::All => "roles=[\"gateway\", \"commands\", \"projections\", \"processes\"]",
        }
    }
}

/// Keeps this thread, and all it will start, on one processor.
pub fn stay_on(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).expect("a processor to stay on");
}

/// Is the shop, until standard input ends.
pub fn serve(args: &[OsString]) -> ExitCode {
    let args: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
    if let Some(core) = args.iter().find_map(|arg| arg.strip_prefix(CORE)) {
        stay_on(core.parse().expect("the number of a processor"));
    }
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).init();
    let settings = args.iter().filter_map(|arg| arg.split_once('=')).filter(|(key, _)| !key.starts_with("--"));
    let layers = settings.fold(Layers::default().set_text("listen", "127.0.0.1:0"), |layers, (key, value)| {
        layers.and_then(|layers| if key == "data" { layers.set_text(key, value) } else { layers.set(key, value) })
    });
    let config = layers.and_then(Layers::validate).expect("valid settings");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let running = runtime.block_on(App::start(config)).expect("the shop opens");
    listening(running.addr);
    for _ in std::io::stdin().lines() {
        say(&runtime.block_on(figures(&running)));
    }
    runtime.block_on(running.shutdown());
    ExitCode::SUCCESS
}

async fn figures(running: &Running) -> Value {
    let views = running.positions.all().into_iter().map(|(name, standing)| (name.to_owned(), standing.position.0));
    let desks = running.shop.counts().map(|(category, counts)| {
        let counts = json!({ "commands": counts.commands, "appends": counts.appends, "events": counts.events });
        (category.to_owned(), counts)
    });
    json!({
        "head": running.log().head().await.expect("a log that can be read").0,
        "views": views.map(|(name, position)| (name, position.into())).collect::<serde_json::Map<_, Value>>(),
        "desks": desks.into_iter().collect::<serde_json::Map<_, _>>(),
    })
}

/// A look behind the counter.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures(Value);

/// What a desk has done.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Commands decided.
    pub commands: u64,
    /// Appends made for them.
    pub appends: u64,
}

impl Counts {
    /// The share of commands that would have met another's append, had each been loaded, decided and appended by
    /// itself at the moment it came.
    pub fn retries_spared(self) -> f64 {
        self.commands.saturating_sub(self.appends) as f64 / self.commands.max(1) as f64
    }

    /// What was done since.
    pub const fn since(self, before: Self) -> Self {
        Self { commands: self.commands - before.commands, appends: self.appends - before.appends }
    }
}

impl Figures {
    fn number(value: &Value) -> u64 {
        value.as_u64().expect("a number of the shop")
    }

    /// The position of the newest event.
    pub fn head(&self) -> u64 {
        Self::number(&self.0["head"])
    }

    /// Whether every view has folded all of the log.
    pub fn caught_up(&self) -> bool {
        let views = self.0["views"].as_object().expect("views");
        !views.is_empty() && views.values().all(|position| Self::number(position) >= self.head())
    }

    /// What the desk of a category has done.
    pub fn desk(&self, category: &str) -> Counts {
        let counts = &self.0["desks"][category];
        Counts { commands: Self::number(&counts["commands"]), appends: Self::number(&counts["appends"]) }
    }
}

/// A shop that is open.
pub struct Server {
    process: Again,
    /// Where it listens.
    pub addr: SocketAddr,
    signer: Signer,
    // After the process: fields are dropped in this order.
    folder: TempDir,
}

impl Server {
    /// Opens a new shop somewhere under `place`; on one processor only, if it is named.
    pub fn start(place: &Path, parts: Parts, core: Option<usize>, settings: &[&str]) -> Self {
        let folder = TempDir::with_prefix_in("cartulary-", place).expect("a folder");
        let mut args = vec![format!("data={}", folder.path().display()), parts.roles().to_owned()];
        args.extend(settings.iter().map(|setting| (*setting).to_owned()));
        args.extend(core.map(|core| format!("{CORE}{core}")));
        let process = Again::start(SERVE, args);
        let signer = Signer::load(&config::signing_key(folder.path())).expect("the shop's key");
        Self { addr: process.addr, process, signer, folder }
    }

    /// A token for the `n`-th member with a role.
    pub fn token(&self, role: Role, n: u64) -> String {
        let token = self.signer.issue(member(role, n), Roles::of(&[role]), SystemClock.now(), TOKEN_TTL);
        token.expect("a token")
    }

    /// Looks behind the counter.
    pub fn figures(&mut self) -> Figures {
        Figures(self.process.figures())
    }

    /// Waits until every view has folded all of the log.
    pub fn catch_up(&mut self) {
        let begun = Instant::now();
        while !self.figures().caught_up() {
            assert!(begun.elapsed() < CATCH_UP_MAX, "the views do not catch up");
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until nothing more happens and every view has folded all of it. Answers when the last thing happened.
    pub fn rest(&mut self) -> Instant {
        let begun = Instant::now();
        let (mut last, mut changed) = (self.figures(), Instant::now());
        while !last.caught_up() || changed.elapsed() < STILL {
            assert!(begun.elapsed() < CATCH_UP_MAX, "the shop does not come to rest");
            std::thread::sleep(LOOK);
            let now = self.figures();
            if now != last {
                (last, changed) = (now, Instant::now());
            }
        }
        changed
    }

    /// Bytes of memory that the shop has, and the most it ever had.
    pub fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("a process");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim_start_matches(':').trim().split(' ').next()?.parse::<u64>().ok());
            kib.expect("memory in kB") << 10
        };
        (field("VmRSS"), field("VmHWM"))
    }

    /// Closes the shop and answers its folder.
    pub fn stop(self) -> TempDir {
        let Self { process, folder, .. } = self;
        process.stop();
        folder
    }
}
