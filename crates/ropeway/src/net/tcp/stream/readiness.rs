//! Waiting for a stream without taking anything from it.

use std::io;
use std::task::{Context, Poll};

use ropeway_core::Readiness;
use tokio::io::{Interest, Ready};
use tokio::task::yield_now;

use super::TcpStream;
use crate::net::ready::{ready, wanted};
use crate::net::tcp::connection::readiness;
use crate::shard::{Effect, Slot};
use crate::waiters::{read_interest, write_interest};

impl TcpStream {
    /// Waits until something of `interest` is ready, and returns what is.
    ///
    /// It is usually followed by `try_read` or `try_write`. Any number of tasks may wait at a time. One that
    /// was told may find that another was faster, and be answered `WouldBlock`.
    ///
    /// # Errors
    ///
    /// If the stack ends. A connection that fails is ready.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only looks.
    ///
    /// # Examples
    ///
    /// ```
    /// use ropeway::net::{TcpListener, TcpStream};
    /// use tokio::io::Interest;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// let ready = stream.ready(Interest::READABLE | Interest::WRITABLE).await?;
    /// assert!(ready.is_writable() && !ready.is_readable());
    /// assert_eq!(stream.try_write(b"hello")?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        let wanted = wanted(interest);
        let found =
            self.connection.wait(wanted, Effect::None, |core, _, id| readiness(core, id, wanted)).await?;
        Ok(ready(found, wanted))
    }

    /// Waits until the stream is readable: there are bytes, the end of the stream, or an error.
    ///
    /// # Errors
    ///
    /// If the stack ends.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only looks.
    pub async fn readable(&self) -> io::Result<()> {
        self.ready(Interest::READABLE).await?;
        Ok(())
    }

    /// Waits until the stream is writable: there is room, or an error.
    ///
    /// # Errors
    ///
    /// If the stack ends.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only looks.
    pub async fn writable(&self) -> io::Result<()> {
        self.ready(Interest::WRITABLE).await?;
        Ok(())
    }

    /// Waits until the peer has announced urgent data that is not read yet, or has closed its side
    /// (RFC 9293 3.8.5 MUST-32). The data itself is read like any other.
    ///
    /// # Errors
    ///
    /// If the stack ends.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only looks.
    pub async fn priority(&self) -> io::Result<()> {
        let wanted = Readiness::PRIORITY | Readiness::READ_CLOSED;
        self.connection.wait(wanted, Effect::None, |core, _, id| readiness(core, id, wanted)).await?;
        Ok(())
    }

    /// Polls for the stream to be readable.
    ///
    /// If it is not, the waker of the last caller of this, of `poll_read` or of
    /// [`poll_peek`](Self::poll_peek) is kept and woken when it is.
    ///
    /// # Errors
    ///
    /// If the stack ends.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection
            .poll(Slot::Reader, Effect::None, cx, |core, _, id| readiness(core, id, read_interest()))
            .map_ok(drop)
    }

    /// Polls for the stream to be writable.
    ///
    /// If it is not, the waker of the last caller of this or of `poll_write` is kept and woken when it is.
    ///
    /// # Errors
    ///
    /// If the stack ends.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection
            .poll(Slot::Writer, Effect::None, cx, |core, _, id| readiness(core, id, write_interest()))
            .map_ok(drop)
    }

    /// Calls `f` if something of `interest` is ready, and answers
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) otherwise.
    ///
    /// There is no file descriptor, so `f` uses the stream's own methods, such as
    /// [`try_read`](Self::try_read); unlike in tokio, it may.
    ///
    /// # Errors
    ///
    /// Those of `f`; `WouldBlock`; if the stack has ended.
    pub fn try_io<R>(&self, interest: Interest, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let wanted = wanted(interest);
        self.connection.attempt(Effect::None, |core, _, id| readiness(core, id, wanted))?;
        f()
    }

    /// Waits until something of `interest` is ready and calls `f`, until it answers something other than
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    ///
    /// If `f` answers that although the stream is ready, it is called again after other tasks had their turn.
    ///
    /// # Errors
    ///
    /// Those of `f`; if the stack ends.
    pub async fn async_io<R>(
        &self,
        interest: Interest,
        mut f: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            self.ready(interest).await?;
            match f() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => yield_now().await,
                result => return result,
            }
        }
    }
}
