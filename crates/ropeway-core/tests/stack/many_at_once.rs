//! Thousands of connections that end, or begin, at the same moment: each peer is told, whatever else is to be sent.

use std::collections::HashSet;

use ropeway_core::packet::TcpFlags;
use ropeway_core::{ConnectionId, ListenerId, Rejection, SendFlags, SocketOptions, Stack, State, Timestamp};

use crate::common::*;

const MANY: u16 = 3000;

/// So many connections from one peer, each with a port of its own, and their listener. They wait to be accepted.
fn waiting(many: u16, v6: bool) -> (Lab, ListenerId) {
    let mut lab = Lab::with(|config| config.syn_cookies = ropeway_core::SynCookieMode::Never).v6_if(v6);
    let listener = lab.listen_with(usize::from(many), |_| {});
    for port in 0..many {
        lab.switch(1024 + port);
        lab.handshake(Peer::default());
    }
    (lab, listener)
}

fn accept_all(lab: &mut Lab, listener: ListenerId) -> Vec<ConnectionId> {
    std::iter::from_fn(|| lab.accept(listener)).collect()
}

/// The ports of the peer that what was sent goes to, if it has these flags.
fn told(lab: &mut Lab, flags: TcpFlags) -> HashSet<u16> {
    let sent = lab.drain().into_iter().filter_map(|sent| sent.tcp);
    sent.filter(|segment| segment.tcp.flags.contains(flags)).map(|segment| segment.tcp.dst_port).collect()
}

/// Segments to closed ports, as many as make the queue of their answers overflow.
fn flood_of_strangers(lab: &mut Lab) {
    let (local, remote) = (lab.local, lab.remote);
    for port in 0..2000 {
        let stray = header((port + 10_000, 9), &ack(), 1, 1, 1000, None);
        lab.inject(tcp_packet(remote.ip(), local.ip(), &stray, None, &[]));
    }
}

#[test]
fn connections_that_take_turns_get_their_own_data_while_others_come_and_go() {
    const SOME: u16 = 300;
    for v6 in [false, true] {
        let (mut lab, listener) = waiting(SOME, v6);
        let ids = accept_all(&mut lab, listener);
        lab.drain();
        let port = |lab: &Lab, id| lab.stack.tuple(id).unwrap().remote_port;
        for round in 0..3_u16 {
            for id in ids.iter().skip(round.into()).step_by(3) {
                let port = port(&lab, *id);
                lab.switch(port);
                lab.input(data(port.to_be_bytes()));
            }
            for id in ids.iter().skip(round.into()).step_by(3) {
                let expected = port(&lab, *id).to_be_bytes();
                assert_eq!(lab.read(*id, 100), expected, "round {round}");
                lab.stack.abort(lab.ts(), *id);
                lab.stack.close(lab.ts(), *id);
            }
            lab.drain();
            assert_eq!(lab.stack.sizes().connections, usize::from(SOME - (round + 1) * SOME / 3));
        }
    }
}

#[test]
fn three_thousand_connections_closed_with_unread_data_reset_all_their_peers() {
    for v6 in [false, true] {
        let (mut lab, listener) = waiting(MANY, v6);
        let ids = accept_all(&mut lab, listener);
        for port in 0..MANY {
            lab.switch(1024 + port);
            lab.input(data(b"unread"));
        }
        lab.drain();
        flood_of_strangers(&mut lab);
        for id in ids {
            lab.stack.close(lab.ts(), id);
        }
        let told = told(&mut lab, TcpFlags::RST);
        assert_eq!(told.iter().filter(|port| (1024..1024 + MANY).contains(port)).count(), usize::from(MANY));
        assert_eq!(lab.stack.sizes().connections, 0);
    }
}

#[test]
fn a_listener_closed_with_three_thousand_unaccepted_connections_resets_all_their_peers() {
    let (mut lab, listener) = waiting(MANY, false);
    flood_of_strangers(&mut lab);
    lab.stack.close_listener(lab.ts(), listener);
    lab.run_to(lab.now);
    let told = told(&mut lab, TcpFlags::RST);
    assert_eq!(told.iter().filter(|port| (1024..1024 + MANY).contains(port)).count(), usize::from(MANY));
    lab.assert_empty();
}

#[test]
fn three_thousand_aborted_connections_reset_all_their_peers() {
    let (mut lab, listener) = waiting(MANY, false);
    let ids = accept_all(&mut lab, listener);
    for id in &ids {
        lab.stack.abort(lab.ts(), *id);
    }
    assert_eq!(told(&mut lab, TcpFlags::RST).len(), usize::from(MANY));
    for id in ids {
        lab.close(id);
    }
    lab.assert_empty();
}

/// Data for a connection that nobody holds any more, and malformed options: what ends them is a RST, too.
#[test]
fn three_thousand_orphans_that_get_data_reset_all_their_peers() {
    let (mut lab, listener) = waiting(MANY, false);
    for id in accept_all(&mut lab, listener) {
        lab.close(id);
    }
    lab.drain();
    for port in 0..MANY {
        lab.switch(1024 + port);
        lab.input(data(b"too late"));
    }
    assert_eq!(told(&mut lab, TcpFlags::RST).len(), usize::from(MANY));
    lab.assert_empty();
}

#[test]
fn keep_alive_that_gives_three_thousand_peers_up_at_once_resets_them_all() {
    let (mut lab, listener) = waiting(MANY, false);
    for id in accept_all(&mut lab, listener) {
        lab.set(id, |options| options.keep_alive = Some(Default::default()));
    }
    lab.run_to(secs(3 * 3600));
    assert_eq!(told(&mut lab, TcpFlags::RST).len(), usize::from(MANY));
}

/// The last acknowledgement of a close is the peer's due, and not in the queue of answers to anybody.
#[test]
fn three_thousand_fins_are_acknowledged_whoever_floods_us() {
    let (mut lab, listener) = waiting(MANY, false);
    for id in accept_all(&mut lab, listener) {
        lab.close(id);
    }
    lab.drain();
    for port in 0..MANY {
        lab.switch(1024 + port);
        lab.send(ack().ack(2));
    }
    flood_of_strangers(&mut lab);
    for port in 0..MANY {
        lab.switch(1024 + port);
        lab.input(fin().ack(2));
    }
    assert_eq!(lab.stack.sizes().time_wait, usize::from(MANY));
    assert_eq!(told(&mut lab, TcpFlags::ACK).len(), usize::from(MANY));
}

/// A FIN that comes again meets TIME-WAIT, and its answer does not wait behind the strangers' either.
#[test]
fn a_flood_of_strangers_does_not_cost_a_peer_in_time_wait_its_answer() {
    let (mut lab, _) = in_state(State::TimeWait);
    flood_of_strangers(&mut lab);
    lab.flow.nxt = 1;
    lab.input(fin().ack(2));
    assert_eq!(told(&mut lab, TcpFlags::ACK).len(), 1);
}

#[test]
fn two_thousand_connects_at_once_over_the_loopback_are_all_answered_at_once() {
    for (to, many) in [("127.0.0.1:80", 2000), ("[::1]:80", 2000), ("10.0.0.2:80", 5000)] {
        let mut lab = Lab::new();
        let listener = lab.stack.listen(addr(to), many, SocketOptions::default()).unwrap();
        let ids: Vec<_> = (0..many)
            .map(|_| lab.stack.connect(lab.ts(), None, addr(to), SocketOptions::default()).unwrap())
            .collect();
        lab.run_to(lab.now);
        lab.drain();
        assert_eq!(lab.stack.counters().replies_dropped, 0);
        let open = ids.iter().filter(|id| lab.state(**id) == State::Established).count();
        assert_eq!(open, many, "{to}");
        assert!(lab.accept(listener).is_some());
    }
}

#[test]
fn two_thousand_connects_at_once_to_a_closed_local_port_are_all_refused_at_once() {
    let mut lab = Lab::new();
    let ids: Vec<_> = (0..2000)
        .map(|_| lab.stack.connect(lab.ts(), None, addr("127.0.0.1:9"), SocketOptions::default()).unwrap())
        .collect();
    lab.run_to(lab.now);
    lab.drain();
    assert!(ids.iter().all(|id| lab.state(*id) == State::Closed));
}

/// The user decides about thousands of SYNs at once: each peer gets its answer, once.
#[test]
fn three_thousand_decisions_at_once_are_all_told() {
    for accepts in [false, true] {
        let mut lab = Lab::with(|config| config.half_open_per_prefix = u32::MAX);
        let any = lab.stack.listen_any(usize::from(MANY), SocketOptions::default()).unwrap();
        for port in 0..MANY {
            lab.switch(1024 + port);
            lab.input(syn());
        }
        flood_of_strangers(&mut lab);
        while let Some(incoming) = lab.stack.poll_incoming(any) {
            let decided = match accepts {
                true => lab.stack.accept_incoming(lab.ts(), &incoming),
                false => lab.stack.reject_incoming(lab.ts(), &incoming, Rejection::Reset),
            };
            assert!(decided);
        }
        let told = told(&mut lab, if accepts { TcpFlags::SYN } else { TcpFlags::RST });
        let told = told.iter().filter(|port| (1024..1024 + MANY).contains(port)).count();
        assert_eq!(told, usize::from(MANY));
    }
}

/// The most connections that one call tells that the stack ends.
const STEP: usize = 64;

#[test]
fn a_shutdown_of_three_thousand_connections_tells_each_a_bounded_number_in_one_call() {
    let (mut lab, listener) = waiting(MANY, false);
    let ids = accept_all(&mut lab, listener);
    lab.drain();
    lab.stack.shut_down(lab.ts());
    let (mut fins, mut steps) = (told(&mut lab, TcpFlags::FIN), 0);
    assert!(lab.stack.undelivered() > fins.len());
    while lab.next_deadline() == Some(0) {
        lab.stack.handle_timeout(lab.ts());
        let more = told(&mut lab, TcpFlags::FIN);
        assert!(more.len() <= STEP, "{} in one call", more.len());
        steps += 1;
        fins.extend(more);
    }
    assert!(steps > ids.len() / STEP - 2);
    assert_eq!((fins.len(), lab.stack.undelivered()), (ids.len(), ids.len()));
    assert!(ids.iter().all(|id| lab.state(*id) == State::FinWait1));
}

/// A shutdown that has not come to a connection yet is done with it before anything else is.
#[test]
fn no_call_finds_a_connection_open_once_the_stack_is_shut_down() {
    let (mut lab, listener) = waiting(MANY, false);
    let ids = accept_all(&mut lab, listener);
    lab.stack.shut_down(lab.ts());
    for id in ids.iter().rev() {
        assert!(lab.stack.send(lab.ts(), *id, b"late", SendFlags::default()).is_err());
        assert_eq!(lab.state(*id), State::FinWait1);
    }
    lab.run_to(lab.now);
    assert_eq!((told(&mut lab, TcpFlags::FIN).len(), lab.stack.undelivered()), (ids.len(), ids.len()));
}

#[test]
fn the_last_words_of_three_thousand_connections_are_said_some_at_a_time() {
    for cut_off in [false, true] {
        let (mut lab, listener) = waiting(MANY, false);
        for id in accept_all(&mut lab, listener) {
            // More than the windows allow: what is left is given up.
            lab.write(id, &pattern(0, 20_000));
        }
        if !cut_off {
            lab.drain();
        }
        let (mut resets, mut calls) = (HashSet::new(), 0);
        let mut each = |call: fn(&mut Stack, Timestamp) -> bool| {
            let mut more = true;
            while more {
                calls += 1;
                let now = lab.ts();
                more = call(&mut lab.stack, now);
                if !cut_off {
                    let some = told(&mut lab, TcpFlags::RST);
                    assert!(some.len() <= STEP, "{} in one call", some.len());
                    resets.extend(some);
                }
            }
        };
        each(Stack::wind_up);
        if cut_off {
            each(Stack::cut_off);
        }
        assert!(calls > usize::from(MANY) / STEP * (1 + usize::from(cut_off)));
        resets.extend(told(&mut lab, TcpFlags::RST));
        assert_eq!(resets.len(), usize::from(MANY));
        assert_eq!(lab.stack.counters().bytes_lost, 20_000 * u64::from(MANY));
    }
}

/// Whoever waits for the lock waits for one call.
#[test]
fn a_call_passes_over_a_bounded_number_of_connections_that_have_nothing_to_send() {
    let (mut lab, listener) = waiting(MANY, false);
    let ids = accept_all(&mut lab, listener);
    for id in &ids {
        lab.write(*id, b"first");
    }
    assert_eq!(lab.drain().len(), ids.len());
    for id in &ids {
        // By Nagle's algorithm it waits until that is acknowledged.
        lab.stack.send(lab.ts(), *id, b"second", SendFlags::default()).unwrap();
    }
    let mut pauses = 0;
    while lab.stack.has_output() {
        assert!(lab.stack.poll_transmit(lab.ts()).is_none());
        assert_eq!(lab.stack.poll_timeout() == Some(Timestamp::START), lab.stack.has_output());
        pauses += 1;
    }
    assert!((ids.len() / 100..=ids.len()).contains(&pauses), "{pauses} calls");
    // What comes later is no reason to come back at once.
    lab.switch(1024);
    lab.input(data(b"third"));
    assert_ne!(lab.stack.poll_timeout(), Some(Timestamp::START));
}

/// Likewise, between our own addresses.
#[test]
fn a_call_moves_a_bounded_number_of_local_packets_and_bytes() {
    for (len, most) in [(100, 32), (50_000, 8)] {
        let mut lab = Lab::new();
        let options = || SocketOptions::default();
        let listener = lab.stack.listen(addr("127.0.0.1:80"), 500, options()).unwrap();
        let clients: Vec<_> = (0..500)
            .map(|_| lab.stack.connect(lab.ts(), None, addr("127.0.0.1:80"), options()).unwrap())
            .collect();
        let moved = |lab: &mut Lab| {
            let (mut all, mut pauses) = (0, 0);
            while lab.stack.has_output() {
                let before = lab.stack.counters().received;
                assert!(lab.stack.poll_transmit(lab.ts()).is_none());
                assert_eq!(lab.stack.poll_timeout() == Some(Timestamp::START), lab.stack.has_output());
                all += lab.stack.counters().received - before;
                assert!(lab.stack.counters().received - before <= 32, "in one call");
                pauses += 1;
            }
            (all, pauses)
        };
        moved(&mut lab);
        let servers = accept_all(&mut lab, listener);
        for client in &clients {
            assert!(lab.stack.send(lab.ts(), *client, &vec![7; len], SendFlags::default()).unwrap() > 0);
        }
        let (all, pauses) = moved(&mut lab);
        assert!(all >= 500 && pauses * most >= all, "{all} packets in {pauses} calls");
        let unread = servers.iter().map(|id| lab.info(*id).unread).sum::<usize>();
        assert!(unread >= 500 * len.min(16_000), "{unread} bytes");
    }
}
