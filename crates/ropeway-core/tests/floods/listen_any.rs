//! `listen_any`: a decision before the SYN-ACK, for any address and port.

use ropeway_core::packet::{TcpFlags, UnreachableKind};
use ropeway_core::{Accepted, Event, Incoming, ListenerId, Rejection, StackConfig, State};

use crate::common::*;
use crate::host;

/// A listener for everything, and a peer that wants to go to a foreign address.
fn lab_with(backlog: usize, change: impl FnOnce(&mut StackConfig)) -> (Lab, ListenerId) {
    let mut lab = Lab::with(change);
    lab.local = addr("93.184.216.34:443");
    let options = lab.stack.config().socket.clone();
    let listener = lab.stack.listen_any(backlog, options).unwrap();
    (lab, listener)
}

/// One SYN waits for a decision.
fn asked() -> (Lab, ListenerId, Incoming) {
    let (mut lab, listener) = lab_with(16, |_| {});
    lab.send(syn().mss(1400).ws(6));
    lab.quiet();
    let incoming = lab.stack.poll_incoming(listener).unwrap();
    (lab, listener, incoming)
}

impl Lab {
    fn decide(&mut self, incoming: &Incoming, how: Option<Rejection>) -> bool {
        let now = self.ts();
        let done = match how {
            None => self.stack.accept_incoming(now, incoming),
            Some(how) => self.stack.reject_incoming(now, incoming, how),
        };
        self.collect();
        done
    }
}

#[test]
fn nothing_is_answered_before_the_decision() {
    let (mut lab, listener, incoming) = asked();
    assert_eq!((incoming.remote(), incoming.original_dst()), (lab.remote, lab.local));
    assert_eq!((incoming.syn.mss, incoming.syn.window_scale), (Some(1400), Some(6)));
    assert!(!incoming.syn.timestamps);
    assert_eq!(lab.events, [Event::Incoming(listener)]);
    // Neither now nor later; a guess or a repetition changes nothing.
    lab.at(50_000);
    for seg in [syn().mss(1400).ws(6), ack().seq(1).ack(1), data("x").seq(1).ack(9), rst().seq(5)] {
        lab.send(seg);
        lab.quiet();
    }
    assert_eq!(lab.stack.poll_incoming(listener), None, "the repetition does not start it anew");
    assert_eq!((lab.half_open(), lab.events.len()), (1, 1));
}

#[test]
fn accepted_after_50_s_data_flows_with_the_foreign_address() {
    let (mut lab, listener, incoming) = asked();
    lab.at(50_000);
    assert!(lab.decide(&incoming, None));
    lab.expect(syn_ack().seq(0).ack(1));
    assert!(!lab.decide(&incoming, None), "once");
    assert!(!lab.decide(&incoming, Some(Rejection::Reset)));
    assert_eq!(lab.stack.poll_accepted(lab.ts(), listener, &incoming), Accepted::Waiting);
    // The SYN-ACK is retransmitted from its own time on.
    lab.at(51_000);
    lab.expect(syn_ack().seq(0).ack(1));
    lab.send(data("GET").push());
    let Accepted::Connection(id) = lab.stack.poll_accepted(lab.ts(), listener, &incoming) else {
        lab.fail("not there");
    };
    assert_eq!(lab.info(id).snd_wscale, Some(6));
    assert_eq!(lab.read_all(id), b"GET");
    lab.drain();
    lab.write(id, b"200");
    lab.expect(data("200").seq(1).ack(4));
    assert_eq!(lab.accept(listener), None, "it was taken");
}

#[test]
fn accept_gives_what_poll_accepted_did_not_take() {
    let (mut lab, listener, incoming) = asked();
    assert!(lab.decide(&incoming, None));
    lab.expect(syn_ack());
    lab.send(ack());
    assert!(lab.accept(listener).is_some());
    assert_eq!(lab.stack.poll_accepted(lab.ts(), listener, &incoming), Accepted::Gone);
}

#[test]
fn rejected_with_a_reset() {
    let (mut lab, listener, incoming) = asked();
    assert!(lab.decide(&incoming, Some(Rejection::Reset)));
    lab.expect(rst_ack().seq(0).ack(1));
    lab.assert_empty();
    lab.send(syn().mss(1400));
    assert!(lab.stack.poll_incoming(listener).is_some(), "a further SYN is a new question");
}

#[test]
fn rejected_as_unreachable_the_error_quotes_the_syn() {
    for v6 in [false, true] {
        let (mut lab, listener) = lab_with(16, |_| {});
        if v6 {
            lab.switch_ips("2001:db8::7".parse().unwrap(), "2001:db8::9".parse().unwrap());
        }
        lab.flow.isn = 777_777;
        lab.send(syn().mss(1400));
        let incoming = lab.stack.poll_incoming(listener).unwrap();
        assert!(lab.decide(&incoming, Some(Rejection::Unreachable)));
        let quoted = lab.expect_unreachable(UnreachableKind::AdminProhibited);
        assert_eq!((quoted.ip.src, quoted.ip.dst), (lab.remote.ip(), lab.local.ip()));
        assert_eq!(quoted.ports, Some((lab.remote.port(), lab.local.port())));
        assert_eq!(quoted.seq.map(|seq| seq.get()), Some(777_777));
        lab.assert_empty();
    }
}

#[test]
fn rejected_with_silence_further_syns_vanish_too() {
    let (mut lab, listener, incoming) = asked();
    assert!(lab.decide(&incoming, Some(Rejection::Drop)));
    for at in [1, 3, 7, 15, 31, 63] {
        lab.at_us(secs(at));
        lab.send(syn().mss(1400).ws(6));
        lab.quiet();
        assert_eq!(lab.stack.poll_incoming(listener), None);
    }
    lab.at_us(secs(120));
    lab.assert_empty();
    assert_eq!(lab.events, [Event::Incoming(listener)], "nobody is told of the end of what he refused");
    lab.send(syn().mss(1400));
    assert!(lab.stack.poll_incoming(listener).is_some(), "forgotten");
}

#[test]
fn silence_is_remembered_for_as_many_as_the_backlog() {
    let (mut lab, listener) = lab_with(2, |_| {});
    for number in 0..10 {
        lab.syns_from([host(number)]);
        let incoming = lab.stack.poll_incoming(listener).unwrap();
        assert!(lab.decide(&incoming, Some(Rejection::Drop)));
    }
    assert_eq!(lab.half_open(), 3);
    lab.quiet();
    lab.syns_from([host(100)]);
    assert!(lab.stack.poll_incoming(listener).is_some(), "those refused take nobody's place");
}

#[test]
fn the_peer_gives_up_while_the_user_thinks() {
    let (mut lab, listener, incoming) = asked();
    lab.send(rst().seq(1));
    assert_eq!(lab.events, [Event::Incoming(listener), Event::IncomingSettled(listener, incoming.tuple)]);
    lab.assert_empty();
    assert!(!lab.decide(&incoming, None), "too late");
    assert!(!lab.decide(&incoming, Some(Rejection::Unreachable)));
    assert_eq!(lab.stack.poll_accepted(lab.ts(), listener, &incoming), Accepted::Gone);
    lab.quiet();
}

#[test]
fn the_user_never_decides() {
    let (mut lab, listener, incoming) = asked();
    lab.at_us(secs(120) - 1);
    assert_eq!(lab.half_open(), 1);
    lab.at_us(secs(120));
    assert_eq!(lab.events.last(), Some(&Event::IncomingSettled(listener, incoming.tuple)));
    assert_eq!(lab.counters().half_open_reaped, 1);
    lab.assert_empty();
    assert!(!lab.decide(&incoming, None));
}

#[test]
fn accepted_and_never_completed() {
    let (mut lab, listener, incoming) = asked();
    lab.at(10_000);
    lab.decide(&incoming, None);
    lab.run_to(secs(73) - 1);
    assert_eq!(lab.stack.poll_accepted(lab.ts(), listener, &incoming), Accepted::Waiting);
    lab.run_to(secs(73));
    lab.drain();
    assert_eq!(lab.stack.poll_accepted(lab.ts(), listener, &incoming), Accepted::Gone);
    assert_eq!(lab.events.last(), Some(&Event::IncomingSettled(listener, incoming.tuple)));
    lab.assert_empty();
}

/// The program takes its word back: nobody would ever take up the connection.
#[test]
fn an_acceptance_that_is_abandoned_leaves_nothing() {
    let (mut lab, listener, incoming) = asked();
    lab.decide(&incoming, None);
    lab.drain();
    let now = lab.ts();
    lab.stack.abandon_incoming(now, listener, &incoming);
    lab.collect();
    lab.quiet();
    lab.assert_empty();
    let (mut lab, listener, incoming) = asked();
    lab.decide(&incoming, None);
    lab.expect(syn_ack());
    lab.send(ack());
    assert_eq!(lab.events.last(), Some(&Event::IncomingSettled(listener, incoming.tuple)));
    assert_eq!(lab.stack.sizes().connections, 1);
    let now = lab.ts();
    lab.stack.abandon_incoming(now, listener, &incoming);
    lab.collect();
    assert!(lab.next_tcp().tcp.flags.contains(TcpFlags::RST));
    lab.assert_empty();
}

/// Connections to foreign addresses outlive their listener; what is new there is none of our business.
#[test]
fn after_the_listener_is_closed_foreign_addresses_are_silent_again() {
    let (mut lab, listener, incoming) = asked();
    lab.decide(&incoming, None);
    lab.expect(syn_ack());
    lab.send(ack());
    let now = lab.ts();
    let Accepted::Connection(id) = lab.stack.poll_accepted(now, listener, &incoming) else { panic!() };
    lab.stack.close_listener(now, listener);
    lab.collect();
    lab.send(data("x").seq(1).ack(1));
    assert_eq!(lab.read(id, 10), b"x");
    lab.drain();
    lab.syns_from([host(9)]);
    lab.quiet();
    assert_eq!(lab.counters().not_ours, 1);
}

/// The answer to an older SYN must not be taken for the answer to this one.
#[test]
fn a_decision_is_about_one_syn() {
    let (mut lab, listener, old) = asked();
    lab.send(rst().seq(1));
    lab.flow.isn = 5_000_000;
    lab.send(syn().mss(1400));
    let new = lab.stack.poll_incoming(listener).unwrap();
    assert!(!lab.decide(&old, Some(Rejection::Reset)));
    lab.quiet();
    assert!(lab.decide(&new, None));
    lab.expect(syn_ack().ack(1));
}

#[test]
fn the_backlog_bounds_what_is_undecided() {
    let (mut lab, listener) = lab_with(3, |_| {});
    assert_eq!(lab.syns_from((0..1000).map(host)), 0, "and nobody gets a cookie");
    assert_eq!((lab.half_open(), lab.counters().syns_dropped), (4, 996));
    let told: Vec<_> = std::iter::from_fn(|| lab.stack.poll_incoming(listener)).collect();
    assert_eq!(told.len(), 4);
    assert_eq!(std::iter::from_fn(|| lab.stack.poll_event()).count(), 4);
    for incoming in told {
        assert!(lab.decide(&incoming, Some(Rejection::Reset)));
    }
    lab.drain();
    assert_eq!(lab.syns_from([host(5000)]), 0);
    assert!(lab.stack.poll_incoming(listener).is_some(), "room for the next");
}

#[test]
fn an_ordinary_listener_takes_precedence() {
    let (mut lab, any) = lab_with(4, |_| {});
    lab.local = addr("10.0.0.2:80");
    let own = lab.listen();
    lab.handshake(Peer::default());
    assert!(lab.accept(own).is_some());
    lab.local = addr("10.0.0.2:81");
    lab.switch(4001);
    lab.send(syn().mss(1460));
    lab.quiet();
    assert_eq!(lab.stack.poll_incoming(any).map(|incoming| incoming.original_dst()), Some(lab.local));
}

#[test]
fn there_is_one_for_everything() {
    let (mut lab, first) = lab_with(4, |_| {});
    let options = lab.stack.config().socket.clone();
    assert!(lab.stack.listen_any(4, options.clone()).is_err());
    lab.stack.close_listener(lab.ts(), first);
    assert!(lab.stack.listen_any(4, options).is_ok());
}

/// Broadcast, multicast and loopback are nobody's destination, also for who takes all (RFC 9293 MUST-57).
#[test]
fn not_every_address_is_an_address() {
    let (mut lab, listener) = lab_with(4, |_| {});
    for to in ["255.255.255.255:1", "10.0.0.255:1", "224.0.0.1:1", "127.0.0.1:1", "0.0.0.0:1"] {
        lab.local = addr(to);
        lab.send(syn().mss(1460));
        lab.quiet();
        assert_eq!(lab.stack.poll_incoming(listener), None, "{to}");
    }
    lab.assert_empty();
}

#[test]
fn closing_it_forgets_the_undecided_and_resets_the_unaccepted() {
    let (mut lab, listener, incoming) = asked();
    lab.switch(4001);
    lab.send(syn().mss(1460));
    let second = lab.stack.poll_incoming(listener).unwrap();
    lab.decide(&second, None);
    lab.expect(syn_ack());
    lab.send(ack());
    lab.switch(4002);
    lab.send(syn().mss(1460));
    let taken = lab.stack.poll_incoming(listener).unwrap();
    lab.decide(&taken, None);
    lab.expect(syn_ack());
    lab.send(ack());
    let Accepted::Connection(id) = lab.stack.poll_accepted(lab.ts(), listener, &taken) else {
        lab.fail("not there");
    };
    lab.stack.close_listener(lab.ts(), listener);
    lab.collect();
    lab.switch(4001);
    lab.expect(rst_ack().seq(1));
    lab.quiet();
    assert!(!lab.decide(&incoming, None));
    assert_eq!(lab.stack.poll_accepted(lab.ts(), listener, &second), Accepted::Gone);
    assert_eq!((lab.half_open(), lab.stack.sizes().connections), (0, 1));
    lab.switch(4002);
    lab.write(id, b"still here");
    lab.expect(data("still here").seq(1).ack(1));
    lab.assert_state(id, State::Established);
}

/// SYN, RST, SYN: there is one question, and one place for it.
#[test]
fn a_peer_that_comes_and_goes_is_asked_about_once() {
    let (mut lab, listener) = lab_with(4, |_| {});
    for isn in (0..100_000).step_by(100) {
        lab.flow.isn = isn;
        lab.send(syn().mss(1400));
        if isn < 99_900 {
            lab.send(rst().seq(1));
        }
    }
    let asked: Vec<_> = std::iter::from_fn(|| lab.stack.poll_incoming(listener)).collect();
    assert_eq!(asked.len(), 1);
    assert!(lab.decide(&asked[0], None));
    lab.expect(syn_ack().ack(1));
}
