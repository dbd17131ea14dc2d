//! Connections of a simulated network, which sees both ends of each segment's journey.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use ropeway::State;
use ropeway_packet::TcpFlags;

use super::crossings::Crossing;
use super::notation::Notation;
use super::observer::Observer;
use crate::engine::{Micros, millis};
use crate::record::Journey;

/// Segments that are drawn from the start of a connection, and as many from its end.
const SHOWN: usize = 40;
/// Columns from one end to the other.
const WIDTH: usize = 80;

/// Draws the segments of one connection, in the order in which they were sent. `names` are those of the ends, with
/// the one that sent first on the left.
pub(crate) fn draw(journeys: &[&Journey], names: [&str; 2]) -> String {
    let Some(first) = journeys.first() else { return "no segment was sent\n".to_owned() };
    let (left, right) = (first.from, first.to);
    let labels = states(journeys, left);
    let mut text = String::new();
    let title = format!("{} {left}", names[0]);
    let _ = writeln!(text, "{:>12}  {title:<w$}  {:>12}  {} {right}", "ms", "ms", names[1], w = 13 + WIDTH);
    let mut notation = Notation::new(left);
    for (number, (journey, label)) in journeys.iter().zip(labels).enumerate() {
        let rung = rung(&mut notation, journey, left, &label);
        if number == SHOWN && journeys.len() > 2 * SHOWN {
            let _ = writeln!(text, "{:>12}  ... {} segments ...", "", journeys.len() - 2 * SHOWN);
        }
        if number < SHOWN || number + SHOWN >= journeys.len() {
            let _ = writeln!(text, "{}", rung.trim_end());
        }
    }
    text
}

/// The states that the ends enter with a segment: its sender, and its receiver.
#[derive(Clone, Copy, Debug, Default)]
struct Entered {
    sender: Option<State>,
    receiver: Option<State>,
}

/// Follows both ends through all that was sent and all that arrived, in the order of time.
fn states(journeys: &[&Journey], left: SocketAddr) -> Vec<Entered> {
    let mut steps: Vec<(Micros, bool, usize)> = Vec::new();
    for (index, journey) in journeys.iter().enumerate() {
        steps.push((journey.sent_at, false, index));
        steps.extend(journey.arrived_at.first().map(|at| (*at, true, index)));
    }
    // What arrives at a moment is processed before anything is sent at it.
    steps.sort_by_key(|(at, arrives, index)| (*at, !arrives, *index));
    let mut opener = Observer::new(State::Closed);
    let mut other = Observer::new(State::Listen);
    let mut labels = vec![Entered::default(); journeys.len()];
    for (_, arrives, index) in steps {
        let (Some(journey), Some(label)) = (journeys.get(index), labels.get_mut(index)) else { continue };
        let is_left = (journey.from == left) != arrives;
        let end = if is_left { &mut opener } else { &mut other };
        if arrives {
            label.receiver = end.receives(&journey.header);
        } else {
            label.sender = end.sends(&journey.header, journey.payload.len());
        }
    }
    labels
}

fn rung(notation: &mut Notation, journey: &Journey, left: SocketAddr, entered: &Entered) -> String {
    let to_the_right = journey.from == left;
    let crossing = Crossing {
        at: SystemTime::UNIX_EPOCH + Duration::from_micros(journey.sent_at),
        from: journey.from,
        to: journey.to,
        header: journey.header,
        len: journey.payload.len(),
        start: Crossing::start(&journey.payload),
    };
    let text = notation.describe(&crossing, WIDTH - 7);
    let arrived = journey.arrived_at.first().copied();
    let dashes = "-".repeat(WIDTH.saturating_sub(text.len() + 7));
    // Lost, or still on its way.
    let end = if journey.lost.is_some() { 'X' } else { '?' };
    let arrow = match (to_the_right, arrived) {
        (true, Some(_)) => format!("|-- {text} {dashes}>|"),
        (true, None) => format!("|-- {text} {}{end} |", dashes.get(2..).unwrap_or_default()),
        (false, Some(_)) => format!("|<- {text} {dashes}-|"),
        (false, None) => format!("| {end} {text} {dashes}-|"),
    };
    let ms = |at: Option<Micros>| at.map(millis).unwrap_or_default();
    let state = |state: Option<State>| state.map(|state| state.to_string()).unwrap_or_default();
    let (sender, receiver) = (state(entered.sender), state(entered.receiver));
    let sent = ms(Some(journey.sent_at));
    let arrival = ms(arrived);
    let (left_time, left_state, right_time, right_state) =
        if to_the_right { (sent, sender, arrival, receiver) } else { (arrival, receiver, sent, sender) };
    let mut row =
        format!("{left_time:>12}  {left_state:<13}{arrow:<WIDTH$}  {right_time:>12}  {right_state:<13}");
    if let Some((cause, place, _)) = &journey.lost {
        let _ = write!(row, " {cause} ({place})");
    } else if arrived.is_none() {
        row.push_str(" has not arrived");
    } else if journey.arrived_at.len() > 1 {
        let _ = write!(row, " arrives {} times", journey.arrived_at.len());
    }
    row
}

/// Splits the segments of one pair of ends into connections: each begins with a SYN of another number.
pub(crate) fn connections(journeys: Vec<&Journey>) -> Vec<Vec<&Journey>> {
    let mut connections: Vec<Vec<&Journey>> = Vec::new();
    let mut syn = None;
    for journey in journeys {
        let flags = journey.header.flags;
        let opens = flags.contains(TcpFlags::SYN) && !flags.contains(TcpFlags::ACK);
        let is_new = opens && syn != Some((journey.from, journey.header.seq));
        if opens {
            syn = Some((journey.from, journey.header.seq));
        }
        match connections.last_mut() {
            Some(last) if !is_new => last.push(journey),
            _ => connections.push(vec![journey]),
        }
    }
    connections
}
