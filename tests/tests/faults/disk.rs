//! The disk is full: log, views and snapshots share it. Then somebody makes it larger.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tests::{books::Books, victim::Victim};

/// The disk at first, and later.
const SMALL: &str = "6m";
const LARGE: &str = "256m";
/// How much each buyer buys in one burst, and how many bursts must fill the disk.
const ORDERS: usize = 12;
const BURSTS_MAX: usize = 60;

pub async fn run() -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Tmpfs::mount(folder.path(), SMALL);
    let mut books = Books::open(folder.path()).await;
    let mut victim = Victim::start(folder.path(), None).expect("it opens");
    let mut bursts = 0;
    loop {
        let refusals = books.burst(&victim, ORDERS).await;
        assert_eq!(victim.ended(), None, "a full disk must not bring it down");
        bursts += 1;
        if refusals.iter().any(|why| why == "STORAGE_FULL") {
            break;
        }
        assert!(bursts < BURSTS_MAX, "the disk was never full: {refusals:?}");
    }
    assert!(books.read_something(&victim).await, "a full disk must not stop the readers");
    // Killed while it is full, it must open, and go on by itself once there is room.
    victim.kill();
    let mut victim = Victim::start(folder.path(), None).expect("it opens on a full disk");
    assert!(books.read_something(&victim).await, "a full disk must not stop the readers of a shop just opened");
    let refusals = books.burst(&victim, 2).await;
    assert!(refusals.iter().any(|why| why == "STORAGE_FULL"), "it is still full: {refusals:?}");
    assert_eq!(victim.ended(), None, "a full disk must not bring it down");
    disk.resize(LARGE);
    books.settle_on(&victim).await;
    victim.stop();
    let events = books.close(folder.path()).await;
    drop(disk);
    format!("refused, read on, opened, went on when there was room; {} orders, {events} events", books.orders())
}

/// Whether a tmpfs can be mounted here.
pub fn can_mount() -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let mounted = mount(&["-t", "tmpfs", "-o", "size=1m", "tmpfs"], folder.path());
    if mounted {
        unmount(folder.path());
    }
    mounted
}

/// A small disk.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(folder: &Path, size: &str) -> Self {
        assert!(mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], folder), "a tmpfs");
        Self(folder.to_owned())
    }

    fn resize(&self, size: &str) {
        assert!(mount(&["-o", &format!("remount,size={size}")], &self.0), "a larger tmpfs");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

fn mount(args: &[&str], folder: &Path) -> bool {
    Command::new("mount").args(args).arg(folder).output().is_ok_and(|output| output.status.success())
}

fn unmount(folder: &Path) {
    let _gone = Command::new("umount").arg("--lazy").arg(folder).status();
}
