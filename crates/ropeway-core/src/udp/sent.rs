//! What a socket has sent lately: what an ICMP error may be about.

use ropeway_packet::Quoted;

/// The last datagrams that were sent, by length and checksum: together they say nearly as much as the datagram itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    last: [(u16, u16); Self::REMEMBERED],
    next: usize,
    /// The longest that was ever sent.
    longest: u16,
}

impl Sent {
    /// So many are remembered one by one.
    pub(crate) const REMEMBERED: usize = 16;

    /// A datagram so long goes out, that others follow at once.
    pub(crate) fn note_len(&mut self, len: usize) {
        self.longest = self.longest.max(u16::try_from(len).unwrap_or(u16::MAX));
    }

    /// A datagram goes out. 0: its checksum is not known, because the device completes it.
    pub(crate) fn note(&mut self, len: u16, checksum: u16) {
        self.longest = self.longest.max(len);
        if let Some(place) = self.last.get_mut(self.next) {
            *place = (len, checksum);
        }
        self.next = (self.next + 1) % Self::REMEMBERED;
    }

    /// Whether a datagram can be quoted that was sent. What was sent long ago is known by its `label`, which nobody knows who has
    /// not seen a packet of the flow.
    pub(crate) fn may_have_sent(&self, quoted: &Quoted, label: u32) -> bool {
        let Some((len, checksum)) = quoted.datagram else { return false };
        // RFC 8085 5.2-1
        let by_label = quoted.label == label && len <= self.longest;
        by_label || (checksum != 0 && self.last.contains(&(len, checksum)))
    }
}

#[cfg(test)]
mod tests {
    use ropeway_packet::{IpParams, Protocol, icmp, udp};

    use super::*;

    fn quote(len: usize, ident: u16) -> Quoted {
        let params = IpParams {
            src: "10.0.0.2".parse().unwrap(),
            dst: "10.0.0.1".parse().unwrap(),
            protocol: Protocol::UDP,
            hop_limit: 64,
            traffic_class: 0,
            dont_fragment: true,
            ident,
            flow_label: 0,
        };
        icmp::parse_quote(&udp::emit(&params, 1000, 53, &vec![7; len]).unwrap()).unwrap()
    }

    #[test]
    fn what_was_not_sent_is_not_believed() {
        let mut sent = Sent::default();
        let (len, checksum) = quote(100, 0).datagram.unwrap();
        assert!(!sent.may_have_sent(&quote(100, 9), 9), "nothing was sent");
        sent.note(len, checksum);
        assert!(sent.may_have_sent(&quote(100, 0), 9) && sent.may_have_sent(&quote(99, 9), 9));
        assert!(!sent.may_have_sent(&quote(99, 8), 9), "neither the label nor the datagram");
        assert!(!sent.may_have_sent(&quote(101, 9), 9), "longer than any that was sent");
        for _ in 0..Sent::REMEMBERED {
            sent.note(50, 1);
        }
        assert!(!sent.may_have_sent(&quote(100, 0), 9) && sent.may_have_sent(&quote(100, 9), 9));
    }
}
