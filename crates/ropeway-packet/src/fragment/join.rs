//! What a whole datagram needs of its first fragment.

use std::net::IpAddr;

use crate::ip::{v4, v6};
use crate::{EcnCodepoint, Fragment, IpPacket, ip};

use super::{Marks, put_u16};

/// The headers of the datagram whose first fragment is `first`, and whose fragments carry `len`
/// bytes together and have these `marks`. Those bytes are to be appended; there is room for them.
///
/// All that counts of the later fragments is what they carry (RFC 791 3.2-2, RFC 8200 4.5-2), and
/// whether a router has marked them (RFC 3168 5.3-1).
///
/// `None` if this is no first fragment, if no packet can be so long, or if the marks contradict each
/// other.
pub fn whole_headers(first: &[u8], len: usize, marks: Marks) -> Option<Vec<u8>> {
    let ip = ip::parse(first).ok()?;
    ip.fragment.filter(|place| place.offset == 0)?;
    let traffic_class = marks.whole(EcnCodepoint::of(ip.traffic_class))?.within(ip.traffic_class);
    match ip.src {
        IpAddr::V4(_) => {
            let header_len = ip.payload.start;
            let total_len = u16::try_from(header_len + len).ok()?;
            let mut whole = copy(first.get(..header_len)?, len);
            *whole.get_mut(1)? = traffic_class;
            put_u16(&mut whole, v4::TOTAL_LENGTH_OFFSET, total_len);
            put_u16(&mut whole, v4::FRAGMENT_OFFSET, v4::place_bits(Fragment { offset: 0, more: false }));
            v4::finish(&mut whole);
            Some(whole)
        }
        IpAddr::V6(_) => {
            let (next_at, header_at) = v6::fragment_header(first)?;
            let payload_len = u16::try_from(header_at - v6::HEADER_LEN + len).ok()?;
            let mut whole = copy(first.get(..header_at)?, len);
            *whole.get_mut(next_at)? = ip.protocol.0;
            let second = whole.get_mut(1)?;
            *second = traffic_class << 4 | *second & 0x0f;
            put_u16(&mut whole, v6::PAYLOAD_LENGTH_OFFSET, payload_len);
            Some(whole)
        }
    }
}

fn copy(header: &[u8], room: usize) -> Vec<u8> {
    let mut copy = Vec::with_capacity(header.len() + room);
    copy.extend_from_slice(header);
    copy
}

/// Whether a first fragment has all headers up to and including that of the upper layer (RFC 7112 5),
/// as far as they are known here. `ip` is what [`ip::parse`] says of `packet`.
///
/// Who filters by what stands in headers sees the first fragment only; one without them is made to
/// pass by. Of IPv4 only the eight bytes are sure that each fragment has, so this is not asked.
pub fn has_all_headers(packet: &[u8], ip: &IpPacket) -> bool {
    ip.src.is_ipv4() || v6::reaches_upper_layer(packet.get(..ip.payload.end).unwrap_or_default(), ip)
}
