//! What became of the data of one end, and what it waited for.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Direction, Share, rate, time};
use crate::connection::{Cause, Connection, Limit, Needed, Side};
use crate::grade::{Grade, Verdict};

/// Shares below this are not worth a sentence.
const WORTH_SAYING: f64 = 0.1;

pub(super) fn of(connection: &Connection, from: Side) -> Direction {
    let way = connection.way(from);
    let duration =
        way.last_data.zip(way.first_data).map_or(Duration::ZERO, |(last, first)| last.saturating_sub(first));
    let limits = shares(connection, from, duration);
    let mut verdicts = Vec::new();
    if duration >= Duration::from_millis(1) && way.segments > 2 {
        verdicts.extend(
            limits
                .iter()
                .filter(|share| share.share >= WORTH_SAYING)
                .map(|share| limited(connection, from, share)),
        );
    }
    verdicts.extend(losses(connection, from));
    verdicts.extend(windows(connection, from));
    Direction {
        from,
        bytes: way.bytes,
        duration,
        limits,
        spans: way.limits.spans.clone(),
        verdicts,
        counts: way.records.counts,
        unneeded: way.records.unneeded,
        retransmissions: way.records.list.clone(),
    }
}

fn shares(connection: &Connection, from: Side, duration: Duration) -> Vec<Share> {
    let way = connection.way(from);
    let whole = duration.as_secs_f64();
    let one_sided = connection.frames[from.other()] == 0;
    let grade = |limit| match limit {
        Limit::Unknown => Grade::Unknown,
        _ if one_sided => Grade::Unknown,
        Limit::ReceiveWindow | Limit::SlowReader if way.unseen == 0 => Grade::Shown,
        Limit::Timeout if way.records.counts.timeout > 0 && way.unseen == 0 => Grade::Shown,
        _ => Grade::Likely,
    };
    let mut shares: Vec<_> = Limit::ALL
        .into_iter()
        .map(|limit| (limit, way.limits.sum(limit)))
        .filter(|(_, time)| !time.is_zero() && whole > 0.0)
        .map(|(limit, time)| Share { limit, time, share: time.as_secs_f64() / whole, grade: grade(limit) })
        .collect();
    shares.sort_by_key(|share| Reverse(share.time));
    shares
}

fn limited(connection: &Connection, from: Side, share: &Share) -> Verdict {
    let way = connection.way(from);
    let (sender, receiver) = (from.name(), from.other().name());
    let part = format!("{:.0} % of the time", share.share * 100.0);
    let rtt = connection.rtt();
    let text = match share.limit {
        Limit::Application => format!(
            "{part}, the {sender} had nothing to send though it might have sent: its program was the limit."
        ),
        Limit::Answer => {
            format!("{part}, the {sender} waited for the {receiver}'s answer before it sent more.")
        }
        Limit::ReceiveWindow => {
            let bound = rtt.map(|rtt| {
                format!(" With a round trip of {}, that allows {}.", time(rtt), rate(way.window.peak, rtt))
            });
            format!(
                "{part}, the {receiver}'s window of at most {} bytes was full.{}{}",
                way.window.peak,
                bound.unwrap_or_default(),
                if connection.scale(from.other()) == Some(0) && way.window.peak > 60_000 {
                    " It is not scaled."
                } else {
                    ""
                }
            )
        }
        Limit::SlowReader => format!(
            "{part}, the {receiver}'s window was closed or nearly so, though it had been {} bytes: its program does not read as fast as data comes.",
            way.window.peak
        ),
        Limit::CongestionWindow => format!(
            "{part}, the {sender}'s congestion window was the limit: acknowledgements came in the least time, and more were not out."
        ),
        Limit::Path => format!(
            "{part}, the path was the limit: round trips grew with what was out, so a queue on the way was filled."
        ),
        Limit::Pacing => format!(
            "{part}, the {sender} sent at intervals of its own: it paces, or its program writes that way."
        ),
        Limit::Recovery => format!("{part}, the {sender} repaired losses."),
        Limit::Timeout => format!("{part}, the {sender} waited for its retransmission timer."),
        Limit::Nagle => format!(
            "{part}, a small segment of the {sender} waited until the {receiver} acknowledged the one before, which it delayed: Nagle's algorithm against delayed acknowledgements. TCP_NODELAY, or one write instead of two, ends it."
        ),
        Limit::Unknown => format!("{part}, the capture does not say what the {sender} waited for."),
    };
    let longest = way
        .limits
        .spans
        .iter()
        .filter(|span| span.limit == share.limit)
        .max_by_key(|span| span.to - span.from);
    let frames = longest.map(|span| [span.frames.0, span.frames.1]);
    Verdict::new(share.grade, text, frames.into_iter().flatten())
}

fn losses(connection: &Connection, from: Side) -> Vec<Verdict> {
    let way = connection.way(from);
    let sender = from.name();
    let mut verdicts = Vec::new();
    let list = |cause| way.records.list.iter().filter(move |record| record.cause == cause);
    let counts = &way.records.counts;
    let kinds = [
        (Cause::Fast, counts.fast, "duplicate acknowledgements or SACK blocks told of losses"),
        (Cause::Timeout, counts.timeout, "its retransmission timer went off"),
        (Cause::AfterTimeout, counts.after_timeout, "a timeout had declared everything lost"),
        (Cause::TailLossProbe, counts.tail_loss_probe, "it probed the tail"),
        (Cause::Timer, counts.timer, "a timer went off, that of a tail loss probe or of retransmission"),
        (Cause::PathMtu, counts.path_mtu, "a router had said that packets were too big"),
        (Cause::Unknown, counts.unknown, "the capture does not say why"),
    ];
    for (cause, count, why) in kinds.into_iter().filter(|(_, count, _)| *count > 0) {
        let unneeded = list(cause).filter(|record| record.needed == Needed::No).count();
        let grade = list(cause).map(|record| record.cause_grade).min().unwrap_or(Grade::Unknown);
        let spurious =
            if unneeded > 0 { format!(" {unneeded} of them had arrived before.") } else { String::new() };
        let segments = if count == 1 { "segment" } else { "segments" };
        let text = format!("The {sender} sent {count} {segments} again, since {why}.{spurious}");
        verdicts.push(Verdict::new(grade, text, list(cause).map(|record| record.frame)));
    }
    if counts.doubled > 0 {
        let text = format!(
            "{} packets of the {sender} are in the capture twice: the network or the capture doubled them.",
            counts.doubled
        );
        verdicts.push(Verdict::new(Grade::Likely, text, list(Cause::Doubled).map(|record| record.frame)));
    }
    if way.reordered > 0 {
        let text = format!(
            "{} segments of the {sender} came late, behind others that were sent after them.",
            way.reordered
        );
        verdicts.push(Verdict::new(Grade::Likely, text, way.reordered_frames.iter().copied()));
    }
    verdicts.extend(black_hole(connection, from));
    if way.marked > 0 {
        let text =
            format!("Routers marked {} packets of the {sender} (ECN): the path was congested.", way.marked);
        verdicts.push(Verdict::new(Grade::Shown, text, []));
    }
    verdicts
}

/// Large segments are lost again and again, and small ones pass.
fn black_hole(connection: &Connection, from: Side) -> Option<Verdict> {
    let way = connection.way(from);
    let large = u64::from(way.largest).saturating_sub(100).max(500);
    let stuck =
        way.records.list.iter().filter(|record| {
            record.len >= large && record.cause != Cause::Fast && record.needed != Needed::No
        });
    let frames: Vec<u64> = stuck.clone().map(|record| record.frame).collect();
    let same = stuck
        .clone()
        .filter(|record| stuck.clone().any(|other| other.seq == record.seq && other.frame < record.frame))
        .count();
    let acknowledged_large = way.una.saturating_sub(way.origin) >= u64::from(way.largest) * 4;
    let told = connection.icmp.iter().any(|(_, error)| matches!(error, crate::capture::Icmp::TooBig(_)));
    (same >= 2 && !acknowledged_large && !told).then(|| {
        let text = format!(
            "Segments of {} bytes of the {} do not arrive, again and again, and no router says why: the path's MTU is smaller (a black hole).",
            way.largest,
            from.name()
        );
        Verdict::new(Grade::Likely, text, frames)
    })
}

fn windows(connection: &Connection, from: Side) -> Vec<Verdict> {
    let way = connection.way(from);
    let receiver = from.other().name();
    let mut verdicts = Vec::new();
    if way.window.closed_times > 0 {
        let text = format!(
            "The {receiver} closed its window {} times, for {} in all: its program did not read.",
            way.window.closed_times,
            time(way.window.closed_for)
        );
        verdicts.push(Verdict::new(Grade::Shown, text, way.window.closed_frames.iter().copied()));
    }
    if way.keep_alives > 0 {
        let text = format!("The {} sent {} keep-alive probes.", from.name(), way.keep_alives);
        verdicts.push(Verdict::new(Grade::Likely, text, []));
    }
    verdicts
}
