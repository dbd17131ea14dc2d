//! Passive opens: what can be listened on, and which listener gets a SYN (RFC 9293 3.9.1.1).

use ropeway_core::{ListenError, SocketOptions, State};

use crate::common::*;
use crate::{ip_of, sharing};

// RFC 9293 3.9.1.1 MUST-41
#[test]
fn what_can_be_listened_on() {
    let mut lab = Lab::new();
    let mut listen = |text: &str, change: fn(&mut SocketOptions)| {
        let mut options = SocketOptions::default();
        change(&mut options);
        lab.stack.listen(addr(text), 16, options)
    };
    assert!(listen("10.0.0.2:80", |_| {}).is_ok());
    assert_eq!(listen("10.0.0.2:80", |_| {}), Err(ListenError::AddressInUse));
    assert_eq!(listen("10.0.0.2:80", |o| o.reuse_addr = true), Err(ListenError::AddressInUse));
    assert_eq!(listen("0.0.0.0:80", |_| {}), Err(ListenError::AddressInUse));
    assert_eq!(listen("[::]:80", |_| {}), Err(ListenError::AddressInUse));
    assert!(listen("127.0.0.1:80", |_| {}).is_ok());
    assert!(listen("[fd00::2]:80", |_| {}).is_ok());
    assert!(listen("10.0.0.2:81", |_| {}).is_ok());
    assert_eq!(listen("10.0.0.3:80", |_| {}), Err(ListenError::AddressNotAvailable));
    assert_eq!(listen("[fd00::3]:80", |_| {}), Err(ListenError::AddressNotAvailable));
    assert!(listen("0.0.0.0:82", |_| {}).is_ok());
    assert_eq!(listen("10.0.0.2:82", |_| {}), Err(ListenError::AddressInUse));
    assert_eq!(listen("[::]:82", |_| {}), Err(ListenError::AddressInUse), "it would take IPv4 too");
    assert!(listen("[fd00::2]:82", |_| {}).is_ok());
    assert!(listen("10.0.0.2:83", |o| o.reuse_port = true).is_ok());
    assert!(listen("10.0.0.2:83", |o| o.reuse_port = true).is_ok());
    assert_eq!(listen("10.0.0.2:83", |_| {}), Err(ListenError::AddressInUse));
    assert!(listen("[::]:84", |_| {}).is_ok());
    assert_eq!(listen("0.0.0.0:84", |_| {}), Err(ListenError::AddressInUse));
    assert!(listen("[fd00::2]:85", |_| {}).is_ok());
    assert!(listen("0.0.0.0:85", |_| {}).is_ok());
    assert_eq!(lab.stack.sizes().listeners, 11);
}

// MUST-41, MUST-42
#[test]
fn listening_beside_connections_with_the_same_port() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    let reuse = sharing(true, false);
    let listener = lab.stack.listen(lab.local, 16, reuse).unwrap();
    // The attempt is not disturbed, and neither is the listener by it.
    lab.send(syn_ack().mss(1460));
    lab.expect(ack());
    lab.assert_state(id, State::Established);
    assert!(!lab.stack.is_acceptable(listener));
    lab.switch(4001);
    lab.handshake(Peer::default());
    assert!(lab.stack.is_acceptable(listener));
}

#[test]
fn a_listener_may_come_back_while_its_connections_wait_if_it_says_so() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.handshake(Peer::default());
    let id = lab.accept(listener).unwrap();
    lab.stack.close_listener(lab.ts(), listener);
    lab.close(id);
    lab.expect(fin());
    lab.send(fin().ack(2));
    lab.expect(ack());
    assert_eq!(lab.stack.sizes().time_wait, 1);
    assert_eq!(lab.stack.listen(lab.local, 16, SocketOptions::default()), Err(ListenError::AddressInUse));
    let reuse = sharing(true, false);
    assert!(lab.stack.listen(lab.local, 16, reuse).is_ok());
}

#[test]
fn the_most_specific_listener_gets_the_syn() {
    let mut lab = Lab::new();
    let any6 = lab.stack.listen(addr("[::]:80"), 16, SocketOptions::default()).unwrap();
    lab.handshake(Peer::default());
    assert!(lab.stack.is_acceptable(any6), "a listener on :: takes IPv4 too");
    lab.stack.close_listener(lab.ts(), any6);
    lab.collect();
    lab.drain();
    let port = |reuse: bool| sharing(false, reuse);
    let any4 = lab.stack.listen(addr("0.0.0.0:80"), 16, port(true)).unwrap();
    let exact = lab.stack.listen(addr("10.0.0.2:80"), 16, port(true)).unwrap();
    lab.switch(4001);
    lab.handshake(Peer::default());
    assert!(lab.stack.is_acceptable(exact) && !lab.stack.is_acceptable(any4));
}

#[test]
fn listeners_that_share_a_port_share_the_load() {
    let mut lab = Lab::new();
    let options = sharing(false, true);
    let listeners: Vec<_> =
        (0..4).map(|_| lab.stack.listen(lab.local, 1000, options.clone()).unwrap()).collect();
    for port in 5000..5400 {
        lab.switch(port);
        lab.handshake(Peer::default());
    }
    let mut counts = Vec::new();
    for listener in listeners {
        let mut count = 0;
        while lab.accept(listener).is_some() {
            count += 1;
        }
        counts.push(count);
    }
    assert_eq!(counts.iter().sum::<i32>(), 400);
    assert!(counts.iter().all(|count| (50..150).contains(count)), "{counts:?}");
}

#[test]
fn an_address_can_come_and_go() {
    let mut lab = Lab::new();
    lab.stack.add_address("10.0.0.7/24".parse().unwrap());
    lab.local.set_ip(ip_of("10.0.0.7"));
    let id = lab.accepted(Peer::default());
    lab.stack.remove_address(ip_of("10.0.0.7"));
    lab.send(data(b"x"));
    lab.quiet();
    assert_eq!(lab.info(id).unread, 0);
    assert_eq!(
        lab.stack.listen(addr("10.0.0.7:81"), 1, SocketOptions::default()),
        Err(ListenError::AddressNotAvailable)
    );
}
