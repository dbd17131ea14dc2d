//! Where a capture was made.

use std::time::Duration;

use super::{Place, time};
use crate::connection::{Connection, Side};
use crate::grade::{Grade, Verdict};

/// An end that answers within this is on the machine itself, or next to it.
const NEXT_TO: Duration = Duration::from_millis(2);

pub(super) fn of(connection: &Connection) -> (Place, Verdict) {
    let [client, server] = Side::BOTH.map(|side| connection.distance(side).least);
    let (Some(client), Some(server)) = (client, server) else {
        let text = "Where the capture was made is unknown: only one end's answers are in it.";
        return (Place::Unknown, Verdict::new(Grade::Unknown, text, []));
    };
    let total = client + server;
    let frames: Vec<u64> =
        connection.handshake.acknowledged.iter().flatten().map(|(frame, _)| *frame).collect();
    let near = |end: Duration| end * 10 <= total && end <= NEXT_TO.max(total / 20);
    if total < Duration::from_micros(300) {
        let text = format!(
            "Both ends answer within {}: they are on one machine or next to each other.",
            time(total)
        );
        return (Place::Unknown, Verdict::new(Grade::Likely, text, frames));
    }
    let (place, name) = match (near(client), near(server)) {
        (true, _) => (Place::Client, "at the client"),
        (_, true) => (Place::Server, "at the server"),
        _ => (Place::Middle, "between the ends"),
    };
    let text = format!(
        "The capture was made {name}: the client answers within {}, the server within {}.",
        time(client),
        time(server)
    );
    (place, Verdict::new(Grade::Likely, text, frames))
}
