//! Active opens: addresses, ports (RFC 6056), the initial sequence number (RFC 6528) and the options of the SYN.

use ropeway_core::{ConnectError, ListenError, SocketOptions};

use crate::common::*;
use crate::ip_of;

#[test]
fn the_options_of_a_syn_stand_as_linux_writes_them() {
    let options = |packet: &[u8]| packet[40..20 + usize::from(packet[32] >> 4) * 4].to_vec();
    let mut lab = Lab::new();
    lab.connect();
    let all = options(&lab.next_packet());
    assert_eq!((&all[..8], &all[16..]), (&[2, 4, 5, 0xb4, 4, 2, 8, 10][..], &[1, 3, 3, 10][..]));
    let mut lab = Lab::with(|config| config.timestamps = false);
    lab.connect();
    assert_eq!(options(&lab.next_packet()), [2, 4, 5, 0xb4, 1, 1, 4, 2, 1, 3, 3, 10]);
    let mut lab = Lab::with(|config| config.window_scaling = false);
    lab.connect();
    let all = options(&lab.next_packet());
    assert_eq!((&all[..8], all.len()), (&[2, 4, 5, 0xb4, 4, 2, 8, 10][..], 16));
    let mut lab = Lab::with(|config| {
        config.window_scaling = false;
        config.timestamps = false;
        config.sack = false;
    });
    lab.connect();
    assert_eq!(options(&lab.next_packet()), [2, 4, 5, 0xb4]);
    // The SYN-ACK has what both have.
    let mut lab = Lab::new();
    lab.listen();
    lab.send(syn().mss(1000).ws(2));
    assert_eq!(options(&lab.next_packet()), [2, 4, 5, 0xb4, 1, 3, 3, 10]);
}

// RFC 6528, MUST-8, MUST-9; RFC 9293 3.4.1 SHLD-1, RFC 6528 3-1
#[test]
fn initial_sequence_numbers_move_with_the_clock_and_differ_by_tuple() {
    let mut lab = Lab::new();
    lab.listen();
    let isn = |lab: &mut Lab, port| {
        lab.switch(port);
        lab.flow.nxt = 0;
        lab.send(syn());
        let isn = lab.next_tcp().tcp.seq.get();
        lab.send(rst().seq(1));
        isn
    };
    let first = isn(&mut lab, 5000);
    assert_eq!(isn(&mut lab, 5000), first);
    let other = isn(&mut lab, 5001);
    assert!(other.wrapping_sub(first) > 100_000 && first.wrapping_sub(other) > 100_000);
    lab.at(4000);
    assert_eq!(isn(&mut lab, 5000).wrapping_sub(first), 1_000_000);
}

#[test]
fn bindings_reserve_a_port() {
    let mut lab = Lab::new();
    let options = SocketOptions::default();
    let (binding, local) = lab.stack.bind(addr("10.0.0.2:0"), &options).unwrap();
    assert!((32768..=60999).contains(&local.port()));
    assert_eq!(lab.stack.bind(local, &options).unwrap_err(), ListenError::AddressInUse);
    assert_eq!(lab.stack.listen(local, 1, options.clone()), Err(ListenError::AddressInUse));
    assert_eq!(lab.stack.sizes().bindings, 1);
    lab.stack.release_binding(binding);
    lab.stack.release_binding(binding);
    assert!(lab.stack.listen(local, 1, options).is_ok());
    assert_eq!(lab.stack.sizes().bindings, 0);
}

#[test]
fn connecting_to_what_cannot_be_reached_fails_at_once() {
    let mut lab = Lab::new();
    let mut connect = |local: Option<&str>, remote: &str| {
        lab.stack.connect(lab.ts(), local.map(addr), addr(remote), SocketOptions::default())
    };
    // MUST-46
    for remote in ["10.0.0.255:80", "255.255.255.255:80", "224.0.0.1:80", "[ff02::1]:80", "10.0.0.1:0"] {
        assert_eq!(connect(None, remote), Err(ConnectError::InvalidRemote), "{remote}");
    }
    assert_eq!(connect(Some("10.0.0.3:0"), "10.0.0.1:80"), Err(ConnectError::AddressNotAvailable));
    assert_eq!(connect(Some("[fd00::2]:0"), "10.0.0.1:80"), Err(ConnectError::FamilyMismatch));
    assert_eq!(connect(Some("127.0.0.1:0"), "10.0.0.1:80"), Err(ConnectError::NetworkUnreachable));
    assert!(connect(Some("10.0.0.2:0"), "10.0.0.1:80").is_ok());
    assert!(connect(Some("0.0.0.0:0"), "10.0.0.1:80").is_ok());
    assert!(connect(Some("10.0.0.2:7777"), "10.0.0.1:80").is_ok());
    assert_eq!(connect(Some("10.0.0.2:7777"), "10.0.0.1:80"), Err(ConnectError::AddressInUse));
    assert!(
        connect(Some("10.0.0.2:7777"), "10.0.0.1:81").is_ok(),
        "another remote port is another connection"
    );
    let mut lab = Lab::with(|config| config.addresses = vec!["10.0.0.2/24".parse().unwrap()]);
    let none = lab.stack.connect(lab.ts(), None, addr("[fd00::1]:80"), SocketOptions::default());
    assert_eq!(none, Err(ConnectError::NetworkUnreachable));
}

// RFC 6056
#[test]
fn ephemeral_ports_are_all_used_before_there_are_none() {
    let mut lab = Lab::with(|config| config.ephemeral_ports = 50_000..=50_009);
    let mut connect =
        |remote: &str| lab.stack.connect(lab.ts(), None, addr(remote), SocketOptions::default());
    let ids: Vec<_> = (0..10).map(|_| connect("10.0.0.1:80").unwrap()).collect();
    assert_eq!(connect("10.0.0.1:80"), Err(ConnectError::PortsExhausted));
    // Towards another they are free.
    assert!(connect("10.0.0.1:81").is_ok());
    let mut ports: Vec<u16> = ids.iter().map(|id| lab.stack.tuple(*id).unwrap().local_port).collect();
    ports.sort_unstable();
    assert_eq!(ports, (50_000..=50_009).collect::<Vec<u16>>());
    lab.stack.close(lab.ts(), ids[3]);
    assert!(lab.stack.connect(lab.ts(), None, addr("10.0.0.1:80"), SocketOptions::default()).is_ok());
    // Listeners and bindings run out too.
    let mut lab = Lab::with(|config| config.ephemeral_ports = 50_000..=50_004);
    for _ in 0..5 {
        lab.stack.listen(addr("10.0.0.2:0"), 1, SocketOptions::default()).unwrap();
    }
    assert_eq!(
        lab.stack.listen(addr("10.0.0.2:0"), 1, SocketOptions::default()),
        Err(ListenError::PortsExhausted)
    );
    assert_eq!(
        lab.stack.bind(addr("10.0.0.2:0"), &SocketOptions::default()).unwrap_err(),
        ListenError::PortsExhausted
    );
    assert_eq!(
        lab.stack.connect(lab.ts(), None, addr("10.0.0.1:80"), SocketOptions::default()),
        Err(ConnectError::PortsExhausted)
    );
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_an_ipv4_address() {
    let mut lab = Lab::new();
    let remote = addr("[::ffff:10.0.0.1]:80");
    let id = lab.stack.connect(lab.ts(), None, remote, SocketOptions::default()).unwrap();
    lab.collect();
    let segment = lab.next_tcp();
    assert_eq!((segment.ip.src, segment.ip.dst), (ip_of("10.0.0.2"), ip_of("10.0.0.1")));
    assert_eq!(lab.stack.tuple(id).unwrap().remote(), addr("10.0.0.1:80"));
}
