//! A connection from SYN-SENT, or a completed passive handshake, to LAST-ACK or CLOSING.
//!
//! LISTEN, the passive SYN-RECEIVED and TIME-WAIT live in rooms of their own: there is nothing here for them.

mod buffers;
mod ecn;
mod fast_open;
mod icmp;
mod keepalive;
mod mss;
mod mtu_search;
mod parts;
mod paws;
mod probe;
mod report;
mod rest;
mod segment_arrives;
pub(crate) mod state;
mod timeouts;
mod timers;
mod transmit;
mod user_call;

use std::sync::Arc;
use std::time::Duration;

use ropeway_packet::{
    EcnCodepoint, FourTuple, IpParams, Protocol, SeqNum, TcpOptions, Timestamps, WindowScale,
};

pub(crate) use self::buffers::{announced_scale, initial_window};
use self::keepalive::Probing;
pub(crate) use self::mss::MIN_MSS;
pub(crate) use self::mss::{default_mss, header_overhead};
use self::parts::{ChallengeLimit, FinalReset, Rare};
pub(crate) use self::parts::{
    Env, Handed, Handshake, Holder, Negotiated, Scheduled, Setup, TimeWaitParts, Written,
};
use self::paws::TimestampState;
pub(crate) use self::paws::timestamp_clock;
use self::probe::Probe;
use self::report::Statistics;
pub(crate) use self::segment_arrives::{Arrival, Reply};
use self::state::{Cause, State, StateMachine};
use self::timeouts::RtoEvents;
use self::timers::{Timer, TimerTable};
pub use self::user_call::SendFlags;
use crate::buffer::send::length_u32;
use crate::config::StackConfig;
use crate::congestion::Unbuilt;
use crate::error::ConnectionError;
use crate::event::{ListenerId, Readiness};
use crate::ledger::Floor;
use crate::options::{Extensions, SocketOptions};
use crate::spare::Spare;
use crate::tcp::ecn::Ecn;
use crate::tcp::receiver::Receiver;
use crate::tcp::sender::Sender;
use crate::tcp::sender::spares::Spares;
use crate::time::Timestamp;

#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) tuple: FourTuple,
    machine: StateMachine,
    pub(crate) holder: Holder,
    pub(crate) options: Arc<SocketOptions>,
    pub(crate) scheduled: Scheduled,
    sender: Sender,
    receiver: Receiver,
    timers: TimerTable,
    probing: Probing,
    /// We offered SACK in our SYN.
    offers_sack: bool,
    /// We offered timestamps in our SYN.
    offers_timestamps: bool,
    ecn: Ecn,
    timestamps: Option<TimestampState>,
    rare: Spare<Rare>,
    statistics: Statistics,
    /// The error that ended the connection, until it is told.
    error: Option<ConnectionError>,
    /// Trouble that did not end it (RFC 9293 3.9.2.2).
    soft_error: Option<ConnectionError>,
    /// A SYN, or in SYN-RECEIVED a SYN-ACK, is to be sent.
    syn_due: bool,
    /// The RST that ends the connection is to be sent.
    reset_due: Option<FinalReset>,
    /// The stack ends: after what can be sent at once comes a RST.
    winds_up: bool,
    /// Memory is scarce: the writer waits until some of what it has written is acknowledged.
    held_back: bool,
    /// There may be something to send; `poll_transmit` finds out.
    output_due: bool,
    /// A timer was set, or the place in the queue of deadlines is gone, since the stack asked.
    deadline_due: bool,
    /// Timeouts in a row that passed before the device took what was to be sent.
    unsent_timeouts: u16,
    /// The number of the last packet with something to be acknowledged, among all that were handed to the device.
    handed: u64,
    /// Since when the peer owes us an answer.
    unanswered_since: Option<Timestamp>,
    challenge: ChallengeLimit,
    /// The handshake is not to be completed: it only asks whether the port is open.
    probe: Option<Probe>,
    timestamp_offset: u32,
    flow_label: u32,
    path_mtu: u16,
}

impl Connection {
    fn new(
        tuple: FourTuple,
        state: State,
        holder: Holder,
        options: Arc<SocketOptions>,
        setup: &Setup,
        env: &Env<'_>,
    ) -> Box<Self> {
        let ip_and_tcp = header_overhead(&tuple);
        // RFC 9293 3.7.1 MUST-67
        let announce = setup.device_mtu.saturating_sub(ip_and_tcp);
        let advmss = options.max_segment.map_or(announce, |max| max.min(announce)).max(1);
        let mss = default_mss(&tuple);
        let (path_mtu, search) = mtu_search::begin(&tuple, setup, env);
        let sender = Sender::new(setup.iss, mss, (&options, env.config), Box::new(Unbuilt));
        let uses = Extensions::of(&options, env.config);
        Box::new(Self {
            tuple,
            machine: StateMachine::new(state),
            holder,
            scheduled: Scheduled::default(),
            sender,
            receiver: Receiver::new(advmss, uses.dsack, env.config.auto_recv_buffer.initial),
            timers: TimerTable::default(),
            probing: Probing::default(),
            offers_sack: uses.sack,
            offers_timestamps: uses.timestamps,
            ecn: Ecn::default(),
            timestamps: None,
            rare: Rare::new(setup.old_ts_recent, search),
            statistics: Statistics::default(),
            error: None,
            soft_error: None,
            syn_due: false,
            reset_due: None,
            winds_up: false,
            held_back: false,
            output_due: false,
            deadline_due: false,
            unsent_timeouts: 0,
            handed: 0,
            unanswered_since: None,
            challenge: ChallengeLimit::default(),
            probe: None,
            timestamp_offset: setup.timestamp_offset,
            flow_label: setup.flow_label,
            path_mtu,
            options,
        })
    }

    /// An active OPEN (RFC 9293 3.10.1): the SYN goes out with the next `poll_transmit`.
    pub(crate) fn open(
        tuple: FourTuple,
        options: Arc<SocketOptions>,
        setup: &Setup,
        env: &Env<'_>,
    ) -> Box<Self> {
        let mut connection = Self::new(tuple, State::Closed, Holder::Application, options, setup, env);
        connection.transition(Cause::ActiveOpen);
        if Extensions::of(&connection.options, env.config).window_scaling {
            connection.receiver.announce_scale(announced_scale(&connection.options, env.config));
        }
        connection.syn_due = true;
        connection.output_due = true;
        connection
    }

    /// A passive handshake that its third segment has completed, except for that segment itself, which the
    /// caller lets arrive next.
    pub(crate) fn from_half_open(
        tuple: FourTuple,
        listener: ListenerId,
        options: Arc<SocketOptions>,
        setup: &Setup,
        handshake: &Handshake,
        env: &Env<'_>,
    ) -> Box<Self> {
        let holder = Holder::AcceptQueue(listener);
        let mut connection = Self::new(tuple, State::SynReceived, holder, options, setup, env);
        connection.peer_syn(handshake.irs, &handshake.negotiated, EcnCodepoint::NotEct, env.now);
        connection.receiver.open_window(handshake.announced_window);
        if handshake.retransmits > 0 {
            connection.rare.rto_events = RtoEvents::of_handshake(handshake, env.now);
        }
        let between = handshake.sent_again_after.map(|at| connection.tsval(at));
        connection.sender.syn_was_sent(handshake.answered_at, handshake.retransmits, between);
        connection
    }

    /// What the peer's SYN says, whichever way the connection was opened. `field`: what its packet says of congestion, as far as the peer
    /// is to be told of that.
    fn peer_syn(&mut self, irs: SeqNum, negotiated: &Negotiated, field: EcnCodepoint, now: Timestamp) {
        // RFC 9293 3.7.1 MUST-14, MUST-15: without the option, the default.
        let peer_mss = negotiated.peer_mss.unwrap_or(default_mss(&self.tuple)).max(MIN_MSS);
        let (peer_scale, own_scale) = negotiated.wscale.unzip();
        self.sender.peer_syn(peer_mss, peer_scale);
        self.receiver.peer_syn(irs, own_scale, negotiated.sack);
        if negotiated.sack {
            self.sender.use_sack();
        }
        self.begin_ecn(negotiated.ecn, field);
        self.timestamps = negotiated.timestamps.map(|tsval| TimestampState::new(tsval, irs + 1, now));
        self.update_mss(now);
    }

    pub(crate) fn state(&self) -> State {
        self.machine.get()
    }

    /// Moves the state. What the table does not have cannot be asked for here; if it ever were, the state
    /// stays and the log says so.
    fn transition(&mut self, cause: Cause) {
        if let Err(illegal) = self.machine.transition(&self.tuple, cause) {
            tracing::error!(connection = %self.tuple, %illegal, "refused a transition");
            debug_assert!(false, "{illegal}");
        }
    }

    /// Ends the connection with an error for the user to see.
    fn fail(&mut self, error: ConnectionError, cause: Cause, env: &mut Env<'_>) {
        match error {
            _ if !self.state().is_synchronized() => env.counters.failed_opens += 1,
            ConnectionError::TimedOut => env.counters.timed_out += 1,
            _ => {}
        }
        self.probe_failed(error);
        if !self.rare.is_away() {
            self.rare.rto_events.end(env.now);
        }
        self.error = Some(error);
        self.finish(cause);
    }

    /// CLOSED: nothing is sent any more, but what has arrived can still be read unless there was an error.
    fn finish(&mut self, cause: Cause) {
        self.transition(cause);
        self.timers.stop_all();
        self.statistics.bytes_lost = length_u32(self.sender.end());
        if self.statistics.bytes_lost > 0 {
            let (bytes, held) = (self.statistics.bytes_lost, self.holder == Holder::Application);
            tracing::debug!(connection = %self.tuple, bytes, held, "ended with data that was not acknowledged");
        }
        if self.rare.rest_of_syn.is_some() {
            self.rare.rest_of_syn = None;
        }
        self.syn_due = false;
        self.output_due = false;
        self.receiver.end();
        self.gain(Readiness::OVER);
        if self.error.is_some() {
            self.gain(Readiness::ERROR);
        }
    }

    /// Ends the connection, and owes the peer a RST that says so: it waits for its turn like any other segment.
    fn finish_with(&mut self, reset: FinalReset, cause: Cause) {
        self.finish(cause);
        self.owe(reset);
    }

    fn owe(&mut self, reset: FinalReset) {
        self.reset_due = Some(reset);
        self.output_due = true;
    }

    /// An acknowledgement is due.
    fn ack_now(&mut self) {
        self.receiver.ack_now();
        self.output_due = true;
    }

    /// An acknowledgement is due that nobody waits for, and the application hears something that it may answer at once: where
    /// events come first, the answer takes it along.
    fn ack_after_events(&mut self, env: &Env<'_>) {
        if self.options.quick_ack || !env.config.events_first {
            self.ack_now();
        } else if self.receiver.owe_ack() {
            self.set_timer(Timer::DelayedAck, env.now);
        }
    }

    /// The application has it from now on. What has come before is acknowledged when it has had a chance to answer.
    pub(crate) fn is_accepted(&mut self, now: Timestamp, config: &StackConfig) {
        self.holder = Holder::Application;
        if config.events_first && self.timers.is_set(Timer::DelayedAck) {
            self.set_timer(Timer::DelayedAck, now);
        }
    }

    /// Something to tell the application.
    fn gain(&mut self, readiness: Readiness) {
        self.scheduled.gained |= readiness;
    }

    #[inline]
    pub(crate) fn borrow_flight(&mut self, spares: &mut Spares) {
        self.sender.borrow_flight(spares);
    }

    #[inline]
    pub(crate) fn return_spares(&mut self, spares: &mut Spares) {
        self.sender.return_spares(spares);
        self.receiver.return_spares(spares);
    }

    /// Whether `poll_transmit` should look at this connection.
    pub(crate) fn wants_transmit(&self) -> bool {
        self.output_due
    }

    /// How the peer scales its windows.
    pub(crate) fn peer_scale(&self) -> WindowScale {
        self.sender.snd().wscale.unwrap_or(WindowScale::ZERO)
    }

    /// The earliest deadline, if it may have become earlier since the last time: stopping a timer never does that.
    #[inline]
    pub(crate) fn new_deadline(&mut self) -> Option<Timestamp> {
        if std::mem::take(&mut self.deadline_due) { self.timers.earliest() } else { None }
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.earliest()
    }

    fn set_timer(&mut self, timer: Timer, at: Timestamp) {
        self.timers.set(timer, at);
        self.deadline_due = true;
    }

    /// It has left the queue of deadlines: whatever timer is next needs a place.
    pub(crate) fn leaves_queue(&mut self) {
        self.deadline_due = true;
    }

    /// Where TIME-WAIT takes over: everything its table needs to know.
    pub(crate) fn time_wait(&self) -> TimeWaitParts {
        TimeWaitParts {
            snd_nxt: self.sender.snd().nxt,
            rcv_nxt: self.receiver.rcv().nxt,
            window: self.receiver.window_field(),
            ts_recent: self.timestamps.as_ref().map(|state| state.recent),
        }
    }

    /// `ecn`: whether routers may mark the packet.
    fn ip_params(&self, ecn: EcnCodepoint) -> IpParams {
        IpParams {
            src: self.tuple.local_addr,
            dst: self.tuple.remote_addr,
            protocol: Protocol::TCP,
            // RFC 9293 3.9.2 MUST-49
            hop_limit: self.options.ttl,
            // RFC 9293 3.9.1.9 MUST-48, SHLD-21, SHLD-22
            traffic_class: ecn.within(self.options.tos),
            dont_fragment: true,
            // RFC 9293 3.8.1 MAY-4
            ident: 0,
            flow_label: self.flow_label,
        }
    }

    /// How many bytes may be held unread, when memory may be scarce.
    fn affordable_room(&self, env: &Env<'_>) -> usize {
        self.affordable_beside(self.receiver.unread(), env)
    }

    /// Likewise, if so many bytes are left unread.
    fn affordable_beside(&self, unread: usize, env: &Env<'_>) -> usize {
        let floor = Floor::of(&env.config.auto_recv_buffer);
        env.pressure.to_receive(self.receive_room(unread), unread, floor)
    }

    /// Nobody holds it any more, or it is over.
    pub(crate) fn is_ending(&self) -> bool {
        self.holder == Holder::Nobody || matches!(self.state(), State::Closed | State::TimeWait)
    }

    /// Nobody holds it any more, and it is not over.
    pub(crate) fn is_orphan(&self) -> bool {
        self.holder == Holder::Nobody && !matches!(self.state(), State::Closed | State::TimeWait)
    }

    /// The options of a SYN or SYN-ACK; `first`: one that was not sent before.
    fn syn_options(&self, first: bool, env: &Env<'_>) -> TcpOptions {
        let answering = self.state() == State::SynReceived;
        TcpOptions {
            // RFC 9293 3.7.1 MUST-14, SHLD-5, MAY-3
            mss: Some(self.receiver.rcv().advmss),
            window_scale: self.receiver.rcv().wscale.map(WindowScale::get),
            // RFC 2018 2-1: in an answer only if the peer's SYN had it.
            sack_permitted: if answering { self.receiver.uses_sack() } else { self.offers_sack },
            timestamps: match &self.timestamps {
                Some(state) if answering => {
                    Some(Timestamps { tsval: self.tsval(env.now), tsecr: state.recent })
                }
                // RFC 7323 3.2-2
                None if !answering && self.offers_timestamps => {
                    Some(Timestamps { tsval: self.tsval(env.now), tsecr: 0 })
                }
                _ => None,
            },
            accurate_ecn: if answering { self.option_of_syn_ack() } else { None },
            fast_open: self.fast_open_option(first),
            ..TcpOptions::default()
        }
    }

    /// The retransmission timer's next deadline, cut short by the user timeout.
    fn arm_retransmit(&mut self, now: Timestamp) {
        self.arm_retransmit_after(now, self.sender.rto().current());
    }

    /// Something waits for its turn to be sent. If its turn does not come, time runs out for it all the same.
    pub(crate) fn await_turn(&mut self, now: Timestamp) {
        let waits = self.syn_due || (self.is_open_for_sending() && self.sender.has_unsent());
        if waits && !self.timers.is_set(Timer::Retransmit) && !self.timers.is_set(Timer::Persist) {
            self.arm_retransmit(now);
        }
    }

    /// Nothing can be sent for now, and nothing is outstanding: no answer is due.
    fn stop_waiting(&mut self) {
        if self.sender.outstanding() == 0 && self.timers.is_set(Timer::Retransmit) {
            self.timers.stop(Timer::Retransmit);
            self.unanswered_since = None;
        }
    }

    fn arm_retransmit_after(&mut self, now: Timestamp, timeout: Duration) {
        let mut at = now + timeout;
        let since = *self.unanswered_since.get_or_insert(now);
        if let Some(user_timeout) = self.options.user_timeout {
            at = at.min((since + user_timeout).max(now));
        }
        self.set_timer(Timer::Retransmit, at);
    }

    fn user_timeout_is_over(&self, now: Timestamp) -> bool {
        let (Some(timeout), Some(since)) = (self.options.user_timeout, self.unanswered_since) else {
            return false;
        };
        now.since(since) >= timeout
    }
}

/// How long a corked or deferred small segment may wait. As in Linux.
const CORK_LIMIT: Duration = Duration::from_millis(200);
