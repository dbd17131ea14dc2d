//! What we send in fragments.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ropeway_core::packet::IcmpErrorKind;

use super::*;

// RFC 1122 3.3.3-1, RFC 7112 5-1, RFC 1122 3.2.2.6-1, RFC 8200 4.5-13
#[test]
fn an_echo_longer_than_the_mtu_is_answered_in_fragments() {
    for ends in BOTH {
        for (mtu, len) in
            [(100, 300), (1500, 1473), (1500, 20_000), (1500, 65_507), (1280, 65_507), (9000, 20_000)]
        {
            let mut lab = Lab::with(|config| config.mtu = mtu);
            lab.silent = true;
            cut(&echo(ends, len), 1500, 5).into_iter().for_each(|piece| lab.inject(piece));
            let replies = sent(&mut lab);
            let identification = ip::parse(&replies[0]).unwrap().ident;
            for (number, reply) in replies.iter().enumerate() {
                let ip = ip::parse(reply).unwrap();
                assert!(reply.len() <= usize::from(mtu));
                assert!(reply.len() + 8 > usize::from(mtu) || number + 1 == replies.len());
                assert_eq!(ip.ident, identification);
                // RFC 791 2.3: routers may cut it further.
                assert_eq!(ip.dont_fragment, ends.0);
            }
            assert_eq!(echoed(&join(&replies)), pattern(0, len));
            let counters = lab.stack.counters();
            assert_eq!((counters.datagrams_fragmented, counters.fragments_sent), (1, replies.len() as u64));
        }
    }
}

#[test]
fn the_longest_echo_over_ipv6_is_answered_whole() {
    let mut lab = Lab::new();
    lab.silent = true;
    cut(&echo(BOTH[1], 65_527), 1500, 5).into_iter().for_each(|piece| lab.inject(piece));
    assert_eq!(echoed(&join(&sent(&mut lab))), pattern(0, 65_527));
}

/// A packet-too-big about the answer to an echo is believed if it quotes one that was sent lately, and only then.
#[test]
fn the_path_of_echo_replies_is_learned_from_who_has_seen_one() {
    let peer: IpAddr = BOTH[1].1.parse().unwrap();
    let mut lab = Lab::new();
    lab.send_packet(echo(BOTH[1], 1400));
    let reply = lab.next_packet();
    let too_big = |lab: &mut Lab, mtu: u32, quoted: &[u8]| {
        let [own, router] = [BOTH[1].2, "fd00::9"].map(|addr| addr.parse().unwrap());
        lab.send_packet(icmp::emit_error(router, own, IcmpErrorKind::PacketTooBig { mtu }, quoted, 64));
        lab.stack.path_mtu(peer)
    };
    // Another identifier, another sequence number, a longer packet than any that was sent: nobody has seen those.
    for (at, value) in [(44, 0xaa), (46, 0xaa), (4, 0xf0)] {
        let mut forged = reply.to_vec();
        forged[at] ^= value;
        assert_eq!(too_big(&mut lab, 1300, &forged), 1500, "byte {at}");
    }
    // A request is not what we send, and what fits was not refused.
    let mut forged = reply.to_vec();
    forged[40] = 128;
    assert_eq!(too_big(&mut lab, 1300, &forged), 1500);
    assert_eq!(too_big(&mut lab, 1448, &reply), 1500);
    assert_eq!(lab.stack.counters().icmp_ignored, 5);
    assert_eq!(too_big(&mut lab, 1300, &reply), 1300);
    lab.send_packet(echo(BOTH[1], 1400));
    assert!(sent(&mut lab).iter().all(|reply| reply.len() <= 1300));
    // The last sixteen are remembered.
    let mut lab = Lab::new();
    lab.send_packet(echo(BOTH[1], 1400));
    let first = lab.next_packet();
    for seq in 1..=16 {
        let own = BOTH[1].2.parse().unwrap();
        lab.send_packet(emit_echo_request(peer, own, 99, seq, &[0; 1400], 64));
        lab.next_packet();
    }
    assert_eq!(too_big(&mut lab, 1300, &first), 1500);
}

// RFC 8200 4.5-12
/// Where a narrower link is known of, they are smaller (RFC 8200 5-2); of IPv4, a router may cut those that are still too large.
#[test]
fn fragments_are_as_large_as_the_path_takes() {
    for ends in BOTH {
        let mut lab = Lab::new();
        lab.stack.set_path_mtu(ends.1.parse().unwrap(), 1300);
        cut(&echo(ends, 3000), 1500, 5).into_iter().for_each(|piece| lab.inject(piece));
        let replies = sent(&mut lab);
        assert!(replies.iter().all(|reply| reply.len() <= 1300));
        assert_eq!(echoed(&join(&replies)), pattern(0, 3000));
    }
    let mut lab = Lab::new();
    lab.send_packet(echo(BOTH[0], 1000));
    let reply = lab.next_packet();
    let ip = ip::parse(&reply).unwrap();
    assert_eq!((ip.fragment, ip.dont_fragment), (None, false));
}

// RFC 6864 4.3-1, RFC 7739 4-1, RFC 6864 4.2-1
#[test]
fn identifications_are_not_repeated_and_not_counted() {
    for ends in BOTH {
        let mut lab = Lab::new();
        lab.silent = true;
        let mut idents = Vec::new();
        for _ in 0..2000 {
            cut(&echo(ends, 2000), 1500, 5).into_iter().for_each(|piece| lab.inject(piece));
            idents.push(ip::parse(&sent(&mut lab)[0]).unwrap().ident);
        }
        assert_eq!(idents.iter().collect::<BTreeSet<_>>().len(), 2000);
        let steps: BTreeSet<_> = idents.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        assert!(steps.len() > 1900, "{} different steps", steps.len());
    }
}

/// A datagram is answered whole or not at all, and no more answers wait than may.
#[test]
fn answers_in_fragments_are_bounded_and_never_half() {
    for ends in BOTH {
        let mut lab = Lab::new();
        lab.silent = true;
        for ident in 0..200 {
            for piece in cut(&echo(ends, 20_000), 1500, ident) {
                // The device takes nothing meanwhile.
                lab.stack.handle_packet(lab.ts(), ropeway_core::Received::alone(piece.into()));
            }
        }
        let dropped = lab.stack.counters().replies_dropped;
        assert!(dropped > 100, "{dropped}");
        lab.collect();
        let replies = sent(&mut lab);
        assert!(replies.len() <= 1024);
        let idents: BTreeSet<_> = replies.iter().map(|reply| ip::parse(reply).unwrap().ident).collect();
        assert_eq!(idents.len() as u64 + dropped, 200);
        for of_one in
            replies.chunk_by(|one, other| ip::parse(one).unwrap().ident == ip::parse(other).unwrap().ident)
        {
            assert_eq!(echoed(&join(of_one)).len(), 20_000);
        }
    }
}

/// Nobody gets more than he has sent.
#[test]
fn an_answer_in_fragments_is_no_amplification() {
    for ends in BOTH {
        let mut lab = Lab::new();
        let request = cut(&echo(ends, 20_000), 1500, 5);
        let asked: usize = request.iter().map(Vec::len).sum();
        request.into_iter().for_each(|piece| lab.inject(piece));
        let answered: usize = sent(&mut lab).iter().map(Vec::len).sum();
        assert_eq!(answered, asked);
    }
}
