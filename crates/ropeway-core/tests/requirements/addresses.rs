//! Local addresses and ports of opens (RFC 9293 3.9.1.1).

use std::net::{IpAddr, SocketAddr};

use ropeway_core::{ConnectError, ListenError, SocketOptions, State};

use crate::common::*;

/// Three networks and both families.
fn multihomed() -> Lab {
    Lab::with(|config| {
        let own = ["10.0.0.2/24", "192.168.1.2/24", "172.16.0.2/12", "fd00::2/64"];
        config.addresses = own.map(|text| text.parse().unwrap()).to_vec();
    })
}

fn reusing() -> SocketOptions {
    let mut options = SocketOptions::default();
    options.reuse_addr = true;
    options
}

// RFC 9293 3.9.1.1 MUST-43
#[test]
fn an_open_may_name_its_local_address() {
    for own in ["10.0.0.2", "192.168.1.2", "172.16.0.2"] {
        let mut lab = multihomed();
        let own: IpAddr = own.parse().unwrap();
        // An active open from it, although another address is nearer to the remote.
        lab.local = SocketAddr::new(own, 5000);
        lab.remote = addr("10.0.0.1:80");
        let options = SocketOptions::default();
        let id = lab.stack.connect(lab.ts(), Some(lab.local), lab.remote, options).unwrap();
        lab.collect();
        lab.expect(syn());
        assert_eq!(lab.stack.tuple(id).unwrap().local(), lab.local);
        // A passive open on it does not take what is for another.
        lab.stack.listen(SocketAddr::new(own, 80), 1, SocketOptions::default()).unwrap();
        for address in ["10.0.0.2", "192.168.1.2", "172.16.0.2"] {
            lab.local = SocketAddr::new(address.parse().unwrap(), 80);
            lab.remote = addr("10.0.0.9:4000");
            lab.send(syn());
            lab.expect(if lab.local.ip() == own { syn_ack() } else { rst_ack() });
        }
    }
    // Not any address.
    let mut lab = multihomed();
    let foreign = lab.stack.connect(lab.ts(), Some(addr("10.0.0.3:0")), lab.remote, SocketOptions::default());
    assert_eq!(foreign, Err(ConnectError::AddressNotAvailable));
    let foreign = lab.stack.listen(addr("10.0.0.3:80"), 1, SocketOptions::default());
    assert_eq!(foreign, Err(ListenError::AddressNotAvailable));
}

// RFC 9293 3.9.1.1 MUST-44, MUST-45
#[test]
fn the_stack_chooses_an_address_and_keeps_it() {
    for (remote, own) in [
        ("10.0.0.1:80", "10.0.0.2"),
        ("192.168.1.77:80", "192.168.1.2"),
        ("172.20.1.1:80", "172.16.0.2"),
        ("8.8.8.8:80", "10.0.0.2"),
        ("[2001:db8::1]:80", "fd00::2"),
    ] {
        let mut lab = multihomed();
        let id = lab.stack.connect(lab.ts(), None, addr(remote), SocketOptions::default()).unwrap();
        // What it is, can be asked before the first SYN is out.
        lab.local = lab.stack.tuple(id).unwrap().local();
        lab.remote = addr(remote);
        assert_eq!(lab.local.ip(), own.parse::<IpAddr>().unwrap(), "towards {remote}");
        lab.collect();
        lab.expect(syn().seq(0));
        // A better one that comes later changes nothing: `expect` looks at both ends of each segment.
        lab.stack.add_address(format!("{}/{}", lab.remote.ip(), 8).parse().unwrap());
        lab.stack.remove_address(lab.remote.ip());
        lab.stack.add_address("8.8.8.2/24".parse().unwrap());
        lab.at(1000);
        lab.expect(syn().seq(0));
        lab.send(syn_ack().mss(1460));
        lab.expect(ack().seq(1).ack(1));
        lab.write(id, b"x");
        lab.expect(data(b"x").seq(1));
        lab.run_to(secs(5));
        assert!(lab.drain().len() == 1);
        lab.send(ack());
        lab.shutdown_write(id);
        lab.expect(fin().seq(2));
    }
}

// RFC 9293 3.9.1.1 MUST-42, also for SYN-RECEIVED, however it was reached
#[test]
fn a_port_can_be_listened_on_while_a_connection_from_it_is_half_open() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.assert_state(id, State::SynReceived);
    let listener = lab.stack.listen(lab.local, 16, reusing()).unwrap();
    lab.send(ack());
    lab.assert_state(id, State::Established);
    assert!(!lab.stack.is_acceptable(listener), "it is nobody else's connection");
    // A passive one, whose listener goes and comes back.
    let mut lab = Lab::new();
    let first = lab.stack.listen(addr("0.0.0.0:80"), 16, SocketOptions::default()).unwrap();
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    assert_eq!(lab.stack.sizes().half_open, 1);
    lab.stack.close_listener(lab.ts(), first);
    let second = lab.stack.listen(addr("0.0.0.0:80"), 16, SocketOptions::default()).unwrap();
    lab.switch(4001);
    lab.handshake(Peer::default());
    assert!(lab.stack.is_acceptable(second));
}

// RFC 6056 3.3.3: a port that has just been given back is not the next one.
#[test]
fn successive_connections_have_different_ports() {
    let mut lab = Lab::new();
    let mut ports = Vec::new();
    for _ in 0..10 {
        let id = lab.stack.connect(lab.ts(), None, addr("10.0.0.1:80"), SocketOptions::default()).unwrap();
        ports.push(lab.stack.tuple(id).unwrap().local_port);
        lab.stack.close(lab.ts(), id);
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 10);
}
