//! Packages for Python, each in a folder of its own, pinned by its hash: some servers and clients are had no other way.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    process::Command,
};

use tempfile::TempDir;

use crate::{NotHere, output};

/// A package.
#[derive(Debug, Clone, Copy)]
pub struct Package<'a> {
    /// Its name in the index.
    pub name: &'a str,
    /// Exactly this version.
    pub version: &'a str,
    /// SHA-256 of the files that are good, one per platform.
    pub hashes: &'a [&'a str],
}

/// The folder into which a package is installed; a test after this one finds it there.
///
/// # Errors
/// [`NotHere`] when it cannot be installed.
pub fn installed(package: Package<'_>) -> Result<PathBuf, NotHere> {
    let Package { name, version, hashes } = package;
    let pin: String = hashes.iter().map(|hash| &hash[..hash.len().min(8)]).collect::<Vec<_>>().join("-");
    let hashes: String = hashes.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
    let wanted = format!("{name}=={version}{hashes}\n");
    install(&format!("{name}-{version}-{pin}"), &wanted, &["--no-deps", "--require-hashes"])
}

/// The same for a program of many packages, `name==version` each: a tool for tests only, which ships nothing.
///
/// # Errors
/// [`NotHere`] when they cannot be installed.
pub fn program(name: &str, packages: &[&str]) -> Result<PathBuf, NotHere> {
    let mut pins = DefaultHasher::new();
    packages.hash(&mut pins);
    install(&format!("{name}-{:x}", pins.finish()), &packages.join("\n"), &["--no-deps"])
}

fn install(name: &str, wanted: &str, options: &[&str]) -> Result<PathBuf, NotHere> {
    let failed = |error: std::io::Error| NotHere::because(format!("a folder for {name}"), error);
    let all = env::temp_dir().join("cartulary-packages");
    fs::create_dir_all(&all).map_err(failed)?;
    let place = all.join(name);
    if place.exists() {
        return Ok(place);
    }
    // Beside its place and renamed when it is whole: another test may do the same right now.
    let draft = TempDir::with_prefix_in(format!("{name}-"), &all).map_err(failed)?;
    let (list, target) = (draft.path().join("wanted.txt"), draft.path().join("target"));
    fs::write(&list, wanted).map_err(failed)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"])
        .args(options);
    output(pip.arg("--target").arg(&target).arg("-r").arg(&list))?;
    match fs::rename(&target, &place) {
        Err(_) if place.exists() => Ok(place),
        renamed => renamed.map(|()| place).map_err(failed),
    }
}
