//! The socket that takes what nobody else does, whatever the address and port.

use ropeway_core::{DatagramError, ListenError, Outgoing, UdpOptions};

use crate::common::*;
use crate::{datagram, read};

const ENDS: [(&str, &str); 3] =
    [("10.0.0.1:5", "192.0.2.9:53"), ("[fd00::1]:5", "[2001:db8::9]:53"), ("10.0.0.1:5", "10.0.0.2:7777")];

#[test]
fn it_hears_every_address_and_port_and_answers_from_there() {
    for (from, to) in ENDS {
        let mut lab = Lab::new();
        let bound = lab.bind("10.0.0.2:99");
        let any = lab.stack.udp_listen_any(UdpOptions::default()).unwrap();
        assert_eq!(lab.stack.udp_listen_any(UdpOptions::default()), Err(ListenError::AddressInUse));
        lab.send_packet(datagram(from, to, b"question"));
        let heard = lab.heard(any);
        assert_eq!((heard.remote, heard.local), (addr(from), addr(to)));
        let how = Outgoing { to: Some(heard.remote), from: Some(heard.local), ..Outgoing::default() };
        lab.stack.udp_send(lab.ts(), any, b"answer", &how).unwrap();
        let (_, src, dst, data) = read(&lab.next_packet());
        assert_eq!((src.as_str(), dst.as_str(), &data[..]), (to, from, &b"answer"[..]));
        // Others keep what is theirs.
        lab.send_packet(datagram("10.0.0.1:5", "10.0.0.2:99", b"x"));
        lab.heard(bound);
        lab.heard_nothing(any);
        lab.quiet();
    }
}

// RFC 1122 4.1.3.6-1, RFC 8085 5.1-1
#[test]
fn it_hears_neither_loopback_addresses_from_outside_nor_groups_nor_port_0() {
    let mut lab = Lab::new();
    let any = lab.stack.udp_listen_any(UdpOptions::default()).unwrap();
    for (from, to) in [
        ("10.0.0.1:5", "127.0.0.1:53"),
        ("[fd00::1]:5", "[::1]:53"),
        ("10.0.0.1:5", "224.0.0.1:53"),
        ("10.0.0.1:5", "10.0.0.255:53"),
        ("10.0.0.1:5", "192.0.2.1:0"),
        ("224.0.0.1:5", "192.0.2.1:53"),
        ("10.0.0.2:5", "192.0.2.1:53"),
    ] {
        lab.send_packet(datagram(from, to, b"x"));
    }
    lab.heard_nothing(any);
    lab.quiet();
    let counters = lab.stack.counters();
    assert_eq!((counters.martian_sources, counters.udp_received), (2, 3));
}

// RFC 8085 5.1-1
#[test]
fn it_must_say_where_an_answer_comes_from() {
    let mut lab = Lab::new();
    let any = lab.stack.udp_listen_any(UdpOptions::default()).unwrap();
    let to = Some(addr("10.0.0.1:5"));
    let mut send = |from: Option<&str>| {
        let how = Outgoing { to, from: from.map(addr), ..Outgoing::default() };
        lab.stack.udp_send(lab.ts(), any, b"x", &how)
    };
    assert_eq!(send(None), Err(DatagramError::InvalidAddress));
    assert_eq!(send(Some("[2001:db8::9]:53")), Err(DatagramError::NetworkUnreachable));
    assert_eq!(send(Some("224.0.0.1:53")), Err(DatagramError::AddressNotAvailable));
    assert_eq!(send(Some("192.0.2.1:0")), Err(DatagramError::AddressNotAvailable));
    send(Some("192.0.2.1:53")).unwrap();
    assert_eq!(lab.stack.udp_connect(lab.ts(), any, addr("10.0.0.1:5")), Err(DatagramError::InvalidAddress));
}

#[test]
fn when_it_is_closed_strangers_are_nobodys_again() {
    let mut lab = Lab::new();
    let any = lab.stack.udp_listen_any(UdpOptions::default()).unwrap();
    lab.stack.udp_close(lab.ts(), any);
    lab.send_packet(datagram("10.0.0.1:5", "192.0.2.9:53", b"x"));
    lab.quiet();
    assert_eq!(lab.stack.counters().not_ours, 1);
    lab.stack.udp_listen_any(UdpOptions::default()).unwrap();
}
