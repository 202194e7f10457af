//! A server as a child process that goes with its value, and with the process that started it.

use std::{
    fs::{self, File},
    io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::NotHere;

/// How long a server may take to end by itself.
const END_MAX: Duration = Duration::from_secs(30);
/// How many of a server's last lines tell why it did not start.
const LAST_WORDS: usize = 12;
/// Whom a server runs as that must not run as root.
const NOBODY: [&str; 3] = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"];

/// Whom a server runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Whoever runs the test.
    Myself,
    /// The user `nobody` if the test is run by root: some servers refuse to be root.
    NotRoot,
}

/// A running server.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    /// What asks it to end.
    end: Signal,
    /// Its end was seen: its id may be somebody else's by now.
    ended: bool,
}

impl Process {
    /// Starts a command whose output goes into the file `log`; `end` is the signal that asks it to end.
    ///
    /// # Errors
    /// [`NotHere`] when it cannot be started.
    pub fn start(command: &Command, identity: Identity, log: &Path, end: Signal) -> Result<Self, NotHere> {
        let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let failed = |error: io::Error| NotHere::because(&name, error);
        let out = File::create(log).map_err(failed)?;
        let mut command = wrapped(command, identity, true);
        command.stdin(Stdio::null()).stdout(out.try_clone().map_err(failed)?).stderr(out);
        let child = spawn(command).map_err(failed)?;
        Ok(Self { child, name, log: log.to_owned(), end, ended: false })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `probe` says so.
    ///
    /// # Errors
    /// [`NotHere`] with the server's last words, when it ends before, or is not ready within `patience`.
    pub fn until_ready(&mut self, patience: Duration, mut probe: impl FnMut() -> bool) -> Result<(), NotHere> {
        let mut running = true;
        let ready = ready(patience, || {
            running = self.is_running();
            !running || probe()
        });
        if ready && running {
            return Ok(());
        }
        let what = if running { "is not ready in time" } else { "has ended" };
        Err(NotHere(format!("{} {what}: {}", self.name, self.last_words())))
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.ended |= !matches!(self.child.try_wait(), Ok(None));
        !self.ended
    }

    /// The last lines it wrote.
    #[must_use]
    pub fn last_words(&self) -> String {
        let all = fs::read(&self.log).unwrap_or_default();
        let all = String::from_utf8_lossy(&all);
        let lines: Vec<&str> = all.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS)..].join(" | ")
    }

    /// Stops it and its children in the midst of what they do, so that they keep their connections and say nothing.
    pub fn freeze(&self) {
        self.signal_all(Signal::STOP);
        // A thread that is on a processor hears of it a moment later.
        let _slow = ready(END_MAX, || self.ended || is_stopped(self.id()));
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        if self.ended {
            return;
        }
        // While all of them are frozen: the system's list may leave children out as soon as others of them end.
        for child in children(self.id()) {
            let _gone = kill_process(child, Signal::CONT);
        }
        self.signal(Signal::CONT);
    }

    /// Sends a signal to it alone, unless its end was seen.
    pub fn signal(&self, signal: Signal) {
        if self.ended {
            return;
        }
        let _gone = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Kills it and its children, and waits for its end.
    pub fn kill(&mut self) {
        self.signal_all(Signal::KILL);
        let _waited = self.child.wait();
        self.ended = true;
    }

    /// Asks it to end by `signal` and waits until it has; kills it when it does not.
    pub fn stop(&mut self, signal: Signal) {
        if !self.is_running() {
            return;
        }
        self.signal(signal);
        // Who is frozen hears nothing.
        self.thaw();
        if !ready(END_MAX, || !self.is_running()) {
            self.kill();
        }
    }

    /// The server first: a frozen or dead one starts no more children.
    fn signal_all(&self, signal: Signal) {
        if self.ended {
            return;
        }
        let before = children(self.id());
        self.signal(signal);
        // Once more, because the list of a process that works may leave some out; a dead one's is empty.
        for child in before.into_iter().chain(children(self.id())) {
            let _gone = kill_process(child, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop(self.end);
    }
}

/// Whether no thread of a process runs any more.
fn is_stopped(id: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let states = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    // `17 (its name) T ...`; stopped, or at its end.
    states.into_iter().all(|stat| stat.rsplit(") ").next().is_some_and(|state| state.starts_with(['T', 't', 'Z', 'X'])))
}

/// The children of a process, as the system lists them.
fn children(of: u32) -> Vec<Pid> {
    let listed = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
}

/// The command as `identity`; `ends_with_us`: killed by the system when the thread that starts it ends.
fn wrapped(command: &Command, identity: Identity, ends_with_us: bool) -> Command {
    let mut words: Vec<&str> = Vec::new();
    if ends_with_us && cfg!(target_os = "linux") {
        words.extend(["--pdeathsig", "KILL"]);
    }
    if identity == Identity::NotRoot && geteuid().is_root() {
        words.extend(NOBODY);
    }
    let mut wrapped = Command::new(if words.is_empty() { command.get_program() } else { "setpriv".as_ref() });
    if !words.is_empty() {
        wrapped.args(words).arg("--").arg(command.get_program());
    }
    wrapped.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped
}

/// A command that is run to its end as `identity`.
#[must_use]
pub fn as_identity(command: &Command, identity: Identity) -> Command {
    wrapped(command, identity, false)
}

/// Starts a child from a thread that never ends before the process does: the system's "end with your parent" means the
/// thread that started the child.
fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static KEEPER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (order, orders) = mpsc::channel::<Order>();
        thread::spawn(move || {
            // The static keeps the other end open for ever.
            for (mut command, answer) in orders {
                let _gone = answer.send(command.spawn());
            }
        });
        order
    });
    let (answer, answered) = mpsc::channel();
    keeper.send((command, answer)).map_err(io::Error::other)?;
    answered.recv().map_err(io::Error::other)?
}

/// Asks again and again, for `patience` at most; whether the answer was yes.
#[expect(clippy::disallowed_methods, reason = "another process keeps the real time")]
pub fn ready(patience: Duration, mut probe: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if probe() {
            return true;
        }
        if begun.elapsed() > patience {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// A port of the loopback that nobody listens on, now.
///
/// # Errors
/// [`NotHere`] when the system has none.
pub fn free_port() -> Result<u16, NotHere> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    listener.map(|addr| addr.port()).map_err(|error| NotHere::because("a free port", error))
}

/// What a command printed, if it ended well.
///
/// # Errors
/// [`NotHere`] with its last words, if it did not.
pub fn output(command: &mut Command) -> Result<String, NotHere> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| NotHere::because(&program, error))?;
    if output.status.success() {
        return String::from_utf8(output.stdout).map_err(|error| NotHere::because(&program, error));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(NotHere::because(program, said.lines().last().unwrap_or("failed without a word")))
}
