//! Waiting for a UDP socket without taking anything from it.

use std::io;
use std::task::{Context, Poll};

use tokio::io::{Interest, Ready};
use tokio::task::yield_now;

use super::socket::UdpSocket;
use crate::net::ready::{ready, wanted};
use crate::waiters::{read_interest, write_interest};

impl UdpSocket {
    /// Waits until something of `interest` is ready, and returns what is. Any number of tasks may wait at a time.
    ///
    /// # Errors
    ///
    /// If the stack ends. A socket with an error is ready.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only looks.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        let wanted = wanted(interest);
        Ok(ready(self.held.ready(wanted).await?, wanted))
    }

    /// Waits until the socket is writable: more may wait to leave, or there is an error.
    ///
    /// # Errors
    ///
    /// If the stack ends.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only looks.
    pub async fn writable(&self) -> io::Result<()> {
        self.ready(Interest::WRITABLE).await.map(drop)
    }

    /// Waits until the socket is readable: there is a datagram, or an error.
    ///
    /// # Errors
    ///
    /// If the stack ends.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only looks.
    pub async fn readable(&self) -> io::Result<()> {
        self.ready(Interest::READABLE).await.map(drop)
    }

    /// Polls for the socket to be writable; see [`poll_send`](Self::poll_send).
    ///
    /// # Errors
    ///
    /// If the stack ends.
    pub fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.held.poll_writable(cx, write_interest())
    }

    /// Polls for the socket to be readable; see [`poll_recv`](Self::poll_recv).
    ///
    /// # Errors
    ///
    /// If the stack ends.
    pub fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.held.poll_readable(cx, read_interest())
    }

    /// Calls `f` if something of `interest` is ready, and answers [`WouldBlock`](io::ErrorKind::WouldBlock) otherwise. `f` uses
    /// the socket's own methods, such as [`try_recv`](Self::try_recv); unlike in tokio, it may.
    ///
    /// # Errors
    ///
    /// Those of `f`; `WouldBlock`; if the stack has ended.
    pub fn try_io<R>(&self, interest: Interest, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.held.readiness(wanted(interest))?;
        f()
    }

    /// Waits until something of `interest` is ready and calls `f`, until it answers something other than
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    ///
    /// If `f` answers that although the socket is ready, it is called again after other tasks had their turn.
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
