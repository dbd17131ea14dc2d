//! Window scaling, timestamps, SACK and D-SACK, off for one socket (`tcp_window_scaling`, `tcp_timestamps`, `tcp_sack`,
//! `tcp_dsack`).

use ropeway_core::packet::TcpOptions;
use ropeway_core::{SocketOptions, StackConfig, SynCookieMode};

use crate::common::*;

const ALL: Peer = Peer { mss: Some(1460), ws: Some(7), ts: true, sack: true, win: 65535 };

type Switch = (&'static str, fn(&mut SocketOptions), [bool; 3]);

/// What each switch leaves of scaling, timestamps and SACK.
const SWITCHES: [Switch; 4] = [
    ("nothing", |_| {}, [true, true, true]),
    ("window_scaling", |options| options.window_scaling = false, [false, true, true]),
    ("timestamps", |options| options.timestamps = false, [true, false, true]),
    ("sack", |options| options.sack = false, [true, true, false]),
];

fn offered(options: &TcpOptions) -> [bool; 3] {
    [options.window_scale.is_some(), options.timestamps.is_some(), options.sack_permitted]
}

fn in_use(lab: &Lab, id: ropeway_core::ConnectionId) -> [bool; 3] {
    let info = lab.info(id);
    assert_eq!(info.snd_wscale.is_some(), info.rcv_wscale.is_some());
    [info.rcv_wscale.is_some(), info.timestamps, info.sack]
}

#[test]
fn a_socket_offers_what_it_has_not_switched_off() {
    for (name, change, left) in SWITCHES {
        let mut lab = Lab::new();
        let id = lab.connect_with(change).unwrap();
        assert_eq!(offered(&lab.expect(syn()).tcp.options), left, "{name}");
        lab.at(1000);
        assert_eq!(offered(&lab.expect(syn()).tcp.options), left, "{name}, sent again");
        lab.flow.ts = Some(1000);
        lab.send(syn_ack().mss(1460).ws(7).sack_ok(true));
        lab.drain();
        assert_eq!(in_use(&lab, id), left, "{name}");
    }
}

#[test]
fn a_listener_takes_what_it_has_not_switched_off() {
    for cookies in [SynCookieMode::WhenFull, SynCookieMode::Always] {
        for (name, change, left) in SWITCHES {
            let mut lab = Lab::with(|config| config.syn_cookies = cookies);
            let listener = lab.listen_with(16, change);
            lab.flow.ts = Some(1000);
            lab.send(syn().mss(1460).ws(7).sack_ok(true));
            // A cookie remembers scaling and SACK in its timestamp.
            let remembers = cookies == SynCookieMode::WhenFull || left[1];
            let left = if remembers { left } else { [false; 3] };
            assert_eq!(offered(&lab.expect(syn_ack()).tcp.options), left, "{name}, {cookies:?}");
            lab.send(ack());
            let id = lab.accept(listener).unwrap();
            assert_eq!(in_use(&lab, id), left, "{name}, {cookies:?}");
        }
    }
}

#[test]
fn what_the_stack_has_switched_off_no_socket_uses() {
    let off = |config: &mut StackConfig| {
        (config.window_scaling, config.timestamps, config.sack) = (false, false, false);
    };
    let mut lab = Lab::with(off);
    lab.connect();
    assert_eq!(offered(&lab.expect(syn()).tcp.options), [false; 3]);
    // The default for sockets can be turned on again by each.
    let mut lab = Lab::with(|config| config.socket.sack = false);
    lab.connect_with(|options| options.sack = true).unwrap();
    assert_eq!(offered(&lab.expect(syn()).tcp.options), [true; 3]);
}

#[test]
fn a_listeners_switch_counts_for_handshakes_that_begin_later() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().mss(1460).sack_ok(true));
    assert!(lab.expect(syn_ack()).tcp.options.sack_permitted);
    lab.stack.update_listener_options(listener, |options| options.sack = false).unwrap();
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    assert!(lab.info(id).sack, "it was agreed on");
    lab.set(id, |options| options.sack = false);
    assert!(lab.info(id).sack, "and stays so");
    lab.switch(5001);
    lab.send(syn().mss(1460).sack_ok(true));
    assert!(!lab.expect(syn_ack()).tcp.options.sack_permitted);
}

// RFC 2883 4: the first block tells of what came twice.
#[test]
fn a_socket_tells_of_duplicates_unless_it_has_dsack_off() {
    for dsack in [true, false] {
        let mut lab = Lab::new();
        lab.accepted_with(ALL, |options| options.dsack = dsack);
        lab.send(some(100));
        lab.drain();
        lab.send(some(100).seq(1));
        assert_eq!(lab.next_tcp().tcp.options.sack.is_empty(), !dsack);
    }
}
