//! A bare log as a process of its own: what `cartulary log serve` runs, on a new folder with the embedded engine.

use std::{ffi::OsString, path::Path, process::ExitCode, sync::Arc, time::Duration};

use esdb_wire::Mode;
use gateway::{
    app::{engines, wire::Serving},
    auth::{Roles, Signer, Verifier},
    clock::SystemClock,
    config::{self, Layers, Wire},
};
use ports::clock::Clock;
use proto::v1::Role;
use tempfile::TempDir;

use super::{
    again::{Again, listening},
    caller::member,
};

/// The hidden name under which this program is the log.
pub const SERVE: &str = "serve-log";
/// How long the token of its clients is good.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Is the log in the folder that is named, until standard input ends.
pub fn serve(args: &[OsString]) -> ExitCode {
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).init();
    let folder = args.first().and_then(|folder| folder.to_str()).expect("a folder");
    let config = Layers::default().set_text("data", folder).and_then(Layers::validate).expect("valid settings");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let serving = runtime.block_on(async {
        let log = engines::log(&config, &clock).await.expect("the log opens");
        let signer = Signer::load_or_generate(&config.signing_key()).expect("a key");
        let verifier = Verifier::new(vec![signer.public()], config.limits.tokens.clone(), Arc::clone(&clock));
        let wire = Wire { listen: "127.0.0.1:0".parse().ok(), ..config.wire.clone() };
        let serving = Serving::open(&wire, Mode::Store, log, verifier, clock).await;
        serving.expect("a free port").expect("an address to listen on")
    });
    listening(serving.addr);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        std::io::stdin().lines().for_each(drop);
        drop(end);
    });
    runtime.block_on(serving.run(async move { drop(ended.await) })).expect("the log is served");
    ExitCode::SUCCESS
}

/// A log that is served.
pub struct BareLog {
    /// The process.
    pub process: Again,
    /// What its clients say for their password: they may write everything.
    pub token: String,
    // After the process: fields are dropped in this order.
    _folder: TempDir,
}

impl BareLog {
    /// Serves a new log somewhere under `place`.
    pub fn start(place: &Path) -> Self {
        let folder = TempDir::with_prefix_in("cartulary-", place).expect("a folder");
        let process = Again::start(SERVE, [folder.path()]);
        let signer = Signer::load(&config::signing_key(folder.path())).expect("the log's key");
        let token = signer.issue(member(Role::Operator, 0), Roles::of(&[Role::Operator]), SystemClock.now(), TOKEN_TTL);
        Self { process, token: token.expect("a token"), _folder: folder }
    }
}
