//! Lines with `>`: the stack has to send this.

use super::ast::{Body, PacketSpec, TcpOption};
use super::compare::{Findings, compare};
use super::notation;
use super::report::Failure;
use super::run::{Runner, Sniffed, Stop};
use super::settings::Mode;
use super::wire::{PacketBody, Tcp, flag};

/// How long after its time a packet is still waited for, so that the message can tell when it came.
const GRACE: u64 = 300_000_000;

impl Runner<'_> {
    pub(super) fn expect_packet(
        &mut self,
        spec: &PacketSpec,
        from: u64,
        to: u64,
        any_time: bool,
    ) -> Result<(), Stop> {
        if let Body::Unsupported(what) = &spec.body {
            return Err(Stop::Unsupported(what.clone()));
        }
        if spec.ports.is_none()
            && let (Body::Tcp(tcp), Some(current)) = (&spec.body, self.current)
            && tcp.flags & flag::SYN != 0
        {
            self.flows[current].name_isn(tcp.seq);
        }
        let limit = if any_time { self.now + 2 * GRACE } else { to + self.tolerance(to) };
        let Some(first) = self.next_packet(limit)? else {
            return Err(self.nothing_came(spec, to, any_time));
        };
        let sniffed = self.gather(spec, first, limit)?;
        self.name_timestamp(spec, &sniffed);
        self.judge(spec, &sniffed, from, to, any_time)
    }

    /// The next packet that a line can be about, if there is one before `limit`.
    fn next_packet(&mut self, limit: u64) -> Result<Option<Sniffed>, Stop> {
        loop {
            while let Some(sniffed) = self.sniffed.pop_front() {
                // packetdrill sees the packets of one socket only.
                let other = self.settings.mode == Mode::Packetdrill
                    && sniffed.flow.is_some_and(|flow| Some(flow) != self.current);
                if !other {
                    return Ok(Some(sniffed));
                }
            }
            match self.next_deadline() {
                Some(deadline) if deadline <= limit => self.run_timer(deadline)?,
                _ => return Ok(None),
            }
        }
    }

    /// Where a line of the script may stand for several segments, puts them together.
    fn gather(&mut self, spec: &PacketSpec, mut first: Sniffed, limit: u64) -> Result<Sniffed, Stop> {
        let Body::Tcp(expected) = &spec.body else { return Ok(first) };
        if self.settings.strict_segments {
            return Ok(first);
        }
        loop {
            let PacketBody::Tcp(tcp) = &first.packet.body else { return Ok(first) };
            let len = tcp.payload.len();
            if len == 0 || len >= expected.len {
                return Ok(first);
            }
            let next_seq = tcp.seq.wrapping_add(u32::try_from(len).unwrap_or(u32::MAX));
            let flow = first.flow;
            let Some(next) = self.next_packet(limit)? else { return Ok(first) };
            let follows = |tcp: &Tcp| tcp.seq == next_seq && !tcp.payload.is_empty() && next.flow == flow;
            let joined = match &next.packet.body {
                PacketBody::Tcp(tcp) if follows(tcp) => tcp.clone(),
                _ => {
                    self.sniffed.push_front(next);
                    return Ok(first);
                }
            };
            if let PacketBody::Tcp(tcp) = &mut first.packet.body {
                let (seq, mut payload) = (tcp.seq, std::mem::take(&mut tcp.payload));
                payload.extend_from_slice(&joined.payload);
                *tcp = Tcp { seq, payload, ..joined };
                // What a host cuts itself has a PSH at its end in Linux, so that the receiver joins no more.
                tcp.flags = (tcp.flags & !flag::PSH) | (expected.flags & flag::PSH);
            }
            self.mark(next.trace);
            first.at = next.at;
        }
    }

    fn name_timestamp(&mut self, spec: &PacketSpec, sniffed: &Sniffed) {
        let (Body::Tcp(expected), PacketBody::Tcp(actual)) = (&spec.body, &sniffed.packet.body) else {
            return;
        };
        let ts = |options: &[TcpOption]| {
            options.iter().find_map(|option| match option {
                TcpOption::Timestamps { val, .. } => Some(*val),
                _ => None,
            })
        };
        let script = expected.options.as_deref().and_then(ts);
        if let (Some(script), Some(wire), Some(flow)) = (script, ts(&actual.options), sniffed.flow) {
            self.flows[flow].name_timestamp(script, wire);
        }
    }

    fn judge(
        &mut self,
        spec: &PacketSpec,
        sniffed: &Sniffed,
        from: u64,
        to: u64,
        any_time: bool,
    ) -> Result<(), Stop> {
        self.mark(sniffed.trace);
        if let (Some((src, _)), Some(flow)) = (spec.ports, sniffed.flow) {
            self.flows[flow].script_port.get_or_insert(src);
            self.current = Some(flow);
        }
        let flow = sniffed.flow.map(|flow| &self.flows[flow]);
        let segment = self.in_script(sniffed);
        let spec = &self.with_own_cookies_in(spec, flow);
        let mut findings = compare(spec, &sniffed.packet, segment.as_ref(), flow, self.settings);
        if spec.ports.is_none() && sniffed.flow.is_some() && sniffed.flow != self.current {
            findings.push("connection", "the current one".into(), "another one; lines can name ports".into());
        }
        let tolerance = self.tolerance(to);
        let early = sniffed.at + tolerance < from;
        let late = sniffed.at > to.saturating_add(tolerance);
        if !any_time && (early || late) {
            findings.push("time", notation::time(from), notation::time(sniffed.at));
        }
        let Findings { differences, unsupported } = findings;
        for what in unsupported {
            self.unsupported(what);
        }
        if differences.is_empty() {
            return Ok(());
        }
        let fields: Vec<_> = differences.iter().map(|difference| difference.field).collect();
        let mut failure =
            Failure::new(self.line, format!("the packet is not the expected one: {}", fields.join(", ")));
        failure.expected = Some(format!("{} {}", notation::time(from), notation::spec(spec)));
        failure.actual = Some(self.show_sniffed(sniffed));
        failure.differences = differences;
        Err(failure.into())
    }

    fn nothing_came(&mut self, spec: &PacketSpec, to: u64, any_time: bool) -> Stop {
        let mut failure = Failure::new(self.line, "the packet was not sent");
        let when = if any_time { "*".into() } else { notation::time(to) };
        failure.expected = Some(format!("{when} {}", notation::spec(spec)));
        failure.actual = Some("nothing".into());
        if let Ok(Some(later)) = self.next_packet(to.saturating_add(GRACE)) {
            failure.actual = Some(format!("nothing then; the next one is {}", self.show_sniffed(&later)));
        }
        failure.into()
    }

    /// Writes the script's line to a packet of the exchange.
    fn mark(&mut self, trace: usize) {
        if let Some(rest) = self.exchange[trace].strip_prefix("   -") {
            self.exchange[trace] = format!("{:>4}{rest}", self.line);
        }
    }
}
