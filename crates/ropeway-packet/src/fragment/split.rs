//! Fragments to send.

use crate::ip::{v4, v6};
use crate::{Fragment, HeaderBuf, Payload, Protocol};

use super::put_u16;

/// Headers that are copied to each fragment are no longer than what a [`HeaderBuf`] has room for.
const HEAD: usize = 128;

// RFC 8200 4.5-12, RFC 5722 4-2
/// Cuts a whole IP packet into fragments of up to `mtu` bytes (RFC 791 3.2-3), headers included. Each has `ident` as
/// its identification, over IPv4 the lower half. All but the last are as long as can be.
///
/// Of IPv4 any packet can be cut, even one that is a fragment already; its options go along where
/// they ask for that (RFC 791 3.1), and no fragment has the DF bit: whether the packet had it, the
/// caller has to heed. An IPv6 packet gets a fragment header behind what every router must see (RFC
/// 8200 4.5), even if it fits: that would be an atomic fragment (RFC 6946).
///
/// `None` if this is no IP packet, if its headers are longer than any that are sent from here, if it
/// is an IPv6 fragment, or if a fragment of so few bytes carries nothing.
pub fn split(packet: &Payload, mtu: u16, ident: u32) -> Option<Split<'_>> {
    let head = packet.slices(0..HEAD).to_payload().into_bytes();
    let cut = match head.first()? >> 4 {
        4 => Cut::v4(&head, packet.len(), ident)?,
        6 => Cut::v6(&head, packet.len(), ident)?,
        _ => return None,
    };
    let room = |header: &HeaderBuf| usize::from(mtu).checked_sub(header.len()).filter(|room| *room >= 8);
    let (first, later) = (room(&cut.first)? & !7, room(&cut.later)? & !7);
    Some(Split { packet, cut, room: (first, later), at: 0 })
}

/// The fragments of a packet, as headers and what follows them: see [`split`].
#[derive(Clone, Debug)]
pub struct Split<'a> {
    packet: &'a Payload,
    cut: Cut,
    /// How much the first fragment carries, and how much each later one.
    room: (usize, usize),
    /// So many bytes of what is cut are in the fragments so far.
    at: usize,
}

/// How a packet is cut.
#[derive(Clone, Debug)]
struct Cut {
    is_v4: bool,
    /// The headers of the first fragment and of all others, but for what differs from one to the next.
    first: HeaderBuf,
    later: HeaderBuf,
    /// What is cut begins here, and is so long.
    start: usize,
    len: usize,
    /// Where in its datagram it belongs, if it is a fragment already.
    place: Fragment,
}

impl Cut {
    fn v4(head: &[u8], packet_len: usize, ident: u32) -> Option<Self> {
        let fixed = head.first_chunk::<{ v4::HEADER_LEN }>()?;
        let start = usize::from(fixed[0] & 0x0f) * 4;
        let end = usize::from(u16::from_be_bytes([fixed[2], fixed[3]])).min(packet_len);
        let place = v4::place(u16::from_be_bytes([fixed[6], fixed[7]]));
        let mut first = HeaderBuf::copy_of(head.get(..start)?)?;
        let [_, _, i0, i1] = ident.to_be_bytes();
        put_u16(first.as_mut(), v4::IDENT_OFFSET, u16::from_be_bytes([i0, i1]));
        let later = HeaderBuf::copy_of(&v4::header_of_later_fragments(&first))?;
        Some(Self { is_v4: true, first, later, start, len: end.checked_sub(start)?, place })
    }

    fn v6(head: &[u8], packet_len: usize, ident: u32) -> Option<Self> {
        let part = v6::unfragmentable(head)?;
        let mut header = head.get(..part.end)?.to_vec();
        *header.get_mut(part.next_at)? = Protocol::IPV6_FRAGMENT.0;
        header.extend_from_slice(&[part.next.0, 0, 0, 0]);
        header.extend_from_slice(&ident.to_be_bytes());
        let first = HeaderBuf::copy_of(&header)?;
        let payload_len = head.get(4..)?.first_chunk()?;
        let end = (v6::HEADER_LEN + usize::from(u16::from_be_bytes(*payload_len))).min(packet_len);
        let (len, place) = (end.checked_sub(part.end)?, Fragment { offset: 0, more: false });
        Some(Self { is_v4: false, later: first.clone(), first, start: part.end, len, place })
    }

    /// The headers of a fragment of `len` bytes.
    fn header(&self, len: usize, place: Fragment) -> HeaderBuf {
        let is_first = place.offset == self.place.offset;
        let mut header = if is_first { self.first.clone() } else { self.later.clone() };
        let before = if self.is_v4 { 0 } else { v6::HEADER_LEN };
        let counted = u16::try_from(header.len() + len - before).unwrap_or(u16::MAX);
        let bytes = header.as_mut();
        if self.is_v4 {
            put_u16(bytes, v4::TOTAL_LENGTH_OFFSET, counted);
            put_u16(bytes, v4::FRAGMENT_OFFSET, v4::place_bits(place));
            v4::finish(bytes);
        } else {
            put_u16(bytes, v6::PAYLOAD_LENGTH_OFFSET, counted);
            // The fragment header is the last one.
            put_u16(bytes, bytes.len().saturating_sub(6), place.offset | u16::from(place.more));
        }
        header
    }
}

impl Iterator for Split<'_> {
    type Item = (HeaderBuf, Payload);

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.cut.len.checked_sub(self.at).filter(|left| *left > 0 || self.at == 0)?;
        let len = if self.at == 0 { self.room.0 } else { self.room.1 }.min(left);
        let offset = self.cut.place.offset.checked_add(u16::try_from(self.at).ok()?)?;
        let place = Fragment { offset, more: len < left || self.cut.place.more };
        let start = self.cut.start + self.at;
        let data = self.packet.slices(start..start + len).to_payload();
        // Once more for a packet without any data; then it is over.
        self.at += len.max(1);
        Some((self.cut.header(len, place), data))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.cut.len.saturating_sub(self.at);
        let count = match (self.at, left.checked_sub(self.room.0)) {
            (0, None) => 1,
            (0, Some(more)) => 1 + more.div_ceil(self.room.1),
            _ => left.div_ceil(self.room.1),
        };
        (count, Some(count))
    }
}

impl ExactSizeIterator for Split<'_> {}
