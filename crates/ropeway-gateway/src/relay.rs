//! Two streams that become one: what one end says, the other hears, its end and its reset included.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::counters::add;

/// What is read at a time, and so what one direction holds at most.
const CHUNK: usize = 64 * 1024;

thread_local! {
    /// Where things are read to: as a rule the other end takes them at once, and a stream that waits holds nothing.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

/// Carries everything between two streams until both directions have ended.
///
/// # Errors
///
/// That of the end that has broken. The caller is to reset both.
pub(crate) async fn relay<A, B>(
    guest: &mut A,
    outside: &mut B,
    (out, back): (&AtomicU64, &AtomicU64),
) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut there, mut here) = (Half::default(), Half::default());
    poll_fn(|cx| {
        let sent = there.poll(cx, Pin::new(guest), Pin::new(outside), out)?;
        let received = here.poll(cx, Pin::new(outside), Pin::new(guest), back)?;
        if sent.is_ready() && received.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    /// What was read, and the other end has not taken yet.
    waiting: Vec<u8>,
    /// So much of it was taken.
    taken: usize,
    /// The other end has taken something since it was last flushed.
    unflushed: bool,
    ended: bool,
    done: bool,
}

impl Half {
    fn poll<R: AsyncRead, W: AsyncWrite>(
        &mut self,
        cx: &mut Context<'_>,
        mut from: Pin<&mut R>,
        mut to: Pin<&mut W>,
        count: &AtomicU64,
    ) -> Poll<io::Result<()>> {
        while !self.done {
            if self.taken < self.waiting.len() {
                let rest = self.waiting.get(self.taken..).unwrap_or_default();
                self.taken += ready!(write(cx, to.as_mut(), rest))?;
                continue;
            }
            if !self.waiting.is_empty() {
                (self.waiting, self.taken) = (Vec::new(), 0);
            }
            if self.ended {
                ready!(to.as_mut().poll_shutdown(cx))?;
                self.done = true;
                continue;
            }
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let mut buf = ReadBuf::new(scratch);
                let result = from.as_mut().poll_read(cx, &mut buf);
                let read = buf.filled();
                if !matches!(result, Poll::Ready(Ok(()))) || read.is_empty() {
                    return result.map_ok(|()| 0);
                }
                let taken = match write(cx, to.as_mut(), read) {
                    Poll::Ready(taken) => taken?,
                    Poll::Pending => 0,
                };
                self.waiting.extend_from_slice(read.get(taken..).unwrap_or_default());
                Poll::Ready(Ok(read.len()))
            });
            match read {
                Poll::Ready(Ok(0)) => self.ended = true,
                Poll::Ready(Ok(read)) => {
                    add(count, read as u64);
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if self.unflushed {
                        ready!(to.as_mut().poll_flush(cx))?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn write<W: AsyncWrite>(cx: &mut Context<'_>, to: Pin<&mut W>, data: &[u8]) -> Poll<io::Result<usize>> {
    match ready!(to.poll_write(cx, data))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        taken => Poll::Ready(Ok(taken)),
    }
}
