//! How a connection was opened.

use super::time;
use crate::capture::Icmp;
use crate::connection::{Connection, Side};
use crate::grade::{Grade, Verdict};

pub(super) fn of(connection: &Connection) -> Vec<Verdict> {
    let handshake = &connection.handshake;
    let mut verdicts = Vec::new();
    let (client, server) = (&handshake.syns.client, &handshake.syns.server);
    if client.sent.is_empty() && server.sent.is_empty() {
        let text = "The capture begins after the handshake: window scales and options are unknown.";
        return vec![Verdict::new(Grade::Shown, text, [connection.first.0])];
    }
    let (syn, syn_ack) = (client.sent.first(), server.sent.first());
    let done = handshake.acknowledged[Side::Server];
    let frames = |list: &[Option<u64>]| list.iter().flatten().copied().collect::<Vec<_>>();
    if let Some(frame) = handshake.refused {
        let text = "The server refused the connection: nobody listens on that port.";
        verdicts.push(Verdict::new(Grade::Shown, text, frames(&[syn.map(|syn| syn.0), Some(frame)])));
    } else if let (Some(syn), Some(syn_ack), Some(done)) = (syn, syn_ack, done) {
        let kind =
            if handshake.simultaneous { "Both ends opened it at the same time" } else { "The handshake" };
        let text = format!(
            "{kind} took {} (SYN to SYN-ACK {}, SYN-ACK to ACK {}).",
            time(done.1.saturating_sub(syn.1)),
            time(syn_ack.1.saturating_sub(syn.1)),
            time(done.1.saturating_sub(syn_ack.1)),
        );
        verdicts.push(Verdict::new(Grade::Shown, text, [syn.0, syn_ack.0, done.0]));
    } else if let (Some(syn), None) = (syn, syn_ack) {
        verdicts.push(unanswered(connection, syn.0));
    } else if let (Some(_), Some(syn_ack), None) = (syn, syn_ack, done) {
        let text = "The server answered, and the client never acknowledged it: a scan, a spoofed SYN, or a lost answer.";
        verdicts.push(Verdict::new(Grade::Shown, text, [syn_ack.0]));
    }
    for side in Side::BOTH {
        let syns = &handshake.syns[side];
        if syns.count > 1 {
            let name = if side == Side::Client { "SYN" } else { "SYN-ACK" };
            let waits: Vec<_> = syns
                .sent
                .windows(2)
                .filter_map(|pair| Some(time(pair.get(1)?.1.saturating_sub(pair.first()?.1))))
                .collect();
            let text = format!("The {name} was sent {} times, after {}.", syns.count, waits.join(", "));
            verdicts.push(Verdict::new(Grade::Shown, text, syns.sent.iter().map(|(frame, _)| *frame)));
        }
    }
    verdicts.extend(options(connection));
    verdicts
}

fn unanswered(connection: &Connection, syn: u64) -> Verdict {
    let unreachable = connection.icmp.iter().find(|(_, error)| *error != Icmp::TooBig(0));
    match unreachable {
        Some((frame, Icmp::TimeExceeded)) => {
            Verdict::new(Grade::Shown, "The SYN ran in circles: its hop limit ran out.", [syn, *frame])
        }
        Some((frame, _)) => Verdict::new(
            Grade::Shown,
            "A router or the host says that the server cannot be reached.",
            [syn, *frame],
        ),
        None => {
            let text = "The SYN was not answered: the server is down, a firewall drops it, or the answer is not in the capture.";
            Verdict::new(Grade::Likely, text, [syn])
        }
    }
}

/// What was offered by one end, and not by the other.
fn options(connection: &Connection) -> Vec<Verdict> {
    let handshake = &connection.handshake;
    let (Some(client), Some(server)) = (handshake.offers.client, handshake.offers.server) else {
        return Vec::new();
    };
    let frames: Vec<u64> =
        handshake.syns.iter().filter_map(|syns| syns.sent.first()).map(|(frame, _)| *frame).collect();
    let mut verdicts = Vec::new();
    let mut missing = |name: &str, has: [bool; 2], effect: &str| {
        let who = match has {
            [true, true] => return,
            [true, false] => "The server does not agree to",
            [false, true] => "The client does not ask for",
            [false, false] => "Neither end asks for",
        };
        verdicts.push(Verdict::new(Grade::Shown, format!("{who} {name}: {effect}"), frames.clone()));
    };
    let scales = [client.window_scale.is_some(), server.window_scale.is_some()];
    missing("window scaling (RFC 7323)", scales, "no window is larger than 65,535 bytes.");
    missing(
        "SACK (RFC 2018)",
        [client.sack, server.sack],
        "of several losses in a round trip, one is repaired at a time.",
    );
    if handshake.early_data > 0 {
        let text = format!("The SYN carried {} bytes of data (Fast Open, RFC 7413).", handshake.early_data);
        verdicts.push(Verdict::new(Grade::Shown, text, frames.first().copied()));
    }
    for (side, offer) in [("client", client), ("server", server)] {
        if let Some(mss) = offer.mss.filter(|mss| *mss < 1200) {
            let text = format!("The {side} announces an MSS of {mss} bytes, less than most paths carry.");
            verdicts.push(Verdict::new(Grade::Shown, text, frames.clone()));
        }
    }
    verdicts
}
