//! Sequence numbers wrap (RFC 9293 3.4).

use ropeway_core::State;

use crate::common::*;

// RFC 9293 3.4 R-13
#[test]
fn all_of_a_connection_crosses_the_wrap_of_both_sequence_spaces() {
    for active in [false, true] {
        for before in [0, 1, 2, 3, 700, 1460, 5000, 20_000] {
            let iss = 0u32.wrapping_sub(before);
            let mut lab = Lab::with_iss(iss, active, |_| {});
            lab.flow.isn = 0u32.wrapping_sub(before / 2 + 1);
            let id = if active { lab.connected(Peer::default()) } else { lab.accepted(Peer::default()) };
            assert_eq!(lab.flow.iss, iss);
            lab.write(id, &pattern(0, 30_000));
            let mut got = Vec::new();
            let mut upto = 0;
            while got.len() < 30_000 {
                for sent in lab.drain() {
                    let tcp = sent.tcp.unwrap();
                    assert_eq!(lab.relative(tcp.tcp.seq) as usize, 1 + got.len());
                    got.extend_from_slice(&sent.packet[tcp.payload]);
                }
                // A segment of ours each time, out of order by turns.
                lab.input(data(pattern(upto + 500, 500)).seq(1 + upto as u32 + 500));
                lab.input(data(pattern(upto, 500)).seq(1 + upto as u32));
                upto += 1000;
                lab.flow.nxt = 1 + upto as u32;
                lab.collect();
                assert_eq!(lab.stack.recv(lab.ts(), id, 5000).unwrap().to_vec(), pattern(upto - 1000, 1000));
            }
            assert_eq!(got, pattern(0, 30_000));
            lab.shutdown_write(id);
            lab.drain();
            lab.send(fin().ack(30_002));
            lab.expect(ack().seq(30_002).ack(upto as u32 + 2));
            lab.assert_state(id, State::TimeWait);
        }
    }
}

// RFC 9293 3.4 R-13
#[test]
fn zero_window_and_retransmission_cross_the_wrap() {
    for before in 0..8 {
        let iss = 0u32.wrapping_sub(before);
        let mut lab = Lab::with_iss(iss, false, |_| {});
        lab.flow.isn = u32::MAX - 2;
        let id = lab.accepted(Peer { win: 2, ..Peer::default() });
        assert_eq!(lab.flow.iss, iss);
        lab.write(id, b"abcdef");
        lab.expect(data(b"ab").seq(1));
        lab.at(200);
        lab.expect(data(b"ab").seq(1));
        lab.send(ack().ack(3).win(0));
        lab.run_to(secs(2));
        let probes = lab.drain();
        assert_eq!(lab.relative(probes[0].tcp.as_ref().unwrap().tcp.seq), 3);
        lab.send(ack().ack(4).win(3));
        lab.expect(data(b"def").seq(4));
    }
}
