//! Connections within one stack: no packet of theirs leaves it.

use ropeway_core::{ConnectionError, ConnectionId, RecvError, SendFlags, SocketOptions, State};

use crate::common::*;

/// Runs a client and a server within one stack; nothing must leave it.
fn converse_within(lab: &mut Lab, local: &str, from: Option<&str>) -> (ConnectionId, ConnectionId) {
    let listener = lab.stack.listen(addr(local), 16, SocketOptions::default()).unwrap();
    let client = lab.stack.connect(lab.ts(), from.map(addr), addr(local), SocketOptions::default()).unwrap();
    lab.collect();
    lab.quiet();
    lab.assert_state(client, State::Established);
    let server = lab.accept(listener).unwrap();
    let bytes = pattern(0, 3_000_000);
    let (mut sent, mut got) = (0, Vec::new());
    while got.len() < bytes.len() {
        if sent < bytes.len() {
            sent += lab.stack.send(lab.ts(), client, &bytes[sent..], SendFlags::default()).unwrap_or(0);
        }
        lab.collect();
        match lab.stack.recv(lab.ts(), server, 1_000_000) {
            Ok(payload) => got.extend(payload.to_vec()),
            Err(RecvError::WouldBlock) => {
                lab.run_to_deadline();
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    lab.quiet();
    assert!(got == bytes);
    assert!(lab.now < secs(2), "it took {} us", lab.now);
    (client, server)
}

#[test]
fn loopback_connections_never_leave_the_stack() {
    for (local, from) in [
        ("127.0.0.1:80", None),
        ("127.1.2.3:80", None),
        ("127.0.0.1:80", Some("127.9.9.9:0")),
        ("[::1]:80", None),
        ("10.0.0.2:80", None),
        ("10.0.0.2:80", Some("127.0.0.1:0")),
        ("[fd00::2]:80", None),
    ] {
        let mut lab = Lab::new();
        let (client, server) = converse_within(&mut lab, local, from);
        lab.close(client);
        assert!(lab.read(server, 10).is_empty());
        lab.close(server);
        lab.quiet();
        assert_eq!(lab.stack.sizes().time_wait, 1);
        lab.run_to(lab.now + secs(61));
        lab.quiet();
        lab.assert_empty();
    }
}

/// With the checksum left to the device, packets that never reach one are good all the same.
#[test]
fn loopback_works_with_checksum_offload() {
    let mut lab = Lab::with(|config| config.tx_checksum_offload = true);
    let (client, server) = converse_within(&mut lab, "127.0.0.1:80", None);
    lab.abort(client);
    lab.close(client);
    lab.close(server);
    lab.assert_empty();
}

#[test]
fn a_closed_port_on_loopback_refuses() {
    for remote in ["127.0.0.1:81", "[::1]:81", "10.0.0.2:81", "0.0.0.0:81", "[::]:81"] {
        let mut lab = Lab::new();
        let id = lab.stack.connect(lab.ts(), None, addr(remote), SocketOptions::default()).unwrap();
        lab.collect();
        lab.quiet();
        lab.assert_state(id, State::Closed);
        assert_eq!(lab.stack.take_error(id), Some(ConnectionError::Refused));
    }
}

#[test]
fn a_connection_to_itself() {
    for own in ["127.0.0.1:5000", "10.0.0.2:5000", "[::1]:5000"] {
        let mut lab = Lab::new();
        let id = lab.stack.connect(lab.ts(), Some(addr(own)), addr(own), SocketOptions::default()).unwrap();
        lab.collect();
        lab.quiet();
        lab.assert_state(id, State::Established);
        for n in 0..5 {
            lab.write(id, &pattern(n * 50_000, 50_000));
            let mut got = Vec::new();
            while got.len() < 50_000 {
                match lab.stack.recv(lab.ts(), id, 100_000) {
                    Ok(payload) => got.extend(payload.to_vec()),
                    Err(_) => {
                        lab.run_to_deadline();
                    }
                }
                lab.collect();
            }
            assert!(got == pattern(n * 50_000, 50_000));
        }
        lab.shutdown_write(id);
        assert!(lab.read(id, 10).is_empty());
        lab.close(id);
        lab.run_to(lab.now + secs(200));
        lab.quiet();
        lab.assert_empty();
    }
}

#[test]
fn loopback_survives_an_abort_and_a_reset() {
    let mut lab = Lab::new();
    let (client, server) = converse_within(&mut lab, "127.0.0.1:80", None);
    lab.abort(client);
    assert_eq!(lab.stack.recv(lab.ts(), server, 1).unwrap_err(), RecvError::Failed(ConnectionError::Reset));
    lab.close(client);
    lab.close(server);
    lab.assert_empty();
    assert_eq!(lab.next_deadline().filter(|at| *at <= lab.now), None);
}
