//! How long a connection that nobody holds waits in FIN-WAIT-2 (`TCP_LINGER2`, `tcp_fin_timeout`).

use std::time::Duration;

use ropeway_core::{SocketOptions, StackConfig, State};

use crate::common::*;

fn waits(timeout: Duration) -> impl FnOnce(&mut SocketOptions) {
    move |options| options.fin_timeout = Some(timeout)
}

/// Closed, and its FIN acknowledged: the peer has not closed.
#[track_caller]
fn orphaned(lab: &mut Lab, change: impl FnOnce(&mut SocketOptions)) -> ropeway_core::ConnectionId {
    let id = lab.accepted_with(Peer::default(), change);
    lab.close(id);
    lab.expect(fin());
    lab.send(ack());
    id
}

#[test]
fn an_orphan_waits_as_long_as_its_socket_says() {
    for (change, seconds) in [(None, 60), (Some(5), 5), (Some(300), 300)] {
        let mut lab = Lab::new();
        let id = orphaned(&mut lab, |options| options.fin_timeout = change.map(Duration::from_secs));
        lab.at(seconds * 1000 - 1);
        lab.assert_state(id, State::FinWait2);
        lab.at(seconds * 1000);
        lab.quiet();
        lab.assert_empty();
    }
}

#[test]
fn it_waits_for_a_few_retransmissions_of_the_peers_fin_at_least() {
    let mut lab = Lab::new();
    let id = orphaned(&mut lab, waits(Duration::from_millis(1)));
    // Three and a half timeouts of 200 ms, as in Linux.
    lab.at(699);
    lab.assert_state(id, State::FinWait2);
    lab.at(700);
    lab.quiet();
    lab.assert_empty();
}

#[test]
fn one_that_is_not_to_wait_is_reset_at_once() {
    let zero: [fn(&mut StackConfig); 2] = [
        |config| config.socket.fin_timeout = Some(Duration::ZERO),
        |config| config.fin_timeout = Duration::ZERO,
    ];
    for change in zero {
        let mut lab = Lab::with(change);
        let id = lab.accepted(Peer::default());
        lab.close(id);
        lab.expect(fin());
        lab.send(ack());
        lab.after(0);
        lab.expect(rst_ack().seq(2));
        lab.assert_empty();
    }
}

#[test]
fn a_close_in_fin_wait_2_resets_one_that_is_not_to_wait() {
    let (mut lab, id) = in_state(State::FinWait2);
    lab.set(id, waits(Duration::ZERO));
    lab.after(0);
    lab.assert_state(id, State::FinWait2);
    lab.close(id);
    lab.after(0);
    lab.expect(rst_ack().seq(2));
    lab.assert_empty();
}

#[test]
fn a_fin_that_comes_with_the_acknowledgement_is_in_time() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), waits(Duration::ZERO));
    lab.close(id);
    lab.expect(fin());
    lab.send(fin());
    lab.expect(ack().ack(2));
    lab.after(0);
    lab.quiet();
    assert_eq!(lab.stack.counters().resets_sent, 0);
}

#[test]
fn whoever_still_holds_the_connection_waits_as_long_as_it_takes() {
    let (mut lab, id) = in_state(State::FinWait2);
    lab.set(id, waits(Duration::from_secs(1)));
    lab.at(1_000_000);
    lab.assert_state(id, State::FinWait2);
    lab.send(data(b"late"));
    lab.drain();
    assert_eq!(lab.read(id, 10), b"late");
}
