//! The user timeout (RFC 9293 3.10.8), and how long an orphan lives.

use std::time::Duration;

use ropeway_core::{ConnectionError, State};

use crate::common::*;

// RFC 9293 3.8.3 MUST-21
#[test]
fn user_timeout_ends_the_connection_at_its_exact_moment() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.user_timeout = Some(Duration::from_millis(1234)));
    lab.at(100_000);
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    for at in [200, 600] {
        lab.at(100_000 + at);
        lab.expect(data(b"x"));
    }
    lab.at_us(ms(101_234) - 1);
    lab.assert_state(id, State::Established);
    lab.at(101_234);
    lab.assert_state(id, State::Closed);
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::TimedOut));
}

#[test]
fn user_timeout_counts_from_the_last_progress() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.user_timeout = Some(Duration::from_millis(1000)));
    lab.write(id, &pattern(0, 2920));
    lab.drain();
    lab.at(150);
    lab.send(ack().ack(1461));
    lab.at_us(368_750);
    lab.expect(some(1460).seq(1461));
    lab.at_us(806_250);
    // It may be too large for the path, and goes in pieces.
    lab.drain();
    lab.at_us(ms(1150) - 1);
    lab.assert_state(id, State::Established);
    lab.at(1150);
    lab.assert_state(id, State::Closed);
}

#[test]
fn user_timeout_longer_than_the_retries_keeps_the_connection() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.user_timeout = Some(Duration::from_secs(3000)));
    lab.write(id, b"x");
    lab.drain();
    lab.run_to(secs(3000) - 1);
    lab.assert_state(id, State::Established);
    lab.run_to(secs(3000));
    lab.assert_state(id, State::Closed);
}

// MUST-21: "infinite"
#[test]
fn user_timeout_may_be_for_ever() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.user_timeout = Some(Duration::MAX));
    lab.write(id, b"x");
    lab.drain();
    lab.run_to(secs(100_000));
    lab.assert_state(id, State::Established);
}

#[test]
fn user_timeout_set_while_waiting_counts_from_the_start_of_waiting() {
    let (mut lab, id) = established();
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    lab.at(200);
    lab.expect(data(b"x"));
    lab.at(300);
    lab.set(id, |options| options.user_timeout = Some(Duration::from_millis(450)));
    lab.at_us(ms(450) - 1);
    lab.assert_state(id, State::Established);
    lab.at(450);
    lab.assert_state(id, State::Closed);
}

// tcp(7), TCP_USER_TIMEOUT: "or buffered data may remain untransmitted (due to zero window size)"
#[test]
fn user_timeout_counts_while_the_window_is_closed() {
    let mut deaths = Vec::new();
    for answered in [false, true] {
        let (mut lab, id) = shut_out();
        lab.set(id, |options| options.user_timeout = Some(Duration::from_millis(5000)));
        lab.write(id, &pattern(0, 3000));
        let mut died = None;
        while died.is_none() && lab.now < secs(60) {
            lab.run_to_deadline();
            for _ in lab.drain() {
                if answered {
                    lab.input(ack().ack(2));
                    lab.collect();
                }
            }
            died = (lab.state(id) == State::Closed).then_some(lab.now);
        }
        // From the write, or from the first probe.
        deaths.push(died);
    }
    let in_time = |died: &Option<u64>| died.is_some_and(|died| (ms(5000)..=ms(5200)).contains(&died));
    assert!(deaths.iter().all(in_time), "unanswered and answered, it died at {deaths:?} us");
}

// RFC 6429; Linux's tcp_probe_timer gives an orphan up once the interval has reached its maximum.
#[test]
fn an_orphan_does_not_live_for_ever_because_its_peer_keeps_the_window_closed() {
    let (mut lab, id) = shut_out();
    lab.write(id, &pattern(0, 3000));
    lab.close(id);
    while lab.stack.sizes().connections > 0 {
        assert!(lab.now < secs(24 * 3600), "it lives after a day");
        lab.run_to_deadline();
        for _ in lab.drain() {
            lab.input(ack().ack(2));
            lab.collect();
        }
    }
    assert!(lab.now > secs(60));
}

#[test]
fn an_orphan_leaves_fin_wait_2_after_its_timeout() {
    let (mut lab, id) = established();
    lab.close(id);
    lab.expect(fin());
    lab.at(100);
    lab.send(ack());
    lab.at_us(ms(60_100) - 1);
    assert_eq!(lab.stack.sizes().connections, 1);
    lab.at(60_100);
    lab.assert_empty();
    lab.send(fin());
    lab.expect(rst().seq(2));
}

#[test]
fn fin_wait_2_that_someone_holds_lasts() {
    let (mut lab, id) = established();
    lab.shutdown_write(id);
    lab.expect(fin());
    lab.send(ack());
    lab.at(1_000_000);
    lab.assert_state(id, State::FinWait2);
    lab.close(id);
    lab.at(1_060_000);
    lab.assert_empty();
}
