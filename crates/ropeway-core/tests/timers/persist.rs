//! The persist timer: zero-window probes (RFC 9293 3.8.6.1).

use ropeway_core::{ConnectionError, State};

use crate::common::*;

// SHLD-29, SHLD-30, MUST-36, MUST-37
#[test]
fn zero_window_probes_after_one_rto_then_doubling_and_for_ever() {
    let (mut lab, id) = shut_out();
    lab.write(id, &pattern(0, 3000));
    lab.quiet();
    let mut at = 0;
    let mut interval = 200;
    for _ in 0..60 {
        at += interval;
        interval = (interval * 2).min(120_000);
        lab.at_us(ms(at) - 1);
        lab.at(at);
        lab.expect(data(pattern(0, 1)).seq(2));
        lab.send(ack().ack(2));
        lab.quiet();
    }
    lab.assert_state(id, State::Established);
    assert_eq!(lab.stack.take_error(id), None);
    // The window opens: at once all goes on.
    lab.flow.win = 65535;
    lab.send(ack().ack(2));
    lab.expect(data(pattern(0, 1460)).seq(2));
    lab.expect(data(pattern(1460, 1460)).seq(1462));
    lab.expect(data(pattern(2920, 80)).seq(2922));
}

#[test]
fn a_probe_that_is_accepted_moves_on() {
    let (mut lab, id) = shut_out();
    lab.write(id, &pattern(0, 3000));
    lab.at(200);
    lab.expect(data(pattern(0, 1)).seq(2));
    lab.send(ack().ack(3));
    lab.quiet();
    // That was progress: the next wait is one RTO again.
    lab.at(400);
    lab.expect(data(pattern(1, 1)).seq(3));
    lab.flow.win = 2000;
    lab.send(ack().ack(4));
    lab.expect(data(pattern(2, 1460)).seq(4));
}

#[test]
fn a_window_update_that_is_lost_is_found_by_the_probe() {
    let (mut lab, id) = shut_out();
    lab.write(id, b"bcd");
    lab.at(200);
    lab.expect(data(b"b").seq(2));
    lab.flow.win = 5000;
    lab.send(ack().ack(3));
    lab.expect(data(b"cd").seq(3));
}

// RFC 1122 4.2.3.4: what the sender's silly window avoidance holds back goes out after a while all the same; not
// as late as a window that had stayed closed would be probed.
#[test]
fn a_window_that_opens_a_little_is_used_after_one_rto() {
    let (mut lab, id) = shut_out();
    lab.write(id, &pattern(0, 3000));
    for at in [200, 600, 1400, 3000] {
        lab.at(at);
        lab.expect(some(1));
        lab.send(ack().ack(2));
    }
    lab.send(ack().ack(2).win(100));
    lab.at(3200);
    lab.expect(data(pattern(0, 100)).seq(2));
}

#[test]
fn a_window_that_closes_again_does_not_put_the_probe_off() {
    let (mut lab, id) = shut_out();
    lab.write(id, &pattern(0, 3000));
    lab.at(50);
    lab.send(ack().ack(2).win(100));
    lab.at(150);
    lab.send(ack().ack(2).win(0));
    lab.at(250);
    lab.expect(some(1).seq(2));
}

// R2 while the peer says nothing at all
#[test]
fn probes_without_an_answer_end_the_connection() {
    let (mut lab, id) = shut_out();
    lab.write(id, &pattern(0, 3000));
    let mut probes = 0;
    while lab.state(id) == State::Established {
        lab.run_to_deadline();
        probes += lab.drain().len();
        assert!(lab.now < secs(3600));
    }
    assert_eq!(probes, 15);
    assert!(lab.now > secs(100));
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::TimedOut));
}

#[test]
fn a_fin_waits_for_the_window_and_probes_for_it() {
    let (mut lab, id) = shut_out();
    lab.shutdown_write(id);
    lab.quiet();
    lab.at(200);
    lab.expect(fin().seq(2));
    lab.send(ack().ack(2));
    lab.at(600);
    lab.expect(fin().seq(2));
    lab.send(ack().ack(3));
    lab.assert_state(id, State::FinWait2);
}

#[test]
fn data_that_is_already_probed_for_does_not_restart_the_clock() {
    let (mut lab, id) = shut_out();
    lab.write(id, b"x");
    lab.at(150);
    lab.write(id, b"y");
    lab.at(200);
    lab.expect(data(b"x"));
}
