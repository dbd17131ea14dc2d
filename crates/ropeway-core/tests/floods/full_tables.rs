//! Every call costs as little with its tables full as with them empty.
//!
//! Nothing is timed. Each test makes so many calls beside so many entries that it would run for hours if one of them
//! looked at all of the others.

use ropeway_core::packet::{Protocol, TcpFlags};
use ropeway_core::{
    Accepted, ConnectionId, Incoming, ListenerId, Outgoing, PortPolicy, Rejection, SocketOptions,
    SynCookieMode, UdpOptions,
};

use crate::common::*;
use crate::{MANY, host, syn_packet, verified};

/// The largest backlog that `listen_any` is asked for.
const UNDECIDED: u32 = 131_071;

fn silent(change: impl FnOnce(&mut ropeway_core::StackConfig)) -> Lab {
    let mut lab = Lab::with(|config| {
        config.syn_cookies = SynCookieMode::Never;
        config.half_open_per_prefix = u32::MAX;
        config.icmp_errors_per_second = u32::MAX;
        config.icmp_errors_per_source = u32::MAX;
        change(config);
    });
    lab.silent = true;
    lab.most_calls = u32::MAX;
    lab
}

/// A listener for everything with so many SYNs that wait for a decision, half of which the user has been told of.
fn undecided(many: u32) -> (Lab, ListenerId, Vec<Incoming>) {
    let mut lab = silent(|_| {});
    let any = lab.stack.listen_any(many as usize + 10, SocketOptions::default()).unwrap();
    lab.syns_from((0..many).map(host));
    assert_eq!(lab.half_open(), many as usize);
    let told = (0..many / 2).map(|_| lab.stack.poll_incoming(any).unwrap()).collect();
    while lab.stack.poll_event().is_some() {}
    (lab, any, told)
}

#[test]
fn a_syn_and_its_reset_cost_the_same_beside_131_071_undecided_ones() {
    let (mut lab, any, _) = undecided(UNDECIDED);
    let now = lab.ts();
    for round in 0..50_000 {
        lab.remote = (host(UNDECIDED + 1 + round % 7), 4000).into();
        lab.flow = lab::Flow { win: 65_535, ..Default::default() };
        lab.stack.handle_packet(now, verified(syn_packet(lab.remote, lab.local, 0)));
        lab.input(rst().seq(1));
        assert_eq!(lab.half_open(), UNDECIDED as usize);
    }
    while lab.stack.poll_event().is_some() {}
    // Those that were not told of are still there, in their order, and none of those that were reset.
    for number in UNDECIDED / 2..UNDECIDED {
        assert_eq!(lab.stack.poll_incoming(any).unwrap().remote().ip(), host(number));
    }
    assert_eq!(lab.stack.poll_incoming(any), None);
}

#[test]
fn decisions_cost_the_same_beside_131_071_undecided_ones() {
    let (mut lab, any, told) = undecided(UNDECIDED);
    let now = lab.ts();
    // The last one first: it is at the far end of every table.
    for (n, incoming) in told.iter().rev().enumerate() {
        match n % 3 {
            0 => assert!(lab.stack.accept_incoming(now, incoming)),
            1 => assert!(lab.stack.reject_incoming(now, incoming, Rejection::Reset)),
            _ => assert!(lab.stack.reject_incoming(now, incoming, Rejection::Drop)),
        }
        while lab.stack.poll_transmit(now).is_some() {}
        assert!(!lab.stack.accept_incoming(now, incoming), "it is decided");
        if n % 3 == 0 {
            assert_eq!(lab.stack.poll_accepted(now, any, incoming), Accepted::Waiting);
        }
    }
    for incoming in told.iter().rev().step_by(3) {
        lab.stack.abandon_incoming(now, any, incoming);
    }
}

#[test]
fn collecting_accepted_handshakes_does_not_search_the_queue() {
    let many = MANY.min(100_000) / 2;
    let (mut lab, any, told) = undecided(2 * many);
    let now = lab.ts();
    for incoming in &told {
        assert!(lab.stack.accept_incoming(now, incoming));
        let answer = parse(&lab.stack.poll_transmit(now).unwrap().to_bytes()).unwrap();
        let (from, to) = (incoming.remote(), incoming.original_dst());
        let (seq, next) = (answer.tcp.ack.get(), answer.tcp.seq.get().wrapping_add(1));
        let last = header((from.port(), to.port()), &ack(), seq, next, 65_535, None);
        lab.stack.handle_packet(now, verified(tcp_packet(from.ip(), to.ip(), &last, None, &[]).into()));
    }
    for incoming in told.iter().rev() {
        assert!(matches!(lab.stack.poll_accepted(now, any, incoming), Accepted::Connection(_)));
        assert_eq!(lab.stack.poll_accepted(now, any, incoming), Accepted::Gone);
    }
}

/// What a closed port says to a segment.
fn refused(lab: &mut Lab, segment: Seg) {
    lab.input(segment);
    lab.collect();
    let sent: Vec<_> = lab.drain().into_iter().filter_map(|sent| sent.tcp).collect();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].tcp.flags.contains(TcpFlags::RST));
}

#[test]
fn a_listener_with_200_000_half_open_entries_is_closed_at_once_and_cleared_away_bit_by_bit() {
    let many: u32 = 200_000;
    for any in [false, true] {
        let mut lab = silent(|_| {});
        let options = SocketOptions::default();
        let listener = if any {
            lab.stack.listen_any(many as usize, options).unwrap()
        } else {
            lab.stack.listen(lab.local, many as usize, options).unwrap()
        };
        lab.syns_from((0..many).map(host));
        while lab.stack.poll_event().is_some() {}
        let now = lab.ts();
        lab.stack.close_listener(now, listener);
        assert_eq!((lab.half_open(), lab.stack.sizes().listeners), (0, 0));
        assert!(lab.stack.poll_incoming(listener).is_none() && lab.stack.accept(now, listener).is_err());
        // The last entries have not been cleared away yet; nobody notices.
        for (number, segment) in
            [(many - 1, ack().seq(1).ack(1)), (many - 2, syn()), (many - 3, data("x").seq(1).ack(1))]
        {
            lab.remote = (host(number), 1000).into();
            lab.flow = lab::Flow { win: 65_535, ..Default::default() };
            refused(&mut lab, segment);
        }
        // A new listener has nothing to do with them, whatever slot it gets.
        let again = lab.listen_with(1, |_| {});
        lab.remote = (host(many - 4), 1000).into();
        lab.flow = lab::Flow { win: 65_535, ..Default::default() };
        lab.handshake(Peer::default());
        assert!(lab.accept(again).is_some());
        // Every call does its part.
        let mut calls = 0;
        while lab.stack.poll_timeout().is_some_and(|at| at <= now) {
            lab.stack.handle_timeout(now);
            calls += 1;
        }
        assert!((many / 64 - 1..many / 64 + 50).contains(&calls), "{calls} calls");
        assert_eq!(lab.stack.poll_timeout(), None);
        lab.stack.close_listener(now, again);
        assert_eq!((lab.half_open(), lab.stack.poll_timeout()), (0, None));
    }
}

#[test]
fn listeners_that_close_while_others_are_being_cleared_away() {
    let mut lab = silent(|_| {});
    let mut listeners = Vec::new();
    for port in 1000..1200 {
        lab.local.set_port(port);
        listeners.push(lab.listen_with(1000, |_| {}));
        lab.syns_from((0..50).map(|n| host(u32::from(port) * 50 + n)));
    }
    assert_eq!(lab.half_open(), 200 * 50);
    let now = lab.ts();
    for (n, listener) in listeners.iter().enumerate() {
        if n % 4 != 0 {
            lab.stack.close_listener(now, *listener);
        }
    }
    assert_eq!((lab.half_open(), lab.stack.sizes().listeners), (50 * 50, 50));
    while lab.stack.poll_timeout().is_some_and(|at| at <= now) {
        lab.stack.handle_timeout(now);
    }
    assert_eq!((lab.half_open(), lab.stack.sizes().listeners), (50 * 50, 50));
    // Those of the others are there, and end in time.
    lab.run_to(secs(64));
    assert_eq!((lab.half_open(), lab.counters().half_open_reaped), (0, 50 * 50));
    for listener in listeners.iter().step_by(4) {
        lab.stack.close_listener(lab.ts(), *listener);
    }
    lab.assert_empty();
}

/// A stack whose other tables are full: listeners on every address of a /16 and sharing one address, bindings, probes,
/// policies for every port, addresses, TIME-WAIT.
fn full() -> (Lab, Vec<ListenerId>, ConnectionId) {
    let mut lab = silent(|config| config.max_time_wait = 1_000_000);
    let loopback = |n: u32| std::net::Ipv4Addr::from_bits(0x7f01_0000 + n);
    let options = SocketOptions::default();
    let mut sharing = options.clone();
    sharing.reuse_port = true;
    let mut listeners = Vec::new();
    for n in 0..50_000 {
        listeners.push(lab.stack.listen((loopback(n), 80).into(), 1, options.clone()).unwrap());
        listeners.push(lab.stack.listen(addr("127.0.0.1:81"), 100, sharing.clone()).unwrap());
    }
    for n in 0..30_000 {
        lab.stack.bind((loopback(n), 82).into(), &options).unwrap();
        lab.stack.add_address(std::net::IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0b00_0000 + n)).into());
    }
    let now = lab.ts();
    for port in 1..=30_000 {
        let remote = (std::net::Ipv4Addr::new(10, 0, 0, 1), port).into();
        let flow = lab.stack.udp_open(now, remote, UdpOptions::default()).unwrap();
        lab.stack.udp_send(now, flow, b"?", &Outgoing::default()).unwrap();
        lab.stack.udp_bind((loopback(port.into()), 83).into(), UdpOptions::default()).unwrap();
        lab.stack.set_port_policy(Protocol::UDP, port..=port, PortPolicy::Drop);
        while lab.stack.poll_transmit(now).is_some() {}
    }
    let id = lab.accepted(Peer::default());
    (lab, listeners, id)
}

#[test]
fn calls_cost_the_same_whatever_else_is_open() {
    let (mut lab, listeners, id) = full();
    let now = lab.ts();
    let options = SocketOptions::default();
    let (local, remote) = (lab.local, lab.remote);
    for n in 0..20_000u32 {
        let port = 1 + (n % 60_000) as u16;
        // Packets: to a connection, to a listener, to nobody, to a UDP port.
        lab.input(ack().seq(1));
        for to in [local, (local.ip(), 9).into()] {
            lab.stack.handle_packet(now, verified(syn_packet((host(n), port).into(), to, 0)));
        }
        let datagram = ropeway_core::packet::udp::emit(
            &ip_params(remote.ip(), local.ip(), Protocol::UDP),
            port,
            port,
            b"stray",
        );
        lab.stack.handle_packet(now, verified(datagram.unwrap().into()));
        while lab.stack.poll_transmit(now).is_some() {}
        while lab.stack.poll_event().is_some() {}
        // Calls.
        let (binding, _) = lab.stack.bind(addr("127.0.0.1:0"), &options).unwrap();
        lab.stack.release_binding(binding);
        assert!(lab.stack.bind(addr("0.0.0.0:80"), &options).is_err());
        let listener = lab.stack.listen((local.ip(), 10_000).into(), 1, options.clone()).unwrap();
        lab.stack.close_listener(now, listener);
        let flow = lab.stack.udp_open(now, (remote.ip(), port).into(), UdpOptions::default()).unwrap();
        lab.stack.udp_send(now, flow, b"?", &Outgoing::default()).unwrap();
        lab.stack.udp_close(now, flow);
        let (socket, _) = lab.stack.udp_bind(addr("0.0.0.0:0"), UdpOptions::default()).unwrap();
        lab.stack.udp_connect(now, socket, (remote.ip(), port).into()).unwrap();
        lab.stack.udp_close(now, socket);
        lab.stack.set_port_policy(Protocol::UDP, port..=port, PortPolicy::Refuse);
        let address = std::net::IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0b00_0000 + n));
        lab.stack.remove_address(address);
        lab.stack.add_address(address.into());
        let id_of_none = lab.stack.connect(now, None, addr("192.0.2.1:9"), options.clone()).unwrap();
        lab.stack.close(now, id_of_none);
        let _ = (lab.stack.sizes(), lab.stack.poll_timeout(), lab.stack.path_mtu(remote.ip()));
        let _ = (lab.stack.info(now, id).unwrap(), lab.stack.readiness(id));
        lab.stack.handle_timeout(now);
    }
    for listener in listeners {
        lab.stack.close_listener(now, listener);
    }
    assert_eq!(lab.stack.sizes().listeners, 1);
}

#[test]
fn calls_over_the_loopback_cost_the_same_whatever_else_listens() {
    let (mut lab, _, _) = full();
    let now = lab.ts();
    for n in 0..2000 {
        for to in [format!("127.1.{}.{}:80", n / 256, n % 256), "127.0.0.1:81".into()] {
            let id = lab.stack.connect(now, None, addr(&to), SocketOptions::default()).unwrap();
            lab.stack.handle_local(now);
            assert!(lab.stack.is_connected(id), "{to}");
        }
    }
}
