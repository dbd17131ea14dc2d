//! The one task that moves packets between a device and a core, and tells tasks what happened.
//!
//! Each turn: all input that is queued, then time that has run out, then output, then events, then the next
//! deadline. So whatever has arrived is processed before anything is sent or given up, and one acknowledgement stands
//! for all of it (RFC 9293 3.8.6.3 MUST-58, 3.10 MUST-59). A turn is bounded, and yields when there is more.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep};

use ropeway_core::{Received, Timestamp, Transmit};

use crate::device::Device;
use crate::error::Ended;
use crate::shard::{Shard, State, is_quiescent};
use crate::stack::current::Implicit;
use crate::waiters::Afterwards;

mod peers;

pub(crate) use self::peers::Peers;

/// Packets moved under one lock: enough to make its cost vanish, few enough that a socket that waits for it
/// waits some tens of microseconds. It also bounds the send queue: what is beyond it waits in the core, where
/// it can still be acknowledged, replaced or merged.
const BATCH: usize = 64;

/// Likewise, at least: two trains fit into a UDP socket's buffer.
const LEAST_BATCH: usize = 2;

/// Batches received in one turn, so that a flood cannot keep the driver from answering.
const INPUT_BATCHES: usize = 4;

/// Bytes received in one turn, after which what has come is acknowledged: the peer has not filled its window by then, as it
/// would have in as many trains.
const INPUT_BYTES: usize = 256 * 1024;

/// Steps of what has expired in one turn, each under a lock of its own.
const TIMEOUT_STEPS: usize = 16;

/// Batches sent in one turn, before other tasks get theirs.
const OUTPUT_BATCHES: usize = 16;

/// Bytes sent in one turn. What they are answered with is taken before more is sent, while the processor's caches still have
/// what is acknowledged: so it is that memory which is written to next, and windows need not be larger than they help.
const OUTPUT_BYTES: usize = 256 * 1024;

/// Packets of data that a stack sends when it ends with its runtime.
const MOST_LAST_PACKETS: usize = 16 * 1024;

/// What is left after a turn.
enum Rest {
    /// Nothing before this moment, unless someone wakes the driver.
    Until(Option<Timestamp>),
    /// More can be done at once.
    More,
    /// Nothing, ever: the last handle is gone, and all connections are done.
    Done,
}

/// See the [module](self).
pub(crate) struct Driver {
    shard: Arc<Shard>,
    /// None if the stack has no other shards.
    peers: Option<Peers>,
    device: Box<dyn Device>,
    /// Received, and on its way into the core. Empty between turns.
    batch: Vec<Received>,
    /// Taken from the core, and not taken by the device yet.
    queue: VecDeque<Transmit>,
    sleep: Pin<Box<Sleep>>,
    /// What `sleep` has been set to.
    armed: Option<Timestamp>,
    /// The runtime may have several workers.
    among_workers: bool,
    /// Datagrams fill the queue of a socket.
    fills: bool,
    /// Packets received under one lock: fewer where datagrams fill a queue.
    most: usize,
    /// A panic may have left a turn half way.
    inside_turn: bool,
    /// The runtime's own stack is forgotten when its driver ends.
    _implicit: Option<Implicit>,
}

impl Driver {
    /// A driver that has not been spawned yet.
    ///
    /// # Panics
    ///
    /// Outside of a runtime, or if the runtime has no timers.
    pub(crate) fn new(
        shard: Arc<Shard>,
        device: Box<dyn Device>,
        peers: Option<Peers>,
        implicit: Option<Implicit>,
    ) -> Self {
        Self {
            shard,
            peers,
            device,
            batch: Vec::with_capacity(BATCH),
            queue: VecDeque::with_capacity(BATCH),
            sleep: Box::pin(tokio::time::sleep_until(Instant::now())),
            armed: None,
            among_workers: Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread,
            fills: false,
            most: BATCH,
            inside_turn: false,
            _implicit: implicit,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> io::Result<Rest> {
        let (drained, now) = self.input(cx)?;
        match self.output(cx, now)? {
            Rest::Until(_) if !drained => Ok(Rest::More),
            Rest::Until(Some(deadline)) => Ok(self.arm(cx, deadline)),
            rest => Ok(rest),
        }
    }

    /// Gives the core what the device and time have for it. Whether that was all, and the moment that it was told.
    ///
    /// The device comes first: an acknowledgement that was in its queue in time is no loss, although this task was late.
    fn input(&mut self, cx: &mut Context<'_>) -> io::Result<(bool, Timestamp)> {
        let (mut drained, mut more, mut now) = (false, false, Timestamp::START);
        let mut bytes = 0;
        self.fills = false;
        for round in 1..=INPUT_BATCHES {
            drained = self.device.poll_recv(cx, &mut self.batch, self.most)?.is_pending();
            bytes += self.batch.iter().map(|received| received.packet.len()).sum::<usize>();
            let mut last = drained || round == INPUT_BATCHES || bytes >= INPUT_BYTES;
            if let Some(peers) = &mut self.peers {
                peers.hand_over(&mut self.batch);
            }
            let slabs = self.device.slabs();
            now = self.shard.clock().now();
            more = self.shard.locked_at(now, |state, now, _| {
                state.core.set_slabs(slabs);
                // We are awake. It is the waker of the task that is running, so dropping it runs no code.
                state.driver = None;
                state.core.handle_batch(now, &mut self.batch);
                // Nothing holds datagrams back: what comes before they are read would be lost.
                self.fills = state.core.udp_fills();
                last |= self.fills;
                if let Some(peers) = &mut self.peers {
                    peers.collect(&mut state.core);
                }
                // The clock decides what has expired, not whether `sleep` was polled, and not what the device takes.
                last && state.expire(now)
            });
            self.most = if self.fills { self.most / 2 } else { self.most * 2 }.clamp(LEAST_BATCH, BATCH);
            if let Some(peers) = &mut self.peers {
                peers.pass_on();
            }
            if last {
                break;
            }
        }
        for _ in 1..TIMEOUT_STEPS {
            if !more {
                break;
            }
            more = self.shard.locked(|state, now, _| state.expire(now));
        }
        Ok((drained, now))
    }

    /// Gives the device what the core has to send, and everyone their events. `now` is the moment of the input: the clock is
    /// read again only where the device has taken time.
    fn output(&mut self, cx: &mut Context<'_>, mut now: Timestamp) -> io::Result<Rest> {
        let mut bytes = 0;
        for _ in 0..OUTPUT_BATCHES {
            if bytes >= OUTPUT_BYTES {
                break;
            }
            let queue = &mut self.queue;
            let rest = self.shard.locked_at(now, |state, now, after| {
                bytes += state.fill(queue, now, OUTPUT_BYTES - bytes);
                state.deliver_events(after);
                // The core pauses, so that others get the lock, though it has more to do.
                let all = queue.is_empty() && !state.core.has_output();
                // The same lock has seen that there is nothing to send, and leaves the waker.
                all.then(|| state.rest(queue, now, cx.waker(), after))
            });
            if let Some(rest) = rest {
                return Ok(rest);
            }
            if self.queue.is_empty() {
                continue;
            }
            if self.device.poll_send(cx, &mut self.queue)?.is_pending() {
                let queue = &mut self.queue;
                // The device wakes us for the packets; time and calls still have to.
                return Ok(self.shard.locked(|state, now, after| {
                    state.core.set_waiting(queue.len());
                    state.rest(queue, now, cx.waker(), after)
                }));
            }
            now = self.shard.clock().now();
        }
        Ok(Rest::More)
    }

    /// The tasks that have been woken come first, and then the driver again.
    fn yield_to_tasks(&self, cx: &mut Context<'_>) -> Poll<()> {
        // On this worker: whoever wakes itself is taken away by another one, from those that it has just woken. And one that reads
        // datagrams and has used up its budget for this turn gets the next one only when the runtime looks at its reactor, which
        // it does not for many turns of whoever wakes itself.
        if self.among_workers || self.fills {
            return pin!(yield_now()).poll(cx);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sets the alarm for `deadline`, which is ahead. An earlier alarm stays: most deadlines only move away,
    /// as with each acknowledgement, and moving an alarm is the dearer part.
    fn arm(&mut self, cx: &mut Context<'_>, deadline: Timestamp) -> Rest {
        let mut due = self.armed.is_none_or(|armed| deadline < armed);
        loop {
            if due {
                self.sleep.as_mut().reset(self.shard.clock().instant(deadline));
                self.armed = Some(deadline);
            }
            match self.sleep.as_mut().poll(cx) {
                Poll::Pending => return Rest::Until(Some(deadline)),
                Poll::Ready(()) if self.armed == Some(deadline) => return Rest::More,
                Poll::Ready(()) => due = true,
            }
        }
    }
}

impl State {
    /// Moves what the core has to send into `queue`, until that holds a batch, or it was so many bytes. What is for the stack
    /// itself moves whether the device takes anything or not. Says how many bytes it was.
    fn fill(&mut self, queue: &mut VecDeque<Transmit>, now: Timestamp, most: usize) -> usize {
        self.core.set_waiting(queue.len());
        self.core.handle_local(now);
        let mut bytes = 0;
        while queue.len() < BATCH
            && bytes < most
            && let Some(packet) = self.core.poll_transmit(now)
        {
            bytes += packet.len();
            queue.push_back(packet);
        }
        bytes
    }

    /// Does some of what is due. Says whether there is more.
    fn expire(&mut self, now: Timestamp) -> bool {
        if self.core.is_due(now) {
            self.core.handle_timeout(now);
        }
        self.core.is_due(now)
    }

    /// What is left when nothing is to be sent now, or the device takes no more of `queue`. Unless there is
    /// more to do at once, the next call that makes work wakes the driver.
    fn rest(
        &mut self,
        queue: &VecDeque<Transmit>,
        now: Timestamp,
        waker: &Waker,
        after: &mut Afterwards,
    ) -> Rest {
        self.deliver_quiescence(after);
        let is_done = queue.is_empty() && is_quiescent(&self.core) && !self.core.has_output();
        if self.ended.is_some() || self.retired && is_done {
            return Rest::Done;
        }
        let deadline = self.core.poll_timeout();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Rest::More;
        }
        after.replace(&mut self.driver, waker);
        Rest::Until(deadline)
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        driver.inside_turn = true;
        let rest = driver.turn(cx);
        driver.inside_turn = false;
        match rest {
            Ok(Rest::Until(_)) => Poll::Pending,
            Ok(Rest::More) => driver.yield_to_tasks(cx),
            Ok(Rest::Done) => {
                tracing::debug!("the stack's last user is gone, and its last connection too");
                Poll::Ready(())
            }
            Err(error) => {
                tracing::error!(%error, "the stack's device failed");
                let ended = Ended::Device(Arc::new(error));
                if let Some(peers) = &driver.peers {
                    peers.end(&ended);
                }
                driver.shard.end(ended);
                Poll::Ready(())
            }
        }
    }
}

impl Driver {
    /// The runtime ends, and with it whatever could send anything again: every peer is told at once, as far as the
    /// device takes it. That needs no reactor, and is bounded.
    fn say_last_words(&mut self) {
        let before = self.shard.look(|core, _| core.counters().clone());
        while self.shard.locked(|state, now, _| state.core.wind_up(now)) {}
        let all = self.send_at_once(MOST_LAST_PACKETS);
        if !all {
            // No more data. Whoever has not been told yet gets a RST, if the device takes that.
            while self.shard.locked(|state, now, _| state.core.cut_off(now)) {}
            self.send_at_once(usize::MAX);
        }
        let after = self.shard.look(|core, _| core.counters().clone());
        let bytes = after.bytes_lost - before.bytes_lost;
        if bytes > 0 {
            let connections = after.resets_sent - before.resets_sent;
            tracing::warn!(
                bytes,
                connections,
                "the stack's runtime ended before its peers had acknowledged everything; Stack::shutdown waits for that"
            );
        }
    }

    /// Sends what the core has to send, up to so many packets. Says whether that was all.
    fn send_at_once(&mut self, most: usize) -> bool {
        let Self { shard, device, queue, .. } = self;
        let mut sent = 0usize;
        loop {
            shard.locked(|state, now, _| state.fill(queue, now, usize::MAX));
            if queue.is_empty() {
                return true;
            }
            sent = sent.saturating_add(queue.len());
            device.flush(queue);
            if !queue.is_empty() || sent > most {
                return false;
            }
        }
    }
}

impl Drop for Driver {
    /// Whatever the reason (done, device failed, runtime shut down, panic): nobody is left waiting.
    fn drop(&mut self) {
        // After a panic the core may be half way through something, and a device that has failed takes nothing.
        if !self.inside_turn && !self.shard.has_ended() {
            let said = catch_unwind(AssertUnwindSafe(|| self.say_last_words()));
            if said.is_err() {
                tracing::error!("the device panicked while the stack ended; its peers were not told");
            }
        }
        if self.inside_turn
            && let Some(peers) = &self.peers
        {
            peers.end(&Ended::Panicked);
        }
        self.shard.end(if self.inside_turn { Ended::Panicked } else { Ended::Stopped });
    }
}
