//! Listeners that share an address, that go away, or that become active; sockets that meet in the middle.

use std::net::SocketAddr;

use ropeway_core::{ConnectError, ListenError, SocketOptions, State};

use crate::common::*;
use crate::host;

fn shared() -> SocketOptions {
    let mut options = SocketOptions::default();
    options.reuse_port = true;
    options
}

/// `SO_REUSEPORT`: each gets its part, and a connection stays with the one that its SYN went to.
#[test]
fn listeners_that_share_an_address_share_its_connections() {
    let mut lab = Lab::new();
    let listeners = [(); 4].map(|()| lab.stack.listen(lab.local, 256, shared()).unwrap());
    for port in 1000..1400 {
        lab.switch(port);
        lab.handshake(Peer::default());
    }
    let shares = listeners.map(|listener| std::iter::from_fn(|| lab.accept(listener)).count());
    assert_eq!(shares.iter().sum::<usize>(), 400);
    assert!(shares.iter().all(|share| (50..150).contains(share)), "{shares:?}");
}

#[test]
fn who_does_not_share_keeps_the_address() {
    let mut lab = Lab::new();
    lab.stack.listen(lab.local, 1, shared()).unwrap();
    let alone = SocketOptions::default();
    assert_eq!(lab.stack.listen(lab.local, 1, alone.clone()), Err(ListenError::AddressInUse));
    assert_eq!(lab.stack.listen(addr("0.0.0.0:80"), 1, alone), Err(ListenError::AddressInUse));
    assert!(lab.stack.listen(lab.local, 1, shared()).is_ok());
}

/// One of them goes: the others' handshakes are not disturbed, and new ones are theirs.
#[test]
fn one_of_those_that_share_goes() {
    let mut lab = Lab::new();
    let first = lab.stack.listen(lab.local, 256, shared()).unwrap();
    let second = lab.stack.listen(lab.local, 256, shared()).unwrap();
    for port in 1000..1100 {
        lab.switch(port);
        lab.send(syn().mss(1460));
        lab.expect(syn_ack());
    }
    lab.stack.close_listener(lab.ts(), first);
    let left = lab.half_open();
    assert!((20..80).contains(&left));
    for port in 1000..1100 {
        lab.switch(port);
        lab.input(ack());
        lab.drain();
    }
    assert_eq!(std::iter::from_fn(|| lab.accept(second)).count(), left);
    for port in 2000..2010 {
        lab.switch(port);
        lab.handshake(Peer::default());
        assert!(lab.accept(second).is_some());
    }
}

#[test]
fn a_listener_is_dropped_with_connections_waiting() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.handshake(Peer::default());
    lab.send(data("unread"));
    lab.switch(4001);
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.stack.close_listener(lab.ts(), listener);
    lab.collect();
    lab.switch(4000);
    lab.expect(rst_ack().seq(1).ack(7));
    lab.assert_empty();
    lab.switch(4001);
    lab.send(ack());
    lab.expect(rst().seq(1));
    assert_eq!(lab.stack.poll_timeout(), None);
    assert!(lab.stack.accept(lab.ts(), listener).is_err());
    lab.listen();
}

/// RFC 9293 3.5, figure 8, and MUST-10, between two of our own sockets.
#[test]
fn two_of_our_own_sockets_open_simultaneously() {
    let mut lab = Lab::new();
    let ends: [SocketAddr; 2] = [addr("10.0.0.2:1111"), addr("127.0.0.1:2222")];
    let options = SocketOptions::default();
    let a = lab.stack.connect(lab.ts(), Some(ends[0]), ends[1], options.clone()).unwrap();
    let b = lab.stack.connect(lab.ts(), Some(ends[1]), ends[0], options.clone()).unwrap();
    assert_eq!(lab.stack.connect(lab.ts(), Some(ends[0]), ends[1], options), Err(ConnectError::AddressInUse));
    lab.collect();
    for (one, other) in [(a, b), (b, a)] {
        lab.assert_state(one, State::Established);
        lab.write(one, b"across");
        assert_eq!(lab.read_all(other), b"across");
    }
    lab.close(a);
    lab.close(b);
    lab.run_to(secs(200));
    lab.quiet();
    lab.assert_empty();
}

/// RFC 9293 3.10.1 and 3.10.2: LISTEN to SYN-SENT. What waited there is reset, and a handshake forgotten.
#[test]
fn a_listener_turns_active() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.handshake(Peer::default());
    assert_eq!(lab.syns_from([host(1)]), 1);
    let remote = addr("10.0.0.1:9000");
    let id = lab.stack.connect_from_listener(lab.ts(), listener, remote).unwrap();
    lab.collect();
    lab.expect(rst_ack().seq(1).ack(1));
    lab.switch(9000);
    lab.expect(syn().seq(0));
    lab.send(syn_ack().mss(1460).ack(1));
    lab.expect(ack().seq(1).ack(1));
    lab.assert_state(id, State::Established);
    assert_eq!((lab.stack.sizes().listeners, lab.half_open()), (0, 0));
    assert!(lab.stack.connect_from_listener(lab.ts(), listener, remote).is_err(), "it is gone");
}
