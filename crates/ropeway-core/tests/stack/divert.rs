//! Packets that nobody takes, diverted whole to the program.

use bytes::Bytes;
use ropeway_core::packet::icmp::{emit_echo_request, emit_error};
use ropeway_core::packet::{IcmpErrorKind, IcmpMessage, Protocol, UnreachableKind, icmp, ip};
use ropeway_core::{
    DivertOptions, EchoPolicy, Event, ListenError, PacketError, PortPolicy, Received, SocketOptions,
    UdpOptions,
};

use crate::common::*;
use crate::{datagram, ip_of, segment};

fn diverting(options: DivertOptions) -> Lab {
    let mut lab = Lab::new();
    lab.stack.divert(options).unwrap();
    lab
}

/// What was diverted of the packets that `lab` is given; nothing is answered.
fn diverted(lab: &mut Lab, packet: Vec<u8>) -> Option<Vec<u8>> {
    lab.send_packet(packet);
    lab.quiet();
    lab.stack.poll_diverted().map(Vec::from)
}

#[test]
fn whatever_nobody_takes_is_diverted_as_it_came() {
    let mut lab = diverting(DivertOptions::default());
    for (src, dst) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2"), ("10.0.0.1", "93.184.216.34")] {
        let port = |ip: &str, port: u16| match ip.contains(':') {
            true => format!("[{ip}]:{port}"),
            false => format!("{ip}:{port}"),
        };
        let (from, to) = (port(src, 5000), port(dst, 53));
        for packet in [
            datagram(&from, &to, b"anybody there?"),
            segment(&from, &to, &syn().seq(7)),
            segment(&from, &to, &data(b"stray").seq(7).ack(1)),
            ip_packet(ip_of(src), ip_of(dst), Protocol(47), &[7; 40]),
            // An error about what was never sent.
            emit_error(
                ip_of(src),
                ip_of(dst),
                IcmpErrorKind::Unreachable(UnreachableKind::Port),
                &datagram(&to, &from, b"never sent"),
                64,
            ),
        ] {
            assert_eq!(diverted(&mut lab, packet.clone()), Some(packet));
        }
    }
    for packet in [
        datagram("10.0.0.1:68", "255.255.255.255:67", b"to all"),
        datagram("10.0.0.1:68", "224.0.0.251:5353", b"to many"),
        segment("10.0.0.1:68", "10.0.0.255:5353", &syn().seq(7)),
    ] {
        assert_eq!(diverted(&mut lab, packet.clone()), Some(packet));
    }
    assert_eq!((lab.stack.counters().diverted, lab.stack.counters().diverted_dropped), (18, 0));
    assert_eq!(lab.stack.counters().not_ours, 0);
}

#[test]
fn what_somebody_takes_or_a_rule_refuses_is_not_diverted() {
    let mut lab = diverting(DivertOptions::default());
    let now = lab.ts();
    lab.stack.listen(addr("0.0.0.0:80"), 4, SocketOptions::default()).unwrap();
    lab.stack.udp_bind(addr("0.0.0.0:53"), UdpOptions::default()).unwrap();
    lab.stack.set_port_policy(Protocol::TCP, 81..=81, PortPolicy::Drop);
    lab.stack.set_port_policy(Protocol::UDP, 54..=54, PortPolicy::Drop);
    for packet in [
        segment("10.0.0.1:5000", "10.0.0.2:80", &syn().seq(7)),
        segment("10.0.0.1:5000", "10.0.0.2:81", &syn().seq(7)),
        datagram("10.0.0.1:5000", "10.0.0.2:53", b"question"),
        datagram("10.0.0.1:5000", "10.0.0.2:54", b"question"),
        emit_echo_request(ip_of("10.0.0.1"), ip_of("10.0.0.2"), 1, 1, b"x", 64),
        // From whom nobody can be.
        datagram("224.0.0.1:5000", "93.184.216.34:54", b"forged"),
        datagram("10.0.0.1:5000", "127.0.0.1:54", b"forged"),
    ] {
        lab.stack.handle_packet(now, Received::new(packet.into()));
    }
    assert_eq!(lab.stack.poll_diverted(), None);
    assert_eq!(lab.stack.counters().diverted, 0);
    // A listener for some port of every address of ours is none for others' addresses.
    let packet = segment("10.0.0.1:5000", "93.184.216.34:80", &syn().seq(7));
    lab.drain();
    assert_eq!(diverted(&mut lab, packet.clone()), Some(packet));
}

#[test]
fn only_the_protocols_asked_for_are_diverted() {
    let mut options = DivertOptions::default();
    (options.tcp, options.udp) = (false, false);
    let mut lab = diverting(options);
    lab.send_packet(segment("10.0.0.1:5000", "10.0.0.2:80", &syn().seq(7)));
    assert_eq!(lab.drain().len(), 1, "a reset");
    lab.send_packet(datagram("10.0.0.1:5000", "10.0.0.2:53", b"x"));
    lab.next_packet();
    let other = ip_packet(ip_of("10.0.0.1"), ip_of("10.0.0.2"), Protocol(47), &[7; 40]);
    assert_eq!(diverted(&mut lab, other.clone()), Some(other));
}

#[test]
fn an_echo_request_is_answered_dropped_or_handed_over() {
    let request = || emit_echo_request(ip_of("10.0.0.1"), ip_of("10.0.0.2"), 1, 1, b"x", 64);
    let mut lab = Lab::new();
    for policy in [EchoPolicy::Drop, EchoPolicy::Divert] {
        lab.stack.set_echo_policy(policy);
        lab.send_packet(request());
        lab.quiet();
    }
    assert_eq!(lab.stack.counters().policy_refused, 2);
    lab.stack.divert(DivertOptions::default()).unwrap();
    assert_eq!(diverted(&mut lab, request()), Some(request()));
    lab.stack.set_echo_policy(EchoPolicy::Answer);
    lab.send_packet(request());
    let answer = lab.next_packet();
    let ip = ip::parse(&answer).unwrap();
    assert!(matches!(icmp::parse(&answer, &ip), Ok(IcmpMessage::EchoReply { .. })));
    assert_eq!(lab.stack.poll_diverted(), None);
}

#[test]
fn fragments_are_put_together_before_they_are_diverted() {
    for dst in ["10.0.0.2:53", "93.184.216.34:53"] {
        let mut lab = diverting(DivertOptions::default());
        let whole = datagram("10.0.0.1:5000", dst, &pattern(0, 4000));
        let pieces = cut(&whole, 1500, 77);
        assert_eq!(pieces.len(), 3);
        for piece in pieces {
            assert_eq!(lab.stack.poll_diverted(), None);
            lab.send_packet(piece);
        }
        let got = lab.stack.poll_diverted().unwrap();
        let ip = ip::parse(&got).unwrap();
        assert_eq!(got[ip.payload], whole[20..]);
        lab.quiet();
    }
}

#[test]
fn what_a_device_has_merged_is_diverted_segment_by_segment() {
    let mut lab = diverting(DivertOptions::default());
    let train = segment("10.0.0.1:5000", "10.0.0.2:80", &some(3000).seq(7).ack(1));
    let received = Received::alone(train.into()).with_segment_size(Some(1400));
    lab.stack.handle_packet(lab.ts(), received);
    let lens: Vec<_> = std::iter::from_fn(|| lab.stack.poll_diverted()).map(|packet| packet.len()).collect();
    assert_eq!(lens.len(), 3, "{lens:?}");
    assert_eq!(lens[0] - lens[2], 1200);
}

#[test]
fn the_queue_is_bounded_and_drops_are_counted() {
    let mut options = DivertOptions::default();
    options.queue = 10_000;
    let mut lab = diverting(options);
    let idle = lab.stack.memory().datagrams;
    for n in 0..100 {
        let packet = datagram("10.0.0.1:5000", "10.0.0.2:53", &pattern(n, 1000));
        lab.stack.handle_packet(lab.ts(), Received::alone(packet.into()));
    }
    let held = lab.stack.memory().datagrams - idle;
    assert!((5_000..=10_000).contains(&held), "{held}");
    let counters = lab.stack.counters().clone();
    assert_eq!(counters.diverted + counters.diverted_dropped, 100);
    // The oldest are there, and one event told of them.
    let events: Vec<_> = std::iter::from_fn(|| lab.stack.poll_event()).collect();
    assert_eq!(events, [Event::Diverted]);
    for n in 0..counters.diverted {
        let packet = lab.stack.poll_diverted().unwrap();
        assert_eq!(packet[28..], pattern(n as usize, 1000));
    }
    assert_eq!((lab.stack.poll_diverted(), lab.stack.memory().datagrams), (None, idle));
    // One packet has always room.
    lab.send_packet(datagram("10.0.0.1:5000", "10.0.0.2:53", &pattern(0, 12_000)));
    assert!(lab.stack.poll_diverted().is_some());
}

#[test]
fn there_is_one_diversion_and_what_waits_goes_with_it() {
    let mut lab = diverting(DivertOptions::default());
    assert_eq!(lab.stack.divert(DivertOptions::default()), Err(ListenError::AddressInUse));
    let idle = lab.stack.memory().datagrams;
    lab.send_packet(datagram("10.0.0.1:5000", "10.0.0.2:53", b"x"));
    assert!(lab.stack.memory().datagrams > idle);
    lab.stack.end_diversion();
    assert_eq!((lab.stack.poll_diverted(), lab.stack.memory().datagrams), (None, idle));
    lab.send_packet(datagram("10.0.0.1:5000", "10.0.0.2:53", b"x"));
    lab.next_packet();
}

#[test]
fn the_program_sends_whole_packets_from_anywhere() {
    let mut lab = Lab::new();
    let now = lab.ts();
    let mut send = |packet: Vec<u8>| lab.stack.send_packet(now, Bytes::from(packet));
    let answer = datagram("93.184.216.34:53", "10.0.0.1:5000", b"answer");
    assert_eq!(send(answer.clone()), Ok(()));
    assert_eq!(send(datagram("93.184.216.34:53", "10.0.0.2:5000", b"x")), Err(PacketError::ToOurselves));
    assert_eq!(send(vec![0x45; 10]), Err(PacketError::Malformed));
    assert_eq!(send([&answer[..], b"more"].concat()), Err(PacketError::Malformed));
    let mut large = datagram("93.184.216.34:53", "10.0.0.1:5000", &pattern(0, 4000));
    large[6] = 0x40;
    fix_ip_checksum(&mut large);
    assert_eq!(send(large.clone()), Err(PacketError::TooLong), "it has DF");
    large[6] = 0;
    fix_ip_checksum(&mut large);
    assert_eq!(send(large.clone()), Ok(()));
    assert_eq!(lab.next_packet(), answer);
    let pieces: Vec<_> = (0..3).map(|_| lab.next_packet().to_vec()).collect();
    assert_eq!(join(&pieces)[20..], large[20..]);
    // More than a device takes is refused, not kept.
    let sent = std::iter::repeat_with(|| lab.stack.send_packet(now, answer.clone().into()))
        .take(5000)
        .take_while(Result::is_ok)
        .count();
    assert_eq!(sent, 1024);
    assert_eq!(lab.stack.send_packet(now, answer.into()), Err(PacketError::WouldBlock));
}
