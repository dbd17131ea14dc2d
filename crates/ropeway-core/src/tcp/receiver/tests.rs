//! The receiving half by itself: what each segment makes of its whole state, and what the peer is told then.

use std::time::Duration;

use proptest::prelude::*;
use ropeway_packet::SeqNum;

use super::acks::{AckPolicy, AckTiming};
use super::{Beyond, Receiver, Text, Took};
use crate::buffer::chunk::Chunk;
use crate::time::Timestamp;

const MSS: u32 = 1000;
const BUFFER: usize = 10_000;
/// It is held, and told of now.
const HELD: Took = Took::Held { tell_by: None };
const DELAY: Duration = Duration::from_millis(40);

/// The stream begins at 0, the window is 10,000 bytes wide, and both ends use SACK.
fn opened() -> Receiver {
    let mut receiver = Receiver::new(1000, true, BUFFER);
    receiver.peer_syn(SeqNum::new(0) - 1, None, true);
    receiver.open_window(10_000);
    receiver
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_micros(1_000_000 + 1000 * millis)
}

fn timing() -> AckTiming<'static> {
    let rto = Duration::from_millis(200);
    AckTiming { now: at(0), delay: DELAY, at_once: false, quick: 0, rto, unheld: false, thinning: None }
}

/// The stream's bytes from `from` up to `to`.
fn bytes(from: u32, to: u32) -> Chunk {
    Chunk::from_vec((from..to).map(|n| u8::try_from(n % 251).unwrap()).collect())
}

fn text(from: u32, to: u32) -> Text {
    let cut = (1, to - from);
    Text {
        seq: SeqNum::new(from),
        data: bytes(from, to).into(),
        pushed: false,
        repeats: false,
        cut,
        tight: false,
    }
}

fn take(receiver: &mut Receiver, from: u32, to: u32) -> Took {
    receiver.take_text(&mut text(from, to), BUFFER, &timing())
}

/// The blocks of the next segment.
fn told(receiver: &mut Receiver) -> Vec<(u32, u32)> {
    receiver.sack_blocks(4).as_slice().iter().map(|(start, end)| (start.get(), end.get())).collect()
}

fn range((start, end): (u32, u32)) -> (SeqNum, SeqNum) {
    (SeqNum::new(start), SeqNum::new(end))
}

/// What is held in these pieces, and told of in these blocks, the oldest first.
fn beyond(pieces: &[(u32, u32)], blocks: &[(u32, u32)], repeated: &[(u32, u32)]) -> Option<Box<Beyond>> {
    let mut beyond = Beyond::default();
    for &(start, end) in pieces {
        assert!(beyond.reassembly.insert(SeqNum::new(start), bytes(start, end), usize::MAX).kept);
    }
    for (start, end) in blocks.iter().map(|block| range(*block)) {
        beyond.told.add(start, end);
    }
    for (start, end) in repeated.iter().map(|block| range(*block)) {
        beyond.told.repeat(start, end);
    }
    Some(Box::new(beyond))
}

/// What is due now.
fn due(duplicates: u8) -> AckPolicy {
    AckPolicy::for_test(duplicates == 0, duplicates)
}

/// An event, what it answers, and what it changes in a connection that has just been opened.
type Row = (&'static str, fn(&mut Receiver) -> Option<Took>, Option<Took>, fn(&mut Receiver));

const ROWS: [Row; 13] = [
    (
        "in order: acknowledged after a while",
        |receiver| Some(take(receiver, 0, 900)),
        Some(Took::InOrder { ack_by: None }),
        |want| {
            (want.rcv.nxt, want.rcv.mss) = (SeqNum::new(900), 900);
            want.buffer.push(bytes(0, 900), usize::MAX);
            want.acks = AckPolicy::heard(at(0), 900);
        },
    ),
    (
        "twice as much in one as in a segment: at once",
        |receiver| Some(take(receiver, 0, 2 * MSS)),
        Some(Took::InOrder { ack_by: None }),
        |want| {
            (want.rcv.nxt, want.rcv.mss) = (SeqNum::new(2 * MSS), 1000);
            want.buffer.push(bytes(0, 2 * MSS), usize::MAX);
            want.acks = AckPolicy::heard(at(0), 2 * MSS);
            want.ack_now();
        },
    ),
    (
        "two that were merged: at once",
        |receiver| {
            let two = &mut Text { cut: (2, 1000), ..text(0, 2000) };
            Some(receiver.take_text(two, BUFFER, &timing()))
        },
        Some(Took::InOrder { ack_by: None }),
        |want| {
            (want.rcv.nxt, want.rcv.mss) = (SeqNum::new(2000), 1000);
            want.buffer.push(bytes(0, 2000), usize::MAX);
            want.acks = AckPolicy::heard(at(0), 2000);
            want.ack_now();
        },
    ),
    (
        "two short ones that were merged: after a while, as if they were alone",
        |receiver| {
            receiver.rcv.mss = 1000;
            let two = &mut Text { cut: (2, 400), ..text(0, 800) };
            Some(receiver.take_text(two, BUFFER, &timing()))
        },
        Some(Took::InOrder { ack_by: None }),
        |want| {
            (want.rcv.nxt, want.rcv.mss) = (SeqNum::new(800), 1000);
            want.buffer.push(bytes(0, 800), usize::MAX);
            want.acks = AckPolicy::heard(at(0), 800);
        },
    ),
    (
        "beyond a gap: held, and told of at once",
        |receiver| Some(take(receiver, 500, 700)),
        Some(HELD),
        |want| {
            want.rcv.mss = 200;
            want.beyond = beyond(&[(500, 700)], &[(500, 700)], &[]);
            want.acks = due(1);
        },
    ),
    (
        "without SACK: held, and each is counted",
        |receiver| {
            receiver.sack = false;
            Some(receiver.take_text(&mut Text { cut: (2, 100), ..text(500, 700) }, BUFFER, &timing()))
        },
        Some(HELD),
        |want| {
            want.sack = false;
            want.rcv.mss = 100;
            want.beyond = beyond(&[(500, 700)], &[], &[]);
            want.acks = due(2);
        },
    ),
    (
        "beyond a gap, twice",
        |receiver| {
            take(receiver, 500, 700);
            Some(take(receiver, 600, 800))
        },
        Some(HELD),
        |want| {
            want.rcv.mss = 200;
            want.beyond = beyond(&[(500, 700), (700, 800)], &[(500, 800)], &[(600, 700)]);
            want.acks = due(2);
        },
    ),
    (
        "what fills the gap brings what was held along",
        |receiver| {
            take(receiver, 500, 700);
            take(receiver, 900, 1000);
            Some(take(receiver, 0, 600))
        },
        Some(Took::InOrder { ack_by: None }),
        |want| {
            (want.rcv.nxt, want.rcv.mss) = (SeqNum::new(700), 600);
            want.buffer.push(bytes(0, 600), usize::MAX);
            want.buffer.push(bytes(600, 700), usize::MAX);
            want.beyond = beyond(&[(900, 1000)], &[(900, 1000)], &[(500, 600)]);
            want.acks = due(2);
            want.ack_now();
        },
    ),
    (
        "a FIN in order",
        |receiver| {
            receiver.see_fin(SeqNum::new(0), false);
            assert!(receiver.take_fin() && !receiver.take_fin());
            None
        },
        None,
        |want| {
            (want.rcv.nxt, want.rcv.fin) = (SeqNum::new(1), Some(SeqNum::new(0)));
            want.fin_received = true;
        },
    ),
    (
        "a FIN in a closed window",
        |receiver| {
            receiver.rcv.edge = receiver.rcv.nxt;
            receiver.see_fin(SeqNum::new(0), false);
            assert!(receiver.take_fin());
            None
        },
        None,
        |want| {
            (want.rcv.nxt, want.rcv.fin) = (SeqNum::new(1), Some(SeqNum::new(0)));
            want.rcv.edge = SeqNum::new(1);
            want.fin_received = true;
        },
    ),
    (
        "a FIN beyond a gap, and another one behind it",
        |receiver| {
            take(receiver, 500, 700);
            receiver.see_fin(SeqNum::new(700), true);
            receiver.see_fin(SeqNum::new(800), false);
            assert!(!receiver.take_fin());
            None
        },
        None,
        |want| {
            (want.rcv.mss, want.rcv.fin) = (200, Some(SeqNum::new(700)));
            want.beyond = beyond(&[(500, 700)], &[(500, 701)], &[]);
            want.acks = due(2);
        },
    ),
    (
        "what is old, and what is older than a window",
        |receiver| {
            assert!(receiver.see_old(SeqNum::new(0) - 10, 5));
            assert!(receiver.see_old(SeqNum::new(0) - 10, 50));
            assert!(!receiver.see_old(SeqNum::new(0) - 10, 0));
            assert!(!receiver.see_old(SeqNum::new(0), 50));
            assert!(!receiver.see_old(SeqNum::new(0) - 65_536, 50));
            None
        },
        None,
        |want| {
            let mut beyond = Beyond::default();
            beyond.told.repeat(SeqNum::new(0) - 10, SeqNum::new(0));
            want.beyond = Some(Box::new(beyond));
        },
    ),
    (
        "urgent data that is discarded is not urgent",
        |receiver| {
            receiver.shut_read(BUFFER);
            assert!(receiver.take_urgent(SeqNum::new(10)) && !receiver.take_urgent(SeqNum::new(9)));
            Some(take(receiver, 0, 20))
        },
        Some(Took::InOrder { ack_by: None }),
        |want| {
            want.read_shut = true;
            (want.rcv.nxt, want.rcv.mss) = (SeqNum::new(20), 20);
            want.acks = AckPolicy::heard(at(0), 20);
        },
    ),
];

#[test]
fn each_event_makes_the_state_that_it_should() {
    for (name, event, answer, change) in ROWS {
        let mut receiver = opened();
        // When it is acknowledged is looked at below.
        let took = event(&mut receiver).map(|took| match took {
            Took::InOrder { .. } => Took::InOrder { ack_by: None },
            other => other,
        });
        let mut want = opened();
        change(&mut want);
        assert_eq!(took, answer, "{name}");
        assert_eq!(receiver, want, "{name}");
    }
}

#[test]
fn beyond_a_gap_nothing_is_kept_that_there_is_no_memory_for() {
    let mut receiver = opened();
    let mut kept = 0;
    while take(&mut receiver, 2 * kept + 1, 2 * kept + 2) == HELD {
        kept += 1;
    }
    assert!(kept > 50, "only {kept} bytes were kept");
    assert!(receiver.unread_memory() + receiver.reassembly_memory() <= 2 * BUFFER + 16 * 1024);
    let before = receiver.clone();
    assert_eq!(take(&mut receiver, 2 * kept + 1, 2 * kept + 2), Took::Dropped);
    assert_eq!(receiver.beyond, before.beyond);
    // What is next in order is taken all the same, and makes room.
    assert!(matches!(take(&mut receiver, 0, 1), Took::InOrder { .. }));
    assert_eq!(receiver.read(10, BUFFER).len(), 2);
    assert_eq!(take(&mut receiver, 2 * kept + 1, 2 * kept + 2), HELD);
}

// SHLD-18, SHLD-19
#[test]
fn acknowledgements_wait_for_the_delay_or_for_a_second_segment() {
    let mut receiver = opened();
    let ack_by = |took| match took {
        Took::InOrder { ack_by } => ack_by,
        other => panic!("it is in order: {other:?}"),
    };
    assert_eq!(ack_by(take(&mut receiver, 0, 1000)), Some(at(40)));
    assert!(receiver.owes_ack() && !receiver.is_ack_due());
    assert_eq!(ack_by(take(&mut receiver, 1000, 2000)), None);
    assert!(receiver.is_ack_due());
    receiver.ack_sent(false);
    assert!(!receiver.owes_ack());
    // The first ones of a burst do not wait, until the application is known to answer.
    let quick = AckTiming { quick: 16, now: at(1000), ..timing() };
    assert_eq!(ack_by(receiver.take_text(&mut text(2000, 2010), BUFFER, &quick)), Some(at(1000)));
    receiver.data_sent(at(1001), DELAY, false);
    assert_eq!(ack_by(receiver.take_text(&mut text(2010, 2020), BUFFER, &quick)), Some(at(1040)));
    receiver.delayed_ack_timeout();
    receiver.ack_sent(false);
    assert_eq!(ack_by(receiver.take_text(&mut text(2020, 2030), BUFFER, &quick)), Some(at(1000)));
    for all in [AckTiming { at_once: true, ..timing() }, AckTiming { delay: Duration::ZERO, ..timing() }] {
        let mut receiver = opened();
        assert_eq!(ack_by(receiver.take_text(&mut text(0, 1), BUFFER, &all)), None);
        assert!(receiver.is_ack_due());
    }
}

// MUST-39, SHLD-14
#[test]
fn the_window_moves_by_much_or_not_at_all() {
    let mut receiver = opened();
    for n in 0..10 {
        take(&mut receiver, 1000 * n, 1000 * n + 1000);
        receiver.ack_sent(false);
    }
    assert_eq!(receiver.announce_window(BUFFER), 0);
    receiver.read(999, BUFFER);
    assert_eq!((receiver.announce_window(BUFFER), receiver.is_ack_due()), (0, false));
    receiver.read(1, BUFFER);
    assert!(receiver.is_ack_due());
    assert_eq!(receiver.announce_window(BUFFER), 1000);
    // A smaller buffer takes nothing back.
    receiver.read(9000, BUFFER);
    assert_eq!(receiver.announce_window(500), 1000);
    assert_eq!(receiver.announce_window(0), 1000);
    assert_eq!(receiver.announce_window(BUFFER), 10_000);
}

proptest! {
    /// Segments in any order and any cut: what was told of is never needed again, no block is cut short, and the stream is
    /// what it was.
    /// RFC 2018 4-2, RFC 2018 8-1
    #[test]
    fn nothing_that_was_told_of_is_needed_again(
        segments in prop::collection::vec((0u32..9000, 1u32..1000), 1..80),
        buffer in prop::sample::select(vec![0usize, 500, BUFFER]),
    ) {
        let mut receiver = opened();
        let mut reported = vec![false; 10_000];
        for (from, len) in segments {
            let nxt = receiver.rcv.nxt.get();
            let (start, end) = (from.max(nxt), from + len);
            if end <= start {
                continue;
            }
            let before = receiver.rcv.nxt;
            let took = receiver.take_text(&mut text(start, end), buffer, &timing());
            prop_assert!(receiver.is_ack_due() || took != HELD);
            let repeats = receiver.beyond.as_ref().is_some_and(|beyond| beyond.told.has_repeated());
            let blocks = told(&mut receiver);
            receiver.ack_sent(false);
            let (duplicate, blocks) = blocks.split_at(usize::from(repeats));
            for (left, right) in duplicate {
                prop_assert!(start <= *left && left < right && *right <= end);
            }
            if took == HELD {
                let (left, right) = blocks.first().copied().unwrap_or_default();
                prop_assert!(left <= start && end <= right, "{blocks:?} is not about {start}:{end}");
                prop_assert_eq!(before, receiver.rcv.nxt);
            }
            for (left, right) in blocks {
                prop_assert!(*left > receiver.rcv.nxt.get());
                reported[*left as usize..*right as usize].fill(true);
            }
            let mut sorted = blocks.to_vec();
            sorted.sort_unstable();
            let apart = sorted.windows(2).all(|pair| matches!(pair, [first, second] if first.1 < second.0));
            prop_assert!(apart, "blocks touch or overlap");
        }
        // Only what was not reported comes again.
        while receiver.rcv.nxt.get() < 10_000 {
            let nxt = receiver.rcv.nxt.get();
            prop_assert!(!reported[nxt as usize], "{nxt} was told of, and is gone");
            take(&mut receiver, nxt, nxt + 1);
        }
        prop_assert_eq!(receiver.read(20_000, BUFFER).to_vec(), bytes(0, 10_000).bytes().to_vec());
        // What came twice may have yet to be told of.
        told(&mut receiver);
        prop_assert_eq!(receiver.beyond, None);
    }
}
