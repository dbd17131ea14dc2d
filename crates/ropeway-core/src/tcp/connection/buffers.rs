//! How large the buffers are: as the user says, or as they tune themselves.

use std::time::Duration;

use ropeway_packet::{SeqNum, TcpHeader, WindowScale};

use super::state::State;
use super::{Connection, Env};
use crate::config::StackConfig;
use crate::ledger::Growth;
use crate::options::SocketOptions;
use crate::tcp::receiver::Tick;

/// Of a train, so many segments at most tell of the round trip.
const MOST_TICKS: u32 = 64;

impl Connection {
    /// The size of the receive buffer.
    pub(super) fn recv_buffer(&self) -> usize {
        self.options.fixed_recv_buffer().unwrap_or_else(|| self.receiver.tuned_size())
    }

    /// The size of the send buffer.
    pub(super) fn send_buffer(&self) -> usize {
        self.options.fixed_send_buffer().unwrap_or_else(|| self.sender.tuned_size())
    }

    /// The window field of a SYN, which is never scaled (RFC 7323 2.2-3).
    pub(super) fn initial_window(&self) -> u16 {
        u16::try_from(self.clamped(self.recv_buffer(), 0)).unwrap_or(u16::MAX)
    }

    /// How many of `room` bytes may be held unread for windows to keep to the user's bound, if so many bytes are unread.
    pub(super) fn clamped(&self, room: usize, unread: usize) -> usize {
        self.options.window_clamp.map_or(room, |clamp| room.min(unread.saturating_add(clamp as usize)))
    }

    /// How many bytes may be held unread, as far as windows are concerned, if so many are: in TIME-WAIT, none changes any more.
    pub(super) fn receive_room(&self, unread: usize) -> usize {
        if self.state() == State::TimeWait { 0 } else { self.clamped(self.recv_buffer(), unread) }
    }

    /// Both buffers begin, now that the handshake is complete.
    pub(super) fn begin_tuning(&mut self, env: &mut Env<'_>) {
        self.receiver.begin_tuning(env.now, self.sender.rto().srtt());
        self.fit_send_buffer(0, env);
    }

    /// Data arrives, from `seq` on, so long after the last.
    pub(super) fn tune_recv_buffer(
        &mut self,
        header: &TcpHeader,
        (seq, len): (SeqNum, u32),
        longest: u32,
        pause: Duration,
        env: &mut Env<'_>,
    ) {
        let tunes_itself = self.options.fixed_recv_buffer().is_none();
        // Acknowledgements that are thinned want to know the round trip, too.
        if !tunes_itself && self.options.ack_thinning.is_none() {
            return;
        }
        let echo = self.echoed_rtt(header, env.now);
        let mut growth = env.pressure.growth(&env.config.auto_recv_buffer);
        // Each of the segments that were merged tells what it would have told alone.
        let longest = longest.max(len.div_ceil(MOST_TICKS));
        let mut tick = Tick { now: env.now, seq, len: 0, taken: 0, echo, pause };
        while tick.taken < len {
            tick.len = longest.clamp(1, len - tick.taken);
            self.receiver.tune(&tick, &mut growth);
            tick.taken += tick.len;
            tick.pause = Duration::ZERO;
        }
        env.counters.growth_stopped += u64::from(tunes_itself && growth.was_denied());
    }

    /// The send buffer follows the congestion window. So much has been acknowledged just now.
    pub(super) fn fit_send_buffer(&mut self, advanced: u32, env: &mut Env<'_>) {
        let range = &env.config.auto_send_buffer;
        let mut growth = env.pressure.growth(range);
        self.sender.fit_buffer(advanced, range.initial, &mut growth);
        self.count_denied(growth, env);
    }

    /// Data is about to be written.
    pub(super) fn before_write(&mut self, env: &mut Env<'_>) {
        let range = &env.config.auto_send_buffer;
        let mut growth = env.pressure.growth(range);
        self.sender.begin_anew_after_idle(env.now, range.initial, &mut growth);
        self.count_denied(growth, env);
    }

    /// A size that the user has set wants no growth.
    fn count_denied(&self, growth: Growth, env: &mut Env<'_>) {
        let tunes_itself = self.options.fixed_send_buffer().is_none();
        env.counters.growth_stopped += u64::from(tunes_itself && growth.was_denied());
    }
}

/// The window field of a SYN-ACK, which is never scaled (RFC 7323 2.2-3).
pub(crate) fn initial_window(options: &SocketOptions, config: &StackConfig) -> u16 {
    let window = u16::try_from(config.initial_buffers(options).0).unwrap_or(u16::MAX);
    options.window_clamp.and_then(|clamp| u16::try_from(clamp).ok()).map_or(window, |clamp| window.min(clamp))
}

/// The scale that our SYN announces (RFC 7323 2.3): large enough for the largest window that the buffer may grow to, or that
/// may be set later, unless the user wants a buffer so small that the scale's steps would matter.
pub(crate) fn announced_scale(options: &SocketOptions, config: &StackConfig) -> WindowScale {
    let largest = options.fixed_recv_buffer().unwrap_or(config.auto_recv_buffer.max);
    if let Some(clamp) = options.window_clamp {
        return WindowScale::for_buffer(largest.max(config.max_window as usize).min(clamp as usize));
    }
    let roomy = WindowScale::for_buffer(largest.max(config.max_window as usize));
    if largest >> roomy.get() < 64 { WindowScale::for_buffer(largest) } else { roomy }
}
