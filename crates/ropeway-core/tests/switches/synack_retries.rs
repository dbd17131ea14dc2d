//! How often a listener's SYN-ACK is sent again (`TCP_SYNCNT` of a listener).

use ropeway_core::{ConnectionError, ListenerId, SocketOptions};

use crate::common::*;

fn so_many(retries: u32) -> impl FnOnce(&mut SocketOptions) {
    move |options| options.synack_retries = Some(retries)
}

/// A SYN has come, and nobody answers the SYN-ACK, which goes out again after each of these milliseconds.
#[track_caller]
fn unanswered(lab: &mut Lab, again: &[u64], reaped_at: u64) {
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    let mut passed = 0;
    for millis in again {
        lab.after(millis - passed);
        lab.expect(syn_ack());
        passed = *millis;
    }
    let reaped = lab.stack.counters().half_open_reaped;
    lab.after(reaped_at - passed - 1);
    assert_eq!(lab.stack.counters().half_open_reaped, reaped);
    lab.after(1);
    assert_eq!(lab.stack.counters().half_open_reaped, reaped + 1);
    lab.quiet();
}

fn listening(retries: u32) -> (Lab, ListenerId) {
    let mut lab = Lab::new();
    let listener = lab.listen_with(16, so_many(retries));
    (lab, listener)
}

#[test]
fn a_listener_says_how_often_its_syn_ack_is_sent_again() {
    unanswered(&mut listening(2).0, &[1000, 3000], 7000);
    // Fewer than the stack's five, and more.
    unanswered(&mut listening(0).0, &[], 1000);
    let seven = [1000, 3000, 7000, 15_000, 31_000, 63_000, 127_000];
    unanswered(&mut listening(7).0, &seven, 247_000);
}

// RFC 4987 3.3-1
#[test]
fn a_change_counts_for_handshakes_that_are_under_way() {
    let (mut lab, listener) = listening(5);
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.after(1000);
    lab.expect(syn_ack());
    lab.stack.update_listener_options(listener, so_many(1)).unwrap();
    lab.after(2000);
    assert_eq!(lab.stack.counters().half_open_reaped, 1);
    lab.quiet();
    // And back to what the stack says.
    lab.stack.update_listener_options(listener, |options| options.synack_retries = None).unwrap();
    unanswered(&mut lab, &[1000, 3000, 7000, 15_000, 31_000], 63_000);
}

#[test]
fn what_a_syn_with_data_has_opened_is_given_up_as_the_listener_says() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(16, |options| {
        (options.fast_open, options.fast_open_no_cookie) = (16, true);
        options.synack_retries = Some(1);
    });
    lab.send(syn().mss(1460).bytes(b"GET"));
    lab.expect(syn_ack().ack(4));
    let id = lab.accept(listener).unwrap();
    lab.after(1000);
    lab.expect(syn_ack().ack(4));
    lab.after(1999);
    assert_eq!(lab.stack.take_error(id), None);
    lab.after(1);
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::TimedOut));
}
