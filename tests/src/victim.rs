//! The real binary as a process of its own, to be killed: by us, or by a system call that `strace` makes fail.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::client::Client;
use domain::ids::MemberId;

/// How long the binary may take to listen, under `strace` on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);
/// How long it may take to end after it was told to.
const END_MAX: Duration = Duration::from_secs(30);

/// Which system calls fail, and how, in `strace`'s own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The system calls, e.g. `pwrite64`.
    pub calls: &'static str,
    /// What becomes of them, e.g. `signal=KILL` or `error=EIO`.
    pub effect: &'static str,
    /// Which of them, counted per thread, e.g. `17` or `17+`.
    pub when: String,
}

/// A running shop.
pub struct Victim {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// The binary that was built beside this test.
///
/// # Panics
/// When it was not built: `cargo test --workspace` builds it.
#[must_use]
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.ancestors().find(|folder| folder.join("cartulary").is_file());
    folder.expect("`cartulary` is built beside the tests: run the whole workspace's tests").join("cartulary")
}

/// Whether `strace` can be used here.
#[must_use]
pub fn can_inject() -> bool {
    let probe = Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    probe.is_ok_and(|status| status.success())
}

impl Victim {
    /// Starts the binary on a folder, with or without a fault. `None` when it ended before it listened.
    ///
    /// # Panics
    /// When it neither listens nor ends.
    #[must_use]
    pub fn start(folder: &Path, fault: Option<&Fault>) -> Option<Self> {
        let mut command = match fault {
            None => Command::new(binary()),
            Some(Fault { calls, effect, when }) => {
                let mut command = Command::new("strace");
                let trace = format!("trace={calls}");
                let inject = format!("inject={calls}:{effect}:when={when}");
                // -D: the shop itself is our child, the tracer stands beside it.
                command.args(["-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
                command.arg(binary());
                command
            }
        };
        command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--data"]).arg(folder);
        command.env("RUST_LOG", "error").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary starts");
        let mut out = BufReader::new(child.stdout.take().expect("its output"));
        let (told, listening) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = out.read_line(&mut line);
            // The one who waits may have given up.
            let _gone = told.send(read.map(|_| line));
        });
        let line = listening.recv_timeout(START_MAX).expect("it listens or ends").expect("its output reads");
        if line.is_empty() {
            child.wait().expect("it has ended");
            return None;
        }
        let line: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
        let addr = line["listening"].as_str().and_then(|addr| addr.parse().ok()).expect("an address");
        Some(Self { child, addr })
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it and waits for its end.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn kill(mut self) {
        let _dead = self.child.kill();
        self.child.wait().expect("it has ended");
    }

    /// Asks it to end, as an operator would, and waits until it has.
    ///
    /// # Panics
    /// When it does not end in time.
    #[expect(clippy::disallowed_methods, reason = "another process keeps the real time")]
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
        let begun = Instant::now();
        while self.is_running() {
            assert!(begun.elapsed() < END_MAX, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Clients of its staff.
    pub async fn operator(&self, folder: &Path) -> Client {
        let member = MemberId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
        Client::connect(self.addr, member, &token(folder, member, "operator")).await
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

fn token(folder: &Path, member: MemberId, role: &str) -> String {
    let mut command = Command::new(binary());
    command.args(["token", "--role", role, "--member", &member.to_string(), "--data"]).arg(folder);
    let output = command.output().expect("a token");
    assert!(output.status.success(), "no token: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a token is text").trim().to_owned()
}
