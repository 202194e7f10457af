//! Where PostgreSQL's programs are: on the path, where distributions put them, or fetched.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::geteuid;

use crate::{NotHere, output};

/// Where distributions put the programs that are not on the path: `<version>/bin`.
const INSTALLED: &str = "usr/lib/postgresql";
/// What a whole installation has.
const NEEDED: [&str; 4] = ["postgres", "initdb", "pg_isready", "pgbench"];
/// The distribution's package that leads to all others.
const PACKAGE: &str = "postgresql";

/// The programs of one version.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
    /// Where their libraries are, when not where the system looks.
    libraries: Option<PathBuf>,
}

impl Programs {
    /// The newest that are installed; else fetched ones.
    pub fn find() -> Result<Self, NotHere> {
        let named = output(Command::new("pg_config").arg("--bindir")).ok().map(|folder| PathBuf::from(folder.trim()));
        let on_path = std::env::var_os("PATH").unwrap_or_default();
        // A link on the path leads to the folder that has them all.
        let linked = std::env::split_paths(&on_path)
            .filter_map(|folder| Some(fs::canonicalize(folder.join("postgres")).ok()?.parent()?.to_owned()));
        let found = versions(Path::new("/")).into_iter().chain(named).chain(linked).find(|folder| is_whole(folder));
        match found {
            Some(folder) => Ok(Self { folder, libraries: None }),
            None => Self::fetched(&std::env::temp_dir().join("cartulary-fetched-postgresql")),
        }
    }

    /// A command that runs one of them.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join(name));
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }

    /// The distribution's packages, unpacked into `cache` without being installed; once for all tests.
    fn fetched(cache: &Path) -> Result<Self, NotHere> {
        let missing =
            |why: &dyn std::fmt::Display| NotHere::because("PostgreSQL is not installed and not fetched", why);
        if !geteuid().is_root() {
            return Err(missing(&"only root may use apt-get"));
        }
        fs::create_dir_all(cache.join("partial")).map_err(|error| missing(&error))?;
        // What is run from a folder that anybody may make must be our own.
        if !fs::metadata(cache).is_ok_and(|folder| folder.uid() == 0) {
            return Err(missing(&format!("{} belongs to somebody else", cache.display())));
        }
        let gate = File::create(cache.join(".gate")).map_err(|error| missing(&error))?;
        gate.lock().map_err(|error| missing(&error))?;
        let whole = || versions(cache).into_iter().find(|folder| is_whole(folder));
        if whole().is_none() {
            unpack(cache).map_err(|error| missing(&error))?;
        }
        let folder = whole().ok_or_else(|| missing(&"the packages do not hold it"))?;
        Ok(Self { folder, libraries: Some(libraries(cache)?) })
    }
}

/// The folders of programs under a root, newest version first.
fn versions(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join(INSTALLED)).into_iter().flatten().filter_map(Result::ok);
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_unstable();
    versions.into_iter().rev().map(|(_, folder)| folder).collect()
}

fn is_whole(folder: &Path) -> bool {
    NEEDED.iter().all(|name| folder.join(name).is_file())
}

/// Downloads the package with all it needs that is not installed, and unpacks it there.
fn unpack(cache: &Path) -> Result<(), NotHere> {
    let download = || {
        let mut get = Command::new("apt-get");
        get.args(["install", "--download-only", "--no-install-recommends", "-y", "-qq", "-o"]);
        output(get.arg(format!("Dir::Cache::archives={}", cache.display())).arg(PACKAGE))
    };
    // The lists of packages may be old, or not there at all.
    download().or_else(|_| output(Command::new("apt-get").args(["update", "-qq"])).and_then(|_| download()))?;
    let entries = fs::read_dir(cache).map_err(|error| NotHere::because("the packages", error))?;
    for package in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if package.extension().is_some_and(|extension| extension == "deb") {
            output(Command::new("dpkg").arg("-x").arg(package).arg(cache))?;
        }
    }
    Ok(())
}

/// `usr/lib/<machine>-linux-gnu`.
fn libraries(cache: &Path) -> Result<PathBuf, NotHere> {
    let entries = fs::read_dir(cache.join("usr/lib")).map_err(|error| NotHere::because("its libraries", error))?;
    let mut folders = entries.filter_map(Result::ok).map(|entry| entry.path());
    let found = folders.find(|folder| folder.to_string_lossy().ends_with("-linux-gnu"));
    found.ok_or_else(|| NotHere("its libraries are not among the packages".into()))
}
