//! The real binary as a process of its own, to be killed: by us, or by a system call that `strace` makes fail.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use domain::ids::MemberId;
use tempfile::NamedTempFile;

/// The variable that names another binary to be tested than the one beside the tests, e.g. `target/release/cartulary`;
/// from the top of the tree, wherever a test is started.
const BINARY: &str = "CARTULARY_TEST_BINARY";
/// What every variable begins with that means something to the binary, or to the tests. The binary refuses those that it does
/// not know.
const OURS: &str = "CARTULARY_";
/// How long the binary may take to listen, under `strace` on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);
/// The same for the demo, which loads its past first.
const DEMO_MAX: Duration = Duration::from_secs(240);
/// How long it may take to end after it was told to.
const END_MAX: Duration = Duration::from_secs(30);

/// How long `strace` is silent when it has written everything.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What is set otherwise than by default: a WAL so small that it is copied in the middle of a burst, and a runner that
/// does not wait long before it takes over what a dead gateway has begun. And snapshots so often that there are some.
const SETTINGS: [&str; 5] = [
    "sqlite.log.checkpoint_wal_bytes=262144",
    "sqlite.log.restart_wal_bytes=524288",
    "sqlite.views.checkpoint_wal_bytes=524288",
    "runner.eager_grace=200ms",
    "desk.snapshot_events=32",
];

/// Which system calls on which files are watched, and what becomes of them, in `strace`'s own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The system calls, e.g. `pwrite64`.
    pub calls: &'static str,
    /// The files in the shop's folder.
    pub files: Vec<&'static str>,
    /// Which of them fail and how, e.g. `pwrite64:signal=KILL:when=17`; counted per thread and kind of call, and only on
    /// these files. Nothing if they are only to be seen.
    pub effect: Option<String>,
}

/// A running shop, or a bare log.
#[derive(Debug)]
pub struct Victim {
    child: Child,
    /// What `strace` saw, if it looks on.
    seen: Option<NamedTempFile>,
    /// Where it listens.
    pub addr: SocketAddr,
    /// What it said when it was open, with `--json`.
    pub said: serde_json::Value,
}

/// The binary to be tested: that of `CARTULARY_TEST_BINARY`, or the one that was built beside this test, by the same profile.
///
/// # Panics
/// When it was not built: `cargo test --workspace` builds it.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os(BINARY) {
        // Tests are started in the folder of their crate.
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(named);
        return path.canonicalize().unwrap_or_else(|error| panic!("{BINARY} names {}: {error}", path.display()));
    }
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.ancestors().find(|folder| folder.join("cartulary").is_file());
    folder.expect("`cartulary` is built beside the tests: run the whole workspace's tests").join("cartulary")
}

/// A command of the binary, with none of our variables in its environment: those that tests are told by are no settings of
/// a shop, and a shop's own settings are what a test says.
#[must_use]
pub fn command() -> Command {
    without_ours(Command::new(binary()))
}

fn without_ours(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(OURS)) {
        command.env_remove(name);
    }
    command
}

/// Whether `strace` can be used here.
#[must_use]
pub fn can_inject() -> bool {
    let probe = Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    probe.is_ok_and(|status| status.success())
}

impl Victim {
    /// Starts the binary on a folder, with or without a fault.
    ///
    /// # Errors
    /// How it ended, when that was before it listened.
    ///
    /// # Panics
    /// When it neither listens nor ends.
    pub fn start(folder: &Path, fault: Option<&Fault>) -> Result<Self, ExitStatus> {
        let (mut command, seen) = fault.map_or_else(|| (command(), None), |fault| watched(folder, fault));
        command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--data"]).arg(folder);
        for setting in SETTINGS {
            command.args(["--set", setting]);
        }
        command.env("CARTULARY_LOG", "error").stderr(Stdio::null());
        Self::launch(command, seen, START_MAX)
    }

    /// Starts the demo in a folder, and waits until it has loaded its past and says what to try.
    ///
    /// # Errors
    /// How it ended, when that was before it was open.
    ///
    /// # Panics
    /// When it neither opens nor ends.
    pub fn demo(folder: &Path) -> Result<Self, ExitStatus> {
        let mut command = command();
        command.args(["demo", "--json", "--listen", "127.0.0.1:0", "--data"]).arg(folder);
        command.env("CARTULARY_LOG", "error").stderr(Stdio::null());
        Self::launch(command, None, DEMO_MAX)
    }

    /// Starts the binary with a configuration of its own. What it logs goes behind what is in the file `log`.
    ///
    /// # Errors
    /// How it ended, when that was before it listened.
    ///
    /// # Panics
    /// When it neither listens nor ends.
    pub fn serve(config: &Path, log: &Path) -> Result<Self, ExitStatus> {
        let log = File::options().create(true).append(true).open(log).expect("a file for its log");
        let mut command = command();
        command.args(["serve", "--json", "--config"]).arg(config).env("CARTULARY_LOG", "warn").stderr(log);
        Self::launch(command, None, START_MAX)
    }

    /// Starts the binary as the server of a bare log in a folder.
    ///
    /// # Errors
    /// How it ended, when that was before it listened.
    ///
    /// # Panics
    /// When it neither listens nor ends.
    pub fn serve_log(folder: &Path) -> Result<Self, ExitStatus> {
        let mut command = command();
        command.args(["log", "serve", "--json", "--listen", "127.0.0.1:0", "--data"]).arg(folder);
        command.env("CARTULARY_LOG", "error").stderr(Stdio::null());
        Self::launch(command, None, START_MAX)
    }

    fn launch(mut command: Command, seen: Option<NamedTempFile>, max: Duration) -> Result<Self, ExitStatus> {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut out = BufReader::new(child.stdout.take().expect("its output"));
        let (told, listening) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = out.read_line(&mut line);
            // The one who waits may have given up.
            let _gone = told.send(read.map(|_| line));
        });
        let line = listening.recv_timeout(max).expect("it listens or ends").expect("its output reads");
        if line.is_empty() {
            return Err(child.wait().expect("it has ended"));
        }
        let said: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
        let addr = said["listening"].as_str().and_then(|addr| addr.parse().ok()).expect("an address");
        Ok(Self { child, seen, addr, said })
    }

    /// The calls that `strace` has seen so far, one line each.
    ///
    /// # Panics
    /// When it does not look on.
    #[must_use]
    pub fn seen(&self) -> String {
        let seen = self.seen.as_ref().expect("it is watched");
        String::from_utf8_lossy(&std::fs::read(seen.path()).expect("what strace wrote")).into_owned()
    }

    /// The same once it has ended, and `strace` has written its last word.
    ///
    /// # Panics
    /// When it does not look on.
    pub async fn seen_to_the_end(&self) -> String {
        let mut seen = self.seen();
        loop {
            tokio::time::sleep(LAST_WORDS).await;
            let more = self.seen();
            if more.len() == seen.len() {
                return seen;
            }
            seen = more;
        }
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// When the system does not know.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        self.ended().is_none()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("a signal");
    }

    /// Kills it and waits for its end.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn kill(mut self) {
        let _dead = self.child.kill();
        self.child.wait().expect("it has ended");
    }

    /// Asks it to end, as an operator would, and waits until it has, with exit code 0.
    ///
    /// # Panics
    /// When it does not end in time, or otherwise.
    pub fn stop(mut self) {
        let status = self.end();
        assert!(status.success(), "told to end, it ended with {status}");
    }

    /// Asks it to end, and answers how it did.
    ///
    /// # Panics
    /// When it does not end in time.
    #[expect(clippy::disallowed_methods, reason = "another process keeps the real time")]
    pub fn end(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(begun.elapsed() < END_MAX, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if self.is_running() {
            let _dead = self.child.kill();
            let _waited = self.child.wait();
        }
    }
}

/// The binary under `strace`, and where that writes what it sees.
fn watched(folder: &Path, fault: &Fault) -> (Command, Option<NamedTempFile>) {
    let seen = NamedTempFile::new().expect("a file");
    let mut command = without_ours(Command::new("strace"));
    // -D: the shop itself is our child, the tracer stands beside it.
    command.args(["-D", "-f", "-qq", "-y", "-s", "0", "-o"]).arg(seen.path());
    // With this, the other calls run at full speed; but strace's signals get lost.
    if fault.effect.as_ref().is_none_or(|effect| !effect.contains(":signal=")) {
        command.arg("--seccomp-bpf");
    }
    command.arg("-e").arg(format!("trace={}", fault.calls));
    for file in &fault.files {
        command.arg("-P").arg(folder.join(file));
    }
    if let Some(effect) = &fault.effect {
        command.arg("-e").arg(format!("inject={effect}"));
    }
    command.arg(binary());
    (command, Some(seen))
}

/// What the binary says to `--json`.
///
/// # Panics
/// When it fails.
#[must_use]
pub fn cartulary(args: &[&str]) -> serde_json::Value {
    let output = command().args(args).arg("--json").output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a line of JSON")
}

/// Whether something was killed, rather than ended by itself.
#[must_use]
pub fn is_killed(status: ExitStatus) -> bool {
    status.signal() == Some(rustix::process::Signal::KILL.as_raw())
}

/// A token that the shop in a folder accepts.
///
/// # Panics
/// When there is no shop.
#[must_use]
pub fn token(folder: &Path, member: MemberId, role: &str) -> String {
    let mut command = command();
    command.args(["token", "--role", role, "--member", &member.to_string(), "--data"]).arg(folder);
    let output = command.output().expect("a token");
    assert!(output.status.success(), "no token: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a token is text").trim().to_owned()
}
