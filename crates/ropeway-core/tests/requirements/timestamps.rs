//! Timestamps and round trips (RFC 7323 3 to 5, RFC 6298 3).

use std::time::Duration;

use ropeway_core::State;

use crate::common::*;

fn stamped() -> Peer {
    Peer { ts: true, ..Peer::default() }
}

// RFC 7323 3.2-2: without ACK there is nothing to echo.
#[test]
fn a_syn_echoes_nothing_and_the_echo_in_a_syn_means_nothing() {
    let mut lab = Lab::new();
    lab.connect();
    lab.expect(syn().ecr(0));
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.flow.ts = Some(1000);
    lab.at(50);
    lab.send(syn().mss(1460).ts(1050, 77));
    lab.expect(syn_ack());
    lab.at(60);
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.info(id).srtt, Duration::from_millis(10));
}

// RFC 6298 3-2: also without timestamps, whatever the flight is made of.
#[test]
fn each_flight_gives_a_sample() {
    for (ts, segments) in [(false, 1), (false, 8), (true, 1)] {
        let mut lab = Lab::new();
        let id = lab.accepted(Peer { ts, ..Peer::default() });
        let mut srtt = lab.info(id).srtt;
        assert_eq!(srtt, Duration::ZERO, "the handshake took no time");
        for _ in 0..10 {
            let len = segments * usize::from(lab.info(id).snd_mss);
            lab.write(id, &pattern(0, len));
            assert_eq!(lab.drain().len(), segments);
            lab.after(80);
            lab.send(ack());
            // Whole microseconds.
            srtt = Duration::from_micros(((7 * srtt + Duration::from_millis(80)) / 8).as_micros() as u64);
            assert_eq!(lab.info(id).srtt, srtt);
        }
    }
}

// RFC 7323 4.1-2: only what acknowledges something new is a sample.
#[test]
fn a_duplicate_acknowledgement_is_no_sample() {
    let mut lab = Lab::new();
    let id = lab.accepted(stamped());
    lab.write(id, &pattern(0, 2896));
    lab.drain();
    let tsval = lab.flow.tsval;
    lab.at(100);
    lab.send(ack().ack(2897).ts(1100, tsval));
    let srtt = lab.info(id).srtt;
    lab.at(5000);
    lab.send(ack().ack(2897).ts(6000, tsval));
    lab.send(some(10).ack(2897).ts(6000, tsval));
    assert_eq!(lab.info(id).srtt, srtt);
}

// RFC 7323 5.2-3
#[test]
fn a_reset_of_ours_has_timestamps_if_they_were_agreed_on() {
    for (ts, abort) in [(true, true), (true, false), (false, true)] {
        let mut lab = Lab::new();
        let id = lab.accepted(Peer { ts, ..Peer::default() });
        lab.at(50);
        lab.send(data(b"unread"));
        lab.after(40);
        lab.expect(ack());
        let clock = lab.flow.tsval;
        lab.after(10);
        if abort {
            lab.abort(id);
        } else {
            lab.close(id);
        }
        let reset = lab.expect(rst_ack().seq(1));
        let stamps = reset.tcp.options.timestamps.map(|stamps| (stamps.tsval, stamps.tsecr));
        assert_eq!(stamps, ts.then(|| (clock.wrapping_add(10), 1050)));
    }
}

// RFC 7323 5.3-2: a timestamp is looked at when its segment arrives, not when the gap before it closes.
#[test]
fn a_segment_that_waited_for_a_gap_is_not_judged_again() {
    let mut lab = Lab::new();
    let id = lab.accepted(stamped());
    lab.send(data(b"world").seq(6).ts(2000, 0));
    lab.expect(ack().ack(1));
    lab.send(data(b"hello").seq(1).ts(9000, 0));
    lab.expect(ack().ack(11));
    assert_eq!(lab.read(id, 20), b"helloworld");
}

// RFC 7323 5.2-2: whoever forges a RST or a SYN must not be able to make the peer's timestamps look old.
#[test]
fn segments_that_are_challenged_leave_ts_recent_alone() {
    for forged in [
        // Each reaches into the window from before it, so that it lies at or before Last.ACK.sent.
        rst().seq(0).bytes(b"forged"),
        syn().seq(0).bytes(b"forged"),
        syn().seq(1),
        data(b"forged").seq(1).ack(1_000_000),
    ] {
        let mut lab = Lab::new();
        let id = lab.accepted(stamped());
        let nxt = lab.flow.nxt;
        lab.send(forged.clone().ts(1000 + 0x7000_0000, 0));
        lab.drain();
        lab.assert_state(id, State::Established);
        lab.flow.nxt = nxt;
        lab.send(data(b"true"));
        assert_eq!(lab.info(id).unread, 4, "after {}", show(&forged));
    }
}
