//! TIME-WAIT under load and under attack (RFC 9293 3.6.1, RFC 1337, RFC 6191).

use ropeway_core::packet::TcpFlags;
use ropeway_core::{StackConfig, SynCookieMode};

use crate::common::*;
use crate::{host, syn_packet};

/// 4000 is in TIME-WAIT: both have sent a FIN, both ends are at 2. A listener is there.
fn waiting(peer: Peer, change: impl FnOnce(&mut StackConfig)) -> Lab {
    let mut lab = Lab::with(change);
    let id = lab.accepted(peer);
    lab.close(id);
    finish(&mut lab);
    lab
}

/// The stack's FIN is out; the lab answers with its own.
fn finish(lab: &mut Lab) {
    lab.expect(fin().seq(1).ack(1));
    lab.send(fin());
    lab.expect(ack().seq(2).ack(2));
}

fn len(lab: &Lab) -> usize {
    lab.stack.sizes().time_wait
}

#[test]
fn it_lasts_60_s_exactly() {
    let mut lab = waiting(Peer::default(), |_| {});
    lab.at_us(secs(60) - 1);
    assert_eq!(len(&lab), 1);
    lab.at_us(secs(60));
    lab.assert_empty();
    lab.send(ack());
    assert_eq!(lab.next_tcp().tcp.flags, TcpFlags::RST);
}

/// RFC 1337 2: hazards H1 to H3.
#[test]
fn a_reset_does_not_cut_it_short() {
    let mut lab = waiting(Peer::default(), |_| {});
    for seq in [0, 1, 2, 3, 1000] {
        lab.send(rst().seq(seq));
        lab.send(rst_ack().seq(seq));
        lab.quiet();
    }
    lab.at_us(secs(60) - 1);
    assert_eq!(len(&lab), 1);
}

/// RFC 9293 3.10.7.4: "Acknowledge it, and restart the 2 MSL timeout."
#[test]
fn a_repeated_fin_restarts_it_exactly() {
    let mut lab = waiting(Peer::default(), |_| {});
    lab.at(30_000);
    lab.send(fin().seq(1));
    lab.expect(ack().seq(2).ack(2));
    lab.at_us(secs(90) - 1);
    assert_eq!(len(&lab), 1);
    lab.at_us(secs(90));
    lab.assert_empty();
}

#[test]
fn old_data_is_acknowledged_and_restarts_nothing() {
    let mut lab = waiting(Peer::default(), |_| {});
    lab.at(30_000);
    lab.send(data("x").seq(1));
    lab.expect(ack().seq(2).ack(2));
    lab.send(ack().seq(2));
    lab.quiet();
    lab.at_us(secs(60));
    lab.assert_empty();
}

/// RFC 9293 3.6.1 MAY-2
#[test]
fn a_syn_with_a_higher_sequence_number_takes_it_over() {
    let mut lab = waiting(Peer::default(), |_| {});
    let end = lab.flow.iss.wrapping_add(2);
    lab.flow.isn = 3;
    lab.send(syn().mss(1460));
    let answer = lab.expect(syn_ack().ack(1));
    let above = answer.tcp.seq.get().wrapping_sub(end);
    assert!(above > 0 && above < 1 << 31, "our ISN is {above} above SND.NXT");
    assert_eq!((len(&lab), lab.half_open(), lab.counters().time_wait_reused), (0, 1, 1));
    lab.send(ack());
    assert_eq!(lab.counters().passive_opens, 2);
    lab.at_us(secs(61));
    assert_eq!(lab.stack.sizes().connections, 1, "the old wait's end is not the new connection's");
}

#[test]
fn a_syn_with_an_older_sequence_number_does_not() {
    for isn in [1_u32, 2, 0_u32.wrapping_sub(1000), (1 << 31) + 3] {
        let mut lab = waiting(Peer::default(), |_| {});
        lab.input(syn().mss(1460).seq(isn));
        let answer = lab.next_tcp().tcp;
        assert_eq!((answer.flags, answer.ack.get()), (TcpFlags::ACK, 2), "{isn}");
        assert_eq!((len(&lab), lab.counters().time_wait_reused), (1, 0));
    }
}

/// RFC 6191 2
#[test]
fn a_syn_with_a_newer_timestamp_takes_it_over() {
    let peer = Peer { ts: true, ..Peer::default() };
    for isn in [2_000_000_000_u32, 0_u32.wrapping_sub(5)] {
        let mut lab = waiting(peer, |_| {});
        let end = lab.flow.iss.wrapping_add(2);
        lab.at(10);
        lab.flow.isn = isn;
        lab.send(syn().mss(1460));
        let answer = lab.expect(syn_ack().ack(1));
        let above = answer.tcp.seq.get().wrapping_sub(end);
        assert!(above > 0 && above < 1 << 31, "our ISN is {above} above SND.NXT");
    }
}

#[test]
fn a_syn_with_an_older_timestamp_does_not_whatever_its_number() {
    let mut lab = waiting(Peer { ts: true, ..Peer::default() }, |_| {});
    lab.input(syn().mss(1460).seq(5_000).ts(999, 0));
    assert_eq!(lab.next_tcp().tcp.flags, TcpFlags::ACK);
    // RFC 6191 2: an equal timestamp, or none, leaves it to the sequence number.
    lab.input(syn().mss(1460).seq(1).ts(1000, 0));
    assert_eq!(lab.next_tcp().tcp.flags, TcpFlags::ACK);
    lab.input(syn().mss(1460).seq(5_000).ts(1000, 0));
    assert_eq!(lab.next_tcp().tcp.flags, TcpFlags::ACK | TcpFlags::SYN);
}

/// A SYN for which there is no room must not take the wait away that it does not replace.
#[test]
fn a_syn_that_finds_no_room_does_not_end_it() {
    let mut lab = waiting(Peer::default(), |config| config.syn_cookies = SynCookieMode::Never);
    assert_eq!(lab.syns_from((0..20).map(host)), 17, "the queue is full");
    lab.flow.isn = 100_000;
    lab.send(syn().mss(1460));
    lab.quiet();
    assert_eq!((len(&lab), lab.counters().time_wait_reused), (1, 0));
    lab.run_to(secs(59));
    assert_eq!(len(&lab), 1);
}

#[test]
fn a_malformed_syn_does_not_end_it() {
    let mut lab = waiting(Peer::default(), |_| {});
    lab.flow.isn = 100_000;
    lab.send(syn().options(&[2, 99, 1, 1]));
    lab.drain();
    assert_eq!((len(&lab), lab.half_open(), lab.counters().time_wait_reused), (1, 0, 0));
}

#[test]
fn without_a_listener_nothing_takes_it_over() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.handshake(Peer::default());
    let id = lab.accept(listener).unwrap();
    lab.close(id);
    finish(&mut lab);
    lab.stack.close_listener(lab.ts(), listener);
    lab.send(syn().mss(1460).seq(100_000));
    assert_eq!(lab.next_tcp().tcp.flags, TcpFlags::ACK);
    assert_eq!(len(&lab), 1);
}

#[test]
fn beyond_the_cap_the_oldest_makes_room() {
    let mut lab = Lab::with(|config| config.max_time_wait = 3);
    let listener = lab.listen();
    for port in 4000..4005 {
        lab.switch(port);
        lab.handshake(Peer::default());
        let id = lab.accept(listener).unwrap();
        lab.close(id);
        finish(&mut lab);
        lab.after(1000);
    }
    assert_eq!((len(&lab), lab.counters().time_wait_overflows), (3, 2));
    for (port, answer) in [(4000, TcpFlags::RST), (4001, TcpFlags::RST), (4002, TcpFlags::ACK)] {
        lab.switch(port);
        lab.send(fin().seq(1));
        assert_eq!(lab.next_tcp().tcp.flags, answer, "{port}");
    }
}

/// One call works off a bounded number, and says that there is more.
#[test]
fn many_expire_a_part_at_a_time() {
    let count = 5000;
    let mut lab = Lab::new();
    lab.silent = true;
    let listener = lab.listen_with(8, |_| {});
    for port in 0..count {
        lab.switch(10_000 + port);
        lab.handshake(Peer::default());
        let id = lab.accept(listener).unwrap();
        lab.close(id);
        finish(&mut lab);
    }
    assert_eq!(len(&lab), usize::from(count));
    lab.now = secs(60);
    let (now, mut calls, mut before) = (lab.ts(), 0, len(&lab));
    while before > 0 {
        assert!(lab.stack.poll_timeout().unwrap() <= now, "at once");
        lab.stack.handle_timeout(now);
        assert!((1..=16).contains(&(before - len(&lab))));
        before = len(&lab);
        calls += 1;
    }
    assert_eq!((calls, lab.stack.poll_timeout()), (count.div_ceil(16), None));
}

/// RFC 5961 is not for TIME-WAIT, but its ACKs must not multiply: one for one.
#[test]
fn it_answers_a_flood_one_for_one() {
    let mut lab = waiting(Peer::default(), |_| {});
    let packet = syn_packet(lab.remote, lab.local, lab.flow.isn);
    for _ in 0..5000 {
        lab.inject(packet.clone());
    }
    assert!(lab.drain().len() <= 1024);
    assert_eq!(len(&lab), 1);
}
