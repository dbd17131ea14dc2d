//! hping3, which makes SYNs from addresses that are nobody's.

use std::io::{self, ErrorKind};
use std::net::SocketAddrV4;
use std::process::{Child, Command, Stdio};

use crate::sys;

/// A running hping3. It ends when this is dropped, and with the thread that started it.
pub(super) struct Generator {
    process: Child,
    stopped: bool,
}

impl Generator {
    /// As many SYNs as it can make. hping3 counts nothing then: [`check`](Self::check) bounds it.
    pub(super) fn flood(target: SocketAddrV4) -> io::Result<Self> {
        Self::start(target, &["--flood".to_owned()])
    }

    /// `count` SYNs, and `interval` microseconds between two of them, or what the machine makes of that.
    pub(super) fn limited(target: SocketAddrV4, interval: u32, count: u64) -> io::Result<Self> {
        let interval = format!("u{interval}");
        Self::start(target, &["-i".to_owned(), interval, "-c".to_owned(), count.to_string()])
    }

    fn start(target: SocketAddrV4, pace: &[String]) -> io::Result<Self> {
        let mut command = Command::new("hping3");
        command.args(["-n", "-q", "-S", "--rand-source", "-p", &target.port().to_string()]).args(pace);
        command.arg(target.ip().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        sys::kill_with_parent(&mut command);
        let process = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => io::Error::new(error.kind(), "no hping3: install the package `hping3`"),
            _ => io::Error::new(error.kind(), format!("cannot run hping3: {error}")),
        })?;
        Ok(Self { process, stopped: false })
    }

    /// Stops it unless it `may_go_on`. One that has stopped by itself before that is an error.
    pub(super) fn check(&mut self, may_go_on: bool) -> io::Result<()> {
        if self.stopped {
            return Ok(());
        }
        if let Some(status) = self.process.try_wait()? {
            return Err(io::Error::other(format!("hping3 has ended by itself: {status}")));
        }
        if !may_go_on {
            self.stop()?;
        }
        Ok(())
    }

    fn stop(&mut self) -> io::Result<()> {
        self.stopped = true;
        self.process.kill()?;
        self.process.wait().map(drop)
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.stop();
    }
}
