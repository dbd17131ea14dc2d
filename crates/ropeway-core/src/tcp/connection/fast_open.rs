//! Fast Open (RFC 7413): the handshake of a connection whose SYN carries data.
//!
//! The client's data is booked in the flight when the SYN leaves, and stays there: what the SYN-ACK does not acknowledge goes
//! out again at once. SYNs that are sent again have neither data nor option. The server's connection is in SYN-RECEIVED until
//! the third segment comes, and takes and sends data all the same.

use ropeway_packet::{FastOpen as Cookie, FourTuple, Payload, TcpFlags, TcpHeader};

use super::mss::{MIN_MSS, header_overhead};
use super::segment_arrives::{Arrival, Step, Verdict};
use super::state::{Cause, State};
use super::timers::Timer;
use super::{Connection, Env, Handshake, Holder, SendFlags, Setup};
use crate::buffer::send::length_u32;
use crate::event::ListenerId;
use crate::options::SocketOptions;
use crate::tcp::fast_open::{Answered, Attempt, Client, FastOpen, FastOpenFailure, News, Server};
use crate::tcp::sender::Plan;

/// Data in a SYN leaves room for all options that there can be: boxes on the way may add some. As in Linux.
const OPTIONS: u16 = 40;

/// After so many timeouts in a row a path is taken for a black hole (RFC 7413 7.1), as in Linux: with the next one.
const PATIENCE: u32 = 2;

impl Connection {
    /// An active open tries it. Says how much of `data` goes with the SYN; nothing else was taken.
    pub(crate) fn try_fast_open(&mut self, attempt: &Attempt, data: &[u8], env: &mut Env<'_>) -> usize {
        let room = if attempt.data { self.room_in_syn(attempt.mss) } else { 0 };
        let data = data.get(..room.min(data.len())).unwrap_or(data);
        let taken = match data.is_empty() {
            true => 0,
            false => self.send(&[std::io::IoSlice::new(data)], SendFlags::default(), env).unwrap_or(0),
        };
        self.rare.fast_open = Some(Box::new(FastOpen::Client(Client {
            option: attempt.option,
            len: length_u32(taken),
            failure: attempt.failure,
            ..Client::default()
        })));
        taken
    }

    /// RFC 7413 4.2.2-7: as much as the server said it takes, or as the path does.
    fn room_in_syn(&self, known: Option<u16>) -> usize {
        let path = self.path_mtu.saturating_sub(header_overhead(&self.tuple));
        let peer = known.unwrap_or(self.receiver.rcv().advmss).max(MIN_MSS);
        let most = peer.min(path).min(self.options.max_segment.unwrap_or(u16::MAX));
        most.saturating_sub(OPTIONS).into()
    }

    // RFC 7413 4.2.2-9
    /// A SYN asked a listener for more than a place in its queue: the connection is there before the third segment, and with
    /// it what came with the SYN (RFC 7413 4.2.2-2). `cookie`: what the SYN-ACK brings.
    pub(crate) fn open_fast(
        (tuple, options, setup): (FourTuple, std::sync::Arc<SocketOptions>, &Setup),
        (listener, cookie): (ListenerId, Option<Cookie>),
        handshake: &Handshake,
        segment: &mut Arrival,
        env: &mut Env<'_>,
    ) -> Box<Self> {
        let holder = Holder::AcceptQueue(listener);
        let mut connection = Self::new(tuple, State::SynReceived, holder, options, setup, env);
        connection.peer_syn(handshake.irs, &handshake.negotiated, segment.ecn, env.now);
        connection.receiver.open_window(handshake.announced_window);
        connection.sender.open_early(segment.header.window.into());
        connection.rare.fast_open = Some(Box::new(FastOpen::Server(Server {
            listener,
            option: cookie,
            syn_data: !segment.payload.is_empty(),
            answered_at: None,
            pending: true,
            reset: false,
        })));
        connection.begin_tuning(env);
        connection.statistics.segments_in += 1;
        connection.statistics.data_segments_in += u32::from(!segment.payload.is_empty());
        connection.cut_off_syn(segment);
        if segment.len() > 0 || segment.has(TcpFlags::URG) {
            // The SYN-ACK acknowledges what was taken of it.
            let _verdict = connection.take_rest_of_syn(segment, env);
            connection.timers.stop(Timer::DelayedAck);
        }
        connection.syn_due = true;
        connection.output_due = true;
        connection
    }

    fn fast_open(&self) -> Option<&FastOpen> {
        self.rare.fast_open.as_deref()
    }

    fn client(&self) -> Option<&Client> {
        match self.fast_open()? {
            FastOpen::Client(client) => Some(client),
            FastOpen::Server(_) => None,
        }
    }

    fn client_mut(&mut self) -> Option<&mut Client> {
        self.client()?;
        match self.rare.fast_open.as_deref_mut()? {
            FastOpen::Client(client) => Some(client),
            FastOpen::Server(_) => None,
        }
    }

    fn server(&self) -> Option<&Server> {
        match self.fast_open()? {
            FastOpen::Server(server) => Some(server),
            FastOpen::Client(_) => None,
        }
    }

    fn server_mut(&mut self) -> Option<&mut Server> {
        self.server()?;
        match self.rare.fast_open.as_deref_mut()? {
            FastOpen::Server(server) => Some(server),
            FastOpen::Client(_) => None,
        }
    }

    /// The connection is in SYN-RECEIVED, and open all the same: a cookie has shown where the peer is.
    pub(super) fn is_open_early(&self) -> bool {
        self.state() == State::SynReceived && self.server().is_some()
    }

    // RFC 7413 4.2.2-10
    /// What the first SYN, or SYN-ACK, says of it (RFC 7413 4.2.1-3).
    pub(super) fn fast_open_option(&self, first: bool) -> Option<Cookie> {
        match self.fast_open().filter(|_| first)? {
            FastOpen::Client(client) => client.option,
            FastOpen::Server(server) => server.option,
        }
    }

    /// The data that goes with the first SYN (RFC 7413 4.2.2-1), and with no other (RFC 7413 4.2.2-6). It is in flight from now on.
    pub(super) fn data_of_syn(&mut self, tsval: Option<u32>, env: &mut Env<'_>) -> Payload {
        let len = self.client().map_or(0, |client| client.len);
        if len == 0 {
            return Payload::new();
        }
        let seq = self.sender.snd().nxt;
        let plan = Plan { seq, len, segment_size: None, fin: false, again: false, why: None };
        self.sender.on_sent(&plan, env.now, tsval);
        self.statistics.bytes_sent += u64::from(len);
        self.statistics.data_segments_out += 1;
        self.statistics.last_data_sent = Some(env.now);
        self.sender.buffer_mut().slice(seq, len as usize)
    }

    /// A SYN-ACK leaves. Once it was sent twice, the third segment tells of no round trip.
    pub(super) fn syn_ack_leaves(&mut self, first: bool, env: &Env<'_>) {
        if let Some(server) = self.server_mut() {
            server.answered_at = first.then_some(env.now);
            // It takes along what was to be acknowledged.
            self.timers.stop(Timer::DelayedAck);
            self.output_due = true;
        }
    }

    /// The window of a SYN-ACK, less what came with the SYN and was not read.
    pub(super) fn window_beside_syn_data(&self) -> u16 {
        let room = self.recv_buffer().saturating_sub(self.receiver.unread());
        u16::try_from(room).unwrap_or(u16::MAX)
    }

    /// The handshake is complete: what was sent since tells nothing of when the SYN-ACK was. Data that is acknowledged may have
    /// been sent long after it.
    pub(super) fn note_early_sending(&mut self, segment: &Arrival) {
        if let Some(server) = self.server() {
            let alone = segment.header.ack == self.sender.snd().iss + 1;
            self.sender.syn_was_sent_at(server.answered_at.filter(|_| alone));
        }
    }

    /// Our SYN came with data that is too big for the path: one without it goes out at once. It is no sign of congestion.
    pub(super) fn syn_is_too_big(&mut self) {
        let with_data = self.client().is_some_and(|client| client.len > 0);
        if self.state() == State::SynSent && with_data && self.sender.retransmits() == 0 && !self.syn_due {
            self.syn_due = true;
            self.output_due = true;
        }
    }

    /// A segment for a connection whose handshake is not complete. If it is now, and Fast Open was used or asked for, the stack
    /// hears what follows from that.
    pub(super) fn arrives_in_handshake(&mut self, segment: &mut Arrival, env: &mut Env<'_>) -> Step {
        let before = self.state();
        if self.is_syn_again(segment) {
            // Like any duplicate, it is answered, and what it carries is known.
            self.syn_due = true;
            self.output_due = true;
            return Step::Break(Verdict::Drop);
        }
        let header = segment.header;
        let step = match before {
            State::SynSent => self.arrives_in_syn_sent(segment, env),
            _ => self.arrives_in_other_states(segment, env),
        };
        if self.state() == before || self.fast_open().is_none() {
            return step;
        }
        if before == State::SynReceived && self.state().is_synchronized() {
            self.take_ack_of_syn_data(segment, env);
        }
        match self.news(before, &header, env) {
            Some(news) => {
                if let Step::Break(Verdict::Ack) = step {
                    self.ack_now();
                }
                Step::Break(Verdict::Learned(news))
            }
            None => step,
        }
    }

    /// The SYN that has opened the connection, once more.
    fn is_syn_again(&self, segment: &Arrival) -> bool {
        let flags = segment.header.flags;
        let is_syn = flags.contains(TcpFlags::SYN) && !flags.intersects(TcpFlags::ACK | TcpFlags::RST);
        is_syn && self.is_open_early() && segment.header.seq == self.receiver.rcv().irs
    }

    fn news(&mut self, before: State, header: &TcpHeader, env: &mut Env<'_>) -> Option<News> {
        if self.state() == State::Closed {
            // The stack takes it out of its tables, and looks for itself.
            return None;
        }
        if let Some(server) = self.server_mut() {
            let was_pending = std::mem::take(&mut server.pending);
            return was_pending.then_some(News::Complete(server.listener));
        }
        (before == State::SynSent && self.state() != State::SynReceived).then(|| self.answered(header, env))
    }

    /// RFC 7413 4.2.2: what the SYN-ACK says of cookies, and of our data. A SYN with the option that nobody answered is a refusal, too,
    /// data or not (RFC 7413 4.1.3.1): boxes on the way drop options that they do not know.
    fn answered(&self, header: &TcpHeader, env: &mut Env<'_>) -> News {
        let again = self.statistics.retransmitted > 0;
        let client = self.client();
        let (len, acked, taken) =
            client.map_or((0, false, false), |client| (client.len, client.acked, client.taken));
        let asked = client.and_then(|client| client.option);
        // One that was not asked for is ignored.
        let cookie = header.options.fast_open.filter(|cookie| asked.is_some() && !cookie.is_request());
        if len > 0 {
            let count = match acked {
                true => &mut env.counters.fast_open_active,
                false => &mut env.counters.fast_open_active_failed,
            };
            *count += 1;
        }
        let ignored = asked.filter(|asked| asked.is_request() && cookie.is_none() && !again);
        News::Answered(Answered {
            cookie,
            mss: header.options.mss,
            refused: cookie.is_none() && !taken && (len > 0 || (again && asked.is_some())),
            ignored: ignored.map(|asked| asked.is_experiment()),
        })
    }

    /// The SYN-ACK may acknowledge what came with our SYN. What it does not goes out again at once, as new data would: nothing
    /// was lost by congestion (RFC 7413 4.2.2-4).
    pub(super) fn take_ack_of_syn_data(&mut self, segment: &Arrival, env: &mut Env<'_>) {
        if self.client().is_none_or(|client| client.len == 0) {
            return;
        }
        if segment.header.ack.after(self.sender.snd().una) {
            // Of marks a SYN-ACK tells in its own way.
            let header = TcpHeader { flags: TcpFlags::ACK, ..segment.header };
            let plain = Arrival { header, unscaled: true, ..segment.clone() };
            let delivered = self.statistics.delivered;
            self.take_ack(&plain, segment.header.window.into(), env);
            // With the SYN, it was one packet.
            self.statistics.delivered = delivered;
        }
        let all = self.sender.outstanding() == 0;
        let taken = self.sender.snd().una.after(self.sender.snd().iss + 1);
        let failure = match self.statistics.retransmitted {
            _ if all => FastOpenFailure::None,
            0 => FastOpenFailure::DataNotAcked,
            _ => FastOpenFailure::SynRetransmitted,
        };
        if !all {
            self.sender.on_syn_data_refused();
        }
        if let Some(client) = self.client_mut() {
            client.acked = all;
            client.taken = all || taken;
            client.failure = failure;
        }
    }

    /// The retransmission timer has gone off; `over`: for the last time (RFC 7413 7.1).
    pub(super) fn suspect_black_hole(&mut self, over: bool) {
        let timeouts = self.sender.retransmits();
        if (timeouts == PATIENCE || (over && timeouts < PATIENCE))
            && let Some(client) = self.client_mut().filter(|client| client.option.is_some() || client.len > 0)
        {
            client.black_hole = true;
        }
    }

    /// A RST that is not the very next segment, before any data: a box on the way may have lost track.
    pub(super) fn suspect_reset(&mut self) {
        if self.state() == State::Established && self.statistics.data_segments_in == 0 {
            self.note_black_hole();
        }
    }

    fn note_black_hole(&mut self) {
        if let Some(client) = self.client_mut().filter(|client| client.option.is_some()) {
            client.black_hole = true;
        }
    }

    /// Whether the path has been found to swallow what Fast Open sends, since the last time.
    pub(crate) fn take_black_hole(&mut self) -> bool {
        self.client_mut().is_some_and(|client| std::mem::take(&mut client.black_hole))
    }

    /// Whether it has worked to the end: data went with the SYN, and came back.
    pub(crate) fn has_proved_fast_open(&self) -> bool {
        self.client().is_some_and(|client| client.acked) && self.statistics.data_segments_in > 0
    }

    /// The connection is over. All that has come of the peer's data is the FIN behind it: a box on the way may have swallowed the
    /// data. As Linux.
    pub(crate) fn suspect_lost_data(&mut self) {
        let fin_alone = self.receiver.rcv().fin.is_some() && !self.receiver.fin_received();
        if fin_alone && self.statistics.data_segments_in == 0 {
            self.note_black_hole();
        }
    }

    /// The connection is over. If it still counted among those of a listener that wait for their third segment, says which, and
    /// whether the peer has reset it.
    pub(crate) fn end_early(&mut self) -> Option<(ListenerId, bool)> {
        let server = self.server_mut()?;
        std::mem::take(&mut server.pending).then_some((server.listener, server.reset))
    }

    /// The peer has reset it before its handshake was complete.
    pub(super) fn note_early_reset(&mut self) {
        if let Some(server) = self.server_mut() {
            server.reset = true;
        }
    }

    /// Whether data has been taken, or acknowledged, with a SYN (Linux's `TCPI_OPT_SYN_DATA`), and why not.
    pub(super) fn fast_open_info(&self) -> (bool, FastOpenFailure) {
        match self.fast_open() {
            Some(FastOpen::Client(client)) => (client.acked, client.failure),
            Some(FastOpen::Server(server)) => (server.syn_data, FastOpenFailure::None),
            None => (false, FastOpenFailure::None),
        }
    }

    pub(super) fn is_fast_open_child(&self) -> bool {
        matches!(self.fast_open(), Some(FastOpen::Server(_)))
    }

    /// The memory that it takes.
    pub(super) fn fast_open_memory(&self) -> usize {
        self.fast_open().map_or(0, size_of_val)
    }

    /// The peer of a connection that is open early has reset it.
    pub(super) fn fail_early(&mut self, env: &mut Env<'_>) {
        self.note_early_reset();
        self.fail(crate::error::ConnectionError::Reset, Cause::Reset, env);
    }
}
