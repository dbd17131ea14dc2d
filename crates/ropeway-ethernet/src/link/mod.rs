//! What carries Ethernet frames.

#[cfg(unix)]
pub mod datagram;
pub mod memory;
#[cfg(unix)]
pub mod stream;
#[cfg(all(target_os = "linux", feature = "tap"))]
pub mod tap;

use std::io;
use std::task::{Context, Poll, Waker};

use ropeway::device::Received;

use crate::FrameQueue;

/// The longest frame that a link may carry: an IP packet of 65,535 bytes, the header, and a VLAN tag.
pub const LONGEST_FRAME: usize = 65_535 + 14 + 4;

/// Moves Ethernet frames: from the destination address on, without the frame check sequence.
pub trait Link: Send + 'static {
    /// Appends up to `max` frames to `frames`.
    ///
    /// `Ready(Ok(()))` once at least one was appended; `Pending`, with the waker of `cx` registered, when there is none. An error ends
    /// the link, and with it the device.
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>>;

    /// Sends from the front of `frames` until it is empty.
    ///
    /// `Ready(Ok(()))` when all were sent; `Pending`, with the waker of `cx` registered, when the link takes no more for now. A frame that
    /// can never be sent is dropped, which is not an error. An error ends the link, and with it the device.
    fn poll_send(&mut self, cx: &mut Context<'_>, frames: &mut FrameQueue) -> Poll<io::Result<()>>;

    /// Sends from the front of `frames` what can be sent at once, without a runtime, which may be ending. What stays is lost.
    ///
    /// The default polls [`poll_send`](Self::poll_send) with a waker that wakes nobody.
    fn flush(&mut self, frames: &mut FrameQueue) {
        let _nobody_waits = self.poll_send(&mut Context::from_waker(Waker::noop()), frames);
    }

    /// A number that changes when there is, or may be, another peer at the other end.
    fn peer(&self) -> u64 {
        0
    }

    /// Whether packets come from outside of the process.
    fn is_of_machine(&self) -> bool {
        true
    }

    /// How many bytes of memory the link keeps to read frames to. They count as the stack's.
    fn slabs(&self) -> usize {
        0
    }

    /// Frames will be of up to so many bytes; longer ones are dropped, so they need not be read whole. The device says so before it
    /// asks for frames.
    fn set_longest(&mut self, longest: u16) {
        let _ = longest;
    }
}

/// Removes a socket at `path` to which nobody listens, as a server leaves it that was killed. `connect` tells whether somebody does.
#[cfg(unix)]
pub(crate) fn remove_dead_socket(
    path: &std::path::Path,
    connect: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;

    let is_socket = path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket());
    match connect() {
        Err(error) if is_socket && error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        _ => Ok(()),
    }
}

impl<L: Link + ?Sized> Link for Box<L> {
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        (**self).poll_recv(cx, frames, max)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, frames: &mut FrameQueue) -> Poll<io::Result<()>> {
        (**self).poll_send(cx, frames)
    }

    fn flush(&mut self, frames: &mut FrameQueue) {
        (**self).flush(frames);
    }

    fn peer(&self) -> u64 {
        (**self).peer()
    }

    fn is_of_machine(&self) -> bool {
        (**self).is_of_machine()
    }

    fn slabs(&self) -> usize {
        (**self).slabs()
    }

    fn set_longest(&mut self, longest: u16) {
        (**self).set_longest(longest);
    }
}
