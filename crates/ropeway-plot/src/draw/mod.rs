//! The picture of one end of a connection: what it sent and what came back, what it received and what it said, the sender's
//! windows, round trips and rates, all above one axis of time.

mod glyph;
mod panel;

use svg::node::element::Group;

use self::panel::Panel;
use crate::recording::{Direction, PHASES, Recording};
use crate::scale::{BYTES, RATE, Scale, TIME, Unit};
use crate::sheet::{label, page};

const WIDTH: f64 = 1200.0;
/// Where the frames begin, and how wide they are; the legends are behind them.
const LEFT: f64 = 76.0;
const PLOT: f64 = 930.0;
/// Above the first panel, between two, and below the last.
const HEAD: f64 = 88.0;
const BETWEEN: f64 = 34.0;
const FOOT: f64 = 48.0;

/// The picture as an SVG document. `ends`: which connection it is.
pub(crate) fn picture(recording: &Recording, title: &str, ends: &str) -> String {
    let groups = Panels::of(recording);
    let height = groups.top - BETWEEN + FOOT;
    let mut document = page(&format!("{title}: {ends}"), include_str!("style.css"), WIDTH, height)
        .add(label(LEFT, 28.0, "title", title))
        .add(label(LEFT, 48.0, "note", &format!("{ends}: {}", summary(recording))));
    for group in groups.done {
        document = document.add(group);
    }
    format!("{document}\n")
}

/// What the connection was, in a line.
fn summary(recording: &Recording) -> String {
    let bytes = |direction: &Direction| Unit::text(direction.bytes() as f64, &BYTES);
    let mut parts = vec![
        format!("{} sent and {} received", bytes(&recording.sent), bytes(&recording.received)),
        match recording.time() {
            (0, end) => format!("in {}", Unit::text(end as f64, &TIME)),
            (start, end) => {
                let [start, end] = [start, end].map(|time| Unit::text(time as f64, &TIME));
                format!("in {end}, from {start} on")
            }
        },
    ];
    let again: u64 = recording.sent.again.values().map(crate::marks::Marks::count).sum();
    if again > 0 {
        parts.push(format!("{again} sent again or as probes"));
    }
    parts.join(", ")
}

/// Panels below each other.
struct Panels<'a> {
    recording: &'a Recording,
    time: Scale,
    /// When it ends.
    end: f64,
    top: f64,
    done: Vec<Group>,
}

impl<'a> Panels<'a> {
    fn of(recording: &'a Recording) -> Self {
        let (start, end) = recording.time();
        let (start, end) = (start as f64, end as f64);
        // A little room, so that what comes last is not on the frame.
        let time = Scale::new((start, end + (0.01 * (end - start)).max(1.0)), (LEFT, LEFT + PLOT));
        let mut panels = Self { recording, time, end, top: HEAD, done: Vec::new() };
        let (sent, received) = (&recording.sent, &recording.received);
        // A direction without data has nothing to show.
        if sent.bytes() > 0 || received.bytes() == 0 {
            let heading = "Sent: data, and what came back";
            panels.sequence(sent, heading, "sent", height_beside(sent, received));
        }
        if received.bytes() > 0 {
            let heading = "Received: data, and what was answered";
            panels.sequence(received, heading, "received", height_beside(received, sent));
        }
        panels.windows();
        panels.round_trips();
        panels.rates();
        panels
    }

    fn begin(
        &self,
        heading: &'static str,
        class: &'static str,
        height: f64,
        (least, most): (f64, f64),
    ) -> Panel {
        Panel::new(heading, class, (self.top, height), self.time, (least, most.max(least + 1.0)))
    }

    fn end(&mut self, panel: Panel, height: f64, units: &[Unit], is_last: bool) {
        self.done.push(panel.finish(units, self.done.len(), is_last));
        self.top += height + BETWEEN;
    }

    /// Time and sequence numbers, as tcptrace draws them.
    fn sequence(&mut self, direction: &Direction, heading: &'static str, class: &'static str, height: f64) {
        let (floor, top) = (direction.floor() as f64, direction.top() as f64);
        let edge = direction.edge.most().unwrap_or_default() as f64;
        // A window far above the data would press them flat.
        let most = floor + (1.05 * (top - floor)).max((edge - floor).min(1.4 * (top - floor)) * 1.02);
        let mut panel = self.begin(heading, class, height, (floor, most));
        panel.marks(&direction.sack, "sack", "SACK");
        panel.line(&direction.edge, "edge", "window", self.end);
        panel.line(&direction.ack, "ack", "ACK", self.end);
        panel.marks(&direction.new, "data", "data");
        panel.marks(&direction.late, "late", &format!("out of order: {}", direction.late.count()));
        panel.marks(&direction.twice, "twice", &format!("came twice: {}", direction.twice.count()));
        panel.marks(&direction.dsack, "dsack", &format!("D-SACK: {}", direction.dsack.count()));
        for (cause, marks) in &direction.again {
            panel.again(marks, cause);
        }
        for &(at, number, text) in &direction.signs {
            panel.sign(at, number as f64, text);
        }
        self.end(panel, height, &BYTES, false);
    }

    fn windows(&mut self) {
        let recording = self.recording;
        let most = |series: &crate::series::Series| series.most().unwrap_or_default() as f64;
        let top = most(&recording.cwnd).max(most(&recording.in_flight));
        let height = self.small(190.0);
        let mut panel = self.begin("Congestion window", "windows", height, (0.0, 1.08 * top));
        panel.shade(&recording.phase, &PHASES, self.end);
        panel.line(&recording.in_flight, "in_flight", "in flight", self.end);
        panel.line(&recording.ssthresh, "ssthresh", "ssthresh", self.end);
        panel.line(&recording.cwnd, "cwnd", "cwnd", self.end);
        panel.moments(&recording.timeouts, "timeout", "timeout");
        panel.moments(&recording.undone, "undone", "undone");
        self.end(panel, height, &BYTES, false);
    }

    fn round_trips(&mut self) {
        let recording = self.recording;
        let most = recording.srtt.most().unwrap_or_default() as f64;
        let height = self.small(110.0);
        let mut panel = self.begin("Round-trip time", "round-trips", height, (0.0, 1.1 * most));
        panel.line(&recording.min_rtt, "min_rtt", "min. RTT", self.end);
        panel.line(&recording.srtt, "srtt", "srtt", self.end);
        self.end(panel, height, &TIME, false);
    }

    fn rates(&mut self) {
        let recording = self.recording;
        let delivery = recording.delivery_rate.most().unwrap_or_default() as f64;
        let pacing = recording.pacing_rate.most().unwrap_or_default() as f64;
        // Before there is a measure, the rate that follows from the first window may be anything.
        let most = if delivery > 0.0 { delivery.max(pacing.min(2.5 * delivery)) } else { pacing };
        let height = self.small(110.0);
        let mut panel = self.begin("Rates", "rates", height, (0.0, 1.08 * most));
        panel.line(&recording.delivery_rate, "delivery_rate", "delivery rate", self.end);
        panel.line(&recording.pacing_rate, "pacing_rate", "pacing rate", self.end);
        self.end(panel, height, &RATE, true);
    }

    /// How high a panel of the sender is: less where this end hardly sends.
    fn small(&self, height: f64) -> f64 {
        let (sent, received) = (self.recording.sent.bytes(), self.recording.received.bytes());
        if sent.saturating_mul(10) < received { 0.6 * height } else { height }
    }
}

/// How high the panel of a direction is: as high as it is important.
fn height_beside(direction: &Direction, other: &Direction) -> f64 {
    match (direction.bytes(), other.bytes()) {
        (bytes, others) if bytes >= others => 340.0,
        (bytes, others) if bytes.saturating_mul(10) >= others => 240.0,
        _ => 90.0,
    }
}
