//! The packet policy: all three of nmap's answers (-sS, -sA, -sF, -sN, -sX, -sU).

use ropeway_core::PortPolicy;
use ropeway_core::packet::{Protocol, TcpFlags, UnreachableKind, udp};

use crate::common::*;

fn bare_fin() -> Seg {
    bare().fin()
}
fn xmas() -> Seg {
    let mut seg = bare().fin().push();
    seg.flags |= TcpFlags::URG;
    seg
}

fn lab(policy: PortPolicy) -> Lab {
    let mut lab = Lab::new();
    lab.listen();
    lab.stack.set_port_policy(Protocol::TCP, 80..=81, policy);
    lab
}

/// RFC 9293 3.10.7.1 and 3.10.7.2: what an open and a closed port say.
#[test]
fn open_is_as_it_is() {
    for segment in [bare(), bare_fin(), xmas()] {
        let mut lab = lab(PortPolicy::Open);
        lab.send(segment.clone().seq(5));
        lab.quiet();
        lab.local.set_port(81);
        lab.send(segment.clone().seq(5));
        let length = u32::from(segment.flags.contains(TcpFlags::FIN));
        lab.expect(rst_ack().seq(0).ack(5 + length));
    }
    let mut lab = lab(PortPolicy::Open);
    lab.send(ack().seq(5).ack(7));
    lab.expect(rst().seq(7));
    lab.send(syn());
    lab.expect(syn_ack());
    lab.local.set_port(81);
    lab.send(ack().seq(5).ack(7));
    assert_eq!(lab.next_tcp().tcp.flags, TcpFlags::RST);
    lab.send(syn());
    lab.expect(rst_ack().ack(1));
    assert_eq!(lab.counters().policy_refused, 0);
}

#[test]
fn refuse_is_closed_although_somebody_listens() {
    for segment in [syn(), bare(), bare_fin(), xmas()] {
        let mut lab = lab(PortPolicy::Refuse);
        lab.send(segment);
        assert_eq!(lab.next_tcp().tcp.flags, TcpFlags::RST | TcpFlags::ACK);
        assert_eq!((lab.counters().policy_refused, lab.half_open()), (1, 0));
    }
    let mut lab = lab(PortPolicy::Refuse);
    lab.send(ack().seq(1).ack(9));
    lab.expect(rst().seq(9));
    lab.send(rst());
    lab.quiet();
}

#[test]
fn prohibit_says_so_by_icmp() {
    for segment in [syn(), ack(), bare(), bare_fin(), xmas()] {
        let mut lab = lab(PortPolicy::Prohibit);
        lab.send(segment.seq(4242));
        let quoted = lab.expect_unreachable(UnreachableKind::AdminProhibited);
        assert_eq!(quoted.seq.map(|seq| seq.get()), Some(4242));
        assert_eq!((lab.counters().icmp_errors_sent, lab.half_open()), (1, 0));
        lab.send(rst());
        lab.quiet();
    }
}

#[test]
fn drop_is_silence() {
    for segment in [syn(), ack(), bare(), bare_fin(), xmas(), rst()] {
        let mut lab = lab(PortPolicy::Drop);
        lab.send(segment);
        lab.quiet();
        assert_eq!((lab.counters().policy_refused, lab.half_open()), (1, 0));
    }
}

#[test]
fn what_exists_is_not_touched() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.handshake(Peer::default());
    let id = lab.accept(listener).unwrap();
    lab.switch(4001);
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.stack.set_port_policy(Protocol::TCP, 0..=u16::MAX, PortPolicy::Drop);
    lab.send(ack());
    assert!(lab.accept(listener).is_some(), "the handshake goes on");
    lab.switch(4000);
    lab.send(data("hello"));
    assert_eq!(lab.read_all(id), b"hello");
    lab.switch(4002);
    lab.send(syn().mss(1460));
    assert_eq!(lab.half_open(), 0, "a new one does not");
}

/// A tuple in TIME-WAIT exists; the connection that would take it over does not.
#[test]
fn a_time_wait_tuple_is_no_way_around_the_policy() {
    for policy in [PortPolicy::Refuse, PortPolicy::Prohibit, PortPolicy::Drop] {
        let (mut lab, id) = established();
        lab.close(id);
        lab.expect(fin());
        lab.send(fin());
        lab.expect(ack());
        lab.stack.set_port_policy(Protocol::TCP, 80..=80, policy);
        lab.flow.isn = 100_000;
        lab.send(syn().mss(1460));
        for sent in lab.drain() {
            let flags = sent.tcp.map(|segment| segment.tcp.flags);
            assert_ne!(flags, Some(TcpFlags::SYN | TcpFlags::ACK), "{policy:?}");
        }
        assert_eq!(lab.half_open(), 0, "{policy:?}");
        assert_eq!(lab.stack.sizes().time_wait, 1, "{policy:?}");
    }
}

#[test]
fn udp_ports_have_a_policy_too() {
    let mut lab = Lab::new();
    lab.stack.set_port_policy(Protocol::UDP, 2..=2, PortPolicy::Refuse);
    lab.stack.set_port_policy(Protocol::UDP, 3..=3, PortPolicy::Prohibit);
    lab.stack.set_port_policy(Protocol::UDP, 4..=4, PortPolicy::Drop);
    for v6 in [false, true] {
        if v6 {
            lab = lab.v6();
        }
        let ip = ip_params(lab.remote.ip(), lab.local.ip(), Protocol::UDP);
        let cases = [
            (1, Some(UnreachableKind::Port)),
            (2, Some(UnreachableKind::Port)),
            (3, Some(UnreachableKind::AdminProhibited)),
            (4, None),
        ];
        for (port, answer) in cases {
            lab.send_packet(udp::emit(&ip, 4000, port, b"?").unwrap());
            if let Some(kind) = answer {
                assert_eq!(lab.expect_unreachable(kind).ports, Some((4000, port)));
            }
            lab.quiet();
        }
    }
}

/// RFC 1812 4.3.2.8, RFC 4443 2.4 (f)
#[test]
fn a_scan_gets_so_many_icmp_errors_a_second() {
    let mut lab = Lab::with(|config| config.icmp_errors_per_second = 10);
    lab.stack.set_port_policy(Protocol::TCP, 0..=u16::MAX, PortPolicy::Prohibit);
    for second in 0..3 {
        lab.at(second * 1000);
        lab.send_all((0..100).map(|_| syn()));
        assert_eq!(lab.drain().len(), 10);
    }
    assert_eq!((lab.counters().icmp_errors_sent, lab.counters().icmp_rate_limited), (30, 270));
}
