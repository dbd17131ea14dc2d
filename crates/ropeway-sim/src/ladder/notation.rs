//! Tells segments in few words, with numbers relative to where each end began.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use ropeway_packet::{SeqNum, TcpFlags, TcpHeader, WindowScale};

use super::crossings::{Crossing, SHOWN_BYTES};

/// What one end has sent, as far as later segments are told relative to it.
#[derive(Clone, Copy, Debug, Default)]
struct Origin {
    seq: Option<SeqNum>,
    tsval: Option<u32>,
    scale: Option<WindowScale>,
}

/// Tells the segments of one connection, in their order.
pub(super) struct Notation {
    opener: SocketAddr,
    start: Option<SystemTime>,
    opening: Origin,
    answering: Origin,
}

impl Notation {
    pub(super) fn new(opener: SocketAddr) -> Self {
        Self { opener, start: None, opening: Origin::default(), answering: Origin::default() }
    }

    /// How long after the first segment this one crossed.
    pub(super) fn since_start(&self, crossing: &Crossing) -> Duration {
        self.start.and_then(|start| crossing.at.duration_since(start).ok()).unwrap_or_default()
    }

    /// Tells a segment, in `room` columns if that can be.
    pub(super) fn describe(&mut self, crossing: &Crossing, room: usize) -> String {
        self.start.get_or_insert(crossing.at);
        let (own, peer) = if crossing.from == self.opener {
            (&mut self.opening, self.answering)
        } else {
            (&mut self.answering, self.opening)
        };
        let header = &crossing.header;
        let is_syn = header.flags.contains(TcpFlags::SYN);
        let seq_origin = *own.seq.get_or_insert(header.seq);
        if let Some(timestamps) = header.options.timestamps {
            own.tsval.get_or_insert(timestamps.tsval);
        }
        if is_syn {
            own.scale = header.options.window_scale.map(WindowScale::new);
        }
        let mut text = format!("{} seq {}", flags(header.flags), header.seq.since(seq_origin));
        if header.flags.contains(TcpFlags::ACK) {
            let _ = write!(text, " ack {}", header.ack.since(peer.seq.unwrap_or_default()));
        }
        // RFC 7323 2.2: scaling takes both ends' consent, and never applies to the window of a SYN itself.
        let scale = own.scale.filter(|_| !is_syn && peer.scale.is_some()).unwrap_or(WindowScale::ZERO);
        let mut rest = format!(" win {}", scale.unscale(header.window));
        let options = options(header, *own, peer);
        if crossing.len == 0 {
            let options = if options.is_empty() { options } else { format!(" [{options}]") };
            return text + &rest + &options;
        }
        let _ = write!(text, " len {}", crossing.len);
        // The data says more than the options.
        if !options.is_empty() {
            let shortest = text.len() + 1 + quoted(crossing, SHOWN_BYTES / 2).len() + rest.len();
            if shortest + options.len() + 3 <= room {
                let _ = write!(rest, " [{options}]");
            }
        }
        let quote = (1..=SHOWN_BYTES).rev().map(|count| quoted(crossing, count));
        let quote = quote.into_iter().find(|quote| text.len() + 1 + quote.len() + rest.len() <= room);
        match quote {
            Some(quote) => format!("{text} {quote}{rest}"),
            None => text + &rest,
        }
    }
}

/// The first bytes of the data: as text, or as hexadecimal numbers if that is none.
fn quoted(crossing: &Crossing, count: usize) -> String {
    let start = crossing.start.get(..count).unwrap_or(&crossing.start);
    let is_text = crossing.start.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t'));
    let mut text = if is_text { format!("\"{}\"", start.escape_ascii()) } else { "0x".to_owned() };
    if !is_text {
        start.iter().for_each(|byte| {
            let _ = write!(text, "{byte:02x}");
        });
    }
    if start.len() < crossing.len {
        text.push_str("..");
    }
    text
}

fn flags(flags: TcpFlags) -> String {
    const NAMES: [(TcpFlags, &str); 8] = [
        (TcpFlags::SYN, "SYN"),
        (TcpFlags::FIN, "FIN"),
        (TcpFlags::RST, "RST"),
        (TcpFlags::PSH, "PSH"),
        (TcpFlags::ACK, "ACK"),
        (TcpFlags::URG, "URG"),
        (TcpFlags::ECE, "ECE"),
        (TcpFlags::CWR, "CWR"),
    ];
    let set: Vec<&str> =
        NAMES.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name).collect();
    set.join(",")
}

fn options(header: &TcpHeader, own: Origin, peer: Origin) -> String {
    let options = &header.options;
    let mut words = Vec::new();
    if let Some(mss) = options.mss {
        words.push(format!("mss {mss}"));
    }
    if options.sack_permitted {
        words.push("sack-ok".to_owned());
    }
    if let Some(timestamps) = options.timestamps {
        let value = timestamps.tsval.wrapping_sub(own.tsval.unwrap_or_default());
        let echo = match peer.tsval {
            Some(origin) if header.flags.contains(TcpFlags::ACK) => {
                timestamps.tsecr.wrapping_sub(origin).to_string()
            }
            _ => "-".to_owned(),
        };
        words.push(format!("ts {value}/{echo}"));
    }
    if let Some(scale) = options.window_scale {
        words.push(format!("ws {scale}"));
    }
    for (start, end) in options.sack.as_slice() {
        let origin = peer.seq.unwrap_or_default();
        words.push(format!("sack {}:{}", start.since(origin), end.since(origin)));
    }
    words.join(" ")
}
