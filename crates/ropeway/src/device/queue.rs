//! A bounded queue of packets, from one end to the other.
//!
//! It belongs to no runtime: its ends may be polled by tasks of different ones.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::waiters::wake;

/// The end that packets are put into.
#[derive(Debug)]
pub(super) struct Sender {
    shared: Arc<Shared>,
}

/// The end that packets are taken from.
#[derive(Debug)]
pub(super) struct Receiver {
    shared: Arc<Shared>,
}

/// The other end is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Disconnected;

#[derive(Debug)]
struct Shared {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    packets: VecDeque<Bytes>,
    /// One of the ends has been dropped.
    disconnected: bool,
    /// Waits for room.
    sender: Option<Waker>,
    /// Waits for packets.
    receiver: Option<Waker>,
}

/// A queue that holds up to `capacity` packets, and at least one.
pub(super) fn queue(capacity: usize) -> (Sender, Receiver) {
    let shared = Arc::new(Shared { capacity: capacity.max(1), state: Mutex::new(State::default()) });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

impl Sender {
    /// How many packets can be sent now. Nobody else takes the room.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Disconnected>> {
        let mut state = self.shared.lock();
        if state.disconnected {
            return Poll::Ready(Err(Disconnected));
        }
        match self.shared.capacity.saturating_sub(state.packets.len()) {
            0 => {
                replace(&mut state.sender, cx);
                Poll::Pending
            }
            room => Poll::Ready(Ok(room)),
        }
    }

    /// Puts packets into the queue, no more than there is room for.
    pub(super) fn send(&mut self, packets: impl IntoIterator<Item = Bytes>) {
        let receiver = {
            let mut state = self.shared.lock();
            state.packets.extend(packets);
            if state.packets.is_empty() { None } else { state.receiver.take() }
        };
        receiver.into_iter().for_each(wake);
    }
}

impl Receiver {
    /// Takes up to `max` packets, which is not 0; at least one when it is ready.
    pub(super) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        mut take: impl FnMut(Bytes),
    ) -> Poll<Result<(), Disconnected>> {
        let sender = {
            let mut state = self.shared.lock();
            if state.packets.is_empty() {
                if state.disconnected {
                    return Poll::Ready(Err(Disconnected));
                }
                replace(&mut state.receiver, cx);
                return Poll::Pending;
            }
            let len = max.min(state.packets.len());
            state.packets.drain(..len).for_each(&mut take);
            state.sender.take()
        };
        sender.into_iter().for_each(wake);
        Poll::Ready(Ok(()))
    }
}

/// Waking and dropping a waker run foreign code, so they are not done under the lock; the old waker of the
/// same end is of the task that is being polled, and outlives this.
fn replace(slot: &mut Option<Waker>, cx: &Context<'_>) {
    if !slot.as_ref().is_some_and(|old| old.will_wake(cx.waker())) {
        *slot = Some(cx.waker().clone());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disconnect(&self) {
        let wakers = {
            let mut state = self.lock();
            state.disconnected = true;
            [state.sender.take(), state.receiver.take()]
        };
        wakers.into_iter().flatten().for_each(wake);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.disconnect();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.disconnect();
    }
}
