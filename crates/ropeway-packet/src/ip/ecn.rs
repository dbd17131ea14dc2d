//! The ECN field of the IP header (RFC 3168 5).

/// The lower two bits of a [traffic class](super::IpPacket::traffic_class).
///
/// ```
/// use ropeway_packet::EcnCodepoint;
///
/// assert_eq!(EcnCodepoint::of(0xb8 | 3), EcnCodepoint::Ce);
/// assert_eq!(EcnCodepoint::Ect0.within(0xb8), 0xb8 | 2);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EcnCodepoint {
    /// The transport does not take part: routers drop instead of marking.
    #[default]
    NotEct = 0b00,
    /// ECN-capable transport, as L4S uses it (RFC 9331).
    Ect1 = 0b01,
    /// ECN-capable transport.
    Ect0 = 0b10,
    /// Congestion Experienced: a router has marked the packet.
    Ce = 0b11,
}

impl EcnCodepoint {
    /// The bits of a traffic class that are ECN's.
    pub const MASK: u8 = 0b11;

    /// What a traffic class says.
    #[inline]
    #[must_use]
    pub const fn of(traffic_class: u8) -> Self {
        match traffic_class & Self::MASK {
            0b00 => Self::NotEct,
            0b01 => Self::Ect1,
            0b10 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// The traffic class with this in its lower two bits.
    #[inline]
    #[must_use]
    pub const fn within(self, traffic_class: u8) -> u8 {
        traffic_class & !Self::MASK | self as u8
    }
}
