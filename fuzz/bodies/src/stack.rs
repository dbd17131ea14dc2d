//! One stack, and whatever a network can send it: raw bytes, reflections of its own packets, segments near its
//! window with right checksums, ICMP errors; calls of an application; steps of the clock. What it delivers is held
//! against the peer's stream, what it sends against the application's, byte for byte; and in the end an honest peer
//! must be able to finish what is left.

mod datagrams;
mod finish;
mod ops;
mod peer;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arbitrary::Unstructured;
use bytes::Bytes;
use ropeway_core::{
    ConnectionId, ListenerId, Received, SocketOptions, Stack, StackConfig, State, SynCookieMode, Timestamp,
};
use ropeway_packet::{FastOpen, FourTuple, SeqNum, TcpFlags, TcpSegment, ip, parse_tcp};

use self::datagrams::Datagrams;
use self::peer::{Peer, drain, own_byte, peer_bytes};
use crate::exercise::repair;
use crate::story::{describe, tell};

/// The application.
#[derive(Debug, Default)]
struct App {
    id: Option<ConnectionId>,
    written: u32,
    read: u32,
    finished: bool,
    saw_end: bool,
    failed: bool,
    /// It has closed or aborted.
    left: bool,
}

struct World {
    stack: Stack,
    now: Timestamp,
    listener: Option<ListenerId>,
    app: App,
    peer: Peer,
    /// SYN-ACKs that have been sent for the tuple: ISS and what they acknowledge.
    offers: Vec<(SeqNum, SeqNum)>,
    /// The stack's last packet.
    last: Bytes,
    /// ECN, and what else the peer's segments may have, is the input's to choose.
    modern: bool,
    /// There are UDP sockets, too, fragments, Fast Open, and probes of the path's MTU.
    datagrams: Option<Datagrams>,
    /// What the packet is that is being shown: one of the stack's own, changed.
    is_reflected: bool,
}

static CONFIGS: LazyLock<Vec<Arc<StackConfig>>> =
    LazyLock::new(|| (0..16).map(config).map(Arc::new).collect());

fn config(variant: u8) -> StackConfig {
    let mut config = StackConfig::default();
    config.addresses = ["10.0.0.2/24", "fd00::2/64"].map(|text| text.parse().expect("an address")).into();
    config.timestamps = variant & 1 == 0;
    config.window_scaling = variant & 2 == 0;
    config.mtu = if variant & 4 == 0 { 1500 } else { 100 };
    config.syn_cookies = if variant & 8 == 0 { SynCookieMode::Never } else { SynCookieMode::Always };
    config.max_connections = 6;
    config.max_time_wait = 3;
    config
}

/// Drives a stack as the input says.
///
/// # Panics
///
/// If the stack breaks one of its promises.
pub fn stack(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let mut world = World::open(&mut input);
    while !input.is_empty() {
        world.step(&mut input);
    }
    world.finish();
    world.leave_all();
    crate::reach::STACK.note([world.stack.counters()].into_iter());
}

/// One byte of the input; none left counts as zero.
fn byte(input: &mut Unstructured<'_>) -> u8 {
    input.arbitrary().unwrap_or(0)
}

impl World {
    fn open(input: &mut Unstructured<'_>) -> Self {
        let now = Timestamp::from_micros(1_000_000);
        let (shape, options) = (byte(input), byte(input));
        let modern = shape & 128 != 0;
        let wide = if modern { byte(input) } else { 0 };
        let mut config = CONFIGS[usize::from(shape & 15)].clone();
        if wide != 0 {
            crate::wide::choose(Arc::make_mut(&mut config), wide);
        }
        let mut stack = Stack::new(config, [3; 32], now);
        let (us, them): (IpAddr, IpAddr) = if shape & 16 == 0 {
            ([10, 0, 0, 2].into(), [10, 0, 0, 1].into())
        } else {
            ([0xfd00, 0, 0, 0, 0, 0, 0, 2].into(), [0xfd00, 0, 0, 0, 0, 0, 0, 1].into())
        };
        let mut socket = SocketOptions::default();
        socket.recv_buffer = [300, 1, 40, 16_384][usize::from(options & 3)];
        socket.send_buffer = [1000, 7, 100, 65_536][usize::from(options >> 2 & 3)];
        socket.nodelay = options & 16 != 0;
        if modern {
            crate::modern::choose(&mut socket, byte(input));
        }
        if wide != 0 {
            crate::wide::choose_socket(&mut socket, wide);
            // A probe needs much that waits.
            socket.send_buffer = if wide & 2 != 0 { 65_536 } else { socket.send_buffer };
        }
        let active = shape & 32 != 0;
        let (local, remote) =
            (SocketAddr::new(us, if active { 5000 } else { 80 }), SocketAddr::new(them, 4000));
        let listener = stack.listen(SocketAddr::new(us, 80), 2, socket.clone()).ok();
        let isn = SeqNum::new(u32::MAX - 70);
        let mut app = App::default();
        if active && wide & 16 != 0 {
            let data: Vec<u8> = (0..crate::wide::len_with_syn(wide) as u32).map(own_byte).collect();
            let opened = stack.connect_with(now, Some(local), remote, socket, &data).ok();
            (app.id, app.written) = opened.map_or((None, 0), |(id, sent)| (Some(id), sent as u32));
        } else if active {
            app.id = stack.connect(now, Some(local), remote, socket).ok();
        }
        let peer = Peer::new(FourTuple::new(local, remote), isn);
        let (offers, last) = (Vec::new(), Bytes::new());
        let datagrams = (wide != 0).then(Datagrams::default);
        let is_reflected = false;
        let mut world =
            Self { stack, now, listener, app, peer, offers, last, modern, datagrams, is_reflected };
        world.open_sockets(false);
        world.settle();
        if shape & 64 == 0 {
            world.shake_hands(active, isn, options);
        }
        world
    }

    /// The handshake of an honest peer.
    fn shake_hands(&mut self, active: bool, isn: SeqNum, options: u8) {
        let (iss, end) = (self.peer.iss, self.peer.end);
        let flags = if active { TcpFlags::SYN | TcpFlags::ACK } else { TcpFlags::SYN };
        let mut syn = self.peer.header(isn, end, flags, 60_000);
        syn.options.mss = Some(if options & 32 == 0 { 1460 } else { 60 });
        syn.options.window_scale = (options & 64 == 0).then_some(0);
        syn.options.timestamps =
            (options & 128 == 0).then_some(ropeway_packet::Timestamps { tsval: self.peer.tsval, tsecr: 0 });
        if self.modern {
            syn.options.sack_permitted = true;
            syn.flags |= TcpFlags::from_ace(options & 7);
        }
        // The server may take what came with the SYN, or not; and give a cookie.
        if self.datagrams.is_some() && active {
            syn.options.fast_open = FastOpen::new(&[7; 8]).filter(|_| options & 8 == 0);
            if options & 16 == 0 {
                syn.ack = iss + 1;
            }
        }
        self.inject(self.peer.packet(&syn, 0));
        if !active {
            let ack = self.peer.honest(0);
            self.inject(self.peer.packet(&ack, 0));
        }
        let id = self.app.id.expect("an honest handshake makes a connection");
        assert!(self.stack.is_connected(id), "an honest handshake is refused (iss {iss:?})");
    }

    /// Shows the stack a packet. Whatever the peer says of its stream is true: of what it is not honest about, no
    /// receiver could know.
    fn inject(&mut self, mut packet: Vec<u8>) {
        let segment = ip::parse(&packet).ok().and_then(|ip| parse_tcp(&packet, ip, true).ok());
        if let Some(segment) = &segment {
            let syn = u32::from(segment.tcp.flags.contains(TcpFlags::SYN));
            let truth = peer_bytes(segment.tcp.seq + syn, segment.payload.len());
            if packet[segment.payload.clone()] != truth {
                packet[segment.payload.clone()].copy_from_slice(&truth);
                repair(&mut packet);
            }
        }
        tell(self.now, || format!("    receives {}", describe(&packet)));
        self.note_datagram(&packet, self.is_reflected);
        let before = (self.state(), self.stack.counters().passive_opens);
        let early = self.stack.counters().fast_open_passive;
        // Some devices know what a packet keeps alive.
        let knows = packet.len().is_multiple_of(2);
        let received = if knows { Received::alone(packet.into()) } else { Received::new(packet.into()) };
        self.stack.handle_packet(self.now, received);
        if let Some(segment) = segment.filter(|segment| self.peer.is_for_stack(segment)) {
            self.peer.shows(&segment);
            self.has_opened(before.0, before.1, &segment);
            if self.stack.counters().fast_open_passive > early && self.app.id.is_none() {
                self.peer.opens_early(segment.tcp.seq + 1);
            }
        }
        self.settle();
    }

    /// Notes where the peer's stream begins, when a segment has opened the connection.
    fn has_opened(&mut self, before: State, passive_opens: u64, segment: &TcpSegment) {
        let synchronizes =
            before == State::SynSent && !matches!(self.state(), State::SynSent | State::Closed);
        if synchronizes {
            self.peer.opened(self.peer.iss, segment.tcp.seq);
        } else if self.stack.counters().passive_opens > passive_opens && self.app.id.is_none() {
            let iss = segment.tcp.ack - 1;
            let offer = self.offers.iter().rev().find(|(offered, _)| *offered == iss);
            let (_, start) = offer.expect("a SYN-ACK with that sequence number");
            self.peer.opened(iss, *start - 1);
        }
    }

    fn state(&self) -> State {
        let info = self.app.id.and_then(|id| self.stack.info(self.now, id).ok());
        info.map_or(State::Closed, |info| info.state)
    }

    /// How many segments it takes to send all that has been written and not acknowledged.
    fn segments_in_buffer(&self) -> usize {
        let info = self.app.id.and_then(|id| self.stack.info(self.now, id).ok());
        info.map_or(0, |info| {
            (info.not_sent + info.unacked as usize).div_ceil(usize::from(info.snd_mss.max(1)))
        })
    }

    /// Takes what the stack sends, gives the application its connection, and looks at what must always hold.
    fn settle(&mut self) {
        let mut sent = Vec::new();
        let segments = self.segments_in_buffer();
        drain(&mut self.stack, self.now, segments, |packet| sent.push(packet));
        for packet in sent {
            self.look_at(packet);
        }
        if let Some(listener) = self.listener {
            while let Ok(Some((id, _))) = self.stack.accept(self.now, listener) {
                let tuple = self.stack.tuple(id).expect("it was just accepted");
                if self.app.id.is_none() && tuple == self.peer.tuple {
                    self.app.id = Some(id);
                } else {
                    self.stack.close(self.now, id);
                }
            }
            drain(&mut self.stack, self.now, segments, |packet| self.last = packet);
        }
        let sizes = self.stack.sizes();
        assert!(sizes.connections <= 6 && sizes.half_open <= 4 && sizes.time_wait <= 3, "{sizes:?}");
        if let Some(info) = self.app.id.and_then(|id| self.stack.info(self.now, id).ok()) {
            let options = self.stack.options(self.app.id.expect("just looked up")).expect("just looked up");
            assert!(info.unread <= options.recv_buffer.max(65_536), "more is unread than the buffer holds");
        }
    }

    /// A packet of the stack: it must be readable, and what it carries must be what was written.
    fn look_at(&mut self, packet: Bytes) {
        tell(self.now, || format!("sends {}", describe(&packet)));
        let ip = ip::parse(&packet).expect("a readable packet");
        let mtu = usize::from(self.stack.config().mtu);
        let is_icmp_v6 = ip.src.is_ipv6() && packet.len() <= 1280 && packet[6] == 58;
        // An echo reply is as long as its request, which came that way.
        let fits = packet.len() <= mtu || is_icmp_v6 || ip.protocol.0 == 1;
        assert!(fits, "longer than the MTU: {packet:02x?}");
        self.last = packet.clone();
        self.look_at_datagram(&packet);
        let Ok(segment) = parse_tcp(&packet, ip, true) else {
            assert!(packet.get(9) != Some(&6) || packet[0] >> 4 == 6, "an unreadable segment: {packet:02x?}");
            return;
        };
        assert!(!segment.malformed_options, "malformed options: {packet:02x?}");
        if !self.peer.is_from_stack(&segment) {
            assert!(segment.payload.is_empty(), "data for somebody else");
            return;
        }
        let tcp = &segment.tcp;
        if tcp.flags.contains(TcpFlags::SYN | TcpFlags::ACK) {
            self.offers.push((tcp.seq, tcp.ack));
        }
        // When the application's connection is over, another incarnation may have its tuple.
        let over = matches!(self.state(), State::Closed | State::TimeWait);
        let alive = self.app.id.is_none() || !(over || self.app.left);
        if alive {
            let scale =
                self.app.id.and_then(|id| self.stack.info(self.now, id).ok()).map(|info| info.rcv_wscale);
            if scale == Some(None) {
                self.peer.never_scaled();
            }
            self.peer.sees(&segment);
        }
        let data = &packet[segment.payload.clone()];
        if !data.is_empty() {
            let syn = u32::from(tcp.flags.contains(TcpFlags::SYN));
            let offset = (tcp.seq + syn).since(self.peer.iss + 1);
            assert!(
                offset + data.len() as u32 <= self.app.written,
                "bytes that nobody wrote, from {offset} on"
            );
            for (i, byte) in (offset..).zip(data) {
                assert_eq!(*byte, own_byte(i), "byte {i} is sent wrong");
            }
        }
        if tcp.flags.contains(TcpFlags::FIN) && alive && self.app.id.is_some() {
            let end = self.peer.iss + 1 + self.app.written;
            assert!(self.app.finished, "a FIN that nobody asked for");
            assert_eq!(tcp.seq + data.len() as u32, end, "the FIN is not behind the last byte");
        }
    }

    /// Moves the clock, and lets the timers go off that this brings.
    fn pass(&mut self, micros: u64) {
        self.now += Duration::from_micros(micros);
        self.expire();
    }

    fn next_deadline(&mut self) -> bool {
        let Some(at) = self.stack.poll_timeout() else { return false };
        self.now = self.now.max(at);
        tell(self.now, || "the next timer".into());
        self.expire();
        true
    }

    fn expire(&mut self) {
        for turns in 0.. {
            if self.stack.poll_timeout().is_none_or(|at| at > self.now) {
                break;
            }
            assert!(turns < 10, "a deadline stays in the past: {:?}", self.stack.poll_timeout());
            self.stack.handle_timeout(self.now);
        }
        self.settle();
    }
}
