//! A network namespace for each test: tests run in parallel, all with the same addresses and device names,
//! and what they leave behind ends with them.

use std::ffi::CStr;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::panic;
use std::sync::Once;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use tokio::runtime::Builder;

use crate::programs;

/// How long a test may take before it fails: the slowest one takes a tenth of it where nothing else runs.
const LIMIT: Duration = Duration::from_secs(180);

/// Runs `test` on a current-thread runtime, on a thread of its own that is in a fresh network namespace. All
/// sockets that it makes and all programs that it starts are in there, and see nothing of the machine.
///
/// Without the rights for that, it says so in one line and the test passes; but with `ROPEWAY_REQUIRE_TUN=1`
/// in the environment, it fails.
///
/// # Panics
///
/// If the test does, or takes longer than three minutes.
pub fn run<F>(test: F)
where
    F: AsyncFnOnce() + Send + 'static,
{
    run_with(&[], test);
}

/// As [`run`], for a test that also needs these programs; without them it is skipped in the same way. Gives what
/// the test gives, unless it was skipped.
///
/// # Panics
///
/// As [`run`].
pub fn run_with<F, T>(programs: &[&str], test: F) -> Option<T>
where
    F: AsyncFnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if let Some(missing) = programs.iter().find(|program| !programs::is_installed(program)) {
        skip(&format!("the program `{missing}`"), "it is not installed");
        return None;
    }
    let thread = thread::Builder::new().name(current_test_name()).spawn(move || {
        if let Err(reason) = enter() {
            skip("root or CAP_NET_ADMIN and /dev/net/tun", &reason.to_string());
            return None;
        }
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            Some(tokio::time::timeout(LIMIT, test()).await.expect("the test ends within its time limit"))
        })
    });
    thread.expect("a thread").join().unwrap_or_else(|panic| panic::resume_unwind(panic))
}

fn current_test_name() -> String {
    thread::current().name().unwrap_or("test").to_owned()
}

/// Moves this thread to a new network namespace, and gives it a loopback interface that works.
///
/// # Errors
///
/// What the kernel says: without rights, that it is not permitted.
pub fn enter() -> io::Result<()> {
    OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    unshare(CloneFlags::CLONE_NEWNET)?;
    set_link(c"lo", LinkState::Up)
}

fn skip(needed: &str, reason: &str) {
    static ONCE: Once = Once::new();
    assert!(
        std::env::var_os("ROPEWAY_REQUIRE_TUN").is_none_or(|value| value != "1"),
        "ROPEWAY_REQUIRE_TUN=1, but this test needs {needed}: {reason}"
    );
    ONCE.call_once(|| {
        // Not with `eprintln!`, which the test runner swallows when the test passes.
        let _ = writeln!(io::stderr(), "skipped: needs {needed}");
    });
}

/// Whether a link carries packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It does.
    Up,
    /// It does not.
    Down,
}

/// Brings an interface of this thread's namespace up, or takes it down.
///
/// # Errors
///
/// What the kernel says.
pub fn set_link(name: &CStr, state: LinkState) -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: `ifreq` consists of integers and of unions of integers and pointers: all zero is a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let up = libc::c_short::try_from(libc::IFF_UP).unwrap_or_default();
    request.ifr_ifru.ifru_flags = match state {
        LinkState::Up => up,
        LinkState::Down => 0,
    };
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which `request` is.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
