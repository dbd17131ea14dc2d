//! TCP options that are missing, odd or malformed (RFC 9293 3.2), and the Diffserv and TTL fields of IP (3.9.1.4,
//! 3.9.1.9).

use ropeway_core::State;
use ropeway_core::packet::TcpFlags;

use crate::common::*;

// MUST-65
#[test]
fn mss_and_scale_stand_only_in_syns() {
    let mut pair = Pair::new().fate(|crossing| {
        let tcp = parse(crossing.packet).unwrap().tcp;
        // The codec ignores them outside of a SYN, so the raw bytes are looked at.
        let header = &crossing.packet[20..20 + usize::from(crossing.packet[32] >> 4) * 4];
        if !tcp.flags.contains(TcpFlags::SYN) {
            assert!(header.len() == 20 || (header.len() == 32 && header[20..24] == [1, 1, 8, 10]));
        }
        Fate::Deliver
    });
    pair.converse(
        &[Op::Send(5000), Op::Recv(10), Op::Close],
        &[Op::Recv(5000), Op::Send(10), Op::RecvEof, Op::Close],
    );
    pair.live(secs(10));
}

#[test]
fn a_peer_without_any_option_is_served() {
    for v6 in [false, true] {
        let mut lab = Lab::new().v6_if(v6);
        let id = lab.accepted(Peer { mss: None, ..Peer::default() });
        lab.write(id, &pattern(0, 3000));
        let mut got = Vec::new();
        while got.len() < 3000 {
            for sent in lab.drain() {
                let tcp = sent.tcp.unwrap();
                assert_eq!(tcp.tcp.options, Default::default());
                got.extend_from_slice(&sent.packet[tcp.payload]);
            }
            lab.send(ack());
        }
        assert_eq!(got, pattern(0, 3000));
        lab.send(data(pattern(0, 1000)).fin());
        lab.drain();
        assert_eq!(lab.read(id, 5000), pattern(0, 1000));
    }
}

// MUST-4, MUST-5, MUST-6, MUST-7, MUST-64, MUST-68
#[test]
fn odd_options_are_skipped_and_lies_survived() {
    let good: [&[u8]; 5] = [
        // MSS not on a word boundary, after NOPs
        &[1, 2, 4, 5, 0xb4, 1, 1, 0],
        // unknown options around it, one of them without a value
        &[254, 2, 253, 6, 1, 2, 3, 4, 2, 4, 5, 0xb4, 200, 3, 9],
        // garbage after EOL
        &[2, 4, 5, 0xb4, 0, 99, 1, 77],
        // the option twice: the last one counts
        &[2, 4, 0, 100, 2, 4, 5, 0xb4],
        // 40 bytes of NOPs but for the MSS
        &[1; 36],
    ];
    for (n, options) in good.iter().enumerate() {
        let mut lab = Lab::new();
        let listener = lab.listen();
        let options = if n == 4 { [*options, &[2, 4, 5, 0xb4]].concat() } else { options.to_vec() };
        lab.send(syn().options(&options));
        lab.expect(syn_ack());
        lab.send(ack().options(&[254, 4, 1, 1]));
        let id = lab.accept(listener).unwrap();
        lab.write(id, &pattern(0, 5000));
        assert_eq!(lab.next_tcp().payload.len(), 1460, "options {n}");
    }
    let lies: [&[u8]; 6] = [&[2, 0], &[2, 1, 5, 0xb4], &[2], &[8, 40, 1], &[2, 4, 5], &[3, 255, 1, 1]];
    for lie in lies {
        // In a SYN: a reset, silence or an answer; but the listener lives.
        let mut lab = Lab::new();
        let listener = lab.listen();
        lab.send(syn().options(lie));
        lab.drain();
        lab.switch(4001);
        lab.handshake(Peer::default());
        let id = lab.accept(listener).unwrap();
        // Outside of the window it hurts nobody.
        lab.send(some(5).seq(1_000_000).options(lie));
        lab.drain();
        lab.assert_state(id, State::Established);
        // MUST-7: within, the suggested procedure is to reset.
        lab.send(some(5).options(lie));
        lab.drain();
        assert!(matches!(lab.state(id), State::Established | State::Closed));
    }
}

// MUST-48, MUST-49, SHLD-21, SHLD-22
#[test]
fn tos_and_ttl_stand_on_every_packet_and_can_change() {
    for v6 in [false, true] {
        let mut lab = Lab::new().v6_if(v6);
        let listener = lab.listen_with(16, |options| {
            options.tos = 0x28;
            options.ttl = 9;
        });
        let look = |lab: &mut Lab| {
            let ip = lab.next_tcp().ip;
            (ip.traffic_class, ip.hop_limit)
        };
        lab.send(syn().mss(1460));
        assert_eq!(look(&mut lab), (0x28, 9));
        lab.send(ack());
        let id = lab.accept(listener).unwrap();
        lab.write(id, b"x");
        assert_eq!(look(&mut lab), (0x28, 9));
        lab.set(id, |options| {
            options.tos = 0xb8;
            options.ttl = 77;
        });
        lab.send(ack());
        lab.write(id, b"y");
        assert_eq!(look(&mut lab), (0xb8, 77));
    }
}
