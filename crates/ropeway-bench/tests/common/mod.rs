//! What the tests of commands share that make devices and namespaces.
#![allow(clippy::unwrap_used, reason = "what is not there fails the test")]
#![allow(dead_code, reason = "not every test needs all of it")]

use std::fs;
use std::path::PathBuf;

/// A directory that is empty, and gone in the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ropeway-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether there are the rights for devices and namespaces, and two CPUs. Where tests must not be skipped, it is so.
pub(crate) fn is_possible() -> bool {
    if std::env::var_os("ROPEWAY_REQUIRE_TUN").is_some_and(|value| value == "1") {
        return true;
    }
    let tun = fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    // SO_SNDBUFFORCE asks for the rights of the machine, and not of a namespace.
    let is_root =
        fs::read_to_string("/proc/self/status").unwrap().lines().any(|line| line.starts_with("Uid:\t0"));
    tun.is_ok() && is_root && std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() >= 2)
}

/// The devices of this namespace.
pub(crate) fn devices() -> String {
    let table = fs::read_to_string("/proc/self/net/dev").unwrap();
    let names = table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    names.collect::<Vec<_>>().join(" ")
}
