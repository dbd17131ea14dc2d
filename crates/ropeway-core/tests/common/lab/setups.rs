//! Connections as many tests want them.

use ropeway_core::{ConnectionId, SocketOptions, State};

use super::super::{ack, data, fin, syn, syn_ack};
use super::{Lab, Peer};

/// A send buffer that takes all that a test writes at once, whatever the congestion window.
pub fn roomy(options: &mut SocketOptions) {
    options.send_buffer = 1 << 20;
}

/// A connection that the lab has opened, and that was accepted, with everything at its default. Nothing was measured
/// but a handshake in no time: the RTO is the minimum, 200 ms.
pub fn established() -> (Lab, ConnectionId) {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer::default());
    (lab, id)
}

/// The same after a byte that was acknowledged with a window of zero: the peer's window is closed, and nothing is
/// outstanding.
pub fn shut_out() -> (Lab, ConnectionId) {
    let (mut lab, id) = established();
    lab.write(id, b"a");
    lab.expect(data(b"a"));
    lab.flow.win = 0;
    lab.send(ack());
    (lab, id)
}

/// A connection in a state, reached by the shortest way. The application still holds it.
pub fn in_state(state: State) -> (Lab, ConnectionId) {
    let mut lab = Lab::new();
    let id = match state {
        State::SynSent => {
            let id = lab.connect();
            lab.expect(syn().seq(0));
            id
        }
        State::SynReceived => {
            let id = lab.connect();
            lab.expect(syn().seq(0));
            lab.send(syn().mss(1460));
            lab.expect(syn_ack().seq(0).ack(1));
            id
        }
        _ => lab.accepted(Peer::default()),
    };
    match state {
        State::SynSent | State::SynReceived | State::Established => {}
        State::FinWait1 | State::FinWait2 | State::Closing | State::TimeWait => {
            lab.shutdown_write(id);
            lab.expect(fin().seq(1).ack(1));
            match state {
                State::FinWait1 => {}
                State::Closing => {
                    lab.send(fin().ack(1));
                    lab.expect(ack().seq(2).ack(2));
                }
                _ => lab.send(ack().ack(2)),
            }
            if state == State::TimeWait {
                lab.send(fin().ack(2));
                lab.expect(ack().seq(2).ack(2));
            }
        }
        State::CloseWait | State::LastAck => {
            lab.send(fin());
            lab.expect(ack().seq(1).ack(2));
            if state == State::LastAck {
                lab.shutdown_write(id);
                lab.expect(fin().seq(1).ack(2));
            }
        }
        State::Closed | State::Listen => panic!("no connection is in {state}"),
    }
    lab.assert_state(id, state);
    lab.events.clear();
    (lab, id)
}
