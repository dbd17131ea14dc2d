//! ECN and Accurate ECN: what both ends agree on, and what they tell each other of marks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ropeway::packet::EcnCodepoint;
use ropeway::{EcnFeedback, EcnMode};
use ropeway_tests::link::Family;
use ropeway_tests::middlebox::{Segment, Way};

use crate::peer::{Between, Kernel, Opens, Outcome, Peer, Sends};

/// 2 MiB
const MUCH: u64 = 2 << 20;

/// What an active open asks for, and the most that a passive one agrees to, by the number of the mode.
const ASKS: [EcnFeedback; 6] = {
    use EcnFeedback::{Accurate, Classic, None};
    [None, Classic, None, Accurate, Classic, None]
};
const AGREES: [EcnFeedback; 6] = {
    use EcnFeedback::{Accurate, Classic, None};
    [None, Classic, Classic, Accurate, Accurate, Accurate]
};

fn modes(peer: Peer) -> u8 {
    if peer.kernel == Kernel::Guest { 6 } else { 3 }
}

fn mode(number: u8) -> EcnMode {
    EcnMode::from_number(number).unwrap()
}

/// What the kernel says that both use.
fn feedback(peer: Peer, outcome: &Outcome) -> EcnFeedback {
    match (outcome.kernel.uses_ecn(), peer.kernel, outcome.kernel.ecn_mode()) {
        (false, _, _) => EcnFeedback::None,
        (true, Kernel::Machines, _) | (true, _, 1) => EcnFeedback::Classic,
        (true, _, 2) => EcnFeedback::Accurate,
        (_, _, other) => panic!("mode {other}"),
    }
}

pub(crate) async fn each_mode_agrees_with_each(peer: Peer, family: Family) {
    let mut between = Between::new(peer, family);
    for theirs in 0..modes(peer) {
        peer.set("tcp_ecn", theirs).await;
        for ours in 0..6 {
            between.ecn = mode(ours);
            for opens in [Opens::Kernel, Opens::Ours] {
                let (asks, agrees) = if opens == Opens::Kernel { (theirs, ours) } else { (ours, theirs) };
                let both = ASKS[usize::from(asks)].min(AGREES[usize::from(agrees)]);
                let outcome = between.transfer(opens, Sends::Kernel, 3000).await;
                let told = (feedback(peer, &outcome), outcome.ours.ecn);
                assert_eq!(told, (both, both), "{opens:?} opens, kernel {theirs}, ours {ours}: {outcome:?}");
            }
        }
    }
}

/// From now on the box marks one in `every` packets with data that may be marked and go `way`, and counts them.
fn mark(between: &Between, way: Way, every: u32) -> Arc<AtomicU32> {
    let marked = Arc::new(AtomicU32::new(0));
    let (count, mut packets) = (Arc::clone(&marked), 0_u32);
    between.set_rule(move |goes, segment| {
        let may_be = !matches!(segment.ecn(), EcnCodepoint::NotEct | EcnCodepoint::Ce);
        if goes == way && may_be && segment.has_data() {
            packets += 1;
            if packets.is_multiple_of(every) {
                segment.set_ecn(3);
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        true
    });
    marked
}

/// Whether a sender that counts so many has been told of `marked`. The three bits tell of eight marks as of none, so where an
/// acknowledgement is for eight packets or more, both take them for marked if the option does not exclude it (RFC 9768 A.2).
fn is_told(counted: u32, marked: u32) -> bool {
    counted >= marked && (counted - marked).is_multiple_of(8)
}

pub(crate) async fn marks_on_what_the_kernel_sends_are_counted_alike(peer: Peer, family: Family) {
    peer.set("tcp_ecn", 3).await;
    let mut between = Between::new(peer, family);
    between.ecn = EcnMode::Accurate;
    for (opens, every) in [(Opens::Kernel, 7), (Opens::Ours, 50)] {
        let marked = mark(&between, Way::In, every);
        let outcome = between.transfer(opens, Sends::Kernel, MUCH).await;
        let marked = marked.load(Ordering::Relaxed);
        assert!(marked > 10, "{marked}: {outcome:?}");
        assert_eq!(outcome.ours.received_ce, marked, "{outcome:?}");
        assert!(is_told(outcome.kernel.delivered_ce(), marked), "{marked}: {outcome:?}");
        let ours = &outcome.ours;
        let received = [ours.received_e1_bytes, ours.received_e0_bytes, ours.received_ce_bytes];
        // What the kernel has sent twice has arrived twice: of the second time it may not have been told yet.
        let told: u64 = outcome.kernel.delivered_bytes().into_iter().map(u64::from).sum();
        let arrived: u64 = received.into_iter().map(u64::from).sum();
        let twice = u64::from(outcome.kernel.retransmitted()) * u64::from(ours.rcv_mss);
        if twice > 0 {
            assert!((told..=told + twice).contains(&arrived), "{outcome:?}");
        } else {
            assert_eq!(outcome.kernel.delivered_bytes(), received, "{outcome:?}");
        }
        assert_eq!(outcome.kernel.option_seen(), 2, "with counters: {outcome:?}");
    }
}

pub(crate) async fn marks_on_what_we_send_are_counted_alike(peer: Peer, family: Family) {
    peer.set("tcp_ecn", 3).await;
    let mut between = Between::new(peer, family);
    between.ecn = EcnMode::Accurate;
    for (opens, every) in [(Opens::Kernel, 7), (Opens::Ours, 50)] {
        let marked = mark(&between, Way::Out, every);
        let outcome = between.transfer(opens, Sends::Ours, MUCH).await;
        let marked = marked.load(Ordering::Relaxed);
        assert!(marked > 10, "{marked}: {outcome:?}");
        assert_eq!(outcome.kernel.received_ce(), marked, "{outcome:?}");
        assert!(is_told(outcome.ours.delivered_ce, marked), "{marked}: {outcome:?}");
        let ours = &outcome.ours;
        let delivered = [ours.delivered_e1_bytes, ours.delivered_e0_bytes, ours.delivered_ce_bytes];
        assert_eq!(outcome.kernel.received_bytes(), delivered, "{outcome:?}");
    }
}

/// RFC 3168: one echo for each round trip, which the window answers.
pub(crate) async fn marks_are_echoed_until_they_are_answered(peer: Peer, family: Family) {
    peer.set("tcp_ecn", 1).await;
    let mut between = Between::new(peer, family);
    between.ecn = EcnMode::On;
    for (sends, way) in [(Sends::Kernel, Way::In), (Sends::Ours, Way::Out)] {
        let marked = mark(&between, way, 40);
        let outcome = between.transfer(Opens::Kernel, sends, MUCH).await;
        let marked = marked.load(Ordering::Relaxed);
        assert_eq!(
            (feedback(peer, &outcome), outcome.ours.ecn),
            (EcnFeedback::Classic, EcnFeedback::Classic)
        );
        let told =
            if sends == Sends::Kernel { outcome.kernel.delivered_ce() } else { outcome.ours.delivered_ce };
        assert!(marked > 10 && told > 5, "{sends:?}, {marked} marked: {outcome:?}");
    }
}

/// With fewer options, or none, the three bits tell all that they can.
pub(crate) async fn marks_are_told_of_with_fewer_options(peer: Peer, family: Family) {
    peer.set("tcp_ecn", 3).await;
    let mut between = Between::new(peer, family);
    between.ecn = EcnMode::Accurate;
    for option in [0, 1] {
        peer.set("tcp_ecn_option", option).await;
        for (sends, way) in [(Sends::Kernel, Way::In), (Sends::Ours, Way::Out)] {
            let marked = mark(&between, way, 40);
            let outcome = between.transfer(Opens::Ours, sends, MUCH).await;
            let marked = marked.load(Ordering::Relaxed);
            let (received, told) = match sends {
                Sends::Kernel => (outcome.ours.received_ce, outcome.kernel.delivered_ce()),
                Sends::Ours => (outcome.kernel.received_ce(), outcome.ours.delivered_ce),
            };
            assert!(
                received == marked && is_told(told, marked),
                "option {option}, {sends:?}, {marked}: {outcome:?}"
            );
        }
    }
}

/// What a box does to segments.
type Does = fn(Way, &mut Segment<'_>) -> bool;

/// Boxes by what they do, and what the ends may still use.
const BOXES: [(&str, Does); 9] = [
    ("clears the field of all", |_, segment| {
        segment.set_ecn(0);
        true
    }),
    ("clears the field of those to us", |way, segment| {
        if way == Way::In {
            segment.set_ecn(0);
        }
        true
    }),
    ("marks all", |_, segment| {
        if segment.ecn() != EcnCodepoint::NotEct {
            segment.set_ecn(3);
        }
        true
    }),
    ("clears the flags of SYNs", |_, segment| {
        if segment.flags() & Segment::SYN != 0 {
            segment.set_flags(segment.flags() & !Segment::ACE);
        }
        true
    }),
    ("clears the flags of all", |_, segment| {
        segment.set_flags(segment.flags() & !Segment::ACE);
        true
    }),
    ("clears the new one of the flags", |_, segment| {
        segment.set_flags(segment.flags() & 0xff);
        true
    }),
    ("sends the flags of SYNs back", |_, segment| {
        // A SYN-ACK with all three is what a host that reflects them sends.
        if segment.flags() & (Segment::SYN | Segment::ACK) == Segment::SYN | Segment::ACK {
            segment.set_flags(segment.flags() | Segment::ACE);
        }
        true
    }),
    ("takes the option away", |_, segment| {
        segment.for_each_option(|option| {
            if matches!(option[0], 172 | 174) {
                option.fill(1);
            }
        });
        true
    }),
    ("loses SYNs that ask", |_, segment| {
        segment.flags() & Segment::SYN == 0 || segment.flags() & Segment::ACE == 0
    }),
];

/// Segments of some 200 that may be sent again: SYNs, and tail loss probes where a busy machine lets a round trip of some 100 us
/// take ten times as long.
const FEW: u64 = 8;

/// Whatever a box does, bytes arrive, next to nothing is sent again, and no end is told of marks that nobody made.
pub(crate) async fn boxes_that_meddle_cost_nothing(peer: Peer, family: Family) {
    let theirs = if peer.kernel == Kernel::Guest { 3 } else { 1 };
    peer.set("tcp_ecn", theirs).await;
    let mut between = Between::new(peer, family);
    between.ecn = mode(theirs);
    for (name, does) in BOXES {
        between.set_rule(does);
        for opens in [Opens::Kernel, Opens::Ours] {
            for sends in [Sends::Kernel, Sends::Ours] {
                let outcome = between.transfer(opens, sends, 300_000).await;
                let case = format!("a box that {name}, {opens:?} opens, {sends:?} sends: {outcome:?}");
                let again = u64::from(outcome.kernel.retransmitted()) + outcome.ours.retransmitted;
                assert!(again <= FEW, "{again}: {case}");
                // What Linux makes of a client that finds its answer broken, and so counts nothing, is its own affair.
                if matches!(name, "marks all" | "sends the flags of SYNs back") {
                    continue;
                }
                assert!(
                    is_told(outcome.kernel.delivered_ce(), 0) && is_told(outcome.ours.delivered_ce, 0),
                    "{case}"
                );
                let without = matches!(name, "clears the flags of SYNs" | "clears the flags of all");
                if without || name == "loses SYNs that ask" {
                    assert_eq!(
                        (feedback(peer, &outcome), outcome.ours.ecn),
                        (EcnFeedback::None, EcnFeedback::None),
                        "{case}"
                    );
                }
            }
        }
    }
}
