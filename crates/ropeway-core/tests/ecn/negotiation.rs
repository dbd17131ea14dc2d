//! Who asks, who agrees, and what is done when nobody answers (RFC 3168 6.1.1).

use ropeway_core::packet::{EcnCodepoint, TcpFlags};
use ropeway_core::{EcnFeedback, EcnMode, State, SynCookieMode};

use crate::common::*;
use crate::{accepted, mode};

const BOTH: TcpFlags = TcpFlags::from_ace(0b011);

/// What comes of an active open in that mode that is answered with these flags.
#[track_caller]
fn connect(as_in: EcnMode, asks: TcpFlags, answer: TcpFlags) -> EcnFeedback {
    let mut lab = Lab::with(mode(as_in));
    let id = lab.connect();
    lab.expect(syn().flag(asks).seq(0).not_ect());
    lab.send(syn_ack().flag(answer).mss(1460));
    lab.expect(ack().seq(1).ack(1).not_ect());
    lab.info(id).ecn
}

/// What comes of a SYN with these flags, in a packet with this field.
#[track_caller]
fn accept(as_in: EcnMode, asks: TcpFlags, field: EcnCodepoint, answer: TcpFlags) -> EcnFeedback {
    let mut lab = Lab::with(mode(as_in));
    let listener = lab.listen();
    lab.send(syn().flag(asks).mss(1460).ecn(field));
    lab.expect(syn_ack().flag(answer).seq(0).ack(1).not_ect());
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    lab.info(id).ecn
}

// SHLD-8, RFC 3168 6.1.1-1, RFC 3168 6.1.1-3, RFC 3168 6.1.1-6, RFC 3168 6.1.1-7, RFC 3168 6.1.1-8
#[test]
fn an_active_open_asks_in_mode_1_only() {
    const NO: TcpFlags = TcpFlags::EMPTY;
    assert_eq!(connect(EcnMode::On, BOTH, TcpFlags::ECE), EcnFeedback::Classic);
    // An answer with both flags is our SYN's, reflected; one with AE says nothing that we asked for.
    for (answer, agreed) in [
        (NO, EcnFeedback::None),
        (BOTH, EcnFeedback::None),
        (TcpFlags::CWR, EcnFeedback::None),
        (TcpFlags::AE | TcpFlags::ECE, EcnFeedback::Classic),
    ] {
        assert_eq!(connect(EcnMode::On, BOTH, answer), agreed, "{answer:?}");
    }
    for as_in in [EcnMode::Off, EcnMode::WhenAsked] {
        assert_eq!(connect(as_in, NO, TcpFlags::ECE), EcnFeedback::None, "nobody asked");
    }
}

// RFC 3168 6.1.1-2, RFC 3168 6.1.1-5, RFC 3168 6.1.1-7, RFC 3168 6.1.1-8
#[test]
fn a_passive_open_agrees_in_modes_1_and_2_and_that_is_the_default() {
    let (ece, no) = (TcpFlags::ECE, TcpFlags::EMPTY);
    let not_ect = EcnCodepoint::NotEct;
    for (as_in, answer, agreed) in [
        (EcnMode::default(), ece, EcnFeedback::Classic),
        (EcnMode::On, ece, EcnFeedback::Classic),
        (EcnMode::WhenAsked, ece, EcnFeedback::Classic),
        (EcnMode::Off, no, EcnFeedback::None),
    ] {
        assert_eq!(accept(as_in, BOTH, not_ect, answer), agreed, "{as_in:?}");
    }
    for asks in [no, ece, TcpFlags::CWR, TcpFlags::AE, TcpFlags::AE | TcpFlags::ECE] {
        assert_eq!(accept(EcnMode::On, asks, not_ect, no), EcnFeedback::None, "{asks:?}");
    }
    // What came before AE was never asked about.
    assert_eq!(accept(EcnMode::On, TcpFlags::ACE, not_ect, ece), EcnFeedback::Classic);
    // A SYN cannot be marked (RFC 3168 6.1.1): its packet was changed on its way.
    for field in [EcnCodepoint::Ect0, EcnCodepoint::Ect1, EcnCodepoint::Ce] {
        assert_eq!(accept(EcnMode::On, BOTH, field, no), EcnFeedback::None, "{field:?}");
    }
}

#[test]
fn numbers_of_the_modes_are_those_of_linux() {
    let modes = [EcnMode::Off, EcnMode::On, EcnMode::WhenAsked];
    assert_eq!([0, 1, 2].map(EcnMode::from_number), modes.map(Some));
    assert_eq!(EcnMode::from_number(6), None);
}

#[test]
fn both_ends_agree_in_a_simultaneous_open() {
    let mut lab = Lab::with(mode(EcnMode::On));
    let id = lab.connect();
    lab.expect(syn().flag(BOTH).seq(0));
    lab.send(syn().flag(BOTH).mss(1460));
    lab.expect(syn_ack().ece().seq(0).ack(1));
    lab.send(syn_ack().ece().seq(0).ack(1));
    lab.assert_state(id, State::Established);
    assert_eq!(lab.info(id).ecn, EcnFeedback::Classic);
}

// RFC 3168 6.1.1.1-1, RFC 3168 6.1.1-4, RFC 3168 6.1.1-9
#[test]
fn a_syn_that_is_not_answered_is_sent_again_without_ecn() {
    let mut lab = Lab::with(mode(EcnMode::On));
    let id = lab.connect();
    lab.expect(syn().flag(BOTH).seq(0));
    lab.at(1000);
    lab.expect(syn().seq(0));
    // The answer is to the first one: what it says counts, but nothing of ours is to be marked, as the peer may have taken the
    // second one for ours.
    lab.send(syn_ack().ece().mss(1460));
    lab.expect(ack().seq(1).ack(1));
    assert_eq!(lab.info(id).ecn, EcnFeedback::Classic);
    lab.write(id, b"x");
    lab.expect(data("x").seq(1).not_ect());
    lab.send(some(9).ce());
    lab.expect(ack().ece().ack(10).not_ect());
}

#[test]
fn without_the_fallback_every_syn_asks() {
    let mut lab = Lab::with(|config| {
        config.socket.ecn = EcnMode::On;
        config.socket.ecn_fallback = false;
    });
    let id = lab.connect();
    lab.expect(syn().flag(BOTH).seq(0));
    lab.at(1000);
    lab.expect(syn().flag(BOTH).seq(0));
    lab.send(syn_ack().ece().mss(1460));
    lab.expect(ack().seq(1).ack(1));
    lab.write(id, b"x");
    lab.expect(data("x").seq(1).ect0());
}

// RFC 3168 6.1.1-6
#[test]
fn the_syn_queue_remembers_what_was_asked() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().flag(BOTH).mss(1460));
    lab.expect(syn_ack().ece());
    lab.at(1000);
    lab.expect(syn_ack().ece());
    // The peer's own fallback: it asks without, and is answered as the first time. What it may not stand is not sent.
    lab.send(syn().mss(1460));
    lab.expect(syn_ack().ece());
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.info(id).ecn, EcnFeedback::Classic);
    lab.write(id, b"x");
    lab.expect(data("x").seq(1).not_ect());
    // One that comes again as it was changes nothing.
    let mut lab = Lab::new();
    let listener = lab.listen();
    for _ in 0..2 {
        lab.send(syn().flag(BOTH).mss(1460));
        lab.expect(syn_ack().ece());
    }
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    lab.write(id, b"x");
    lab.expect(data("x").seq(1).ect0());
}

#[test]
fn a_cookie_remembers_it_by_a_bit_of_our_timestamp() {
    for (ts, agreed) in [(true, EcnFeedback::Classic), (false, EcnFeedback::None)] {
        let mut lab = Lab::with(|config| config.syn_cookies = SynCookieMode::Always);
        let listener = lab.listen();
        lab.flow.ts = ts.then_some(1000);
        lab.send(syn().flag(BOTH).mss(1460));
        lab.expect(if ts { syn_ack().ece() } else { syn_ack() });
        lab.send(ack());
        let id = lab.accept(listener).unwrap();
        assert_eq!(lab.info(id).ecn, agreed, "timestamps: {ts}");
    }
}

#[test]
fn a_user_sets_the_dscp_and_not_the_bits_of_ecn() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(16, |options| options.tos = 0xff);
    lab.send(syn().mss(1460));
    assert_eq!(lab.next_tcp().ip.traffic_class, 0xfc);
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    lab.write(id, b"x");
    assert_eq!(lab.next_tcp().ip.traffic_class, 0xfc);
    let (mut lab, id) = accepted();
    lab.set(id, |options| options.tos = 0xff);
    lab.write(id, b"x");
    assert_eq!(lab.next_tcp().ip.traffic_class, 0xfc | 2);
}
