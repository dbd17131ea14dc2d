//! A cable in memory, between two devices of one process: for tests.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use ropeway::device::Received;
use tokio::sync::mpsc;

use super::Link;
use crate::FrameQueue;

/// How many frames are under way in each direction. More are lost, as on a wire that nobody reads.
const CAPACITY: usize = 1024;

/// One end of a cable. See [`pair`].
#[derive(Debug)]
pub struct MemoryLink {
    outgoing: mpsc::Sender<Bytes>,
    incoming: mpsc::Receiver<Bytes>,
}

/// The two ends of a cable. 1024 frames fit into each direction, and more are lost. When one end is dropped, nothing comes any more, and
/// what the other sends is lost.
#[must_use]
pub fn pair() -> (MemoryLink, MemoryLink) {
    let (to_right, from_left) = mpsc::channel(CAPACITY);
    let (to_left, from_right) = mpsc::channel(CAPACITY);
    (
        MemoryLink { outgoing: to_right, incoming: from_right },
        MemoryLink { outgoing: to_left, incoming: from_left },
    )
}

impl MemoryLink {
    /// Sends a frame. If there is no room, or nobody at the other end, it is lost.
    pub fn send(&self, frame: Bytes) {
        let _lost = self.outgoing.try_send(frame);
    }

    /// Waits for a frame. `None` when the other end is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is dropped has taken no frame.
    pub async fn recv(&mut self) -> Option<Bytes> {
        self.incoming.recv().await
    }
}

impl Link for MemoryLink {
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        let Some(first) = ready!(self.incoming.poll_recv(cx)) else { return Poll::Pending };
        frames.push(Received::alone(first));
        for _ in 1..max {
            let Ok(frame) = self.incoming.try_recv() else { break };
            frames.push(Received::alone(frame));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, _: &mut Context<'_>, frames: &mut FrameQueue) -> Poll<io::Result<()>> {
        while let Some(frame) = frames.front() {
            self.send(Bytes::copy_from_slice(frame));
            frames.pop_front();
        }
        Poll::Ready(Ok(()))
    }

    fn is_of_machine(&self) -> bool {
        false
    }
}
