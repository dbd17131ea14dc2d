//! CLOSED: what matches nothing is answered with a RST (RFC 9293 3.10.7.1).

use ropeway_packet::{SeqNum, TcpFlags, TcpHeader};

/// The RST that answers a segment for which there is no connection; `None` for a RST (RFC 9293 3.10.7.1
///
pub(crate) fn reset_for(segment: &TcpHeader, payload_len: usize) -> Option<TcpHeader> {
    if segment.flags.contains(TcpFlags::RST) {
        return None;
    }
    let (seq, ack, flags) = if segment.flags.contains(TcpFlags::ACK) {
        (segment.ack, SeqNum::new(0), TcpFlags::RST)
    } else {
        let ack = segment.seq + segment.segment_len(payload_len);
        (SeqNum::new(0), ack, TcpFlags::RST | TcpFlags::ACK)
    };
    Some(TcpHeader {
        src_port: segment.dst_port,
        dst_port: segment.src_port,
        seq,
        ack,
        flags,
        ..TcpHeader::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(flags: TcpFlags) -> TcpHeader {
        TcpHeader {
            src_port: 1,
            dst_port: 2,
            seq: SeqNum::new(100),
            ack: SeqNum::new(300),
            flags,
            ..TcpHeader::default()
        }
    }

    #[test]
    fn an_ack_is_answered_from_its_own_ack() {
        let reset = reset_for(&segment(TcpFlags::ACK), 10).unwrap();
        assert_eq!((reset.seq, reset.flags), (SeqNum::new(300), TcpFlags::RST));
        assert_eq!((reset.src_port, reset.dst_port), (2, 1));
    }

    #[test]
    fn a_segment_without_ack_is_acknowledged_with_its_length() {
        let reset = reset_for(&segment(TcpFlags::SYN | TcpFlags::FIN), 10).unwrap();
        assert_eq!((reset.seq, reset.ack), (SeqNum::new(0), SeqNum::new(112)));
        assert_eq!(reset.flags, TcpFlags::RST | TcpFlags::ACK);
    }

    #[test]
    fn a_reset_is_never_answered() {
        assert_eq!(reset_for(&segment(TcpFlags::RST), 0), None);
        assert_eq!(reset_for(&segment(TcpFlags::RST | TcpFlags::ACK), 0), None);
    }
}
