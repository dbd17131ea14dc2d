//! Checksums that a device completes.

use super::{Checksum, pseudo_header};
use crate::{Protocol, ip};

/// Where a checksum stands that is still to be completed: `csum_start` and `csum_offset` of a
/// virtio-net header with `NEEDS_CSUM` (virtio 1.2, 5.1.6.2).
///
/// Until then the field holds the sum of the pseudo-header, not complemented. Whoever completes it
/// sums everything from `start` to the packet's end, that field included, and writes the
/// complement to it.
///
/// ```
/// use ropeway_packet::checksum::Partial;
/// # use ropeway_packet::{Protocol, checksum, ip, udp, IpParams};
/// # let params = IpParams {
/// #     src: "192.0.2.1".parse()?,
/// #     dst: "192.0.2.2".parse()?,
/// #     protocol: Protocol::UDP,
/// #     hop_limit: 64,
/// #     traffic_class: 0,
/// #     dont_fragment: true,
/// #     ident: 0,
/// #     flow_label: 0,
/// # };
/// let complete = udp::emit(&params, 53, 5353, b"data")?;
/// let mut packet = complete.to_vec();
/// let partial = Partial::prepare(&mut packet).ok_or("no such checksum")?;
/// assert_eq!(partial, Partial { start: 20, offset: 6 });
///
/// // What the device does.
/// assert!(partial.complete(&mut packet));
/// assert_eq!(packet, complete);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// Where the transport header starts, in bytes from the start of the packet.
    pub start: u16,
    /// Where in the transport header the checksum stands.
    pub offset: u16,
}

impl Partial {
    /// Where the checksum of a packet stands whose headers are these: of TCP, UDP or ICMPv6, without
    /// IPv6 extension headers. `None` for anything else.
    #[inline]
    pub fn of(headers: &[u8]) -> Option<Self> {
        let (start, protocol) = match headers.first()? {
            first @ 0x45..=0x4f => (u16::from(first & 0x0f) * 4, headers.get(9)?),
            0x60..=0x6f => (40, headers.get(6)?),
            _ => return None,
        };
        Some(Self { start, offset: offset_of(Protocol(*protocol))? })
    }

    /// Leaves the checksum of a whole packet to the device: writes the sum of the pseudo-header to
    /// its field. `None`, and nothing is changed, for a packet that has no such checksum, or that is
    /// malformed or a fragment.
    pub fn prepare(packet: &mut [u8]) -> Option<Self> {
        let ip = ip::parse(packet).ok().filter(|ip| ip.fragment.is_none())?;
        let partial = Self { start: u16::try_from(ip.payload.start).ok()?, offset: offset_of(ip.protocol)? };
        let len = u32::try_from(ip.payload.len()).ok()?;
        let field = partial.field(packet.get_mut(..ip.payload.end)?)?;
        *field = pseudo_header(ip.src, ip.dst, ip.protocol, len).fold().to_be_bytes();
        Some(partial)
    }

    /// Completes the checksum of `packet`, which ends where it ends: padding must have been cut off.
    /// Returns `false`, and changes nothing, if the field lies beyond it.
    ///
    /// A checksum of zero is written as 0xffff, which verifies as well, and which UDP needs (RFC 768).
    pub fn complete(self, packet: &mut [u8]) -> bool {
        let mut sum = Checksum::new();
        sum.add_bytes(packet.get(usize::from(self.start)..).unwrap_or_default());
        let checksum = match sum.finish() {
            0 => 0xffff,
            checksum => checksum,
        };
        self.field(packet).map(|field| *field = checksum.to_be_bytes()).is_some()
    }

    fn field(self, packet: &mut [u8]) -> Option<&mut [u8; 2]> {
        let at = usize::from(self.start) + usize::from(self.offset);
        packet.get_mut(at..)?.first_chunk_mut()
    }
}

/// Where the header of a protocol has its checksum, if that covers a pseudo-header.
const fn offset_of(protocol: Protocol) -> Option<u16> {
    match protocol {
        Protocol::TCP => Some(16),
        Protocol::UDP => Some(6),
        Protocol::ICMPV6 => Some(2),
        _ => None,
    }
}
