//! The packet policy: what ports without a connection say. All three answers of a port scan are possible.

use std::ops::RangeInclusive;

use ropeway_packet::Protocol;

/// What a port says to a packet that belongs to no connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortPolicy {
    /// As it is: open if somebody listens, closed (RST, or ICMP port unreachable for UDP) if not.
    #[default]
    Open,
    /// Closed, even if somebody listens.
    Refuse,
    /// Filtered: an ICMP error, "administratively prohibited".
    Prohibit,
    /// Filtered: nothing at all.
    Drop,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct PacketPolicy {
    rules: Vec<(Protocol, RangeInclusive<u16>, PortPolicy)>,
}

impl PacketPolicy {
    pub(crate) fn set(&mut self, protocol: Protocol, ports: RangeInclusive<u16>, policy: PortPolicy) {
        // What is covered whole by the new rule counts no more.
        self.rules.retain(|(known, range, _)| {
            *known != protocol || range.start() < ports.start() || range.end() > ports.end()
        });
        self.rules.push((protocol, ports, policy));
    }

    /// The newest rule for a port counts.
    pub(crate) fn of(&self, protocol: Protocol, port: u16) -> PortPolicy {
        let matching =
            self.rules.iter().rev().find(|(known, range, _)| *known == protocol && range.contains(&port));
        matching.map_or(PortPolicy::Open, |(.., policy)| *policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_rule_counts() {
        let mut policy = PacketPolicy::default();
        policy.set(Protocol::TCP, 1..=100, PortPolicy::Drop);
        policy.set(Protocol::TCP, 80..=80, PortPolicy::Open);
        policy.set(Protocol::UDP, 80..=80, PortPolicy::Refuse);
        assert_eq!(policy.of(Protocol::TCP, 79), PortPolicy::Drop);
        assert_eq!(policy.of(Protocol::TCP, 80), PortPolicy::Open);
        assert_eq!(policy.of(Protocol::TCP, 101), PortPolicy::Open);
        assert_eq!(policy.of(Protocol::UDP, 80), PortPolicy::Refuse);
        policy.set(Protocol::TCP, 0..=u16::MAX, PortPolicy::Prohibit);
        assert_eq!(policy.rules.len(), 2);
    }
}
