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

/// What becomes of an ICMP echo request to an address of the stack (RFC 1122 3.2.2.6, RFC 4443 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EchoPolicy {
    /// The stack answers.
    #[default]
    Answer,
    /// Nobody does, and the request is counted (`Counters::policy_refused`).
    Drop,
    /// The program is to decide: the packet is [diverted](crate::Stack::divert) whole. While nothing is diverted, it is dropped.
    Divert,
}

/// The policy of each port of the protocols that have one.
#[derive(Clone, Default)]
pub(crate) struct PacketPolicy {
    protocols: Vec<(Protocol, Vec<PortPolicy>)>,
}

impl std::fmt::Debug for PacketPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.protocols.iter().map(|(protocol, _)| protocol)).finish()
    }
}

const PORTS: usize = 1 << 16;

impl PacketPolicy {
    /// The newest rule for a port counts.
    pub(crate) fn set(&mut self, protocol: Protocol, ports: RangeInclusive<u16>, policy: PortPolicy) {
        let known = self.protocols.iter().position(|(known, _)| *known == protocol);
        let place = known.unwrap_or_else(|| {
            self.protocols.push((protocol, vec![PortPolicy::Open; PORTS]));
            self.protocols.len() - 1
        });
        let range = usize::from(*ports.start())..=usize::from(*ports.end());
        let of_protocol = self.protocols.get_mut(place).and_then(|(_, policies)| policies.get_mut(range));
        if let Some(policies) = of_protocol {
            policies.fill(policy);
        }
    }

    pub(crate) fn of(&self, protocol: Protocol, port: u16) -> PortPolicy {
        let of_protocol = self.protocols.iter().find(|(known, _)| *known == protocol);
        let policy = of_protocol.and_then(|(_, policies)| policies.get(usize::from(port)));
        policy.copied().unwrap_or_default()
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
        assert_eq!(policy.of(Protocol::TCP, 80), PortPolicy::Prohibit);
        assert_eq!(policy.of(Protocol::TCP, u16::MAX), PortPolicy::Prohibit);
        assert_eq!(policy.of(Protocol::UDP, 81), PortPolicy::Open);
        #[allow(clippy::reversed_empty_ranges, reason = "a range without a port")]
        policy.set(Protocol::UDP, 9..=8, PortPolicy::Drop);
        assert_eq!([8, 9].map(|port| policy.of(Protocol::UDP, port)), [PortPolicy::Open; 2]);
    }
}
