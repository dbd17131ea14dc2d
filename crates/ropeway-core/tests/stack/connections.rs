//! What holds for every connection: it is told apart from all others, keeps its flow label, answers no storm for
//! ever, and does the same when all happens again.

use ropeway_core::{RecvError, SocketOptions};

use crate::common::*;
use crate::{datagram, segment};

/// Two ends that disagree answer each other for ever, unless somebody counts (RFC 5961 7).
#[test]
fn an_acknowledgement_storm_dies_down() {
    let (mut lab, _) = established();
    let mut answers = 0;
    for _ in 0..10_000 {
        lab.input(ack().seq(5_000_000));
        answers += lab.drain().len();
        lab.now += 100;
    }
    assert!(answers <= 202, "{answers} in a second");
}

// RFC 6437 2: the same label on all packets of a flow
#[test]
fn the_flow_label_of_a_connection_does_not_change() {
    let mut lab = Lab::new().v6();
    let id = lab.accepted(Peer::default());
    lab.write(id, &pattern(0, 5000));
    lab.shutdown_write(id);
    let labels: Vec<u32> = lab
        .drain()
        .iter()
        .map(|sent| u32::from_be_bytes(sent.packet[..4].try_into().unwrap()) & 0xf_ffff)
        .collect();
    assert!(labels.len() >= 4);
    assert!(labels.iter().all(|label| *label == labels[0] && *label != 0), "{labels:x?}");
}

#[test]
fn the_same_input_gives_the_same_output() {
    let run = || {
        let mut lab = Lab::new();
        let mut all = Vec::new();
        lab.listen_with(2, |_| {});
        for n in 0..20u64 {
            let id =
                lab.stack.connect(lab.ts(), None, addr("10.0.0.1:80"), SocketOptions::default()).unwrap();
            lab.inject(segment(&format!("10.0.0.1:{}", 5000 + n), "10.0.0.2:80", &syn()));
            lab.inject(datagram("10.0.0.1:5000", "10.0.0.2:53", b"x"));
            if n % 3 == 0 {
                lab.close(id);
            }
            lab.run_to(lab.now + ms(n * 37));
            all.extend(lab.drain().into_iter().map(|sent| (sent.at, sent.packet)));
        }
        all
    };
    assert_eq!(run(), run());
}

#[test]
fn a_stale_id_finds_nothing() {
    let (mut lab, id) = established();
    lab.abort(id);
    lab.drain();
    lab.close(id);
    lab.switch(4001);
    lab.handshake(Peer::default());
    assert!(lab.stack.info(lab.ts(), id).is_err());
    assert_eq!(lab.stack.recv(lab.ts(), id, 1).unwrap_err(), RecvError::NotConnected);
    lab.close(id);
    lab.abort(id);
    assert_eq!(lab.stack.sizes().connections, 1);
}

#[test]
fn many_connections_are_told_apart() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(1000, |_| {});
    let mut ids = Vec::new();
    for port in 5000..5200u16 {
        lab.switch(port);
        lab.flow.isn = u32::from(port) * 7919;
        lab.handshake(Peer::default());
        ids.push(lab.accept(listener).unwrap());
    }
    for (n, id) in ids.iter().enumerate() {
        lab.switch(5000 + n as u16);
        lab.send(data(pattern(n * 1000, 100)));
        lab.write(*id, &pattern(n * 500, 50));
        lab.expect(data(pattern(n * 500, 50)).seq(1).ack(101));
        lab.send(ack());
    }
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(lab.read(*id, 1000), pattern(n * 1000, 100));
    }
}
