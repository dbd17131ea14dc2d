//! Blind attacks (RFC 5961, RFC 5927) and segments that nobody can have sent.

use std::net::Shutdown;

use ropeway_core::packet::UnreachableKind;
use ropeway_core::{ConnectionError, SendError, State};

use crate::common::*;

const STATES: [State; 4] = [State::Established, State::FinWait1, State::FinWait2, State::CloseWait];

/// RFC 5961 3.2-2, RFC 5961 3.2-3
#[test]
fn a_reset_counts_at_exactly_rcv_nxt() {
    for state in STATES {
        let (mut lab, id) = in_state(state);
        let (seen, nxt) = (lab.flow.seen, lab.flow.nxt);
        for offset in [1, 1000, 60_000] {
            lab.send(rst().seq(nxt + offset));
            lab.expect(ack().seq(seen).ack(nxt));
        }
        lab.send(rst().seq(nxt + 1_000_000));
        lab.send(rst().seq(0_u32.wrapping_sub(1)));
        lab.quiet();
        lab.assert_state(id, state);
        assert_eq!((lab.counters().challenge_acks, lab.counters().resets_received), (3, 0), "{state}");
        lab.send(rst().seq(nxt));
        lab.quiet();
        lab.assert_state(id, State::Closed);
        assert_eq!(lab.counters().resets_received, 1);
    }
}

/// RFC 5961 4.2: "irrespective of the sequence number".
/// RFC 5961 4.2-1
#[test]
fn a_syn_is_challenged_and_does_no_harm() {
    for state in STATES {
        let (mut lab, id) = in_state(state);
        let (seen, nxt) = (lab.flow.seen, lab.flow.nxt);
        for seq in [nxt, nxt + 1000, nxt + 1_000_000, 0] {
            for forged in [syn(), syn_ack().ack(seen)] {
                let mut forged = forged.seq(seq);
                forged.mss = Some(1460);
                let header = lab.packet(&forged);
                lab.flow.nxt = nxt;
                lab.send_packet(header);
                lab.expect(ack().seq(seen).ack(nxt));
            }
        }
        lab.assert_state(id, state);
    }
}

/// The peer has restarted, and its SYN has no timestamps now.
/// RFC 5961 4.2-1
#[test]
fn a_syn_without_the_timestamps_agreed_on_is_challenged_too() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { ts: true, ..Peer::default() });
    let nxt = lab.flow.nxt;
    lab.send(syn().mss(1460).seq(nxt + 100).no_ts());
    lab.flow.nxt = nxt;
    lab.expect(ack().seq(1).ack(1));
    lab.send(rst().seq(1).no_ts());
    lab.assert_state(id, State::Closed);
}

/// RFC 5961 5.2: an ACK above SND.NXT, or older than the largest window.
/// RFC 5961 5.2-1
#[test]
fn data_with_a_guessed_ack_is_not_taken() {
    for state in [State::Established, State::FinWait1, State::FinWait2] {
        let (mut lab, id) = in_state(state);
        let (seen, nxt) = (lab.flow.seen, lab.flow.nxt);
        for guess in [seen + 1, seen + 100_000, seen.wrapping_sub(70_000), seen.wrapping_sub(1 << 31)] {
            lab.send(data("evil").seq(nxt).ack(guess));
            lab.flow.nxt = nxt;
            lab.expect(ack().seq(seen).ack(nxt));
        }
        lab.assert_state(id, state);
        assert_eq!(lab.info(id).unread, 0);
        lab.send(data("good").seq(nxt).ack(seen));
        assert_eq!(lab.read_all(id), b"good");
    }
}

/// CVE-2016-5696: a limit that all connections share tells one about another.
/// RFC 9293 3.10.7.4 R-06, RFC 5961 7-1
#[test]
fn the_limit_on_challenges_is_each_connections_own() {
    let mut lab = Lab::new();
    lab.listen();
    for port in [4001, 4000] {
        lab.switch(port);
        lab.handshake(Peer::default());
    }
    let answers = |lab: &mut Lab, count: u32| {
        let mut answers = 0;
        for _ in 0..count {
            lab.send(rst().seq(2));
            answers += lab.drain().len();
        }
        answers
    };
    assert_eq!(answers(&mut lab, 300), 100);
    lab.switch(4001);
    assert_eq!(answers(&mut lab, 100), 100, "as if nothing had happened");
    lab.at(1000);
    assert_eq!(answers(&mut lab, 300), 100, "a second later");
}

/// RFC 5961 7-2
#[test]
fn the_limit_on_challenges_can_be_set() {
    for limit in [0, 1, 7] {
        let mut lab = Lab::with(|config| config.challenge_acks_per_second = limit);
        let id = lab.accepted(Peer::default());
        for second in 0..3 {
            lab.at_us(secs(second));
            for round in 0..20 {
                // RSTs, SYNs and ACKs of what was never sent share it.
                lab.input([rst().seq(2), syn().seq(1), ack().seq(1).ack(9)][round % 3].clone());
                lab.flow.nxt = 1;
                let answers = lab.drain().len();
                assert_eq!(answers, usize::from(round < limit as usize), "{round} of {limit}");
            }
        }
        lab.assert_state(id, State::Established);
    }
}

/// RFC 5927 4.1: only what quotes a sequence number in flight is believed.
#[test]
fn icmp_with_a_guessed_sequence_number_is_ignored() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    let real = lab.flow.iss;
    let about = |lab: &Lab, seq: u32| {
        let header = header((lab.local.port(), lab.remote.port()), &syn(), seq, 0, 65535, None);
        tcp_packet(lab.local.ip(), lab.remote.ip(), &header, None, &[])
    };
    for (round, seq) in (1..).zip([0, real - 1, real + 1, real ^ 1 << 31]) {
        let quote = about(&lab, seq);
        lab.unreachable(UnreachableKind::Port, &quote);
        lab.assert_state(id, State::SynSent);
        assert_eq!(lab.counters().icmp_ignored, round);
    }
    let quote = about(&lab, real);
    lab.unreachable(UnreachableKind::Port, &quote);
    lab.assert_state(id, State::Closed);
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::Refused));
}

/// RFC 5927 5.2, RFC 9293 3.9.2.2: a hard error is a soft one once the connection is synchronized.
/// RFC 9293 3.9.2.2 SHLD-26
#[test]
fn icmp_does_not_end_a_synchronized_connection() {
    for kind in [UnreachableKind::Port, UnreachableKind::Protocol, UnreachableKind::AdminProhibited] {
        let (mut lab, id) = established();
        lab.write(id, b"hello");
        let quote = lab.next_packet();
        lab.unreachable(kind, &quote);
        lab.assert_state(id, State::Established);
        lab.send(ack());
        assert_eq!(lab.info(id).unacked, 0);
    }
}

/// The land attack: a SYN from a listener's own address and port. Also from any other address of ours.
/// RFC 4987 3.1-1
#[test]
fn land_attack() {
    for from in ["10.0.0.2:80", "10.0.0.2:81", "127.0.0.1:80", "0.0.0.0:80"] {
        let mut lab = Lab::new();
        lab.listen();
        lab.remote = addr(from);
        lab.send(syn().mss(1460));
        lab.quiet();
        lab.assert_empty();
        assert_eq!(lab.counters().martian_sources, 1, "{from}");
    }
}

/// RFC 9293 3.9.2.3 MUST-57, MUST-63: nor to or from a group or a broadcast address.
#[test]
fn nobody_connects_to_or_from_many() {
    for (from, to) in [
        ("10.0.0.1:9", "10.0.0.255:80"),
        ("10.0.0.1:9", "224.0.0.1:80"),
        ("10.0.0.1:9", "255.255.255.255:80"),
        ("224.0.0.1:9", "10.0.0.2:80"),
        ("10.0.0.255:9", "10.0.0.2:80"),
        ("255.255.255.255:9", "10.0.0.2:80"),
        ("[ff02::1]:9", "[fd00::2]:80"),
        ("[fd00::1]:9", "[ff02::1]:80"),
    ] {
        let mut lab = Lab::new();
        let options = lab.stack.config().socket.clone();
        lab.stack.listen(addr("[::]:80"), 16, options).unwrap();
        (lab.remote, lab.local) = (addr(from), addr(to));
        for segment in [syn(), ack(), fin(), bare()] {
            lab.send(segment);
            lab.quiet();
        }
        lab.assert_empty();
    }
}

/// A socket that connects to itself is a simultaneous open with itself (RFC 9293 3.5).
#[test]
fn self_connect() {
    let mut lab = Lab::new();
    let own = addr("127.0.0.1:7777");
    let options = lab.stack.config().socket.clone();
    let id = lab.stack.connect(lab.ts(), Some(own), own, options).unwrap();
    lab.collect();
    lab.assert_state(id, State::Established);
    lab.write(id, b"echo");
    assert_eq!(lab.read_all(id), b"echo");
    lab.stack.shutdown(lab.ts(), id, Shutdown::Write).unwrap();
    lab.run_to(secs(1));
    assert!(lab.read_all(id).is_empty(), "the end of its own stream");
    assert_eq!(lab.stack.send(lab.ts(), id, b"x", Default::default()), Err(SendError::BrokenPipe));
    lab.close(id);
    lab.run_to(secs(200));
    lab.quiet();
    lab.assert_empty();
}

/// Data that nobody asked for, and a FIN, to a port with nothing: one RST for one, none for a RST.
#[test]
fn nothing_is_reset_one_for_one() {
    let mut lab = Lab::new();
    for (segment, answer) in [
        (data("hello").seq(10).ack(20), rst().seq(20)),
        (bare().len(5).seq(10), rst_ack().seq(0).ack(15)),
        (syn_ack().seq(10).ack(20), rst().seq(20)),
    ] {
        lab.send(segment);
        lab.expect(answer);
    }
    lab.send(rst().seq(10));
    lab.send(rst_ack().seq(10).ack(5));
    lab.quiet();
}
