//! What is said of a connection: verdicts, each with its grade and its evidence.

mod ending;
mod opening;
mod place;
mod transfer;

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::capture::Losses;
use crate::connection::{Connection, Counts, Limit, Retransmission, Side, Span, Table, Totals};
use crate::grade::{Grade, Verdict};
use crate::page::Drawing;

/// All that is said of a capture.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was read.
    pub totals: Totals,
    /// What spoils the capture.
    pub quality: Vec<Verdict>,
    /// The connections, in the order of their first frames.
    pub connections: Vec<ConnectionReport>,
}

/// What is said of a connection.
#[derive(Debug, Serialize)]
pub struct ConnectionReport {
    /// The end that opened it, or was seen first.
    pub client: SocketAddr,
    /// The other.
    pub server: SocketAddr,
    /// Its first frame.
    pub first_frame: u64,
    /// Seconds from the first frame of the capture to that.
    #[serde(serialize_with = "crate::report::seconds")]
    pub begin: Duration,
    /// Seconds from there to the last frame.
    #[serde(serialize_with = "crate::report::seconds")]
    pub duration: Duration,
    /// Frames of the client and of the server.
    pub frames: [u64; 2],
    /// The least round-trip time from end to end, in seconds, where the capture shows both parts.
    #[serde(serialize_with = "crate::report::maybe_seconds")]
    pub rtt: Option<Duration>,
    /// Where the capture was made.
    pub place: Place,
    /// What that rests on.
    pub place_verdict: Verdict,
    /// How it was opened.
    pub opening: Vec<Verdict>,
    /// The data of the client and of the server.
    pub directions: [Direction; 2],
    /// How it ended.
    pub ending: Vec<Verdict>,
    /// What spoils the evidence.
    pub quality: Vec<Verdict>,
    /// What the page draws.
    #[serde(skip)]
    pub(crate) drawing: Drawing,
}

/// Where a capture was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// At the client, or next to it.
    Client,
    /// At the server, or next to it.
    Server,
    /// On the way between them.
    Middle,
    /// The capture does not say.
    Unknown,
}

/// The data of one end.
#[derive(Debug, Serialize)]
pub struct Direction {
    /// The sender.
    pub from: Side,
    /// Bytes of data in the capture, each once.
    pub bytes: u64,
    /// Seconds from the first byte to the last.
    #[serde(serialize_with = "crate::report::seconds")]
    pub duration: Duration,
    /// What kept it from sending more: the seconds and the share of the time, the largest first.
    pub limits: Vec<Share>,
    /// The same over time.
    pub spans: Vec<Span>,
    /// What follows.
    pub verdicts: Vec<Verdict>,
    /// What was sent again, by cause.
    pub counts: Counts,
    /// How many of them were not needed.
    pub unneeded: u64,
    /// The first of them.
    pub retransmissions: Vec<Retransmission>,
}

/// A part of the time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Share {
    /// The limit.
    pub limit: Limit,
    /// How long it was.
    #[serde(serialize_with = "crate::report::seconds")]
    pub time: Duration,
    /// From 0 to 1, of the time from the first byte to the last.
    pub share: f64,
    /// How sure it is.
    pub grade: Grade,
}

impl Report {
    /// What the connections of a table show.
    pub(crate) fn new(table: Table, losses: Losses) -> Self {
        Self {
            totals: table.totals,
            quality: quality(&table, losses),
            connections: table.connections.into_iter().map(explain).collect(),
        }
    }
}

fn quality(table: &Table, losses: Losses) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut shown = |text: String| verdicts.push(Verdict::new(Grade::Shown, text, []));
    if losses.truncated {
        shown("The file ends in the middle of a frame: the capture was interrupted.".into());
    }
    if losses.dropped > 0 {
        shown(format!(
            "The capturing system dropped {} frames: what is missing here may not have been missing on the wire.",
            losses.dropped
        ));
    }
    if table.totals.cut > 0 {
        shown(format!(
            "{} frames are cut. Headers suffice here; what is cut within a header is not seen.",
            table.totals.cut
        ));
    }
    if table.totals.backwards > 0 {
        shown(format!(
            "Time goes back at {} frames: times near them are not to be trusted.",
            table.totals.backwards
        ));
    }
    if table.totals.left_out > 0 {
        shown(format!(
            "{} more connections are in the file: see --connections and --filter.",
            table.totals.left_out
        ));
    }
    verdicts
}

fn explain(mut connection: Connection) -> ConnectionReport {
    let drawing = Drawing::take(&mut connection);
    let connection = &connection;
    let (place, place_verdict) = place::of(connection);
    ConnectionReport {
        client: connection.ends.client,
        server: connection.ends.server,
        first_frame: connection.first.0,
        begin: connection.first.1,
        duration: connection.last.1.saturating_sub(connection.first.1),
        frames: [connection.frames.client, connection.frames.server],
        rtt: connection.rtt(),
        place,
        place_verdict,
        opening: opening::of(connection),
        directions: Side::BOTH.map(|from| transfer::of(connection, from)),
        ending: ending::of(connection),
        quality: spoilt(connection),
        drawing,
    }
}

/// What spoils the evidence of one connection.
fn spoilt(connection: &Connection) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for side in Side::BOTH {
        let way = connection.way(side);
        if way.unseen > 0 {
            let text = format!(
                "{} bytes of the {} were acknowledged and are not in the capture: it missed them, or they took another way.",
                way.unseen,
                side.name()
            );
            verdicts.push(Verdict::new(Grade::Shown, text, way.unseen_frames.iter().copied()));
        }
        if let Some(frame) = way.merged {
            let text = format!(
                "Frames of the {} are larger than a segment may be: a device merges them (GRO), or will cut them (TSO).",
                side.name()
            );
            verdicts.push(Verdict::new(Grade::Shown, text, [frame]));
        }
        if connection.frames[side] == 0 {
            let text = format!("The capture has nothing of the {}: what it said is unknown.", side.name());
            verdicts.push(Verdict::new(Grade::Shown, text, []));
        }
    }
    if connection.cut > 0 {
        let text = format!("{} of its frames are cut.", connection.cut);
        verdicts.push(Verdict::new(Grade::Shown, text, []));
    }
    verdicts
}

/// A duration as people write it.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds >= 10.0 {
        format!("{seconds:.1} s")
    } else if seconds >= 1.0 {
        format!("{seconds:.2} s")
    } else if seconds >= 0.001 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{:.0} us", seconds * 1e6)
    }
}

/// A rate as people write it.
#[allow(clippy::cast_precision_loss)] // for people
pub(crate) fn rate(bytes: u64, duration: Duration) -> String {
    let bits = bytes as f64 * 8.0 / duration.as_secs_f64().max(1e-9);
    let (value, unit) = match bits {
        1e9.. => (bits / 1e9, "Gbit/s"),
        1e6.. => (bits / 1e6, "Mbit/s"),
        1e3.. => (bits / 1e3, "kbit/s"),
        _ => (bits, "bit/s"),
    };
    format!("{value:.3} {unit}")
}
