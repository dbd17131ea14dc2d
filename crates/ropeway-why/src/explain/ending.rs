//! How a connection ended.

use std::time::Duration;

use super::time;
use crate::connection::{Connection, Side};
use crate::grade::{Grade, Verdict};

pub(super) fn of(connection: &Connection) -> Vec<Verdict> {
    let ending = &connection.ending;
    let mut verdicts = Vec::new();
    if connection.handshake.refused.is_some() {
        return verdicts;
    }
    let mut fins: Vec<_> =
        Side::BOTH.iter().filter_map(|side| ending.fins[*side].map(|fin| (*side, fin))).collect();
    fins.sort_by_key(|(_, (frame, _))| *frame);
    match fins[..] {
        [(first, (frame, at)), (second, (other, later))] => {
            let between = later.saturating_sub(at);
            let how = if ending.acknowledged[first].is_some_and(|acked| acked <= other) {
                format!("the {} followed {} later", second.name(), time(between))
            } else {
                format!("the {} had sent its FIN before it knew", second.name())
            };
            let text = format!("The {} closed first; {how}.", first.name());
            verdicts.push(Verdict::new(Grade::Shown, text, [frame, other]));
        }
        [(only, (frame, _))] => {
            let text = format!("The {} closed; the {} has sent no FIN.", only.name(), only.other().name());
            verdicts.push(Verdict::new(Grade::Shown, text, [frame]));
        }
        _ => {}
    }
    if let Some(reset) = ending.reset {
        let who = reset.from.name();
        let foreign = reset.ttl.1.filter(|usual| usual.abs_diff(reset.ttl.0) > 1);
        let (grade, text) = if let Some(usual) = foreign {
            let text = format!(
                "A reset in the {who}'s name ended it. Its TTL is {}, the {who}'s other packets have {usual}: something on the way has sent it.",
                reset.ttl.0
            );
            (Grade::Likely, text)
        } else if reset.after_close {
            (Grade::Shown, format!("The {who} sent a reset after both ends had closed: nothing was lost."))
        } else if reset.after_own_fin && reset.unacknowledged {
            let text = format!(
                "The {who} had closed, and reset the connection when more data came: its program was no longer there to read it."
            );
            (Grade::Likely, text)
        } else if reset.unacknowledged {
            let text = format!(
                "The {who} reset the connection with data of the other end on the way: its program closed with data unread, or ended."
            );
            (Grade::Likely, text)
        } else {
            (Grade::Shown, format!("The {who} reset the connection."))
        };
        verdicts.push(Verdict::new(grade, text, [reset.frame]));
    }
    if verdicts.is_empty() {
        verdicts.push(silent(connection));
    }
    verdicts
}

/// Neither a FIN nor a RST.
fn silent(connection: &Connection) -> Verdict {
    let waiting = Side::BOTH.into_iter().find_map(|side| {
        let (frame, again, at) = connection.unanswered[side]?;
        (again >= 2).then_some((side, frame, again, at))
    });
    match waiting {
        Some((side, frame, again, _)) => {
            let text = format!(
                "The {} sent the same data {again} more times and got no answer: the path or the {} is gone.",
                side.name(),
                side.other().name()
            );
            Verdict::new(Grade::Likely, text, [frame])
        }
        None => {
            let quiet = connection.silence;
            let text = if quiet > Duration::from_secs(1) {
                format!("It was still open when the capture ended, and had been quiet for {}.", time(quiet))
            } else {
                "It was still open when the capture ended.".to_owned()
            };
            Verdict::new(Grade::Shown, text, [connection.last.0])
        }
    }
}
