//! The IPv6 flow label (RFC 6437): one for each flow, whoever in the stack sends the packet, and it tells nothing of what
//! is secret.

use std::collections::HashSet;

use ropeway_core::packet::Protocol;
use ropeway_core::{KeepAlive, Outgoing, PortPolicy, Rejection, SynCookieMode, UdpOptions};

use crate::common::*;
use crate::datagram;

fn label(packet: &[u8]) -> u32 {
    u32::from_be_bytes(packet[..4].try_into().unwrap()) & 0xf_ffff
}

impl Lab {
    /// The label that all packets have which were sent since this was last asked; there must be so many.
    #[track_caller]
    fn label_of_all(&mut self, packets: usize) -> u32 {
        let labels: Vec<_> = self.drain().iter().map(|sent| label(&sent.packet)).collect();
        assert_eq!(labels.len(), packets, "{labels:x?}");
        assert!(labels.iter().all(|label| *label == labels[0]), "{labels:x?}");
        assert_ne!(labels[0], 0, "zero is no label");
        labels[0]
    }
}

fn lab() -> Lab {
    Lab::new().v6()
}

/// What the tuple of the lab is answered with where nothing is.
fn label_of_reset() -> u32 {
    let mut lab = lab();
    lab.send(syn());
    lab.label_of_all(1)
}

#[test]
fn a_passive_open_has_one_label_from_syn_ack_to_the_last_answer() {
    for (cookies, ts) in
        [(SynCookieMode::Never, false), (SynCookieMode::Never, true), (SynCookieMode::Always, true)]
    {
        let mut lab = Lab::with(|config| config.syn_cookies = cookies).v6();
        let listener = lab.listen();
        lab.flow.ts = ts.then_some(1000);
        let mut sent = 1;
        lab.input(syn().mss(1440));
        if cookies == SynCookieMode::Never {
            lab.input(syn().mss(1440));
            lab.run_to(secs(1));
            lab.input(ack().seq(900_000));
            sent += 3;
        }
        let of_handshake = lab.label_of_all(sent);
        lab.send(ack().seq(1));
        let id = lab.accept(listener).unwrap();
        lab.write(id, b"data");
        lab.run_to(secs(4));
        let sent = lab.out.len();
        assert!(sent > 1, "and a retransmission");
        assert_eq!(lab.label_of_all(sent), of_handshake, "data");
        lab.send(data(b"x").ack(5));
        lab.run_to(secs(5));
        assert_eq!(lab.label_of_all(1), of_handshake, "an acknowledgement");
        lab.read(id, 10);
        lab.close(id);
        lab.input(fin().ack(6));
        assert_eq!(lab.label_of_all(2), of_handshake, "FIN, and the last acknowledgement");
        lab.input(fin().seq(2).ack(6));
        assert_eq!(lab.label_of_all(1), of_handshake, "TIME-WAIT");
        lab.run_to(secs(100));
        lab.input(data(b"late").seq(3));
        assert_eq!(lab.label_of_all(1), of_handshake, "CLOSED");
        assert_eq!(of_handshake, label_of_reset());
    }
}

#[test]
fn an_active_open_has_one_label_from_syn_to_reset() {
    let mut lab = lab();
    let id = lab
        .connect_with(|options| {
            options.keep_alive =
                Some(KeepAlive { idle: std::time::Duration::from_secs(10), ..KeepAlive::default() });
        })
        .unwrap();
    lab.run_to(secs(1));
    let of_syn = lab.label_of_all(2);
    // An answer to something else.
    lab.input(syn_ack().ack(77));
    assert_eq!(lab.label_of_all(1), of_syn, "the RST in SYN-SENT");
    lab.input(syn_ack().ack(1).mss(1440));
    assert_eq!(lab.label_of_all(1), of_syn);
    lab.run_to(secs(20));
    assert_eq!(lab.label_of_all(1), of_syn, "a keep-alive probe");
    lab.input(syn().seq(9));
    assert_eq!(lab.label_of_all(1), of_syn, "a challenge");
    lab.abort(id);
    assert_eq!(lab.label_of_all(1), of_syn, "the RST");
    lab.input(data(b"late"));
    assert_eq!(lab.label_of_all(1), of_syn, "CLOSED");
}

#[test]
fn a_simultaneous_open_and_a_decision_have_it_too() {
    let mut lab = lab();
    lab.connect();
    lab.input(syn().mss(1440));
    lab.collect();
    lab.run_to(secs(1));
    lab.label_of_all(3);

    let mut lab = Lab::new().v6();
    let options = lab.stack.config().socket.clone();
    let any = lab.stack.listen_any(4, options).unwrap();
    lab.send(syn());
    let incoming = lab.stack.poll_incoming(any).unwrap();
    assert!(lab.stack.accept_incoming(lab.ts(), &incoming));
    lab.run_to(secs(1));
    assert_eq!(lab.label_of_all(2), label_of_reset());

    let mut lab = Lab::new().v6();
    let options = lab.stack.config().socket.clone();
    let any = lab.stack.listen_any(4, options).unwrap();
    lab.send(syn());
    let incoming = lab.stack.poll_incoming(any).unwrap();
    assert!(lab.stack.reject_incoming(lab.ts(), &incoming, Rejection::Reset));
    assert_eq!(lab.label_of_all(1), label_of_reset());

    let mut lab = Lab::new().v6();
    lab.stack.set_port_policy(Protocol::TCP, 0..=u16::MAX, PortPolicy::Refuse);
    lab.input(syn());
    lab.input(data(b"x"));
    assert_eq!(lab.label_of_all(2), label_of_reset());
}

/// The datagrams between two ends are a flow of their own (RFC 6437 2: the protocol is part of it).
#[test]
fn a_udp_flow_has_its_own_label() {
    let mut lab = lab();
    let id = lab.stack.udp_open(lab.ts(), lab.remote, UdpOptions::default()).unwrap();
    for _ in 0..2 {
        lab.stack.udp_send(lab.ts(), id, b"who", &Outgoing::default()).unwrap();
    }
    let sent = lab.drain();
    assert_eq!(label(&sent[0].packet), label(&sent[1].packet));
    assert_ne!(label(&sent[0].packet), 0);
    let port = u16::from_be_bytes(sent[0].packet[40..42].try_into().unwrap());
    lab.local.set_port(port);
    lab.send(syn());
    assert_ne!(lab.label_of_all(1), label(&sent[0].packet), "TCP between the same ends");
    // ICMP belongs to no flow.
    lab.send_packet(datagram("[fd00::1]:7", "[fd00::2]:9", b"x"));
    assert_eq!(label(&lab.next_packet()), 0);
}

#[test]
fn flows_and_stacks_differ_in_their_labels() {
    let mut labels = HashSet::new();
    let mut lab = lab();
    for port in 1000..3000 {
        lab.switch(port);
        lab.send(syn());
        labels.insert(lab.label_of_all(1));
    }
    // Of 2,000 out of a million, two pairs are expected to be the same.
    assert!(labels.len() > 1980, "{}", labels.len());
    assert!(labels.iter().any(|label| label >> 19 == 1) && labels.iter().all(|label| label >> 20 == 0));
}

/// The SYN of an active open from this port, on a stack that was made so many milliseconds after another.
fn syn_from(port: u16, millis: u64) -> (u32, u32) {
    let mut lab = Lab::starting_at(ms(1000 + millis), |_| {}).v6();
    lab.local.set_port(port);
    let options = lab.stack.config().socket.clone();
    lab.stack.connect(lab.ts(), Some(lab.local), lab.remote, options).unwrap();
    let packet = lab.next_packet();
    (label(&packet), parse(&packet).unwrap().tcp.seq.get())
}

/// A label that was made of the timestamp offset, the ISN and the port showed twenty bits of the offset to everyone on
/// the path: flows of one pair of addresses share it, and had the rest in common once the others were taken off.
#[test]
fn the_label_tells_nothing_of_sequence_numbers_and_timestamps() {
    let rests = (5000..5100).map(|port| {
        let (label, iss) = syn_from(port, u64::from(port));
        (label ^ u32::from(port) ^ iss) & 0xf_ffff
    });
    assert!(rests.collect::<HashSet<_>>().len() > 95);
    // Nor does it follow the clock, as ISNs and timestamps do.
    let labels: HashSet<_> = (0..100).map(|millis| syn_from(5000, 97 * millis).0).collect();
    assert_eq!(labels.len(), 1);
}
