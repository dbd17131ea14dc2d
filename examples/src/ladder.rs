//! Draws what happened on the wire between two ends, as in RFC 9293 3.5.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::SystemTime;

use ropeway_packet::{SeqNum, TcpFlags, TcpHeader, WindowScale};

use crate::observer::{Observer, State};

/// Rungs that are drawn at the start and at the end of a long connection.
const SHOWN: usize = 12;
/// Columns from one end to the other.
const WIDTH: usize = 72;
/// Columns for a state at the left, and from its start to the states at the right.
const LABEL: usize = 13;
const RIGHT: usize = LABEL + WIDTH + 2;

/// A TCP segment that crossed.
#[derive(Clone, Debug)]
pub struct Crossing {
    /// When.
    pub at: SystemTime,
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// Its header.
    pub header: TcpHeader,
    /// Bytes of payload.
    pub len: usize,
}

/// A change of state that an end reported.
#[derive(Clone, Debug)]
pub struct Change {
    /// The end that changed.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// What it changed to, by the RFC's name.
    pub to: String,
    /// How many segments had crossed by then.
    pub after: usize,
}

/// An end of the ladder.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// What runs there.
    pub name: &'a str,
    /// Whether it reports its changes of state; otherwise they are inferred from the segments.
    pub reports: bool,
}

/// What is written beside a segment: the state that an end enters with it.
type Labels = Vec<Vec<String>>;

/// Draws the first connection among `crossings`, with the end that opened it on the left.
#[must_use]
pub fn draw(crossings: &[Crossing], changes: &[Change], left: End<'_>, right: End<'_>) -> String {
    let Some(first) = crossings
        .iter()
        .find(|crossing| crossing.header.flags.contains(TcpFlags::SYN))
    else {
        return "no connection crossed\n".to_owned();
    };
    let (opener, other) = (first.from, first.to);
    let is_ours = |crossing: &&Crossing| {
        [(opener, other), (other, opener)].contains(&(crossing.from, crossing.to))
    };
    let rungs: Vec<&Crossing> = crossings.iter().filter(is_ours).collect();
    let labels = |end: End<'_>, local: SocketAddr, remote: SocketAddr, start: State| {
        let inferred = infer(&rungs, local, start);
        if !end.reports {
            return inferred;
        }
        let own = changes
            .iter()
            .filter(|change| change.local == local && change.remote == remote);
        place(
            &inferred,
            own.map(|change| {
                (
                    change.to.as_str(),
                    position(crossings, &is_ours, change.after),
                )
            }),
        )
    };
    let left_labels = labels(left, opener, other, State::Closed);
    let right_labels = labels(right, other, opener, State::Listen);

    let mut text = String::new();
    let heading = |end: End<'_>, address| format!("{} {address}", end.name);
    let _ = writeln!(
        text,
        "{:>9}  {:<w$}{}",
        "ms",
        heading(left, opener),
        heading(right, other),
        w = RIGHT
    );
    let _ = writeln!(
        text,
        "{:>9}  {:<w$}{}",
        "",
        State::Closed,
        State::Listen,
        w = RIGHT
    );
    let mut notation = Notation::new(opener);
    let mut left_out = LeftOut::default();
    for (index, rung) in rungs.iter().enumerate() {
        let line = notation.describe(rung);
        let (left, right) = (
            labels_at(&left_labels, index),
            labels_at(&right_labels, index),
        );
        let is_shown =
            index < SHOWN || index + SHOWN >= rungs.len() || !left.is_empty() || !right.is_empty();
        if !is_shown {
            left_out.add(rung, opener);
            continue;
        }
        left_out.flush(&mut text);
        let at = rung
            .at
            .duration_since(first.at)
            .unwrap_or_default()
            .as_secs_f64()
            * 1000.0;
        let arrow = arrow(&line, rung.from == opener);
        let label = |labels: &[String], n: usize| labels.get(n).cloned().unwrap_or_default();
        let row = format!(
            "{at:>9.3}  {:<LABEL$}{arrow}  {}",
            label(left, 0),
            label(right, 0)
        );
        let _ = writeln!(text, "{}", row.trim_end());
        // Several changes at once: the others have lines of their own.
        for extra in 1..left.len().max(right.len()) {
            let row = format!(
                "{:>9}  {:<w$}{}",
                "",
                label(left, extra),
                label(right, extra),
                w = RIGHT
            );
            let _ = writeln!(text, "{}", row.trim_end());
        }
    }
    text
}

fn labels_at(labels: &Labels, index: usize) -> &[String] {
    labels.get(index).map(Vec::as_slice).unwrap_or_default()
}

/// How many of the drawn connection's segments are among the first `after` of all.
fn position(crossings: &[Crossing], is_ours: &impl Fn(&&Crossing) -> bool, after: usize) -> usize {
    crossings.iter().take(after).filter(is_ours).count()
}

/// The states that the end at `local` enters, by what RFC 9293 says about the segments.
fn infer(rungs: &[&Crossing], local: SocketAddr, start: State) -> Labels {
    let mut observer = Observer::new(start);
    let follow = |rung: &&Crossing| {
        let entered = if rung.from == local {
            observer.sends(&rung.header, rung.len)
        } else {
            observer.receives(&rung.header)
        };
        entered.iter().map(State::to_string).collect()
    };
    rungs.iter().map(follow).collect()
}

/// Puts each reported state beside the segment that explains it. A batch of segments is seen to cross before
/// its changes are reported, so that the report alone does not tell which segment it was.
fn place<'a>(inferred: &Labels, reported: impl Iterator<Item = (&'a str, usize)>) -> Labels {
    let mut labels: Labels = vec![Vec::new(); inferred.len()];
    let mut next = 0;
    for (state, after) in reported {
        // A change by a call of the application is reported before its segment has crossed.
        let reach = inferred.len().min(after + 1);
        let explained = (next..reach).find(|index| {
            labels_at(inferred, *index)
                .iter()
                .any(|label| label == state)
        });
        let index = explained
            .unwrap_or_else(|| after.saturating_sub(1).max(next))
            .min(inferred.len().saturating_sub(1));
        if let Some(labels) = labels.get_mut(index) {
            labels.push(state.to_owned());
        }
        next = index;
    }
    labels
}

fn arrow(text: &str, to_the_right: bool) -> String {
    let dashes = "-".repeat(WIDTH.saturating_sub(text.chars().count() + 7));
    if to_the_right {
        format!("|-- {text} {dashes}>|")
    } else {
        format!("|<- {text} {dashes}-|")
    }
}

/// What one end has sent, as far as later segments are told relative to it.
#[derive(Clone, Copy, Debug, Default)]
struct Origin {
    seq: Option<SeqNum>,
    tsval: Option<u32>,
    scale: Option<WindowScale>,
}

/// Tells segments with relative numbers.
struct Notation {
    opener: SocketAddr,
    opening: Origin,
    answering: Origin,
}

impl Notation {
    fn new(opener: SocketAddr) -> Self {
        Self {
            opener,
            opening: Origin::default(),
            answering: Origin::default(),
        }
    }

    fn describe(&mut self, rung: &Crossing) -> String {
        let (own, peer) = if rung.from == self.opener {
            (&mut self.opening, self.answering)
        } else {
            (&mut self.answering, self.opening)
        };
        let header = &rung.header;
        let is_syn = header.flags.contains(TcpFlags::SYN);
        let seq_origin = *own.seq.get_or_insert(header.seq);
        if let Some(timestamps) = header.options.timestamps {
            own.tsval.get_or_insert(timestamps.tsval);
        }
        if is_syn {
            own.scale = header.options.window_scale.map(WindowScale::new);
        }
        let mut text = format!(
            "{} seq {}",
            flags(header.flags),
            header.seq.since(seq_origin)
        );
        if header.flags.contains(TcpFlags::ACK) {
            let _ = write!(
                text,
                " ack {}",
                header.ack.since(peer.seq.unwrap_or_default())
            );
        }
        if rung.len > 0 {
            let _ = write!(text, " len {}", rung.len);
        }
        // RFC 7323 2.2: scaling takes both ends' consent, and never applies to the window of a SYN itself.
        let scale = own
            .scale
            .filter(|_| !is_syn && peer.scale.is_some())
            .unwrap_or(WindowScale::ZERO);
        let _ = write!(text, " win {}", scale.unscale(header.window));
        let options = options(header, *own, peer);
        if !options.is_empty() {
            let _ = write!(text, " [{}]", options.join(" "));
        }
        text
    }
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
    let set: Vec<&str> = NAMES
        .iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .map(|(_, name)| *name)
        .collect();
    set.join(",")
}

fn options(header: &TcpHeader, own: Origin, peer: Origin) -> Vec<String> {
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
        words.push(format!(
            "sack {}:{}",
            start.since(origin),
            end.since(origin)
        ));
    }
    words
}

/// Segments in the middle of a long transfer.
#[derive(Debug, Default)]
struct LeftOut {
    segments: [usize; 2],
    bytes: [usize; 2],
}

impl LeftOut {
    fn add(&mut self, rung: &Crossing, opener: SocketAddr) {
        let direction = usize::from(rung.from != opener);
        if let (Some(segments), Some(bytes)) = (
            self.segments.get_mut(direction),
            self.bytes.get_mut(direction),
        ) {
            *segments += 1;
            *bytes += rung.len;
        }
    }

    fn flush(&mut self, text: &mut String) {
        let [right, left] = self.segments;
        let [bytes_right, bytes_left] = self.bytes;
        if right + left > 0 {
            let told = format!(
                "... {right} segments with {bytes_right} bytes to the right, {left} with {bytes_left} to the left ..."
            );
            let _ = writeln!(text, "{:>9}  {:<LABEL$}|{told:^w$}|", "", "", w = WIDTH - 2);
        }
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ropeway_packet::{TcpOptions, Timestamps};

    use super::*;

    const OPENER: &str = "10.9.0.2:49152";
    const OTHER: &str = "10.9.0.1:8080";

    /// A whole connection: `(from the opener?, flags, seq, ack, len)`, with the opener's numbers from 1000 and the
    /// other's from u32::MAX, and one segment a millisecond.
    fn connection(segments: &[(bool, TcpFlags, u32, u32, usize)]) -> Vec<Crossing> {
        let cross =
            |(at, &(right, flags, seq, ack, len)): (u64, &(bool, TcpFlags, u32, u32, usize))| {
                let (from, to) = if right {
                    (OPENER, OTHER)
                } else {
                    (OTHER, OPENER)
                };
                let (own, peer) = if right {
                    (1000, u32::MAX)
                } else {
                    (u32::MAX, 1000)
                };
                let is_syn = flags.contains(TcpFlags::SYN);
                let options = TcpOptions {
                    mss: is_syn.then_some(1460),
                    window_scale: is_syn.then_some(7),
                    timestamps: Some(Timestamps {
                        tsval: own.wrapping_add(5),
                        tsecr: peer.wrapping_add(5),
                    }),
                    ..TcpOptions::default()
                };
                let (seq, ack) = (SeqNum::new(own) + seq, SeqNum::new(peer) + ack);
                let header = TcpHeader {
                    flags,
                    seq,
                    ack,
                    window: 500,
                    options,
                    ..TcpHeader::default()
                };
                Crossing {
                    at: SystemTime::UNIX_EPOCH + Duration::from_millis(at),
                    from: from.parse().unwrap(),
                    to: to.parse().unwrap(),
                    header,
                    len,
                }
            };
        (0..).zip(segments).map(cross).collect()
    }

    fn short() -> Vec<Crossing> {
        let (syn, ack, fin) = (TcpFlags::SYN, TcpFlags::ACK, TcpFlags::FIN | TcpFlags::ACK);
        connection(&[
            (true, syn, 0, 0, 0),
            (false, syn | ack, 0, 1, 0),
            (true, ack, 1, 1, 0),
            (true, ack | TcpFlags::PSH, 1, 1, 10),
            (true, fin, 11, 1, 0),
            (false, ack, 1, 12, 0),
            (false, fin, 1, 12, 0),
            (true, ack, 12, 2, 0),
        ])
    }

    #[test]
    fn a_connection_is_drawn_from_syn_to_time_wait() {
        let report = |to: &str, after| Change {
            local: OPENER.parse().unwrap(),
            remote: OTHER.parse().unwrap(),
            to: to.to_owned(),
            after,
        };
        // The last two segments were received in one batch, and what they did was reported after that.
        let changes = [
            report("SYN-SENT", 0),
            report("ESTABLISHED", 2),
            report("FIN-WAIT-1", 4),
            report("FIN-WAIT-2", 7),
            report("TIME-WAIT", 7),
        ];
        let us = End {
            name: "ropeway",
            reports: true,
        };
        let drawn = draw(
            &short(),
            &changes,
            us,
            End {
                name: "Linux",
                reports: false,
            },
        );
        let expected = "
       ms  ropeway 10.9.0.2:49152                                                                 Linux 10.9.0.1:8080
           CLOSED                                                                                 LISTEN
    0.000  SYN-SENT     |-- SYN seq 0 win 500 [mss 1460 ts 0/- ws 7] ------------------------->|  SYN-RECEIVED
    1.000  ESTABLISHED  |<- SYN,ACK seq 0 ack 1 win 500 [mss 1460 ts 0/0 ws 7] ----------------|
    2.000               |-- ACK seq 1 ack 1 win 64000 [ts 0/0] ------------------------------->|  ESTABLISHED
    3.000               |-- PSH,ACK seq 1 ack 1 len 10 win 64000 [ts 0/0] -------------------->|
    4.000  FIN-WAIT-1   |-- FIN,ACK seq 11 ack 1 win 64000 [ts 0/0] -------------------------->|  CLOSE-WAIT
    5.000  FIN-WAIT-2   |<- ACK seq 1 ack 12 win 64000 [ts 0/0] -------------------------------|
    6.000  TIME-WAIT    |<- FIN,ACK seq 1 ack 12 win 64000 [ts 0/0] ---------------------------|  LAST-ACK
    7.000               |-- ACK seq 12 ack 2 win 64000 [ts 0/0] ------------------------------>|  CLOSED
";
        assert_eq!(format!("\n{drawn}"), expected);
    }

    #[test]
    fn what_was_inferred_and_what_was_reported_agree() {
        let end = |reports| End { name: "", reports };
        let changes: Vec<Change> = [
            ("SYN-SENT", 0),
            ("ESTABLISHED", 2),
            ("FIN-WAIT-1", 4),
            ("FIN-WAIT-2", 6),
            ("TIME-WAIT", 7),
        ]
        .map(|(to, after)| Change {
            local: OPENER.parse().unwrap(),
            remote: OTHER.parse().unwrap(),
            to: to.to_owned(),
            after,
        })
        .into();
        assert_eq!(
            draw(&short(), &changes, end(true), end(false)),
            draw(&short(), &[], end(false), end(false))
        );
    }

    #[test]
    fn a_long_transfer_is_drawn_without_its_middle() {
        let (syn, ack) = (TcpFlags::SYN, TcpFlags::ACK);
        let mut segments = vec![
            (true, syn, 0, 0, 0),
            (false, syn | ack, 0, 1, 0),
            (true, ack, 1, 1, 0),
        ];
        for n in 0..1000 {
            segments.push((false, ack, 1 + n * 100, 1, 100));
            segments.push((true, ack, 1, 101 + n * 100, 0));
        }
        segments.push((true, TcpFlags::RST, 1, 0, 0));
        let end = End {
            name: "x",
            reports: false,
        };
        let drawn = draw(&connection(&segments), &[], end, end);
        assert_eq!(drawn.lines().count(), 2 + 2 * SHOWN + 1);
        assert!(
            drawn.contains("990 segments with 0 bytes to the right, 990 with 99000 to the left"),
            "{drawn}"
        );
        assert!(drawn.ends_with("CLOSED\n"), "{drawn}");
    }

    #[test]
    fn nothing_crossed() {
        let end = End {
            name: "x",
            reports: true,
        };
        assert_eq!(draw(&[], &[], end, end), "no connection crossed\n");
    }
}
