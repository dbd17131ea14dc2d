//! Stacks that their owner runs by hand, without a task or a device, on a clock of his own: what a simulation
//! of many hosts needs.
//!
//! # Examples
//!
//! ```
//! use std::sync::Arc;
//! use std::task::{Context, Poll, Waker, Wake};
//! use std::pin::pin;
//! use ropeway::manual::{Manual, TimeSource, Timestamp};
//! use ropeway::net::TcpStream;
//!
//! struct Frozen;
//! impl TimeSource for Frozen {
//!     fn now(&self) -> Timestamp { Timestamp::from_micros(1) }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = ropeway::Stack::builder().address("10.0.0.1/24".parse()?).mtu(1500).seed([1; 32]);
//! let mut manual = Manual::build(builder, Arc::new(Frozen))?;
//! let stack = manual.stack().clone();
//! let mut connecting = pin!(TcpStream::connect_on(&stack, "10.0.0.2:80"));
//! assert!(connecting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
//!
//! let mut sent = Vec::new();
//! let turn = manual.turn(Waker::noop(), [], &mut |packet| sent.push(packet));
//! assert_eq!(sent.len(), 1); // the SYN
//! assert_eq!(turn.deadline, Some(Timestamp::from_micros(1_000_001))); // its retransmission
//! # use std::future::Future;
//! # Ok(())
//! # }
//! ```

mod waiting;

use std::io;
use std::sync::Arc;
use std::task::Waker;

pub use ropeway_core::{Received, Timestamp, Transmit};

pub use self::waiting::{WaitingFor, WaitingTask};

pub use crate::clock::TimeSource;
use crate::device::{Capabilities, Device};
use crate::error::Ended;
use crate::shard::Shard;
use crate::stack::{Builder, Stack};
pub use crate::stack::{FinderGuard, find_with};

/// The other side of a [`Stack`]: what its driver and its device are otherwise. See the [module](self).
///
/// When it is dropped, the stack has ended.
#[derive(Debug)]
pub struct Manual {
    stack: Stack,
    shard: Arc<Shard>,
    /// Empty between turns.
    batch: Vec<Received>,
}

/// What a [turn](Manual::turn) leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// The stack wants its next turn at this moment at the latest.
    pub deadline: Option<Timestamp>,
    /// Tasks that wait for the stack's sockets were woken.
    pub woke: bool,
}

impl Manual {
    /// Makes a stack on the clock `time`. No Tokio runtime is needed. Whatever device the builder was given is
    /// not used; without one, packets of up to 65535 bytes can be sent.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::build`].
    pub fn build(builder: Builder, time: Arc<dyn TimeSource>) -> io::Result<Self> {
        let (stack, shard) = builder.device(Hand).build_manual(time)?;
        Ok(Self { stack, shard, batch: Vec::new() })
    }

    /// The stack.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Does all that there is to do at this moment: `input`, then what has run out of time, then output, which
    /// goes to `send`, then the news for those who wait. `waker` is woken by the next call of a socket that
    /// gives the stack something to do.
    pub fn turn(
        &mut self,
        waker: &Waker,
        input: impl IntoIterator<Item = Received>,
        send: &mut dyn FnMut(Transmit),
    ) -> Turn {
        let Self { shard, batch, .. } = self;
        batch.extend(input);
        shard.locked(|state, now, after| {
            state.driver = None;
            state.core.handle_batch(now, batch);
            if state.core.is_due(now) {
                state.core.handle_timeout(now);
            }
            loop {
                while let Some(packet) = state.core.poll_transmit(now) {
                    send(packet);
                }
                // The work of one call is bounded: what is left of it is due at once.
                if !state.core.is_due(now) {
                    break;
                }
                state.core.handle_timeout(now);
            }
            state.deliver_events(after);
            state.deliver_quiescence(after);
            after.replace(&mut state.driver, waker);
            Turn { deadline: state.core.poll_timeout(), woke: after.will_wake() }
        })
    }

    /// The tasks that wait for the stack's sockets at this moment, and what for: for a report on why nothing goes on.
    #[must_use]
    pub fn waiting(&self) -> Vec<WaitingTask> {
        self.shard.locked(|state, now, _| waiting::tasks(state, now))
    }

    /// Ends the stack, as a device that fails does: whoever waits, and every later call, gets
    /// [`NetworkDown`](io::ErrorKind::NetworkDown) with `error` as the source. Nothing more is sent.
    pub fn fail(self, error: io::Error) {
        self.shard.end(Ended::Device(Arc::new(error)));
    }
}

impl Drop for Manual {
    fn drop(&mut self) {
        self.shard.end(Ended::Stopped);
    }
}

/// Stands for the owner, who carries all packets.
struct Hand;

impl Device for Hand {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(u16::MAX)
    }

    fn poll_recv(
        &mut self,
        _: &mut std::task::Context<'_>,
        _: &mut Vec<Received>,
        _: usize,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Pending
    }

    fn poll_send(
        &mut self,
        _: &mut std::task::Context<'_>,
        queue: &mut std::collections::VecDeque<Transmit>,
    ) -> std::task::Poll<io::Result<()>> {
        queue.clear();
        std::task::Poll::Ready(Ok(()))
    }
}
