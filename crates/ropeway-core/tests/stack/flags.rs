//! Combinations of flags that no honest peer sends, and what Linux makes of them. A filter that looks for a plain SYN
//! must not be passed by.

use ropeway_core::packet::TcpFlags;
use ropeway_core::{SocketOptions, State, SynCookieMode};

use crate::common::*;

/// Every combination of the six flags.
fn all() -> impl Iterator<Item = TcpFlags> {
    let [fin, syn, rst, psh, ack, urg] =
        [TcpFlags::FIN, TcpFlags::SYN, TcpFlags::RST, TcpFlags::PSH, TcpFlags::ACK, TcpFlags::URG];
    (0..64u8).map(move |bits| {
        [fin, syn, rst, psh, ack, urg]
            .into_iter()
            .enumerate()
            .filter(|(at, _)| bits >> at & 1 == 1)
            .fold(TcpFlags::EMPTY, |flags, (_, flag)| flags | flag)
    })
}

fn seg(flags: TcpFlags) -> Seg {
    Seg { flags, ..bare() }.seq(7)
}

/// What LISTEN answers with: a SYN-ACK to what asks for a connection, a RST to what acknowledges, or nothing.
fn in_listen(flags: TcpFlags) -> Option<TcpFlags> {
    let has = |flag| flags.contains(flag);
    match () {
        () if has(TcpFlags::RST) => None,
        () if has(TcpFlags::ACK) => Some(TcpFlags::RST),
        () if has(TcpFlags::SYN) && !has(TcpFlags::FIN) => Some(TcpFlags::SYN | TcpFlags::ACK),
        () => None,
    }
}

// RFC 9293 3.10.7.2 R-02
#[test]
fn only_a_syn_without_fin_opens_a_connection() {
    for cookies in [SynCookieMode::WhenFull, SynCookieMode::Never, SynCookieMode::Always] {
        for v6 in [false, true] {
            for flags in all() {
                let mut lab = Lab::with(|config| config.syn_cookies = cookies).v6_if(v6);
                lab.listen();
                for seg in [seg(flags), seg(flags).bytes(b"text").mss(1460)] {
                    lab.send(seg);
                    let answer = lab.drain().pop().and_then(|sent| sent.tcp).map(|segment| segment.tcp.flags);
                    assert_eq!(answer, in_listen(flags), "to {flags:?} in LISTEN, cookies {cookies:?}");
                }
                let opened = in_listen(flags) == Some(syn_ack().flags) && cookies != SynCookieMode::Always;
                assert_eq!(lab.stack.sizes().half_open, usize::from(opened), "{flags:?}");
            }
        }
    }
}

#[test]
fn a_full_syn_queue_has_no_cookie_for_a_syn_with_fin() {
    let mut lab = Lab::new();
    lab.listen_with(1, |_| {});
    while lab.stack.counters().cookies_sent == 0 {
        lab.switch(lab.remote.port() + 1);
        lab.send(syn());
        lab.expect(syn_ack());
    }
    lab.switch(9000);
    lab.send(syn().fin());
    lab.quiet();
    assert_eq!(lab.stack.counters().cookies_sent, 1);
}

#[test]
fn listen_any_is_asked_about_a_plain_syn_only() {
    for flags in all() {
        let mut lab = Lab::new();
        let any = lab.stack.listen_any(16, SocketOptions::default()).unwrap();
        lab.send(seg(flags));
        let answer = lab.drain().pop().and_then(|sent| sent.tcp).map(|segment| segment.tcp.flags);
        let opens = in_listen(flags) == Some(syn_ack().flags);
        assert_eq!(answer, in_listen(flags).filter(|_| !opens), "to {flags:?}");
        assert_eq!(lab.stack.poll_incoming(any).is_some(), opens, "{flags:?}");
    }
}

/// What is not for anybody is reset, whatever it is, unless it is a RST (RFC 9293 3.10.7.1): a SYN with FIN counts two.
#[test]
fn a_closed_port_resets_every_combination_but_a_reset() {
    for flags in all() {
        let mut lab = Lab::new();
        lab.send(seg(flags).bytes(b"text"));
        if flags.contains(TcpFlags::RST) {
            lab.quiet();
        } else if flags.contains(TcpFlags::ACK) {
            lab.expect(rst().seq(0));
        } else {
            let len = 4 + u32::from(flags.contains(TcpFlags::SYN)) + u32::from(flags.contains(TcpFlags::FIN));
            lab.expect(rst_ack().seq(0).ack(7 + len));
        }
    }
}

/// A new SYN may end TIME-WAIT (RFC 9293 3.6.1); what opens no connection does not end one either.
#[test]
fn a_syn_with_fin_does_not_end_time_wait() {
    for ts in [false, true] {
        let mut lab = Lab::new();
        let id = lab.accepted(Peer { ts, ..Peer::default() });
        lab.close(id);
        lab.expect(fin());
        lab.send(fin());
        lab.expect(ack());
        lab.at(2000);
        for extra in [TcpFlags::EMPTY, TcpFlags::PSH | TcpFlags::URG] {
            lab.send(Seg { flags: TcpFlags::SYN | TcpFlags::FIN | extra, ..syn() }.seq(1000).mss(1460));
            lab.quiet();
            assert_eq!((lab.stack.sizes().time_wait, lab.stack.sizes().half_open), (1, 0));
        }
        lab.flow.isn = 1000;
        lab.send(syn().mss(1460));
        lab.expect(syn_ack());
    }
}

/// An active open has asked for the connection: here a FIN is the end of the peer's stream (RFC 9293 3.10.7.3).
#[test]
fn the_answer_to_our_syn_may_have_a_fin() {
    let (mut lab, id) = in_state(State::SynSent);
    lab.send(syn_ack().fin().ack(1).mss(1460));
    lab.expect(ack().seq(1).ack(2));
    lab.assert_state(id, State::CloseWait);
    assert!(lab.read(id, 10).is_empty());
}
