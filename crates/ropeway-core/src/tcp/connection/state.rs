//! The states of a connection and every way from one to another (RFC 9293 3.3.2).
//!
//! ```text
//!                               +---------+
//!            passive OPEN       | CLOSED  |       active OPEN, send SYN
//!          +------------------->|         |---------------------------+
//!          |                    +---------+                           |
//!          v                                                          v
//!     +---------+                 SEND, send SYN                 +----------+
//!     | LISTEN  |----------------------------------------------->| SYN-SENT |
//!     +---------+                                                +----------+
//!          | recv SYN, send SYN-ACK        recv SYN, send SYN-ACK  |      |
//!          v                                                       |      |
//!     +--------------+<--------------------------------------------+      |
//!     | SYN-RECEIVED |                                                    |
//!     +--------------+                             recv SYN-ACK, send ACK |
//!        |      | recv ACK of SYN     +-------------+                     |
//!        |      +-------------------->| ESTABLISHED |<--------------------+
//!        | CLOSE, send FIN            +-------------+
//!        |                CLOSE, send FIN |     | recv FIN, send ACK
//!        v                                |     v
//!     +------------+                      |   +------------+
//!     | FIN-WAIT-1 |<---------------------+   | CLOSE-WAIT |
//!     +------------+                          +------------+
//!        |      | recv FIN, send ACK                | CLOSE, send FIN
//!        |      |      +---------+                  v
//!        |      +----->| CLOSING |               +----------+
//!        |             +---------+               | LAST-ACK |
//!        | recv ACK of FIN  | recv ACK of FIN    +----------+
//!        v                  v                       | recv ACK of FIN
//!     +------------+      +-----------+             v
//!     | FIN-WAIT-2 |----->| TIME-WAIT |------> +---------+
//!     +------------+ recv +-----------+ 2 MSL  | CLOSED  |
//!                    FIN, send ACK             +---------+
//! ```
//!
//! A segment that acknowledges our FIN and brings the peer's leads from FIN-WAIT-1 through FIN-WAIT-2 to
//! TIME-WAIT: its ACK is looked at before its FIN (RFC 9293 3.10.7.4). Besides these, a RST, an abort or a timeout leads from any state to CLOSED; a RST in SYN-RECEIVED that
//! was opened passively leads back to LISTEN.

use std::fmt;

use ropeway_packet::FourTuple;

use crate::events;

/// A connection's state (RFC 9293 3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No connection.
    Closed,
    /// Waiting for any peer's SYN.
    Listen,
    /// Our SYN is out.
    SynSent,
    /// Both SYNs are out; ours is not acknowledged.
    SynReceived,
    /// Open.
    Established,
    /// We have closed; our FIN is not acknowledged.
    FinWait1,
    /// We have closed and the peer knows; it may still send.
    FinWait2,
    /// The peer has closed; we may still send.
    CloseWait,
    /// Both have closed at the same time; our FIN is not acknowledged.
    Closing,
    /// The peer closed first, and now we have; our FIN is not acknowledged.
    LastAck,
    /// Both have closed; old duplicates get the time to die.
    TimeWait,
}

impl State {
    /// All eleven, in the RFC's order.
    pub const ALL: [Self; 11] = [
        Self::Closed,
        Self::Listen,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
    ];

    /// Both ends agree on sequence numbers (RFC 9293 3.5.1, "synchronized state").
    #[must_use]
    pub const fn is_synchronized(self) -> bool {
        !matches!(self, Self::Closed | Self::Listen | Self::SynSent | Self::SynReceived)
    }

    /// Whether the peer's FIN has arrived.
    #[must_use]
    pub const fn peer_has_closed(self) -> bool {
        matches!(self, Self::CloseWait | Self::Closing | Self::LastAck | Self::TimeWait)
    }

    /// Whether our FIN is on its way or there.
    #[must_use]
    pub const fn we_have_closed(self) -> bool {
        matches!(self, Self::FinWait1 | Self::FinWait2 | Self::Closing | Self::LastAck | Self::TimeWait)
    }

    /// The RFC's name, such as `SYN-SENT`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Listen => "LISTEN",
            Self::SynSent => "SYN-SENT",
            Self::SynReceived => "SYN-RECEIVED",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What moves a connection from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The application asks for a connection.
    ActiveOpen,
    /// The application waits for one.
    PassiveOpen,
    /// A SYN arrived.
    Syn,
    /// A SYN that acknowledges ours arrived.
    SynAck,
    /// Our SYN was acknowledged.
    AckOfSyn,
    /// The application closes its side.
    Close,
    /// The peer's FIN arrived, in order.
    Fin,
    /// Our FIN was acknowledged.
    AckOfFin,
    /// A RST arrived that ends the connection.
    Reset,
    /// A RST arrived for a half-open connection of a listener.
    ResetToListen,
    /// The application aborts.
    Abort,
    /// A timeout ends the connection: 2 MSL in TIME-WAIT, giving up elsewhere.
    Timeout,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::ActiveOpen,
        Self::PassiveOpen,
        Self::Syn,
        Self::SynAck,
        Self::AckOfSyn,
        Self::Close,
        Self::Fin,
        Self::AckOfFin,
        Self::Reset,
        Self::ResetToListen,
        Self::Abort,
        Self::Timeout,
    ];
}

/// There is no such edge in the diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalTransition {
    /// The state it was to start from.
    pub from: State,
    /// What was to cause it.
    pub cause: Cause,
}

impl fmt::Display for IllegalTransition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no transition from {} by {:?}", self.from, self.cause)
    }
}

impl std::error::Error for IllegalTransition {}

/// The transition table: the state that `cause` leads to from `from`.
///
/// # Errors
/// [`IllegalTransition`] if the diagram has no such edge.
pub const fn next(from: State, cause: Cause) -> Result<State, IllegalTransition> {
    use Cause as C;
    use State as S;
    Ok(match (from, cause) {
        (S::Closed, C::ActiveOpen) | (S::Listen, C::ActiveOpen) => S::SynSent,
        (S::Closed, C::PassiveOpen) => S::Listen,
        (S::Listen | S::SynSent, C::Syn) => S::SynReceived,
        (S::SynSent, C::SynAck) => S::Established,
        (S::SynReceived, C::AckOfSyn) => S::Established,
        (S::Listen | S::SynSent, C::Close) => S::Closed,
        (S::SynReceived | S::Established, C::Close) => S::FinWait1,
        (S::CloseWait, C::Close) => S::LastAck,
        // RFC 9293 3.10.7.4: a FIN is taken in SYN-RECEIVED too, when the segment's ACK was.
        (S::SynReceived | S::Established, C::Fin) => S::CloseWait,
        (S::FinWait1, C::Fin) => S::Closing,
        (S::FinWait2, C::Fin) => S::TimeWait,
        (S::FinWait1, C::AckOfFin) => S::FinWait2,
        (S::Closing, C::AckOfFin) => S::TimeWait,
        (S::LastAck, C::AckOfFin) => S::Closed,
        (S::SynReceived, C::ResetToListen) => S::Listen,
        // RFC 9293 3.6.1 MAY-2, RFC 6191: the old incarnation ends for a new one. A RST ends nothing here
        // (RFC 1337).
        (S::TimeWait, C::Syn | C::Timeout) => S::Closed,
        (S::TimeWait, _) | (S::Closed | S::Listen, C::Reset | C::Timeout) | (S::Closed, C::Abort) => {
            return Err(IllegalTransition { from, cause });
        }
        (_, C::Reset | C::Abort | C::Timeout) => S::Closed,
        _ => return Err(IllegalTransition { from, cause }),
    })
}

/// The one holder of a connection's state, and its only writer.
#[derive(Clone, Debug)]
pub(crate) struct StateMachine {
    state: State,
}

impl StateMachine {
    pub(crate) const fn new(state: State) -> Self {
        Self { state }
    }

    pub(crate) const fn get(&self) -> State {
        self.state
    }

    /// Moves along an edge of the diagram and says so to the log.
    pub(crate) fn transition(&mut self, tuple: &FourTuple, cause: Cause) -> Result<State, IllegalTransition> {
        self.state = report(tuple, self.state, cause)?;
        Ok(self.state)
    }
}

/// One event per transition, whichever room the connection is in. Gives the state it leads to.
pub(crate) fn report(tuple: &FourTuple, from: State, cause: Cause) -> Result<State, IllegalTransition> {
    let to = next(from, cause)?;
    tracing::debug!(
        target: events::STATE,
        local = %tuple.local(),
        remote = %tuple.remote(),
        from = %from,
        to = %to,
        ?cause,
        "state changed"
    );
    Ok(to)
}

#[cfg(test)]
mod tests;
