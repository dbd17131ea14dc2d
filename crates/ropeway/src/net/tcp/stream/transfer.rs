//! Reading and writing through a shared reference: without waiting, by peeking, and without copying.

use std::io::{self, IoSlice, IoSliceMut};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes};
use tokio::io::ReadBuf;

use ropeway_core::packet::Payload;

use super::TcpStream;
use crate::net::tcp::connection::{peek, recv, send, send_bytes, send_urgent, send_vectored};
use crate::shard::{Effect, Slot};
use crate::waiters::{read_interest, write_interest};

/// Without waiting.
impl TcpStream {
    /// Reads what is there, up to the length of `buf`. `Ok(0)` is the end of the stream, or an empty `buf`.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing is there; why the connection failed, once; if the
    /// stack has ended.
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let payload = self.try_take(buf.len())?;
        Ok(scatter(&payload, &mut [IoSliceMut::new(buf)]))
    }

    /// Reads what is there into several buffers, which are filled in order.
    ///
    /// # Errors
    ///
    /// Those of [`try_read`](Self::try_read).
    pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let room = bufs.iter().map(|buf| buf.len()).fold(0, usize::saturating_add);
        let payload = self.try_take(room)?;
        Ok(scatter(&payload, bufs))
    }

    /// Reads what is there into the next chunk of `buf`, and advances it.
    ///
    /// # Errors
    ///
    /// Those of [`try_read`](Self::try_read).
    pub fn try_read_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        let payload = self.try_take(buf.chunk_mut().len())?;
        payload.parts().for_each(|part| buf.put_slice(part));
        Ok(payload.len())
    }

    /// Writes as much of `buf` as there is room for, and returns how much that was.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no room; why the connection failed, once, then
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe), as after a shutdown; if the stack has ended.
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.connection.attempt(Effect::Driver, |core, now, id| send(core, now, id, buf))
    }

    /// Writes as much of several buffers as there is room for, in order.
    ///
    /// # Errors
    ///
    /// Those of [`try_write`](Self::try_write).
    pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.connection.attempt(Effect::Driver, |core, now, id| send_vectored(core, now, id, bufs))
    }

    /// Writes as much of `data` as there is room for without copying it, and advances `data` by that.
    /// Less than 512 bytes are copied: nobody knows how much memory a short slice keeps alive.
    ///
    /// # Errors
    ///
    /// Those of [`try_write`](Self::try_write).
    pub fn try_write_bytes(&self, data: &mut Bytes) -> io::Result<usize> {
        self.connection.attempt(Effect::Driver, |core, now, id| send_bytes(core, now, id, data))
    }

    fn try_take(&self, max: usize) -> io::Result<Payload> {
        self.connection.attempt(Effect::Output, |core, now, id| recv(core, now, id, max))
    }
}

/// Peeking.
impl TcpStream {
    /// Waits for bytes and copies them into `buf` without taking them: the next read returns them again.
    /// `Ok(0)` is the end of the stream.
    ///
    /// # Errors
    ///
    /// Why the connection failed, once; if the stack ends.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is dropped has not touched `buf`.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.connection.wait(read_interest(), Effect::None, |core, _, id| peek(core, id, buf)).await
    }

    /// Polls for bytes and copies them into `buf` without taking them.
    ///
    /// If there are none, the waker of the last caller of this, of `poll_read` or of
    /// [`poll_read_ready`](Self::poll_read_ready) is kept and woken when there are.
    ///
    /// # Errors
    ///
    /// Those of [`peek`](Self::peek).
    pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let unfilled = buf.initialize_unfilled();
        let peeked =
            self.connection.poll(Slot::Reader, Effect::None, cx, |core, _, id| peek(core, id, unfilled));
        let len = ready!(peeked)?;
        buf.advance(len);
        Poll::Ready(Ok(len))
    }
}

/// Beyond `tokio::net`.
impl TcpStream {
    /// Waits for bytes and takes up to `max` of them. Empty is the end of the stream, or a `max` of 0.
    ///
    /// They are not copied if they arrived in one segment.
    ///
    /// # Errors
    ///
    /// Why the connection failed, once; if the stack ends.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is dropped has taken nothing.
    pub async fn read_bytes(&self, max: usize) -> io::Result<Bytes> {
        let payload = self
            .connection
            .wait(read_interest(), Effect::Output, |core, now, id| recv(core, now, id, max))
            .await?;
        Ok(payload.into_bytes())
    }

    /// Writes all of `data` without copying it. What is on its way keeps its memory alive until the peer has
    /// acknowledged it.
    ///
    /// # Errors
    ///
    /// Those of [`try_write`](Self::try_write), but for `WouldBlock`.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: how much a call that is dropped has written is lost. Where that matters, use
    /// [`writable`](Self::writable) and [`try_write_bytes`](Self::try_write_bytes).
    ///
    /// # Examples
    ///
    /// ```
    /// use bytes::Bytes;
    /// use ropeway::net::{TcpListener, TcpStream};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (server, _) = listener.accept().await?;
    ///
    /// client.write_bytes(Bytes::from_static(b"a page, straight from the cache")).await?;
    /// assert_eq!(server.read_bytes(6).await?, "a page");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn write_bytes(&self, mut data: Bytes) -> io::Result<()> {
        while !data.is_empty() {
            self.connection
                .wait(write_interest(), Effect::Driver, |core, now, id| send_bytes(core, now, id, &mut data))
                .await?;
        }
        Ok(())
    }

    /// Writes as much of `data` as there is room for, and tells the peer that all up to its end is urgent
    /// (RFC 9293 3.8.5 MUST-31). The bytes are part of the stream like any others. New protocols should not
    /// use this (SHLD-13).
    ///
    /// # Errors
    ///
    /// Those of [`try_write`](Self::try_write), but for `WouldBlock`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is dropped has written nothing.
    pub async fn write_urgent(&self, data: &[u8]) -> io::Result<usize> {
        self.connection
            .wait(write_interest(), Effect::Driver, |core, now, id| send_urgent(core, now, id, data))
            .await
    }

    /// How many bytes are still to be read before the end of the urgent data that the peer has announced;
    /// `None` if there is none (RFC 9293 3.8.5 MUST-33).
    #[must_use]
    pub fn urgent_remaining(&self) -> Option<usize> {
        self.connection.look(|core, _, id| core.urgent_remaining(id))
    }
}

/// Copies `payload`, which fits, into `bufs`.
fn scatter(payload: &Payload, bufs: &mut [IoSliceMut<'_>]) -> usize {
    let mut bufs = bufs.iter_mut().map(|buf| &mut **buf);
    let mut room: &mut [u8] = &mut [];
    for mut part in payload.parts().map(|part| &part[..]) {
        while !part.is_empty() {
            if room.is_empty() {
                let Some(next) = bufs.next() else { break };
                room = next;
            }
            let len = part.len().min(room.len());
            let (copied, rest) = part.split_at(len);
            let (filled, unfilled) = std::mem::take(&mut room).split_at_mut(len);
            filled.copy_from_slice(copied);
            (part, room) = (rest, unfilled);
        }
    }
    payload.len()
}
