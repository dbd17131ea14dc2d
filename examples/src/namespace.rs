//! A network namespace for this process, so that an example changes nothing on the machine.

use std::fs::{self, OpenOptions};
use std::io;
use std::process;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid};

/// The namespace that this process has entered. It ends with the process, and what is in it with it.
#[derive(Clone, Copy, Debug)]
pub struct Namespace {
    /// The process lacks the rights for a network namespace, and has them in a user namespace of its own.
    in_user_namespace: bool,
    /// The process runs as root on the machine.
    is_root: bool,
}

/// Enters a new network namespace, if TUN devices can be made there.
///
/// A process does this first of all: an ordinary user's rights come from a user namespace, which only a process
/// with a single thread may enter. So there must be no runtime yet.
///
/// # Errors
///
/// One line that says why it cannot be done here.
pub fn enter() -> Result<Namespace, String> {
    let node = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun");
    node.map_err(|error| format!("/dev/net/tun cannot be opened: {}", plain(&error)))?;
    let (user, group) = (Uid::effective(), Gid::effective());
    if unshare(CloneFlags::CLONE_NEWNET).is_ok() {
        return Ok(Namespace {
            in_user_namespace: false,
            is_root: user.is_root(),
        });
    }
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(|error| format!("this user may not make a user namespace: {}", error.desc()))?;
    // In there, we are root.
    let mapped = fs::write("/proc/self/setgroups", "deny")
        .and_then(|()| fs::write("/proc/self/uid_map", format!("0 {user} 1")))
        .and_then(|()| fs::write("/proc/self/gid_map", format!("0 {group} 1")));
    mapped.map_err(|error| format!("the user namespace gives no rights: {}", plain(&error)))?;
    Ok(Namespace {
        in_user_namespace: true,
        is_root: false,
    })
}

impl Namespace {
    /// What to type, from outside, to run `command` in this namespace.
    #[must_use]
    pub fn command_line(&self, command: &str) -> String {
        let pid = process::id();
        if self.in_user_namespace {
            return format!("nsenter --target {pid} --user --net --preserve-credentials {command}");
        }
        let sudo = if self.is_root { "" } else { "sudo " };
        format!("{sudo}nsenter --target {pid} --net {command}")
    }
}

/// What the kernel said, without the number.
fn plain(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(
        || error.to_string(),
        |number| nix::errno::Errno::from_raw(number).desc().to_owned(),
    )
}
