//! What the stack must have sent, and how it must stand.

use std::net::SocketAddr;

use bytes::Bytes;
use ropeway_core::packet::{SeqNum, TcpFlags, TcpSegment};
use ropeway_core::{ConnectionId, Event, Readiness, State};

use super::super::wire::{self, Seg};
use super::{Lab, Sent};

impl Lab {
    /// The next thing the stack sent must be this, now.
    #[track_caller]
    pub fn expect(&mut self, want: Seg) -> TcpSegment {
        let Some(sent) = self.out.pop_front() else {
            self.fail(&format!("nothing was sent; expected {}", wire::show(&want)))
        };
        let Some(segment) = sent.tcp.clone() else {
            self.fail(&format!("not TCP; expected {}", wire::show(&want)))
        };
        if let Some(wrong) = self.difference(&want, &segment, &sent.packet) {
            self.fail(&format!("{wrong}; expected {}", wire::show(&want)));
        }
        segment
    }

    fn difference(&self, want: &Seg, segment: &TcpSegment, packet: &[u8]) -> Option<String> {
        let tcp = &segment.tcp;
        let ends =
            (SocketAddr::new(segment.ip.src, tcp.src_port), SocketAddr::new(segment.ip.dst, tcp.dst_port));
        if ends != (self.local, self.remote) {
            return Some(format!("for another connection: {} > {}", ends.0, ends.1));
        }
        let without_push = |flags: TcpFlags| flags & !TcpFlags::PSH;
        if without_push(tcp.flags) != without_push(want.flags) {
            return Some(format!("flags are {:?}", tcp.flags));
        }
        if want.push.is_some_and(|push| push != tcp.flags.contains(TcpFlags::PSH)) {
            return Some("PSH is wrong".into());
        }
        let seq = self.relative(tcp.seq);
        let ack = tcp.ack.get().wrapping_sub(self.flow.isn);
        let payload = &packet[segment.payload.clone()];
        let checks = [
            ("seq", want.seq, Some(seq)),
            ("ack", want.ack, Some(ack)),
            ("win", want.win.map(u32::from), Some(u32::from(tcp.window))),
            ("mss", want.mss.map(u32::from), tcp.options.mss.map(u32::from)),
            ("wscale", want.ws.map(u32::from), tcp.options.window_scale.map(u32::from)),
            ("tsval", want.ts.map(|ts| ts.0), tcp.options.timestamps.map(|ts| ts.tsval)),
            ("tsecr", want.ts.map(|ts| ts.1).or(want.ecr), tcp.options.timestamps.map(|ts| ts.tsecr)),
            ("urg", want.urg.map(u32::from), Some(u32::from(tcp.urgent))),
            ("len", want.len.map(|len| len as u32), Some(payload.len() as u32)),
            ("ecn", want.ecn.map(|field| field as u32), Some(u32::from(segment.ip.traffic_class & 3))),
        ];
        for (name, want, is) in checks {
            if want.is_some() && want != is {
                return Some(format!("{name} is {is:?}"));
            }
        }
        if want.no_ts && tcp.options.timestamps.is_some() {
            return Some("there are timestamps".into());
        }
        if want.sack_ok.is_some_and(|permitted| permitted != tcp.options.sack_permitted) {
            return Some("SACK-permitted is wrong".into());
        }
        let blocks: Vec<_> = tcp
            .options
            .sack
            .as_slice()
            .iter()
            .map(|&(start, end)| {
                let relative = |seq: SeqNum| seq.get().wrapping_sub(self.flow.isn);
                (relative(start), relative(end))
            })
            .collect();
        if want.sack.as_ref().is_some_and(|want| *want != blocks) {
            return Some(format!("SACK blocks are {}", wire::show_blocks(&blocks)));
        }
        let counters = tcp.options.accurate_ecn.map(|option| option.counters().to_vec()).unwrap_or_default();
        if want.counters.as_ref().is_some_and(|want| *want != counters) {
            return Some(format!("counters of ECN are {counters:?}"));
        }
        if want.fast_open.is_some_and(|want| want != tcp.options.fast_open) {
            return Some(format!("Fast Open's option is {:?}", tcp.options.fast_open));
        }
        if want.data.as_ref().is_some_and(|data| data != payload) {
            return Some("the bytes are not those that were written".into());
        }
        None
    }

    /// A sequence number of the stack's as tests write it: relative to its initial one.
    pub fn relative(&self, seq: SeqNum) -> u32 {
        seq.get().wrapping_sub(self.flow.iss)
    }

    /// Nothing was sent.
    #[track_caller]
    pub fn quiet(&mut self) {
        if !self.out.is_empty() {
            self.fail("a packet that nobody expected was sent");
        }
    }

    /// What the stack sent, however it looks.
    #[track_caller]
    pub fn next_packet(&mut self) -> Bytes {
        self.collect();
        match self.out.pop_front() {
            Some(sent) => sent.packet,
            None => self.fail("nothing was sent"),
        }
    }

    #[track_caller]
    pub fn next_tcp(&mut self) -> TcpSegment {
        self.collect();
        match self.out.pop_front().and_then(|sent| sent.tcp) {
            Some(segment) => segment,
            None => self.fail("no TCP segment was sent"),
        }
    }

    /// All that was sent and not expected yet.
    pub fn drain(&mut self) -> Vec<Sent> {
        self.collect();
        self.out.drain(..).collect()
    }

    #[track_caller]
    pub fn assert_state(&self, id: ConnectionId, state: State) {
        if self.state(id) != state {
            self.fail(&format!("the state is {}, not {state}", self.state(id)));
        }
    }

    /// No connection, half-open connection or TIME-WAIT is left.
    #[track_caller]
    pub fn assert_empty(&self) {
        let sizes = self.stack.sizes();
        if (sizes.connections, sizes.half_open, sizes.time_wait) != (0, 0, 0) {
            self.fail(&format!("the tables are not empty: {sizes:?}"));
        }
    }

    /// Whether an event told of (at least) this since the events were last cleared.
    pub fn told(&self, id: ConnectionId, what: Readiness) -> bool {
        self.events
            .iter()
            .any(|event| matches!(event, Event::Ready(of, gained) if *of == id && gained.contains(what)))
    }
}
