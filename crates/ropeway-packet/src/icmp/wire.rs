//! The numbers of the messages that are understood.

/// ICMP for IPv4.
pub(super) mod v4 {
    use pnet_packet::icmp::{IcmpTypes as types, destination_unreachable::IcmpCodes as codes};

    pub(in crate::icmp) const ECHO_REPLY: u8 = types::EchoReply.0;
    pub(in crate::icmp) const UNREACHABLE: u8 = types::DestinationUnreachable.0;
    pub(in crate::icmp) const SOURCE_QUENCH: u8 = types::SourceQuench.0;
    pub(in crate::icmp) const ECHO_REQUEST: u8 = types::EchoRequest.0;
    pub(in crate::icmp) const TIME_EXCEEDED: u8 = types::TimeExceeded.0;
    pub(in crate::icmp) const PARAMETER_PROBLEM: u8 = types::ParameterProblem.0;

    /// The code of `UNREACHABLE` that carries an MTU.
    pub(in crate::icmp) const FRAGMENTATION_NEEDED: u8 = codes::FragmentationRequiredAndDFFlagSet.0;
}

/// ICMPv6.
pub(super) mod v6 {
    use pnet_packet::icmpv6::Icmpv6Types as types;

    pub(in crate::icmp) const UNREACHABLE: u8 = types::DestinationUnreachable.0;
    pub(in crate::icmp) const PACKET_TOO_BIG: u8 = types::PacketTooBig.0;
    pub(in crate::icmp) const TIME_EXCEEDED: u8 = types::TimeExceeded.0;
    pub(in crate::icmp) const PARAMETER_PROBLEM: u8 = types::ParameterProblem.0;
    pub(in crate::icmp) const ECHO_REQUEST: u8 = types::EchoRequest.0;
    pub(in crate::icmp) const ECHO_REPLY: u8 = types::EchoReply.0;

    /// The code of `PARAMETER_PROBLEM` for a protocol that is not known.
    pub(in crate::icmp) const UNRECOGNIZED_NEXT_HEADER: u8 = 1;
}
