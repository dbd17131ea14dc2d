//! Follows one end of a connection by its packets alone, as RFC 9293 3.3.2 has it.

use ropeway::State;
use ropeway_packet::{SeqNum, TcpFlags, TcpHeader};

/// One end of a connection, seen from outside. It takes it that packets arrive in order, as they do on a link
/// that loses none.
#[derive(Clone, Debug)]
pub struct Observer {
    state: State,
    /// What acknowledges this end's FIN, once there is one.
    fin_acknowledged_by: Option<SeqNum>,
}

impl Observer {
    /// An end that is in `state`: `Closed` for the one that opens the connection, `Listen` for the other.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self { state, fin_acknowledged_by: None }
    }

    /// The state it was last seen to be in.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// This end sends a segment with `len` bytes of payload. Gives the new state, if it is one.
    pub fn sends(&mut self, segment: &TcpHeader, len: usize) -> Option<State> {
        let has = |flag| segment.flags.contains(flag);
        let next = match self.state {
            _ if has(TcpFlags::RST) => State::Closed,
            State::Closed if has(TcpFlags::SYN) => State::SynSent,
            State::Listen | State::SynSent if has(TcpFlags::SYN | TcpFlags::ACK) => State::SynReceived,
            State::SynReceived | State::Established if has(TcpFlags::FIN) => State::FinWait1,
            State::CloseWait if has(TcpFlags::FIN) => State::LastAck,
            same => same,
        };
        if has(TcpFlags::FIN) {
            self.fin_acknowledged_by = Some(segment.seq + segment.segment_len(len));
        }
        self.enter(next)
    }

    /// A segment arrives at this end. Gives the new state, if it is one.
    pub fn receives(&mut self, segment: &TcpHeader) -> Option<State> {
        let has = |flag| segment.flags.contains(flag);
        if has(TcpFlags::RST) {
            let stays = self.state == State::Listen;
            return self.enter(if stays { State::Listen } else { State::Closed });
        }
        let fin_acknowledged =
            has(TcpFlags::ACK) && self.fin_acknowledged_by.is_some_and(|ack| segment.ack.at_or_after(ack));
        let acknowledged = match self.state {
            State::Listen if has(TcpFlags::SYN) => State::SynReceived,
            State::SynSent if has(TcpFlags::SYN | TcpFlags::ACK) => State::Established,
            State::SynSent if has(TcpFlags::SYN) => State::SynReceived,
            State::SynReceived if has(TcpFlags::ACK) && !has(TcpFlags::SYN) => State::Established,
            State::FinWait1 if fin_acknowledged => State::FinWait2,
            State::Closing if fin_acknowledged => State::TimeWait,
            State::LastAck if fin_acknowledged => State::Closed,
            same => same,
        };
        let next = match acknowledged {
            State::SynReceived | State::Established if has(TcpFlags::FIN) => State::CloseWait,
            State::FinWait1 if has(TcpFlags::FIN) => State::Closing,
            State::FinWait2 if has(TcpFlags::FIN) => State::TimeWait,
            same => same,
        };
        self.enter(next)
    }

    fn enter(&mut self, next: State) -> Option<State> {
        let changed = next != self.state;
        self.state = next;
        changed.then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: TcpFlags = TcpFlags::SYN;
    const ACK: TcpFlags = TcpFlags::ACK;
    const FIN: TcpFlags = TcpFlags::FIN;
    const RST: TcpFlags = TcpFlags::RST;

    fn segment(flags: TcpFlags, seq: u32, ack: u32) -> TcpHeader {
        TcpHeader { flags, seq: SeqNum::new(seq), ack: SeqNum::new(ack), ..TcpHeader::default() }
    }

    /// Lets segments cross, and gives the states of the one who opens and of the other after each.
    fn follow(segments: &[(bool, TcpHeader)]) -> Vec<(State, State)> {
        let mut ends = [Observer::new(State::Closed), Observer::new(State::Listen)];
        let mut states = Vec::new();
        for (from_first, segment) in segments {
            let [first, second] = &mut ends;
            let (sender, receiver) = if *from_first { (first, second) } else { (second, first) };
            sender.sends(segment, 0);
            receiver.receives(segment);
            states.push((ends[0].state(), ends[1].state()));
        }
        states
    }

    #[test]
    fn a_connection_from_syn_to_time_wait() {
        use State::*;
        let states = follow(&[
            (true, segment(SYN, 9, 0)),
            (false, segment(SYN | ACK, 99, 10)),
            (true, segment(ACK, 10, 100)),
            (true, segment(FIN | ACK, 10, 100)),
            (false, segment(ACK, 100, 11)),
            (false, segment(FIN | ACK, 100, 11)),
            (true, segment(ACK, 11, 101)),
        ]);
        let expected = [
            (SynSent, SynReceived),
            (Established, SynReceived),
            (Established, Established),
            (FinWait1, CloseWait),
            (FinWait2, CloseWait),
            (TimeWait, LastAck),
            (TimeWait, Closed),
        ];
        assert_eq!(states, expected);
    }

    #[test]
    fn a_fin_that_acknowledges_ours_goes_straight_to_time_wait() {
        let mut end = Observer::new(State::Established);
        end.sends(&segment(FIN | ACK, 10, 100), 5);
        assert_eq!(end.receives(&segment(FIN | ACK, 100, 16)), Some(State::TimeWait));
    }

    #[test]
    fn both_close_at_once() {
        let mut end = Observer::new(State::Established);
        assert_eq!(end.sends(&segment(FIN | ACK, 10, 100), 0), Some(State::FinWait1));
        assert_eq!(end.receives(&segment(FIN | ACK, 100, 10)), Some(State::Closing));
        assert_eq!(end.receives(&segment(ACK, 101, 11)), Some(State::TimeWait));
    }

    #[test]
    fn a_reset_ends_it() {
        let mut end = Observer::new(State::SynSent);
        assert_eq!(end.receives(&segment(RST | ACK, 0, 1)), Some(State::Closed));
        let mut end = Observer::new(State::Established);
        assert_eq!(end.sends(&segment(RST, 0, 1), 0), Some(State::Closed));
    }
}
