//! One core with the tasks that wait for it, behind one short lock.
//!
//! A shard has two sides. Sockets call [`Shard::attempt`] and [`Shard::poll`]; the driver, which moves its
//! packets, works through [`Shard::locked`]. They meet in two places. A socket that finds nothing leaves its
//! waker under the same lock under which it looked, and the driver wakes it for the core's event: no wakeup
//! can fall between. A driver that finds nothing to send leaves its waker likewise, and the first call that
//! gives it work takes it: a driver that is awake anyway is not woken again.
//!
//! The [loopback](crate::loopback) of the process has no driver: there, a call does its own work.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::{io, iter};

use ropeway_core::packet::FourTuple;
use ropeway_core::{ConnectionId, Event, ListenerId, Readiness, Received, Stack as Core, Timestamp, UdpId};
use tokio::runtime;

use crate::clock::{self, Clock};
use crate::error::Ended;
use crate::loopback::{Home, Keeper};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::waiters::table::{WaiterTable, Walk};
use crate::waiters::{Afterwards, Left, Ticket, Waiters};

/// What can be waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Connection(ConnectionId),
    Listener(ListenerId),
    /// A handshake that `listen_any` has let in.
    Handshake(FourTuple),
    /// A UDP socket.
    Udp(UdpId),
    /// Packets that nobody else takes.
    Diversion,
    /// The moment at which no connection is left.
    Quiescence,
}

/// Where a call that finds nothing leaves its waker.
#[derive(Debug)]
pub(crate) enum Slot<'a> {
    /// The one place for the last caller of a poll function that reads or accepts.
    Reader,
    /// The one place for the last caller of a poll function that writes.
    Writer,
    /// The queue, which takes any number. The ticket is filled in at the first wait and taken at the answer;
    /// a future that is dropped in between gives it back with [`Shard::forget`].
    Queue(Readiness, &'a mut Option<Ticket>),
}

/// So many steps of what a call has left to do follow it, before the rest is left to the loopback's keeper.
const STEPS: usize = 64;

/// Whether a call that succeeded may have given the driver work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It only looked.
    None,
    /// There may be a packet to send: the core knows.
    Output,
    /// There may be a packet to send, or an earlier deadline.
    Driver,
}

/// See the [module](self). This is a handle; several name the same core.
#[derive(Debug)]
pub(crate) struct Shard {
    inner: Arc<Inner>,
    /// The runtime that waits for what is made through this handle. Only the process's loopback has any.
    home: Option<Arc<Home>>,
}

/// What all handles share.
#[derive(Debug)]
struct Inner {
    clock: Clock,
    state: Mutex<State>,
}

/// What the lock protects.
pub(crate) struct State {
    pub(crate) core: Core,
    /// The latest moment that the core was told. Threads may come in another order than they read the clock.
    now: Timestamp,
    pub(crate) waiters: WaiterTable,
    /// Tickets issued so far.
    tickets: u64,
    /// The driver's waker, while it is asleep.
    pub(crate) driver: Option<Waker>,
    /// Where calls do the work of a driver, who does the rest.
    pub(crate) keeper: Option<Keeper>,
    /// The last handle is gone.
    pub(crate) retired: bool,
    /// The driver is gone, and why.
    pub(crate) ended: Option<Ended>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("sizes", &self.core.sizes())
            .field("retired", &self.retired)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Shard {
    pub(crate) fn new(core: Core, clock: Clock) -> Self {
        let state = State {
            core,
            now: Timestamp::START,
            waiters: WaiterTable::default(),
            tickets: 0,
            driver: None,
            keeper: None,
            retired: false,
            ended: None,
        };
        Self { inner: Arc::new(Inner { clock, state: Mutex::new(state) }), home: None }
    }

    /// The same core, for sockets that are waited for in the runtime of `home`.
    pub(crate) fn with_home(&self, home: Option<Arc<Home>>) -> Self {
        Self { inner: Arc::clone(&self.inner), home }
    }

    /// Whether what is made through this handle is waited for in that runtime.
    pub(crate) fn is_at_home_in(&self, runtime: runtime::Id) -> bool {
        self.home.as_ref().is_some_and(|home| home.runtime() == runtime)
    }

    /// Whether both have the same core.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Whether it is the process's loopback.
    pub(crate) fn is_shared(&self) -> bool {
        self.clock().is_machines()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Runs `work` under the lock, at this moment; then, without the lock, what it left to be done after.
    pub(crate) fn locked<R>(&self, work: impl FnOnce(&mut State, Timestamp, &mut Afterwards) -> R) -> R {
        self.locked_at(self.clock().now(), work)
    }

    /// Likewise, at a moment that has just been read from the clock.
    pub(crate) fn locked_at<R>(
        &self,
        now: Timestamp,
        work: impl FnOnce(&mut State, Timestamp, &mut Afterwards) -> R,
    ) -> R {
        let (result, left) = self.step_at(now, work);
        if left.everyone {
            self.wake_all(|_| true);
        }
        if left.more {
            self.go_on();
        }
        result
    }

    /// Does what a call has left to do, some of it at a time: others get the lock between.
    fn go_on(&self) {
        for _ in 0..STEPS {
            let ((), left) = self.step(State::serve_caller);
            if left.everyone {
                self.wake_all(|_| true);
            }
            if !left.more {
                return;
            }
        }
        self.step(|state, now, after| state.leave_to_keeper(now, after));
    }

    /// See [`Shard::locked`]. Gives what is left to be done, which is not to wake those whom it has collected.
    fn step<R>(&self, work: impl FnOnce(&mut State, Timestamp, &mut Afterwards) -> R) -> (R, Left) {
        self.step_at(self.clock().now(), work)
    }

    fn step_at<R>(
        &self,
        now: Timestamp,
        work: impl FnOnce(&mut State, Timestamp, &mut Afterwards) -> R,
    ) -> (R, Left) {
        let mut after = Afterwards::default();
        let result = {
            let mut state = self.lock();
            let now = state.advance(now);
            work(&mut state, now, &mut after)
        };
        after.run();
        (result, after.left())
    }

    /// Wakes everyone whom `concerned` says, some at a time: others get the lock between. Nobody whom it says may begin to
    /// wait meanwhile.
    fn wake_all(&self, concerned: impl Fn(&Waiters) -> bool) {
        let mut walk = Some(Walk::default());
        while let Some(here) = walk {
            (walk, _) = self.step(|state, _, after| state.waiters.wake_some(here, &concerned, after));
        }
    }

    /// Changes the stack itself.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Core, Timestamp) -> R) -> io::Result<R> {
        self.attempt(Effect::Driver, |core, now| Poll::Ready(Ok(change(core, now))))
    }

    /// Whether the driver is gone, or the runtime that the handle is for.
    pub(crate) fn has_ended(&self) -> bool {
        self.is_homeless() || self.lock().ended.is_some()
    }

    fn is_homeless(&self) -> bool {
        self.home.as_ref().is_some_and(|home| home.is_gone())
    }

    /// Looks at the core, whether the driver still runs or not.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Core, Timestamp) -> R) -> R {
        let now = self.clock().now();
        let mut state = self.lock();
        let now = state.advance(now);
        look(&state.core, now)
    }

    /// Makes one attempt; `Pending` becomes [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub(crate) fn attempt<R>(
        &self,
        effect: Effect,
        attempt: impl FnOnce(&mut Core, Timestamp) -> Poll<io::Result<R>>,
    ) -> io::Result<R> {
        self.locked(|state, now, after| match state.attempt(effect, now, after, attempt) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        })
    }

    /// Makes one attempt; if there is nothing, leaves the waker of `cx` in `slot`.
    pub(crate) fn poll<R>(
        &self,
        source: Source,
        slot: Slot<'_>,
        effect: Effect,
        cx: &mut Context<'_>,
        attempt: impl FnOnce(&mut Core, Timestamp) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let result = self.locked(|state, now, after| {
            let result = if self.is_homeless() {
                Poll::Ready(Err(Ended::Stopped.to_error()))
            } else {
                state.attempt(effect, now, after, attempt)
            };
            match (result.is_pending(), slot) {
                (true, slot) => {
                    state.wait(source, self.home.as_deref(), slot, cx.waker(), after);
                    state.before_waiting(source, now, after);
                }
                (false, Slot::Queue(_, ticket)) => state.leave(source, ticket.take(), after),
                (false, Slot::Reader | Slot::Writer) => {}
            }
            result
        });
        if result.is_pending() && self.home.is_some() {
            clock::warn_if_paused();
        }
        result
    }

    /// Takes back a ticket: its future was dropped, or has its answer.
    pub(crate) fn forget(&self, source: Source, ticket: Ticket) {
        self.locked(|state, _, after| state.leave(source, Some(ticket), after));
    }

    /// Closes what a socket held.
    pub(crate) fn close(&self, source: Source) {
        self.locked(|state, now, after| {
            if let Some(mut waiters) = state.waiters.remove(source) {
                waiters.clear(after);
                state.weigh_waiters();
            }
            if state.ended.is_some() {
                return;
            }
            match source {
                Source::Connection(id) => state.core.close(now, id),
                Source::Listener(id) => state.core.close_listener(now, id),
                Source::Udp(id) => state.core.udp_close(now, id),
                Source::Diversion => state.core.end_diversion(),
                Source::Handshake(_) | Source::Quiescence => {}
            }
            state.hand_on(now, after);
        });
    }

    /// Packets have come in by the queue of another shard. Datagrams that they made, and that are others', go to `passed_on`.
    pub(crate) fn take(&self, packets: &mut Vec<Received>, passed_on: &mut Vec<(usize, Received)>) {
        self.locked(|state, now, after| {
            if state.ended.is_none() {
                state.core.handle_batch(now, packets);
                passed_on.extend(iter::from_fn(|| state.core.poll_passed_on()));
                after.wake_driver(&mut state.driver);
            }
        });
        packets.clear();
    }

    /// The last handle is gone: the driver is to end as soon as nothing is left to do. The process's loopback stays.
    pub(crate) fn retire(&self) {
        self.locked(|state, _, after| {
            state.retired = true;
            after.wake_driver(&mut state.driver);
        });
    }

    /// The driver is gone: whoever waits learns why, and so does every later call.
    pub(crate) fn end(&self, why: Ended) {
        self.locked(|state, _, after| state.end(why, after));
    }

    /// A runtime is gone: whoever waits for a socket that was made in it learns that.
    pub(crate) fn leave(&self, home: &Home) {
        self.wake_all(|waiters| waiters.home == Some(home.runtime()));
    }

    /// A panic while the lock was held is told where it happened. It must not become a panic of everyone
    /// else, least of all in a `Drop`.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Brings every event of the core to those who wait for it.
    pub(crate) fn deliver_events(&mut self, after: &mut Afterwards) {
        while let Some(event) = self.core.poll_event() {
            let (source, readiness) = match event {
                Event::Ready(id, readiness) => (Source::Connection(id), readiness),
                Event::Acceptable(id) | Event::Incoming(id) => (Source::Listener(id), Readiness::READABLE),
                Event::IncomingSettled(_, tuple) => (Source::Handshake(tuple), Readiness::READABLE),
                Event::Udp(id, readiness) => (Source::Udp(id), readiness),
                Event::Diverted => (Source::Diversion, Readiness::READABLE),
                _ => continue,
            };
            if let Some(waiters) = self.waiters.existing(source) {
                waiters.wake(readiness, after);
            }
        }
    }

    /// Wakes who waits for quiescence, or for the end of a shutdown, if it has come.
    pub(crate) fn deliver_quiescence(&mut self, after: &mut Afterwards) {
        let delivered = self.core.is_shut_down() && self.core.undelivered() == 0;
        if delivered || is_quiescent(&self.core) {
            self.waiters.existing(Source::Quiescence).into_iter().for_each(|waiters| waiters.wake_all(after));
        }
    }

    /// A task that waits for more will not answer what it has: on the process's loopback the peer gets its
    /// acknowledgement at once, and neither Nagle's algorithm nor anybody else waits for one that is delayed.
    fn before_waiting(&mut self, source: Source, now: Timestamp, after: &mut Afterwards) {
        if let (Some(_), None, Source::Connection(id)) = (&self.keeper, &self.ended, source) {
            self.core.acknowledge(now, id);
            if self.core.has_output() {
                self.serve_caller(now, after);
            }
        }
    }

    /// See [`Shard::end`].
    pub(crate) fn end(&mut self, why: Ended, after: &mut Afterwards) {
        self.ended.get_or_insert(why);
        self.driver = None;
        after.concern_all();
    }

    /// A call has left something to do: the driver is woken for it, or it is done here.
    fn hand_on(&mut self, now: Timestamp, after: &mut Afterwards) {
        if self.keeper.is_some() {
            self.serve_caller(now, after);
        } else {
            after.wake_driver(&mut self.driver);
        }
    }

    fn advance(&mut self, now: Timestamp) -> Timestamp {
        self.now = self.now.max(now);
        self.now
    }

    fn attempt<R>(
        &mut self,
        effect: Effect,
        now: Timestamp,
        after: &mut Afterwards,
        attempt: impl FnOnce(&mut Core, Timestamp) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if let Some(ended) = &self.ended {
            return Poll::Ready(Err(ended.to_error()));
        }
        let result = attempt(&mut self.core, now);
        let work = match effect {
            Effect::None => false,
            Effect::Output => self.core.has_output(),
            Effect::Driver => true,
        };
        if work && matches!(result, Poll::Ready(Ok(_))) {
            self.hand_on(now, after);
        }
        result
    }

    fn wait(
        &mut self,
        source: Source,
        home: Option<&Home>,
        slot: Slot<'_>,
        waker: &Waker,
        after: &mut Afterwards,
    ) {
        let Some(waiters) = self.waiters.place(source) else { return };
        waiters.home = home.map(Home::runtime);
        let before = waiters.queue_memory();
        match slot {
            Slot::Reader => after.replace(&mut waiters.reader, waker),
            Slot::Writer => after.replace(&mut waiters.writer, waker),
            Slot::Queue(interest, ticket) => {
                let ticket = *ticket.get_or_insert_with(|| Ticket::issue(&mut self.tickets));
                waiters.enqueue(ticket, interest, waker, after);
            }
        }
        let grown = waiters.queue_memory() - before;
        self.waiters.queue_has_grown(grown);
        self.weigh_waiters();
    }

    /// What the tasks take that wait may have changed.
    fn weigh_waiters(&mut self) {
        self.core.set_waiters(self.waiters.memory());
    }

    fn leave(&mut self, source: Source, ticket: Option<Ticket>, after: &mut Afterwards) {
        let Some(waiters) = self.waiters.existing(source) else { return };
        if let Some(ticket) = ticket {
            waiters.dequeue(ticket, after);
        }
        // Nobody closes a handshake.
        if matches!(source, Source::Handshake(_)) && waiters.is_empty() {
            self.waiters.remove(source);
            self.weigh_waiters();
        }
    }
}

/// Whether no connection is left, in whichever state that is not TIME-WAIT.
pub(crate) fn is_quiescent(core: &Core) -> bool {
    let sizes = core.sizes();
    sizes.connections == 0 && sizes.half_open == 0
}
