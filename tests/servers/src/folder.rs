//! A throw-away folder per server, and the sweep that removes those whose test was killed.
//!
//! Each process that starts servers has one folder in the system's temporary one, and holds a lock in it for as long as
//! it lives. A folder whose lock can be taken is nobody's any more: what still runs in it is ended, then it goes.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::NotHere;

/// What the folders of processes are called.
const PREFIX: &str = "cartulary-servers-";
/// The file that a living process holds.
const OWNER: &str = "owner.lock";

/// A folder that goes with this value.
#[derive(Debug)]
pub struct Folder {
    path: TempDir,
}

/// This process's folder. It holds the lock until the process ends.
struct Own {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// A new folder for the server `name`, in the temporary folder or in `place`, which should be a folder on the disk
    /// that is measured. Only a folder in the temporary one is swept up after a killed test.
    ///
    /// # Errors
    /// [`NotHere`] when the disk refuses.
    pub fn new(name: &str, place: Option<&Path>) -> Result<Self, NotHere> {
        let own = match place {
            Some(place) => place.to_owned(),
            None => own().map_err(|error| NotHere::because("a folder for servers", error))?,
        };
        let path = TempDir::with_prefix_in(format!("{name}-"), own);
        Ok(Self { path: path.map_err(|error| NotHere::because("a folder for a server", error))? })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.path.path()
    }
}

/// The folder of this process, made and swept around once.
fn own() -> io::Result<PathBuf> {
    static OWN: OnceLock<Result<Own, String>> = OnceLock::new();
    let own = OWN.get_or_init(|| make(&std::env::temp_dir()).map_err(|error| error.to_string()));
    own.as_ref().map(|own| own.path.clone()).map_err(|why| io::Error::other(why.clone()))
}

fn make(temp: &Path) -> io::Result<Own> {
    let (own, dead) = enter(temp)?;
    dead.into_iter().for_each(Dead::sweep);
    Ok(own)
}

/// Makes a folder, and takes those of dead processes.
fn enter(temp: &Path) -> io::Result<(Own, Vec<Dead>)> {
    // Held while a folder is made and others are taken, so that none is taken before it is held. Not while they are swept:
    // that takes long, and they are held by then.
    let gate = File::options().create(true).truncate(false).write(true).open(temp.join(format!("{PREFIX}gate")))?;
    gate.lock()?;
    let dead = dead(temp);
    let path = TempDir::with_prefix_in(PREFIX, temp)?.keep();
    // A server that runs as somebody else has to pass through.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    let lock = File::create(path.join(OWNER))?;
    lock.lock()?;
    Ok((Own { path, _lock: lock }, dead))
}

/// The folder of a dead process. It is held, so that nobody else sweeps it.
struct Dead {
    path: PathBuf,
    _lock: File,
}

impl Dead {
    /// Removes it, with what still runs in it. What cannot be removed is left to the next.
    fn sweep(self) {
        end_all_in(&self.path);
        // The owner's file last: a folder without one is never swept.
        let entries = fs::read_dir(&self.path).into_iter().flatten().filter_map(Result::ok);
        let stays =
            entries.filter(|entry| entry.file_name() != OWNER && fs::remove_dir_all(entry.path()).is_err()).count();
        if stays == 0 {
            let _left_to_the_next = fs::remove_dir_all(&self.path);
        }
    }
}

/// The folders of dead processes.
fn dead(temp: &Path) -> Vec<Dead> {
    let mut dead = Vec::new();
    for entry in fs::read_dir(temp).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) || !path.is_dir() {
            continue;
        }
        let Ok(lock) = File::options().write(true).open(path.join(OWNER)) else { continue };
        if lock.try_lock().is_ok() {
            dead.push(Dead { path, _lock: lock });
        }
    }
    dead
}

/// Ends the processes that work in a folder: a frozen child of a dead server never notices by itself.
fn end_all_in(folder: &Path) {
    for entry in fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        if fs::read_link(entry.path().join("cwd")).is_ok_and(|place| place.starts_with(folder)) {
            let _gone = kill_process(pid, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_folder_of_a_dead_process_is_swept_with_what_runs_in_it_and_a_living_ones_stays() {
        let temp = TempDir::new().unwrap();
        let living = make(temp.path()).unwrap();
        let dead = make(temp.path()).unwrap().path;
        let mut left_over = Command::new("sleep").arg("1000").current_dir(&dead).stdout(Stdio::null()).spawn().unwrap();
        let other = temp.path().join("somebody-elses");
        fs::create_dir(&other).unwrap();
        let new = make(temp.path()).unwrap();
        assert!(!dead.exists() && living.path.exists() && new.path.exists() && other.exists());
        assert!(!left_over.wait().unwrap().success(), "what still ran there was ended");
    }

    #[test]
    fn nobody_waits_for_a_sweep_and_nobody_else_sweeps_the_same() {
        let temp = TempDir::new().unwrap();
        let path = make(temp.path()).unwrap().path;
        fs::create_dir(path.join("server")).unwrap();
        let (_slow, taken) = enter(temp.path()).unwrap();
        let (_quick, nothing) = enter(temp.path()).unwrap();
        assert_eq!((taken.len(), nothing.len(), path.exists()), (1, 0, true));
        taken.into_iter().for_each(Dead::sweep);
        assert!(!path.exists());
    }
}
