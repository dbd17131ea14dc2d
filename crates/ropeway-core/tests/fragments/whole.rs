//! What comes in pieces is taken as if it had come whole.

use ropeway_core::packet::{EcnCodepoint, FourTuple, IpParams, Protocol, fragment, ip};
use ropeway_core::{PortPolicy, Received, SocketOptions, State};

use super::*;

// RFC 1122 3.3.2-1
#[test]
fn fragments_make_a_datagram_in_any_order() {
    for ends in BOTH {
        // All orders of four.
        for order in 0..24 {
            let mut lab = Lab::new();
            let mut pieces = cut(&echo(ends, 200), 116, 77);
            assert_eq!(pieces.len(), if ends.0 { 4 } else { 3 });
            let mut code = order;
            for at in (1..pieces.len()).rev() {
                pieces.swap(at, code % (at + 1));
                code /= at + 1;
            }
            let last = pieces.pop().unwrap();
            for piece in pieces {
                lab.send_packet(piece);
                lab.quiet();
                assert!(lab.stack.memory().fragments > 0);
            }
            lab.send_packet(last);
            assert_eq!(echoed(&lab.next_packet()), pattern(0, 200));
            lab.quiet();
            assert_nothing_waits(&lab);
            let counters = lab.stack.counters();
            assert_eq!((counters.datagrams_reassembled, counters.echo_replies), (1, 1));
        }
    }
}

// RFC 1122 3.3.2-2, RFC 8200 5-1
#[test]
fn the_longest_datagrams_come_in_the_smallest_fragments_in_any_order() {
    for ends in BOTH {
        for (len, mtu) in [(65_507, 1500), (65_507, 600), (65_507, if ends.0 { 56 } else { 28 })] {
            let mut lab = Lab::with(|config| config.reassembly_memory = 16 << 20);
            lab.silent = true;
            lab.most_calls = 10_000_000;
            let mut pieces = cut(&echo(ends, len), mtu, 5);
            let mut random = Random::new(3);
            for at in (1..pieces.len()).rev() {
                pieces.swap(at, random.below(at as u64 + 1) as usize);
            }
            if ends.0 && mtu < 100 {
                // The first has all headers.
                pieces.retain(|piece| ip::parse(piece).unwrap().fragment.unwrap().offset > 0);
                pieces.push(cut(&echo(ends, len), mtu, 5).remove(0));
            }
            for piece in pieces {
                lab.inject(piece);
            }
            assert_eq!(echoed(&join(&sent(&mut lab))), pattern(0, len), "in fragments of {mtu}");
            assert_nothing_waits(&lab);
        }
    }
}

/// As Linux takes them: routers may repeat packets (RFC 8200 4.5-8).
#[test]
fn exact_duplicates_change_nothing() {
    for ends in BOTH {
        let mut lab = Lab::new();
        let pieces = cut(&echo(ends, 200), 116, 77);
        for piece in &pieces[1..] {
            lab.send_packet(piece.clone());
            let held = lab.stack.memory().fragments;
            lab.send_packet(piece.clone());
            assert_eq!(lab.stack.memory().fragments, held);
        }
        lab.quiet();
        lab.send_packet(pieces[0].clone());
        assert_eq!(echoed(&lab.next_packet()), pattern(0, 200));
        assert_eq!(lab.stack.counters().datagrams_overlapping, 0);
    }
}

/// Source, destination, identification, and in IPv4 the protocol (RFC 791 3.2-1, RFC 8200 4.5-1).
#[test]
fn fragments_of_different_datagrams_are_kept_apart() {
    for ends in BOTH {
        let mut lab = Lab::new();
        lab.stack.add_address(if ends.0 { "fd00::3/64" } else { "10.0.0.3/24" }.parse().unwrap());
        let other_source = (ends.0, if ends.0 { "fd00::9" } else { "10.0.0.9" }, ends.2);
        let other_destination = (ends.0, ends.1, if ends.0 { "fd00::3" } else { "10.0.0.3" });
        let datagrams = [
            cut(&echo(ends, 200), 150, 1),
            cut(&echo(ends, 210), 150, 2),
            cut(&echo(other_source, 220), 150, 1),
            cut(&echo(other_destination, 230), 150, 1),
        ];
        for at in 0..datagrams[3].len() {
            datagrams.iter().filter_map(|pieces| pieces.get(at)).for_each(|piece| lab.inject(piece.clone()));
        }
        lab.collect();
        let replies: Vec<_> = (0..4).map(|_| echoed(&lab.next_packet()).len()).collect();
        assert_eq!(replies, [200, 210, 220, 230]);
        lab.quiet();
        assert_nothing_waits(&lab);
    }
    // The same in two protocols.
    let mut lab = Lab::new();
    let (first, other) =
        (cut(&echo(BOTH[0], 200), 150, 1), piece(BOTH[0], Protocol::UDP, (1, 128, false), &[1; 80]));
    lab.send_packet(first[0].clone());
    lab.send_packet(other);
    lab.send_packet(first[1].clone());
    assert_eq!(echoed(&lab.next_packet()).len(), 200);
}

// RFC 6946 4-1, RFC 8200 4.5-9: it is whole, and has nothing to do with fragments of the same identification.
// RFC 6946 4-2
#[test]
fn an_atomic_fragment_is_taken_by_itself() {
    let mut lab = Lab::new();
    let pieces = cut(&echo(BOTH[1], 200), 150, 77);
    lab.send_packet(pieces[0].clone());
    let held = lab.stack.memory().fragments;
    let atomic = cut(&echo(BOTH[1], 50), 1280, 77).remove(0);
    assert_eq!(atomic[6], Protocol::IPV6_FRAGMENT.0);
    lab.send_packet(atomic);
    assert_eq!(echoed(&lab.next_packet()), pattern(0, 50));
    assert_eq!(lab.stack.memory().fragments, held);
    pieces[1..].iter().for_each(|piece| lab.send_packet(piece.clone()));
    assert_eq!(echoed(&lab.next_packet()), pattern(0, 200));
}

#[test]
fn a_handshake_and_data_come_in_fragments() {
    for v6 in [false, true] {
        let mut lab = Lab::new().v6_if(v6);
        let listener = lab.listen();
        for piece in cut(&lab.packet(&syn().mss(1460)), if v6 { 72 } else { 36 }, 1) {
            lab.send_packet(piece);
        }
        lab.flow.nxt = 1;
        lab.expect(syn_ack().seq(0).ack(1));
        lab.send(ack());
        let id = lab.accept(listener).unwrap();
        let text = pattern(0, 1000);
        for piece in cut(&lab.packet(&data(&text).seq(1)), 300, 2).into_iter().rev() {
            lab.send_packet(piece);
        }
        assert_eq!(lab.read(id, 2000), text);
        lab.assert_state(id, State::Established);
    }
}

/// A packet filter sees the whole, not what the first fragment shows of it (RFC 1858).
#[test]
fn policies_are_asked_about_the_whole() {
    let mut lab = Lab::new();
    lab.listen();
    lab.stack.set_port_policy(Protocol::TCP, 80..=80, PortPolicy::Refuse);
    // The flags stand in the second fragment.
    let pieces = cut(&lab.packet(&syn()), 28, 1);
    assert!(pieces.len() > 2);
    pieces.into_iter().for_each(|piece| lab.send_packet(piece));
    lab.expect(rst_ack());
    assert_eq!(lab.stack.counters().policy_refused, 1);
}

#[test]
fn listen_any_gets_what_comes_in_fragments() {
    for (v6, src, dst) in
        [(false, "10.0.0.1:4000", "93.184.216.34:443"), (true, "[fd00::1]:4000", "[2001:db8::1]:443")]
    {
        let mut lab = Lab::new();
        let any = lab.stack.listen_any(16, SocketOptions::default()).unwrap();
        let (src, dst) = (addr(src), addr(dst));
        let mut packet = tcp_packet(
            src.ip(),
            dst.ip(),
            &header((src.port(), dst.port()), &syn().mss(1460), 0, 0, 1000, None),
            None,
            &[],
        );
        if v6 {
            // Destination options come first: only the whole tells that it is TCP.
            let options = [Protocol::TCP.0, 0, 1, 4, 0, 0, 0, 0];
            let upper = [&options[..], &packet[40..]].concat();
            packet = ip_packet(src.ip(), dst.ip(), Protocol::IPV6_DESTINATION_OPTIONS, &upper);
        }
        for piece in cut(&packet, if v6 { 80 } else { 36 }, 9) {
            assert!(lab.stack.poll_incoming(any).is_none());
            lab.send_packet(piece);
        }
        let incoming = lab.stack.poll_incoming(any).expect("a SYN that waits for the decision");
        assert_eq!(incoming.tuple, FourTuple::new(dst, src));
        // What is not TCP is for nobody.
        let echo = echo((v6, if v6 { "fd00::1" } else { "10.0.0.1" }, &dst.ip().to_string()), 200);
        cut(&echo, 150, 3).into_iter().for_each(|piece| lab.send_packet(piece));
        lab.quiet();
        assert!(lab.stack.counters().not_ours > 0);
        assert_eq!(lab.stack.memory().fragments, 0);
    }
}

// RFC 3168 5.3-1, RFC 3168 5.3-2
#[test]
fn a_mark_on_any_fragment_is_one_on_the_segment() {
    for (fields, marks, taken) in [
        ([EcnCodepoint::Ect0, EcnCodepoint::Ce], 1, true),
        ([EcnCodepoint::Ce, EcnCodepoint::Ect0], 1, true),
        ([EcnCodepoint::Ect0, EcnCodepoint::Ect0], 0, true),
        ([EcnCodepoint::NotEct, EcnCodepoint::Ce], 0, false),
    ] {
        for v6 in [false, true] {
            let mut lab = Lab::new().v6_if(v6);
            let id = lab.accepted(Peer::default());
            let pieces = cut(&lab.packet(&data(pattern(0, 400)).seq(1)), 300, 2);
            for (mut piece, field) in pieces.into_iter().zip(fields) {
                set_ecn(&mut piece, field);
                lab.send_packet(piece);
            }
            let counters = lab.stack.counters();
            assert_eq!(
                (counters.marks_received, lab.info(id).unread),
                (marks, if taken { 400 } else { 0 }),
                "{fields:?}"
            );
            assert_eq!(counters.malformed_ip, u64::from(!taken));
            assert_eq!(lab.stack.memory().fragments, 0);
        }
    }
}

/// RFC 791 3.2-2: the header of the first fragment is that of the datagram.
#[test]
fn ip_options_of_the_first_fragment_do_no_harm() {
    let mut lab = Lab::new();
    let plain = echo(BOTH[0], 200);
    let mut packet = [&plain[..20], &[0x94, 4, 0, 0, 1, 1, 1, 0], &plain[20..]].concat();
    packet[0] = 0x47;
    let len = packet.len() as u16;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    fix_ip_checksum(&mut packet);
    for piece in cut(&packet, 100, 5).into_iter().rev() {
        lab.send_packet(piece);
    }
    assert_eq!(echoed(&lab.next_packet()), pattern(0, 200));
}

// RFC 6864 5.2-2
/// What a device vouches for is each packet that it has given, and no more.
#[test]
fn the_checksum_of_the_whole_is_verified() {
    for v6 in [false, true] {
        let mut lab = Lab::new().v6_if(v6);
        let id = lab.accepted(Peer::default());
        let pieces = cut(&lab.packet(&data(pattern(0, 400)).seq(1).bad_checksum()), 300, 2);
        for piece in pieces {
            let received = Received::alone(piece.into()).with_checksum(ropeway_core::RxChecksum::Verified);
            lab.stack.handle_packet(lab.ts(), received);
        }
        assert_eq!((lab.stack.counters().bad_checksums, lab.info(id).unread), (1, 0));
    }
}

/// Batches find out which packets follow which: fragments follow none, and what follows them is in order.
#[test]
fn in_a_batch_fragments_stand_by_themselves() {
    for v6 in [false, true] {
        let mut lab = Lab::new().v6_if(v6);
        let id = lab.accepted(Peer::default());
        let text = pattern(0, 3000);
        let segment = |lab: &mut Lab, at: usize| lab.packet(&data(&text[at..at + 1000]).seq(1 + at as u32));
        let middle = cut(&segment(&mut lab, 1000), 600, 2);
        let packets = [vec![segment(&mut lab, 0)], middle, vec![segment(&mut lab, 2000)]].concat();
        let mut batch: Vec<_> = packets.into_iter().map(|packet| Received::alone(packet.into())).collect();
        lab.stack.handle_batch(lab.ts(), &mut batch);
        assert_eq!(lab.read(id, 4000), text);
        assert_eq!(lab.stack.counters().out_of_order, 0);
    }
}

/// The fragment header stands behind what routers see (RFC 8200 4.5-2).
#[test]
fn hop_by_hop_options_are_kept() {
    let mut lab = Lab::new();
    let plain = echo(BOTH[1], 200);
    let upper = [&[Protocol::ICMPV6.0, 0, 1, 4, 0, 0, 0, 0], &plain[40..]].concat();
    let (src, dst) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
    let params = IpParams { protocol: Protocol::HOP_BY_HOP, ..ip_params(src, dst, Protocol::ICMPV6) };
    let packet = ip_packet(src, dst, params.protocol, &upper);
    for piece in cut(&packet, 150, 5) {
        assert!(fragment::has_all_headers(&piece, &ip::parse(&piece).unwrap()) || piece.len() < 150);
        lab.send_packet(piece);
    }
    assert_eq!(echoed(&lab.next_packet()), pattern(0, 200));
}
