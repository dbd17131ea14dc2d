//! Two stacks on one cable, and ways to trouble it.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ropeway::device::memory::{self, MemoryDevice};
use ropeway::device::{Capabilities, Device, Received, Transmit};
use ropeway::net::{TcpListener, TcpStream};
use ropeway::{Builder, Stack, StackConfig};

/// Where the right stack's listener listens.
pub(crate) const SERVER: &str = "10.0.0.2:80";

/// Two stacks on one cable: 10.0.0.1 and 10.0.0.2.
pub(crate) struct Net {
    pub(crate) left: Stack,
    pub(crate) right: Stack,
    /// What stands between the left stack and the cable.
    pub(crate) trouble: Trouble,
}

impl Net {
    pub(crate) fn new() -> Self {
        Self::with(|_| {}, 1024)
    }

    /// With settings of their own, and room for so many packets on the cable.
    pub(crate) fn with(configure: impl FnOnce(&mut StackConfig), packets: usize) -> Self {
        let mut config = StackConfig::default();
        configure(&mut config);
        let (left, right) = memory::pair_with_capacity(1500, packets);
        let trouble = Trouble::default();
        let left = Troubled { device: left, trouble: trouble.clone() };
        Self {
            left: builder(1).config(config.clone()).device(left).build().unwrap(),
            right: builder(2).config(config).device(right).build().unwrap(),
            trouble,
        }
    }

    pub(crate) async fn listen(&self) -> TcpListener {
        TcpListener::bind_on(&self.right, SERVER).await.unwrap()
    }

    /// A connection: the left end and the right one.
    pub(crate) async fn connect(&self) -> (TcpStream, TcpStream) {
        let listener = self.listen().await;
        let (client, accepted) = tokio::join!(TcpStream::connect_on(&self.left, SERVER), listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    /// Waits until both stacks have no connection left, then until TIME-WAIT is over, and looks for leaks.
    pub(crate) async fn expect_empty(&self) {
        for stack in [&self.left, &self.right] {
            stack.closed().await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(61)).await;
        for stack in [&self.left, &self.right] {
            assert_eq!(stack.sizes(), ropeway::TableSizes::default());
        }
    }
}

/// A stack at 10.0.0.`host`, with a seed of its own.
pub(crate) fn builder(host: u8) -> Builder {
    Stack::builder().address(format!("10.0.0.{host}/24").parse().unwrap()).seed([host; 32])
}

/// What goes wrong with a device. Switched by the test, while the device is in use.
#[derive(Clone, Default)]
pub(crate) struct Trouble {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    mode: Mode,
    /// How often the device has been dropped.
    dropped: usize,
    driver: Option<Waker>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    None,
    /// The cable is cut: packets of both directions are lost.
    Cut,
    /// The device takes nothing more.
    Blocked,
    /// The device fails.
    Failed,
    /// The device panics.
    Panics,
}

impl Trouble {
    pub(crate) fn set(&self, mode: Mode) {
        let driver = {
            let mut state = self.state.lock().unwrap();
            state.mode = mode;
            state.driver.take()
        };
        driver.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn device_is_dropped(&self) -> bool {
        self.state.lock().unwrap().dropped > 0
    }

    fn mode(&self, cx: &mut Context<'_>) -> Mode {
        let mut state = self.state.lock().unwrap();
        state.driver = Some(cx.waker().clone());
        state.mode
    }
}

/// A device with [`Trouble`].
pub(crate) struct Troubled {
    pub(crate) device: MemoryDevice,
    pub(crate) trouble: Trouble,
}

impl Device for Troubled {
    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        match self.trouble.mode(cx) {
            Mode::None | Mode::Blocked => self.device.poll_recv(cx, batch, max),
            Mode::Cut => {
                while self.device.poll_recv(cx, batch, max).is_ready() {
                    batch.clear();
                }
                Poll::Pending
            }
            Mode::Failed => Poll::Ready(Err(io::Error::other("the cable burnt"))),
            Mode::Panics => panic!("the device panics, as the test has asked"),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut VecDeque<Transmit>) -> Poll<io::Result<()>> {
        match self.trouble.mode(cx) {
            Mode::Blocked => Poll::Pending,
            Mode::Cut => {
                queue.clear();
                Poll::Ready(Ok(()))
            }
            _ => self.device.poll_send(cx, queue),
        }
    }
}

impl Drop for Troubled {
    fn drop(&mut self) {
        self.trouble.state.lock().unwrap().dropped += 1;
    }
}

/// Bytes that show where one is missing or out of order.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..251).cycle().take(len).collect()
}

/// Lets every task run that can, without time passing.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Fails instead of hanging. Under a paused clock this costs no time.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> F::Output {
    tokio::time::timeout(limit, future).await.expect("it hangs")
}

/// The kind of error that `result` is.
pub(crate) fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.err().expect("an error").kind()
}
