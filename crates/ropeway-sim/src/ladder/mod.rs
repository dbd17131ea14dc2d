//! Draws what happened on the wire between two ends, as in RFC 9293 3.5.
//!
//! [`Net::ladder`](crate::Net::ladder) draws a connection of a simulated network. [`draw`] is for captures from other
//! sources, taken at one place on the way.

mod crossings;
mod labels;
mod notation;
mod observer;
pub(crate) mod simulated;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use ropeway::State;

use self::crossings::LeftOut;
pub use self::crossings::{Change, Crossing, Crossings};
use self::labels::Labels;
use self::notation::Notation;
pub use self::observer::Observer;

/// Rungs that are drawn at the start and at the end of a long connection.
const SHOWN: usize = 12;
/// Columns from one end to the other, at most and at least.
const WIDTH: usize = 72;
const NARROWEST: usize = 40;
/// Columns for the time and what is between it and the state at the left.
const TIME: usize = 11;
/// Columns for a state.
const LABEL: usize = 13;

/// An end of the ladder.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// What runs there.
    pub name: &'a str,
    /// Whether it reports its changes of state; otherwise they are inferred from the segments.
    pub reports: bool,
}

/// Draws a connection, with the end that opened it on the left.
#[must_use]
pub fn draw(crossings: &Crossings, changes: &[Change], left: End<'_>, right: End<'_>) -> String {
    draw_within(usize::MAX, crossings, changes, left, right)
}

/// Likewise, in so many columns: what does not fit between the two ends is cut off. It takes 80 columns at least.
#[must_use]
pub fn draw_within(
    columns: usize,
    crossings: &Crossings,
    changes: &[Change],
    left: End<'_>,
    right: End<'_>,
) -> String {
    let Some((opener, other)) = crossings.ends() else { return "no connection crossed\n".to_owned() };
    let labels_of = |end: End<'_>, local, start| {
        let inferred = Labels::infer(crossings, local, start);
        let own = changes.iter().filter(|change| change.local == local);
        if end.reports { inferred.correct(own) } else { inferred }
    };
    let left_labels = labels_of(left, opener, State::Closed);
    let right_labels = labels_of(right, other, State::Listen);

    let width = columns.saturating_sub(TIME + 2 * LABEL + 2).clamp(NARROWEST, WIDTH);
    let mut drawing = Drawing { text: String::new(), width, left_out: LeftOut::default() };
    let (left, right) = (format!("{} {opener}", left.name), format!("{} {other}", right.name));
    if TIME + drawing.right() + right.len() <= columns {
        drawing.row("ms", &left, &right);
    } else {
        // Both would not fit into one line.
        drawing.row("ms", &left, "");
        drawing.row("", &format!("{right:>w$}", w = drawing.right() + LABEL), "");
    }
    drawing.row("", &State::Closed.to_string(), &State::Listen.to_string());
    let mut notation = Notation::new(opener);
    let (kept, middle) = crossings.kept();
    let mut expected = 0;
    for (number, crossing) in kept {
        if number != expected {
            drawing.left_out.extend(middle);
        }
        expected = number + 1;
        let text = notation.describe(crossing, width - 8);
        let (left, right) = (left_labels.at(number), right_labels.at(number));
        let is_near_an_end = number < SHOWN || number + SHOWN >= crossings.len();
        if is_near_an_end || !left.is_empty() || !right.is_empty() {
            let ms = notation.since_start(crossing).as_secs_f64() * 1000.0;
            drawing.rung(ms, &arrow(text, crossing.from == opener, width), left, right);
        } else {
            drawing.left_out.add(crossing, opener);
        }
    }
    drawing.text
}

fn arrow(mut text: String, to_the_right: bool, width: usize) -> String {
    // What follows it is " -->|".
    let room = width.saturating_sub(8);
    if width < WIDTH && text.chars().count() > room {
        text = text.chars().take(room.saturating_sub(3)).chain("...".chars()).collect();
    }
    let dashes = "-".repeat(width.saturating_sub(text.chars().count() + 7));
    if to_the_right { format!("|-- {text} {dashes}>|") } else { format!("|<- {text} {dashes}-|") }
}

/// The drawing so far.
struct Drawing {
    text: String,
    /// Columns from one end to the other.
    width: usize,
    /// What has been left out since the last rung.
    left_out: LeftOut,
}

impl Drawing {
    /// A segment, with the states that the ends enter with it.
    fn rung(&mut self, ms: f64, arrow: &str, left: &[State], right: &[State]) {
        if self.left_out.len() > 0 {
            let LeftOut { segments: [right, left], bytes: [bytes_right, bytes_left] } = self.left_out;
            let told = match self.width {
                WIDTH.. => vec![format!(
                    "... {right} segments with {bytes_right} bytes to the right, \
                     {left} with {bytes_left} to the left ..."
                )],
                _ => vec![
                    format!("... {right} segments, {bytes_right} bytes > ..."),
                    format!("... < {left} segments, {bytes_left} bytes ..."),
                ],
            };
            for line in told {
                self.row("", &format!("{:<LABEL$}|{line:^w$}|", "", w = self.width - 2), "");
            }
            self.left_out = LeftOut::default();
        }
        let label = |states: &[State], index| states.get(index).map(State::to_string).unwrap_or_default();
        let row = format!("{:<LABEL$}{arrow}", label(left, 0));
        self.row(&format!("{ms:.3}"), &row, &label(right, 0));
        // Several changes at once: the others have lines of their own.
        for index in 1..left.len().max(right.len()) {
            self.row("", &label(left, index), &label(right, index));
        }
    }

    /// Columns from the start of the left states to that of the right ones.
    fn right(&self) -> usize {
        LABEL + self.width + 2
    }

    fn row(&mut self, time: &str, left: &str, right: &str) {
        let row = format!("{time:>9}  {left:<w$}{right}", w = self.right());
        let _ = writeln!(self.text, "{}", row.trim_end());
    }
}
