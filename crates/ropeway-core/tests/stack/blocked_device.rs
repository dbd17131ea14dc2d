//! A device that takes nothing, as the owner of a stack sees it: time goes on, packets to ourselves move, and what has
//! not left is neither lost nor sent twice.

use std::time::Duration;

use ropeway_core::{ConnectionError, ConnectionId, Readiness, SendFlags, SocketOptions, State};

use crate::common::*;

/// Lets time pass while the device takes nothing.
fn pass(lab: &mut Lab, until: u64) {
    while let Some(deadline) = lab.next_deadline().filter(|deadline| *deadline <= until) {
        lab.now = lab.now.max(deadline);
        lab.stack.handle_timeout(lab.ts());
        lab.stack.handle_local(lab.ts());
    }
    lab.now = until;
    while let Some(event) = lab.stack.poll_event() {
        lab.events.push(event);
    }
}

/// An open whose SYN the device has not taken.
fn opening(lab: &mut Lab, change: impl FnOnce(&mut SocketOptions)) -> ConnectionId {
    let mut options = lab.stack.config().socket.clone();
    change(&mut options);
    (lab.local, lab.remote) = (addr("10.0.0.2:5000"), addr("10.0.0.1:80"));
    lab.stack.connect(lab.ts(), Some(lab.local), lab.remote, options).unwrap()
}

fn queue(lab: &mut Lab, id: ConnectionId, bytes: &[u8]) {
    assert_eq!(lab.stack.send(lab.ts(), id, bytes, SendFlags::default()), Ok(bytes.len()));
}

#[test]
fn a_connect_is_given_up_in_time() {
    let mut lab = Lab::new();
    let id = opening(&mut lab, |_| {});
    pass(&mut lab, secs(247) - 1);
    lab.assert_state(id, State::SynSent);
    pass(&mut lab, secs(247));
    lab.assert_state(id, State::Closed);
    assert!(lab.told(id, Readiness::WRITABLE));
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::TimedOut));
    let counters = lab.stack.counters();
    assert_eq!((counters.timeouts_unsent, counters.retransmission_timeouts), (7, 0));
    lab.quiet();
}

#[test]
fn a_syn_that_waited_leaves_once_and_the_open_goes_on() {
    let mut lab = Lab::new();
    let id = opening(&mut lab, |_| {});
    pass(&mut lab, secs(100));
    lab.collect();
    lab.expect(syn().seq(0));
    lab.quiet();
    lab.send(syn_ack().mss(1460));
    lab.expect(ack().seq(1).ack(1));
    lab.assert_state(id, State::Established);
    assert!(lab.info(id).cwnd > 10 * 1000, "nothing was lost: the first window is the usual one");
}

#[test]
fn user_timeouts_of_thirty_seconds_pass_for_syn_data_and_fin() {
    let thirty = |options: &mut SocketOptions| options.user_timeout = Some(Duration::from_secs(30));
    for what in ["syn", "data", "fin"] {
        let mut lab = Lab::new();
        let id = match what {
            "syn" => opening(&mut lab, thirty),
            _ => lab.accepted_with(Peer::default(), thirty),
        };
        match what {
            "data" => queue(&mut lab, id, b"never sent"),
            "fin" => lab.stack.shutdown(lab.ts(), id, std::net::Shutdown::Write).unwrap(),
            _ => {}
        }
        pass(&mut lab, secs(30) - 1);
        assert_ne!(lab.state(id), State::Closed, "{what}");
        pass(&mut lab, secs(30));
        lab.assert_state(id, State::Closed);
        assert_eq!(lab.stack.take_error(id), Some(ConnectionError::TimedOut), "{what}");
    }
}

#[test]
fn an_orphan_whose_data_never_leaves_is_given_up() {
    let (mut lab, id) = established();
    queue(&mut lab, id, b"never sent");
    lab.stack.close(lab.ts(), id);
    pass(&mut lab, secs(3600));
    assert_eq!(lab.stack.sizes().connections, 0);
}

#[test]
fn keep_alive_goes_on() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.keep_alive = Some(Default::default()));
    pass(&mut lab, secs(3 * 3600));
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::TimedOut));
    lab.collect();
    lab.expect(rst_ack());
}

/// The owner has taken segments from the stack, and the device has not: their timeout says nothing of the network.
#[test]
fn segments_in_the_owners_queue_are_not_retransmitted() {
    let (mut lab, id) = established();
    lab.write(id, &pattern(0, 3000));
    let queued = lab.drain().len();
    lab.stack.set_waiting(queued);
    let cwnd = lab.info(id).cwnd;
    pass(&mut lab, secs(10));
    lab.quiet();
    assert_eq!((lab.info(id).cwnd, lab.info(id).retransmitted), (cwnd, 0));
    assert!(lab.stack.counters().timeouts_unsent > 0);
    // They leave, and the acknowledgement comes.
    lab.stack.set_waiting(0);
    lab.send(ack().ack(3001));
    lab.quiet();
    assert_eq!((lab.info(id).cwnd >= cwnd, lab.info(id).unacked), (true, 0));
}

#[test]
fn what_has_left_and_is_lost_is_retransmitted() {
    let (mut lab, id) = established();
    lab.write(id, &pattern(0, 1000));
    lab.drain();
    lab.stack.set_waiting(1);
    pass(&mut lab, ms(300));
    lab.stack.set_waiting(0);
    lab.run_to(secs(1));
    lab.expect(some(1000).seq(1));
}

/// One resend that waits for its turn is one resend, however often the timer goes off meanwhile.
#[test]
fn a_retransmission_that_waits_is_sent_once() {
    let (mut lab, id) = established();
    lab.write(id, &pattern(0, 1000));
    lab.drain();
    pass(&mut lab, secs(20));
    lab.collect();
    lab.expect(some(1000).seq(1));
    lab.quiet();
    assert_eq!(lab.stack.counters().retransmission_timeouts, 1);
}

#[test]
fn handshakes_that_nobody_answers_are_reaped() {
    let mut lab = Lab::new();
    lab.listen();
    lab.input(syn());
    pass(&mut lab, secs(300));
    assert_eq!(lab.stack.sizes().half_open, 0);
}

#[test]
fn the_loopback_goes_on() {
    let mut lab = Lab::new();
    for n in 0..50 {
        let remote = addr(&format!("10.0.0.1:{}", 1000 + n));
        lab.stack.connect(lab.ts(), None, remote, SocketOptions::default()).unwrap();
    }
    let listener = lab.stack.listen(addr("127.0.0.1:80"), 16, SocketOptions::default()).unwrap();
    let client = lab.stack.connect(lab.ts(), None, addr("127.0.0.1:80"), SocketOptions::default()).unwrap();
    lab.set(client, roomy);
    pass(&mut lab, 0);
    let (server, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    let bytes = pattern(0, 400_000);
    queue(&mut lab, client, &bytes);
    let mut got = Vec::new();
    while got.len() < bytes.len() {
        let next = lab.now + ms(1);
        pass(&mut lab, next);
        got.extend(lab.stack.recv(lab.ts(), server, 1_000_000).map(|read| read.to_vec()).unwrap_or_default());
    }
    assert!(got == bytes);
    assert!(lab.now < secs(1), "{}", lab.now);
}

/// A cork holds data back although nothing is outstanding; no timer for lost segments runs meanwhile.
#[test]
fn what_may_not_be_sent_does_not_time_out() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| {
        options.cork = true;
        options.user_timeout = Some(Duration::from_millis(100));
    });
    lab.write(id, b"corked");
    lab.quiet();
    lab.at(200);
    lab.expect(data(b"corked"));
    lab.assert_state(id, State::Established);
}

#[test]
fn a_hundred_thousand_connections_closed_at_once_are_all_told_in_the_end() {
    let mut lab = Lab::with(|config| config.max_connections = 200_000);
    lab.silent = true;
    lab.most_calls = u32::MAX;
    let listener = lab.listen_with(60_000, |_| {});
    let mut ids = Vec::new();
    for host in 0..2 {
        lab.switch(1);
        lab.remote.set_ip([10, 0, 0, 10 + host].into());
        for port in 0..50_000 {
            lab.switch(1024 + port);
            lab.handshake(Peer::default());
            ids.push(lab.accept(listener).unwrap());
            lab.input(data(b"unread"));
        }
    }
    lab.drain();
    for id in ids {
        lab.stack.close(lab.ts(), id);
    }
    pass(&mut lab, secs(3600));
    assert_eq!(lab.stack.sizes().connections, 100_000);
    let mut told = std::collections::HashSet::new();
    let now = lab.ts();
    while let Some(transmit) = lab.stack.poll_transmit(now) {
        let segment = parse(&transmit.to_bytes()).unwrap();
        assert!(segment.tcp.flags.contains(ropeway_core::packet::TcpFlags::RST));
        told.insert((segment.ip.dst, segment.tcp.dst_port));
    }
    assert_eq!(told.len(), 100_000);
    lab.assert_empty();
}
