//! UmaDB, an event store with a gRPC door: one server per value.
//!
//! The program is the one that [`VARIABLE`] names, or `umadb` on the path (`cargo install umadb`), or the same server as it is
//! published within a Python package, pinned by its hash and kept for the next time ([`crate::python`]). It syncs what it
//! has written before it answers.

use std::{net::TcpStream, path::Path, process::Command, time::Duration};

use rustix::process::Signal;

use crate::{
    Folder, Identity, NotHere, Process, free_port, output,
    python::{self, Package},
};

/// The variable that names the program.
pub const VARIABLE: &str = "CARTULARY_UMADB_SERVER";
/// How long the server may take to start, on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);
/// The server as a Python package.
const PACKAGE: Package<'static> = Package {
    name: "umadb",
    version: "0.7.8",
    hashes: &[
        // Linux on x86-64, then on ARM.
        "dd0ba1edfb0c692234804a4b04cf70908bb48a337318a4c6c7a6ef9edb31fbc0",
        "fea90149a6fdd474c369a8efe45cd861bce2f1478d0048f0f20b1ccb9a76eb15",
    ],
};

/// A server that goes with this value.
#[derive(Debug)]
pub struct UmaDb {
    _process: Process,
    port: u16,
    // After the process: fields are dropped in this order.
    _folder: Folder,
}

impl UmaDb {
    /// Starts a server whose data lies in a new folder, in `place` if not in the temporary one.
    ///
    /// # Errors
    /// [`NotHere`] when no server can be had.
    pub fn start(place: Option<&Path>) -> Result<Self, NotHere> {
        let mut command = program()?;
        let (folder, port) = (Folder::new("umadb", place)?, free_port()?);
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--db-path"]).arg(folder.path());
        let mut process = Process::start(&command, Identity::Myself, &folder.path().join("server.log"), Signal::TERM)?;
        process.until_ready(START_MAX, || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { _process: process, port, _folder: folder })
    }

    /// The port of the loopback on which it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// The program that was named, that on the path, or the package's.
fn program() -> Result<Command, NotHere> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        return Ok(Command::new(named));
    }
    if output(Command::new("umadb").arg("--version")).is_ok() {
        return Ok(Command::new("umadb"));
    }
    let package = python::installed(PACKAGE)?;
    let mut command = Command::new("python3");
    command.arg(package.join("bin").join("umadb")).env("PYTHONPATH", package);
    Ok(command)
}
