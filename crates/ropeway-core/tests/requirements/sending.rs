//! What is sent when (RFC 9293 3.8.1, 3.8.6, 3.9.1.2).

use ropeway_core::SendFlags;

use crate::common::*;

// RFC 9293 3.9.1.2 MUST-60: whatever holds data back, lets it go.
#[test]
fn written_data_does_not_wait_for_ever() {
    for (cork, more, limit) in [(false, false, 0), (true, false, 200), (false, true, 200), (true, true, 200)]
    {
        let (mut lab, id) = established();
        lab.set(id, |options| options.cork = cork);
        lab.stack.send(lab.ts(), id, b"x", SendFlags { more, ..SendFlags::default() }).unwrap();
        lab.collect();
        if limit > 0 {
            lab.at(limit);
        }
        lab.expect(data(b"x"));
    }
    // What Nagle's algorithm holds goes with the acknowledgement of what it waits for.
    let (mut lab, id) = established();
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    lab.write(id, b"y");
    lab.at(150);
    lab.send(ack());
    lab.expect(data(b"y"));
}

// RFC 9293 3.8.1 MAY-4: with "don't fragment" the identification says nothing (RFC 6864), so it is always 0.
#[test]
fn a_retransmission_has_the_same_identification() {
    let (mut lab, id) = established();
    lab.write(id, b"x");
    let first = lab.next_packet();
    lab.run_to(ms(200));
    let again = lab.next_packet();
    assert_eq!(first[20..], again[20..], "bit for bit the same segment");
    assert_eq!(first[4..6], again[4..6]);
    assert_eq!(first[6] & 0x40, 0x40, "don't fragment");
}

// RFC 9293 3.8.6 MAY-7, SHLD-16: nothing beyond an edge that was taken back is sent again, whatever found it to be lost.
#[test]
fn nothing_beyond_a_shrunk_window_is_sent_again() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 20_000, ..Peer::default() });
    lab.write(id, &pattern(0, 14_600));
    lab.drain();
    for _ in 0..4 {
        lab.send(ack().ack(1461).win(1000));
    }
    lab.expect(data(pattern(1460, 1000)).seq(1461));
    lab.run_to(ms(400));
    for sent in lab.drain() {
        let tcp = sent.tcp.unwrap();
        let end = lab.relative(tcp.tcp.seq) as usize + tcp.payload.len();
        assert!(end <= 2461, "{end}");
    }
}

// RFC 9293 3.10.7.4 R-09
#[test]
fn a_window_from_an_older_segment_is_not_taken() {
    let (mut lab, id) = established();
    // The newer segment overtakes the older one: SND.WL1 decides.
    lab.send(some(100).seq(101).win(3000));
    lab.expect(ack().ack(1));
    assert_eq!(lab.info(id).snd_wnd, 3000);
    lab.send(some(100).seq(1).win(9000));
    lab.expect(ack().ack(201));
    assert_eq!(lab.info(id).snd_wnd, 3000);
    // The same sequence number: SND.WL2 decides.
    lab.flow.nxt = 201;
    lab.write(id, &pattern(0, 2920));
    lab.drain();
    lab.send(ack().ack(2921).win(5000));
    assert_eq!(lab.info(id).snd_wnd, 5000);
    lab.send(ack().ack(1461).win(7000));
    assert_eq!(lab.info(id).snd_wnd, 5000);
    lab.send(ack().ack(2921).win(6000));
    assert_eq!(lab.info(id).snd_wnd, 6000, "neither is older");
}

// A FIN has a sequence number, which needs its place in the window (RFC 9293 3.4).
#[test]
fn a_fin_waits_for_its_place_in_the_window() {
    for len in [100, 99] {
        let mut lab = Lab::new();
        let id = lab.accepted(Peer { win: 100, ..Peer::default() });
        lab.write(id, &pattern(0, len));
        let text = lab.expect(some(len).seq(1));
        assert_eq!(text.payload.len(), len);
        lab.shutdown_write(id);
        if len == 99 {
            lab.expect(fin().seq(100));
            continue;
        }
        lab.quiet();
        lab.send(ack().win(0));
        lab.quiet();
        lab.send(ack().win(1));
        lab.expect(fin().seq(101));
    }
    // The same in one segment.
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 100, ..Peer::default() });
    lab.stack.send(lab.ts(), id, &pattern(0, 100), SendFlags::default()).unwrap();
    lab.shutdown_write(id);
    lab.expect(some(100).seq(1));
    lab.quiet();
}
