//! PostgreSQL: one server per value, a database per test.
//!
//! The programs are those on the path, or where distributions put them, or, for root on Debian, the distribution's
//! packages, unpacked beside the system ([`programs`]). The server trusts everybody on the loopback.

mod programs;

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use rustix::process::{Signal, geteuid};

use self::programs::Programs;
use crate::{Authority, Folder, Identity, NotHere, Process, free_port, output, process::as_identity};

/// The variable that names somebody's own server.
pub const VARIABLE: &str = "CARTULARY_TEST_POSTGRES";
/// How long the server may take to start, on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);

/// What kind of server a test needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Commits are synced to the disk. Without it they survive the death of the server, not of the machine.
    pub durable: bool,
    /// The test freezes or restarts it: never somebody else's.
    pub own: bool,
    /// Further settings, `name=value`.
    pub settings: &'a [&'a str],
    /// The folder to put its own into, if not the temporary one.
    pub place: Option<&'a Path>,
    /// It speaks TLS, as `localhost`, by the word of this authority.
    pub authority: Option<&'a Authority>,
}

/// A server that goes with this value.
#[derive(Debug)]
pub struct Postgres {
    /// `postgres://user@host:port`, without a database.
    url: String,
    /// Nothing if it is somebody else's.
    own: Option<Own>,
    databases: AtomicU32,
}

#[derive(Debug)]
struct Own {
    process: Process,
    programs: Programs,
    command: Command,
    port: u16,
    // After the process: fields are dropped in this order.
    folder: Folder,
}

impl Postgres {
    /// Starts a server, or takes the one that [`VARIABLE`] names.
    ///
    /// # Errors
    /// [`NotHere`] when no server can be had.
    pub fn start(options: Options<'_>) -> Result<Self, NotHere> {
        let given = std::env::var(VARIABLE).ok().filter(|_| !options.own && options.authority.is_none());
        let (url, own) = match given {
            Some(url) => (url.trim_end_matches('/').to_owned(), None),
            None => {
                let own = Own::start(options)?;
                (format!("postgres://postgres@127.0.0.1:{}", own.port), Some(own))
            }
        };
        let server = Self { url, own, databases: AtomicU32::new(0) };
        server.execute("SELECT 1")?;
        Ok(server)
    }

    /// A new empty database, by its URL.
    ///
    /// # Errors
    /// [`NotHere`] when the server refuses.
    pub fn fresh_database(&self) -> Result<String, NotHere> {
        let n = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("cartulary_test_{}_{n}", std::process::id());
        if self.own.is_none() {
            // An earlier process may have had our number.
            self.execute(&format!("DROP DATABASE IF EXISTS {name}"))?;
        }
        self.execute(&format!("CREATE DATABASE {name}"))?;
        Ok(format!("{}/{name}", self.url))
    }

    /// The server's URL for a database that is there.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("{}/{database}", self.url)
    }

    /// Another server, which follows this one and can be read.
    ///
    /// # Errors
    /// [`NotHere`] for somebody else's server, or when it refuses.
    pub fn replica(&self) -> Result<Self, NotHere> {
        let folder = Folder::new("postgres", None)?;
        if geteuid().is_root() {
            give_to_nobody(folder.path())?;
        }
        let mut copy = self.client("pg_basebackup")?;
        copy.args(["--no-sync", "--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "-D"]);
        output(as_identity(copy.arg(folder.path().join("data")), Identity::NotRoot).current_dir(folder.path()))?;
        let (programs, port) = (Programs::find()?, free_port()?);
        let command = server(&programs, folder.path(), port, false);
        let process = launch(&command, &programs, port, folder.path())?;
        let own = Some(Own { process, programs, command, port, folder });
        Ok(Self { url: format!("postgres://postgres@127.0.0.1:{port}"), own, databases: AtomicU32::new(0) })
    }

    /// One of the server's own client programs, e.g. `pgbench`, told where the server is: over its Unix socket.
    ///
    /// # Errors
    /// [`NotHere`] for somebody else's server.
    pub fn client(&self, program: &str) -> Result<Command, NotHere> {
        let own = self.own.as_ref().ok_or_else(|| NotHere("a server of our own is needed".into()))?;
        let mut command = own.programs.command(program);
        command.arg("-h").arg(own.folder.path()).args(["-p", &own.port.to_string(), "-U", "postgres"]);
        Ok(command)
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

    /// Stops the server and all its connections in the midst of what they do.
    pub fn freeze(&self) {
        self.process().freeze();
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        self.process().thaw();
    }

    /// Ends the server and starts it again on the same data and port. `immediate`: as in a crash, so that it has to
    /// recover from its log.
    ///
    /// # Errors
    /// [`NotHere`] when it does not come again.
    pub fn restart(&mut self, immediate: bool) -> Result<(), NotHere> {
        self.again(|process| process.stop(if immediate { Signal::QUIT } else { Signal::INT }))
    }

    /// Kills all processes of the server, as a lack of memory would, and starts it again on the same data and port.
    ///
    /// # Errors
    /// [`NotHere`] when it does not come again.
    pub fn crash(&mut self) -> Result<(), NotHere> {
        self.again(Process::kill)
    }

    fn again(&mut self, end: impl FnOnce(&mut Process)) -> Result<(), NotHere> {
        let own = self.own.as_mut().ok_or_else(|| NotHere("a server of our own is needed".into()))?;
        end(&mut own.process);
        own.process = launch(&own.command, &own.programs, own.port, own.folder.path())?;
        Ok(())
    }

    /// The blocking client drives a runtime of its own and so needs a thread of its own: tests may be async.
    fn execute(&self, sql: &str) -> Result<(), NotHere> {
        let url = self.url("postgres");
        let run = || postgres::Client::connect(&url, postgres::NoTls)?.batch_execute(sql);
        let done = thread::scope(|scope| scope.spawn(run).join());
        let done = done.map_err(|_| NotHere("the client panicked".into()))?;
        done.map_err(|error| NotHere::because(format!("PostgreSQL, {sql}"), error))
    }
}

impl Own {
    fn start(options: Options<'_>) -> Result<Self, NotHere> {
        let programs = Programs::find()?;
        let folder = Folder::new("postgres", options.place)?;
        let data = folder.path().join("data");
        if geteuid().is_root() {
            give_to_nobody(folder.path())?;
        }
        let mut init = programs.command("initdb");
        init.args(["--no-sync", "--auth=trust", "--username=postgres", "--locale=C", "--encoding=UTF8", "-D"]);
        output(as_identity(init.arg(&data), Identity::NotRoot).current_dir(folder.path()))?;
        let port = free_port()?;
        let mut command = server(&programs, folder.path(), port, options.durable);
        command.args(options.settings.iter().flat_map(|setting| ["-c", setting]));
        if let Some(authority) = options.authority {
            let made = authority.certify("localhost", folder.path())?;
            if geteuid().is_root() {
                give_to_nobody(&made.key)?;
            }
            let setting = |name: &str, file: &Path| format!("{name}={}", file.display());
            command.args(["-c", "ssl=on", "-c", &setting("ssl_cert_file", &made.certificate)]);
            command.args(["-c", &setting("ssl_key_file", &made.key)]);
        }
        let process = launch(&command, &programs, port, folder.path())?;
        Ok(Self { process, programs, command, port, folder })
    }
}

/// The server whose data is in the folder's `data`.
fn server(programs: &Programs, folder: &Path, port: u16, durable: bool) -> Command {
    let mut command = programs.command("postgres");
    command.arg("-D").arg(folder.join("data")).arg("-k").arg(folder).current_dir(folder);
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-c", "max_connections=200"]);
    if !durable {
        command.args(["-c", "fsync=off"]);
    }
    command
}

/// Starts the server and waits until it takes connections.
fn launch(command: &Command, programs: &Programs, port: u16, folder: &Path) -> Result<Process, NotHere> {
    let mut process = Process::start(command, Identity::NotRoot, &folder.join("server.log"), Signal::INT)?;
    let mut probe = programs.command("pg_isready");
    probe.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
    process.until_ready(START_MAX, || output(&mut probe).is_ok())?;
    Ok(process)
}

/// The server runs as somebody else, and insists on owning what it uses.
fn give_to_nobody(what: &Path) -> Result<(), NotHere> {
    let id = |which: &str| -> Result<u32, NotHere> {
        let said = output(Command::new("id").args([which, "nobody"]))?;
        said.trim().parse().map_err(|error| NotHere::because("the user nobody", error))
    };
    let given = std::os::unix::fs::chown(what, Some(id("-u")?), Some(id("-g")?));
    given.map_err(|error| NotHere::because(format!("{} for nobody", what.display()), error))
}
