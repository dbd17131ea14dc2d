//! Programs that know nothing of ropeway.

use std::process::{Command, Stdio};

use tokio::process::Child;

/// Whether a program of that name is installed.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Runs `ip` in the namespace of this thread, with arguments that blanks separate, and gives what it printed.
///
/// # Panics
///
/// If it fails.
pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Starts a program in the namespace of this thread; its output is to be read, and it does not outlive the test.
///
/// # Panics
///
/// If it cannot be started.
#[must_use]
pub fn spawn(program: &str, arguments: &[&str]) -> Child {
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}
