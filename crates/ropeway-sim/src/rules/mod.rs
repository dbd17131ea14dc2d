//! Rules that a test makes for single packets, and what it expects of them.

mod handles;
mod segments;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ropeway_packet::{IpPacket, Protocol, SeqNum, TcpFlags, parse_tcp};

pub use self::handles::{Expectation, Rule};
pub use self::segments::{Segment, Segments};
use crate::world::{NodeId, Packet};

/// Makes another packet of one, from its IP header on: see [`Action::replace`].
pub type Replacement = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send>;

/// What a [rule](crate::Net::rule) does with the segments that it matches.
///
/// # Examples
///
/// ```
/// use ropeway_sim::Action;
/// use std::time::Duration;
///
/// let late = Action::Delay(Duration::from_millis(5));
/// let shorter = Action::replace(|packet| packet[..packet.len() - 1].to_vec());
/// # let _ = (late, shorter);
/// ```
#[non_exhaustive]
pub enum Action {
    /// Nothing: it only counts them.
    Pass,
    /// Drops them.
    Drop,
    /// Keeps them until [`Rule::release`].
    Hold,
    /// Sends them so much later. Others overtake them.
    Delay(Duration),
    /// Sends them twice.
    Duplicate,
    /// Inverts the lowest bit of the last byte.
    Corrupt,
    /// Sends something else instead: what the function makes of the whole packet, from its IP header on. Checksums
    /// are the function's business.
    Replace(Replacement),
}

impl Action {
    /// [`Action::Replace`] by what `replace` makes of the packet.
    pub fn replace(replace: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) -> Self {
        Self::Replace(Box::new(replace))
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("Pass"),
            Self::Drop => f.write_str("Drop"),
            Self::Hold => f.write_str("Hold"),
            Self::Delay(by) => f.debug_tuple("Delay").field(by).finish(),
            Self::Duplicate => f.write_str("Duplicate"),
            Self::Corrupt => f.write_str("Corrupt"),
            Self::Replace(_) => f.write_str("Replace"),
        }
    }
}

/// What is to become of a packet.
pub(crate) enum Ruling {
    Send(Packet),
    Twice(Packet),
    Later(Packet, Duration),
    Dropped(Packet),
    Held,
}

/// All rules of a network.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    count: u64,
    rules: BTreeMap<u64, Ruled>,
    /// The initial sequence numbers of who has sent a SYN to whom since there is a rule.
    first: HashMap<(SocketAddr, SocketAddr), SeqNum>,
}

#[derive(Debug)]
struct Ruled {
    segments: Segments,
    action: Action,
    /// Segments that fit, and those of them that were chosen.
    fitted: u64,
    matched: u64,
    held: Vec<(NodeId, Packet)>,
    /// How often it is expected to match.
    expected: Option<RangeInclusive<u64>>,
}

impl Rules {
    pub(crate) fn add(
        &mut self,
        segments: Segments,
        action: Action,
        expected: Option<RangeInclusive<u64>>,
    ) -> u64 {
        self.count += 1;
        let rule = Ruled { segments, action, fitted: 0, matched: 0, held: Vec::new(), expected };
        self.rules.insert(self.count, rule);
        self.count
    }

    /// Takes a rule away, with what it holds.
    fn remove(&mut self, id: u64) -> Vec<(NodeId, Packet)> {
        self.rules.remove(&id).map(|rule| rule.held).unwrap_or_default()
    }

    fn release(&mut self, id: u64) -> Vec<(NodeId, Packet)> {
        self.rules.get_mut(&id).map(|rule| std::mem::take(&mut rule.held)).unwrap_or_default()
    }

    /// How many packets rules have kept.
    pub(crate) fn held(&self) -> usize {
        self.rules.values().map(|rule| rule.held.len()).sum()
    }

    fn matched(&self, id: u64) -> u64 {
        self.rules.get(&id).map_or(0, |rule| rule.matched)
    }

    fn expect(&mut self, id: u64, times: RangeInclusive<u64>) {
        if let Some(rule) = self.rules.get_mut(&id) {
            rule.expected = Some(times);
        }
    }

    /// What was expected and has not happened, or has happened too often.
    pub(crate) fn disappointments(&self) -> Vec<String> {
        self.rules.values().filter_map(Ruled::disappointment).collect()
    }

    fn disappointment(&self, id: u64) -> Option<String> {
        self.rules.get(&id).and_then(Ruled::disappointment)
    }

    /// Decides over a packet that `node` sends. Of several rules that match, all count it, and the first that does
    /// something to it is applied.
    pub(crate) fn judge(&mut self, node: NodeId, packet: Packet, header: &IpPacket) -> Ruling {
        if self.rules.is_empty() || header.protocol != Protocol::TCP {
            return Ruling::Send(packet);
        }
        let bytes = packet.bytes.clone();
        let Ok(parsed) = parse_tcp(&bytes, header.clone(), false) else { return Ruling::Send(packet) };
        let from = SocketAddr::new(header.src, parsed.tcp.src_port);
        let to = SocketAddr::new(header.dst, parsed.tcp.dst_port);
        if parsed.tcp.flags.contains(TcpFlags::SYN) {
            self.first.insert((from, to), parsed.tcp.seq);
        }
        let relative = |number: SeqNum, first: Option<&SeqNum>| first.map(|first| number.since(*first));
        let segment = Segment {
            from,
            to,
            header: &parsed.tcp,
            payload: bytes.get(parsed.payload.clone()).unwrap_or_default(),
            seq: relative(parsed.tcp.seq, self.first.get(&(from, to))),
            ack: relative(parsed.tcp.ack, self.first.get(&(to, from)))
                .filter(|_| parsed.tcp.flags.contains(TcpFlags::ACK)),
        };
        let mut ruling = None;
        for rule in self.rules.values_mut() {
            if rule.chooses(&segment) && ruling.is_none() {
                ruling = rule.apply(node, &packet);
            }
        }
        ruling.unwrap_or(Ruling::Send(packet))
    }
}

impl Ruled {
    /// Whether the rule matches a segment, which is counted.
    fn chooses(&mut self, segment: &Segment<'_>) -> bool {
        if !self.segments.fit(segment) {
            return false;
        }
        self.fitted += 1;
        let chosen = self.segments.chooses_number(self.fitted);
        self.matched += u64::from(chosen);
        chosen
    }

    fn apply(&mut self, node: NodeId, packet: &Packet) -> Option<Ruling> {
        let mut packet = packet.clone();
        packet.notes.rule = true;
        Some(match &mut self.action {
            Action::Pass => return None,
            Action::Drop => Ruling::Dropped(packet),
            Action::Hold => {
                self.held.push((node, packet));
                Ruling::Held
            }
            Action::Delay(by) => Ruling::Later(packet, *by),
            Action::Duplicate => Ruling::Twice(packet),
            Action::Corrupt => {
                packet.bytes = corrupted(&packet.bytes);
                Ruling::Send(packet)
            }
            Action::Replace(replace) => {
                packet.bytes = replace(&packet.bytes).into();
                Ruling::Send(packet)
            }
        })
    }

    fn disappointment(&self) -> Option<String> {
        let expected = self.expected.as_ref().filter(|expected| !expected.contains(&self.matched))?;
        let times = match (*expected.start(), *expected.end()) {
            (0, 0) => "never".to_owned(),
            (least, u64::MAX) => format!("at least {least} times"),
            (least, most) if least == most => format!("{least} times"),
            (least, most) => format!("{least} to {most} times"),
        };
        Some(format!("expected {times}, seen {} times: {}", self.matched, self.segments))
    }
}

fn corrupted(bytes: &Bytes) -> Bytes {
    let mut bytes = BytesMut::from(bytes.as_ref());
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes.freeze()
}
