//! Events of the stack, read back field by field.

use std::fmt::{Debug, Write as _};

use ropeway_core::events::{SEGMENT, SENDER};
use tracing::field::{Field, Visit};

/// What a stack has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Segment(Segment),
    Sender(Sender),
}

/// A segment that was sent, or has arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) at: u64,
    pub(crate) is_sent: bool,
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    pub(crate) seq: u32,
    pub(crate) ack: Option<u32>,
    pub(crate) len: u32,
    pub(crate) window: Option<u32>,
    pub(crate) sack: Vec<(u32, u32)>,
    pub(crate) again: bool,
    pub(crate) cause: String,
}

/// A sender, after something has changed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) at: u64,
    pub(crate) cause: String,
    pub(crate) ca_state: String,
    pub(crate) cwnd: u64,
    pub(crate) ssthresh: Option<u64>,
    pub(crate) in_flight: u64,
    pub(crate) srtt: Option<u64>,
    pub(crate) min_rtt: Option<u64>,
    pub(crate) pacing_rate: Option<u64>,
    pub(crate) delivery_rate: Option<u64>,
    pub(crate) undone: bool,
}

/// The two ends of a connection, as text.
pub(crate) type Ends = (String, String);

impl Told {
    /// Reads an event; `None` if it is of another kind.
    pub(crate) fn read(event: &tracing::Event<'_>) -> Option<(Ends, Self)> {
        let mut fields = Fields::default();
        match event.metadata().target() {
            SEGMENT => {
                event.record(&mut fields);
                Some((fields.ends, Self::Segment(fields.segment)))
            }
            SENDER => {
                event.record(&mut fields);
                Some((fields.ends, Self::Sender(fields.sender)))
            }
            _ => None,
        }
    }
}

#[derive(Default)]
struct Fields {
    ends: Ends,
    segment: Segment,
    sender: Sender,
    text: String,
}

impl Fields {
    fn text(&mut self, field: &str) {
        match field {
            "local" => self.ends.0.clone_from(&self.text),
            "remote" => self.ends.1.clone_from(&self.text),
            "direction" => self.segment.is_sent = self.text == "sent",
            "flags" => {
                let has = |flag| self.text.split('|').any(|one| one == flag);
                (self.segment.syn, self.segment.fin, self.segment.rst) = (has("SYN"), has("FIN"), has("RST"));
            }
            "sack" => self.segment.sack = blocks(&self.text),
            "cause" => {
                self.segment.cause.clone_from(&self.text);
                self.sender.cause.clone_from(&self.text);
            }
            "ca_state" => self.sender.ca_state.clone_from(&self.text),
            _ => {}
        }
    }
}

/// Reads SACK blocks such as `2897:4345 1:1449`.
fn blocks(text: &str) -> Vec<(u32, u32)> {
    let block = |text: &str| {
        let (left, right) = text.split_once(':')?;
        Some((left.parse().ok()?, right.parse().ok()?))
    };
    text.split(' ').filter_map(block).collect()
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        let number = u32::try_from(value).unwrap_or(u32::MAX);
        let (segment, sender) = (&mut self.segment, &mut self.sender);
        match field.name() {
            "at" => (segment.at, sender.at) = (value, value),
            "seq" => segment.seq = number,
            "ack" => segment.ack = Some(number),
            "len" => segment.len = number,
            "window" => segment.window = Some(number),
            "cwnd" => sender.cwnd = value,
            "ssthresh" => sender.ssthresh = Some(value),
            "in_flight" => sender.in_flight = value,
            "srtt" => sender.srtt = Some(value),
            "min_rtt" => sender.min_rtt = Some(value),
            "pacing_rate" => sender.pacing_rate = Some(value),
            "delivery_rate" => sender.delivery_rate = Some(value),
            _ => {}
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "retransmission" => self.segment.again = value,
            "undone" => self.sender.undone = value,
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text.clear();
        self.text.push_str(value);
        self.text(field.name());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text.clear();
        if write!(self.text, "{value:?}").is_ok() {
            self.text(field.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_as_they_are_told() {
        assert_eq!(blocks("2897:4345 1:1449"), [(2897, 4345), (1, 1449)]);
        assert_eq!(blocks(""), []);
        assert_eq!(blocks("x:1 4294967295:5"), [(u32::MAX, 5)]);
    }
}
