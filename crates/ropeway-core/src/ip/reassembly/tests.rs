use std::net::Ipv4Addr;

use proptest::prelude::*;
use ropeway_packet::{IpParams, Protocol, ip};

use super::*;

const PLENTY: Limits = Limits { memory: usize::MAX, per_source: usize::MAX };

/// A fragment of an IPv4 datagram from the first address.
fn packet(src: u8, ident: u16, (offset, more): (u16, bool), data: &[u8]) -> Received {
    let params = IpParams {
        src: Ipv4Addr::new(10, 0, src, 1).into(),
        dst: Ipv4Addr::new(10, 0, 0, 2).into(),
        protocol: Protocol(250),
        hop_limit: 64,
        traffic_class: 0,
        dont_fragment: false,
        ident,
        flow_label: 0,
    };
    let mut packet = vec![0; 20];
    params.emit(data.len(), &mut packet);
    let place = (offset / 8) | (u16::from(more) << 13);
    packet[6..8].copy_from_slice(&place.to_be_bytes());
    let sum = u16::from_be_bytes([packet[10], packet[11]]);
    // RFC 1624: of a header that was right.
    let sum = u32::from(!sum) + u32::from(place);
    packet[10..12].copy_from_slice(&(!u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()).to_be_bytes());
    packet.extend_from_slice(data);
    Received::alone(packet.into())
}

fn take(fragments: &mut Fragments, now: Timestamp, received: &Received, limits: Limits) -> Taken {
    let ip = ip::parse(&received.packet).unwrap();
    fragments.take(now, received, &ip, ip.fragment.unwrap(), limits)
}

/// What it is, as it reads: bytes by their places, and where the end is.
#[derive(Default)]
struct Obvious {
    pieces: Vec<(usize, Vec<u8>, bool)>,
    refused: bool,
}

impl Obvious {
    fn take(&mut self, offset: usize, data: &[u8], more: bool) -> Option<Result<Vec<u8>, ()>> {
        if self.refused {
            return None;
        }
        if self.pieces.contains(&(offset, data.to_vec(), more)) {
            return None;
        }
        let end = offset + data.len();
        let clash = self.pieces.iter().any(|(at, held, held_more)| {
            let held_end = at + held.len();
            offset < held_end && *at < end || !held_more && end > held_end || !more && held_end > end
        });
        if clash {
            self.refused = true;
            return Some(Err(()));
        }
        self.pieces.push((offset, data.to_vec(), more));
        self.pieces.sort();
        let mut whole = Vec::new();
        for (at, held, held_more) in &self.pieces {
            if *at != whole.len() {
                return None;
            }
            whole.extend_from_slice(held);
            if !held_more {
                return Some(Ok(whole));
            }
        }
        None
    }
}

proptest! {
    #[test]
    fn fragments_are_taken_as_by_the_obvious_reference(
        pieces in prop::collection::vec((0u16..2, 0u16..12, 1usize..5, any::<bool>(), prop::bool::weighted(0.1)), 1..60),
    ) {
        let mut fragments = Fragments::default();
        let mut obvious: [Obvious; 2] = Default::default();
        let stream: Vec<u8> = (0..200).collect();
        for (ident, offset, len, last, odd) in pieces {
            let offset = offset * 8;
            // With both the datagram would be whole.
            let last = last && offset > 0;
            let mut data = stream[usize::from(offset)..usize::from(offset) + len * 8].to_vec();
            if odd {
                data[0] ^= 0x80;
            }
            let taken = take(&mut fragments, Timestamp::START, &packet(1, ident, (offset, !last), &data), PLENTY);
            let place = usize::from(ident);
            match obvious[place].take(usize::from(offset), &data, !last) {
                None => prop_assert_eq!(taken, Taken::Waits),
                Some(Err(())) => prop_assert_eq!(taken, Taken::Contradicts),
                Some(Ok(whole)) => {
                    let Taken::Whole(datagram) = taken else { panic!("{taken:?}") };
                    let ip = ip::parse(&datagram).unwrap();
                    prop_assert_eq!((ip.fragment, &datagram[ip.payload]), (None, &whole[..]));
                    obvious[place] = Obvious::default();
                }
            }
        }
        while fragments.expire(Timestamp::END, Duration::ZERO).is_some() {}
        prop_assert_eq!((fragments.memory, fragments.datagrams.len(), fragments.ages.len()), (0, 0, 0));
        prop_assert!(fragments.sources.is_empty() && fragments.oldest.is_none());
    }

    #[test]
    fn the_sums_agree_and_the_limits_hold(
        pieces in prop::collection::vec((0u8..4, 0u16..6, 0u16..12, 1usize..1400, any::<bool>()), 1..120),
        memory in 0usize..30_000,
    ) {
        let limits = Limits { memory, per_source: memory / 2 };
        let mut fragments = Fragments::default();
        for (at, (src, ident, offset, len, last)) in pieces.into_iter().enumerate() {
            let last = last && offset > 0;
            let len = if last { len } else { len.next_multiple_of(8) };
            let now = Timestamp::from_micros(at as u64);
            let _ = take(&mut fragments, now, &packet(src, ident, (offset * 8, !last), &vec![1; len]), limits);
            let of = |prefix: Option<u64>| -> usize {
                let all = fragments.datagrams.values();
                all.filter(|datagram| prefix.is_none_or(|prefix| datagram.prefix == prefix)).map(Datagram::memory).sum()
            };
            prop_assert_eq!(fragments.memory(), of(None));
            prop_assert!(fragments.memory() <= memory);
            for (prefix, source) in &fragments.sources {
                prop_assert_eq!(source.memory, of(Some(*prefix)));
                prop_assert!(source.memory <= memory / 2 && !source.ages.is_empty());
            }
            let oldest = fragments.datagrams.values().map(|datagram| datagram.began).min();
            prop_assert_eq!(fragments.oldest, oldest);
            prop_assert_eq!(fragments.ages.len(), fragments.datagrams.len());
        }
    }
}
