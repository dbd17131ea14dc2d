//! The sending half by itself: what it sends at each acknowledgement, and how its record stands then.

mod marks;

use std::time::Duration;

use bytes::Bytes;
use ropeway_packet::{SackBlocks, SeqNum};

use super::ack::Acked;
use super::flight::Marks;
use super::{AckNews, Limits, Next, Sender, Signal};
use crate::buffer::slabs::Slabs;
use crate::config::StackConfig;
use crate::congestion::{Algorithm, Phase, Start};
use crate::time::Timestamp;

const MSS: u32 = 1000;

/// A sender whose peer is the test. Sequence numbers begin at 0 with the first byte; times are in milliseconds.
struct Bench {
    sender: Sender,
    now: u64,
    timestamps: bool,
    /// What arrives echoes a mark.
    echoes_mark: bool,
}

/// What went out: `"0 1 2"` are the first three segments, `"r1"` is the second one again.
type Sent = String;

impl Bench {
    fn with(change: impl FnOnce(&mut StackConfig)) -> Self {
        let mut config = StackConfig { pacing: false, ..StackConfig::default() };
        change(&mut config);
        let now = Timestamp::from_micros(1_000_000);
        let iss = SeqNum::new(0) - 1;
        let congestion = Algorithm::NewReno.build(&Start::new(now, MSS));
        let mut sender = Sender::new(iss, 536, (&config.socket, &config), congestion);
        sender.on_syn_sent(now, None);
        sender.begin_with(1000, Algorithm::NewReno.build(&Start::new(now, MSS)));
        sender.on_established(now + Duration::from_millis(100), (SeqNum::new(0), iss + 1, 1 << 30), None);
        Self { sender, now: 100, timestamps: false, echoes_mark: false }
    }

    fn new() -> Self {
        let mut bench = Self::with(|_| {});
        bench.sender.use_sack();
        bench
    }

    fn reno() -> Self {
        Self::with(|_| {})
    }

    fn ts(&self) -> Timestamp {
        Timestamp::from_micros(1_000_000 + self.now * 1000)
    }

    fn tsval(&self) -> Option<u32> {
        self.timestamps.then(|| u32::try_from(self.now).unwrap())
    }

    /// So many segments are written, and what may go is sent.
    fn write(&mut self, segments: u32) -> Sent {
        let data = Bytes::from(vec![7; (segments * MSS) as usize]);
        self.sender.buffer_mut().push_bytes(data, false, None);
        self.sender.on_written(false, false);
        self.send()
    }

    fn send(&mut self) -> Sent {
        let limits = Limits { nodelay: true, cork: false, buffer: usize::MAX, options: 0, train: 0 };
        let mut sent = Vec::new();
        while let Next::Segment(plan) = self.sender.next(self.ts(), &limits) {
            self.sender.on_sent(&plan, self.ts(), self.tsval());
            assert!(self.sender.is_consistent());
            let number = plan.seq.get() / MSS;
            sent.push(if plan.again { format!("r{number}") } else { number.to_string() });
            assert!(sent.len() < 100_000, "it goes on for ever");
        }
        sent.join(" ")
    }

    /// An acknowledgement up to segment `ack`, with blocks of segments; and what goes out then.
    fn ack(&mut self, ack: u32, blocks: &[(u32, u32)]) -> Sent {
        self.take(ack, blocks, None);
        self.send()
    }

    /// The same, with an echo of what was sent at `echo`.
    fn ack_echo(&mut self, ack: u32, blocks: &[(u32, u32)], echo: u64) -> Sent {
        self.take(ack, blocks, Some(echo));
        self.send()
    }

    fn take(&mut self, ack: u32, blocks: &[(u32, u32)], echo: Option<u64>) -> Acked {
        self.take_bytes(ack * MSS, &blocks.iter().map(|(a, b)| (a * MSS, b * MSS)).collect::<Vec<_>>(), echo)
    }

    fn take_bytes(&mut self, ack: u32, ranges: &[(u32, u32)], echo: Option<u64>) -> Acked {
        let mut blocks = SackBlocks::default();
        for (start, end) in ranges {
            assert!(blocks.push((SeqNum::new(*start), SeqNum::new(*end))));
        }
        let acked = self.sender.on_ack(
            &AckNews {
                signal: if self.echoes_mark { Signal::Echo } else { Signal::None },
                now: self.ts(),
                ack: SeqNum::new(ack),
                blocks,
                echo: echo.map(|at| (u32::try_from(at).unwrap(), Duration::from_millis(self.now - at))),
                duplicate: SeqNum::new(ack) == self.sender.snd().una,
                bare: true,
                window_limited: true,
                max_pacing_rate: None,
                paces: false,
            },
            &mut Slabs::default(),
        );
        assert!(self.sender.is_consistent(), "{:?}", self.sender.flight);
        acked
    }

    fn at(&mut self, now: u64) {
        assert!(now >= self.now);
        self.now = now;
    }

    fn timeout(&mut self) -> Sent {
        self.sender.on_timeout(self.ts(), false);
        assert!(self.sender.is_consistent());
        self.send()
    }

    fn cwnd(&self) -> u32 {
        self.sender.cwnd() / MSS
    }

    fn pipe(&self) -> u32 {
        self.sender.flight().pipe() / MSS
    }

    fn phase(&self) -> Phase {
        self.sender.recovery().phase()
    }
}

/// `"0 1 2"` for 0..3.
fn numbers(range: std::ops::Range<u32>) -> String {
    range.map(|n| n.to_string()).collect::<Vec<_>>().join(" ")
}

/// Twenty segments in flight, and that is the window.
fn twenty(mut bench: Bench) -> Bench {
    assert_eq!(bench.write(100), numbers(0..10));
    bench.at(200);
    assert_eq!(bench.ack(10, &[]), numbers(10..30));
    bench.at(300);
    bench
}

// RFC 6675 4-2
// RFC 8985 6.2: three segments that were sent later have arrived, in order: what is missing is lost.
#[test]
fn three_reported_segments_show_a_loss() {
    let mut bench = twenty(Bench::new());
    assert_eq!(bench.ack(10, &[(11, 12)]), "30");
    assert_eq!(bench.ack(10, &[(11, 13)]), "31");
    assert_eq!(bench.phase(), Phase::Disorder);
    assert_eq!(bench.ack(10, &[(11, 14)]), "r10");
    assert_eq!(bench.phase(), Phase::Recovery);
    assert_eq!(bench.sender.ssthresh(), 10 * MSS);
}

// RFC 6937 3.1, by the rules of RFC 9937: what is sent on each acknowledgement of one segment.
#[test]
fn prr_spreads_the_reduction_over_a_round_trip() {
    let mut bench = twenty(Bench::new());
    let sent: Vec<_> = (0..19).map(|n| bench.ack(10, &[(11, 12 + n)])).collect();
    let show: Vec<_> = sent
        .iter()
        .map(|sent| match sent.as_str() {
            "" => ".",
            "r10" => "R",
            _ => "N",
        })
        .collect();
    assert_eq!(show.join(" "), "N N R . N . N . N . N . N . N . N . .");
    assert_eq!(bench.pipe(), 10);
    // The retransmission has arrived, and all that was sent before it: recovery is over, at the threshold.
    bench.at(400);
    bench.ack(32, &[]);
    assert_eq!(bench.phase(), Phase::Open);
    assert!((10..=11).contains(&bench.cwnd()), "{}", bench.cwnd());
}

// RFC 8985 6.2: a retransmission is lost when something that was sent after it has arrived; no timeout is needed.
#[test]
fn a_lost_retransmission_is_sent_again_without_a_timeout() {
    let mut bench = twenty(Bench::new());
    for n in 0..19 {
        bench.ack(10, &[(11, 12 + n)]);
    }
    // What was sent during recovery begins to arrive, a round trip later; segment 10 does not.
    bench.at(400);
    let again: Vec<_> = (0..4).map(|n| bench.ack(10, &[(11, 31 + n)])).collect();
    assert!(again.iter().any(|sent| sent.contains("r10")), "{again:?}");
    assert_eq!(bench.sender.retransmits(), 0);
}

// RFC 8985 6.2-3
// RFC 8985 6.2, step 4: with reordering, a quarter of the smallest round trip is waited for.
#[test]
fn what_was_overtaken_once_gets_time_the_next_time() {
    let mut bench = twenty(Bench::new());
    // Segment 10 comes late, but before three others are reported.
    bench.ack(10, &[(11, 13)]);
    bench.ack(13, &[]);
    assert_eq!(bench.phase(), Phase::Open);
    assert_eq!(bench.sender.recovery().reorderings(), 1);
    // Four later ones are there, and it is not taken for lost yet.
    let acked = bench.take(13, &[(14, 18)], None);
    let sent = bench.send();
    assert!(!sent.contains('r'), "{sent}");
    // 100 ms of round trip, a quarter of that, and a tick of the clock, after 200.
    assert_eq!(acked.outcome.reorder, super::Reorder::At(Timestamp::from_micros(1_326_000)));
    bench.at(326);
    let (_, began) = bench.sender.on_reorder_timeout(bench.ts(), Timestamp::from_micros(1_326_000));
    assert!(began);
    assert_eq!(bench.send(), "r13");
}

// A timer that goes off late makes no packet older.
#[test]
fn a_late_timer_loses_no_more_than_one_in_time() {
    let mut bench = Bench::new();
    bench.write(4);
    bench.at(200);
    // Something was overtaken.
    bench.ack(0, &[(2, 3)]);
    bench.ack(4, &[]);
    assert_eq!(bench.sender.recovery().reorderings(), 1);
    for (at, sent) in [(300, "4 5"), (310, "6 7"), (320, "8 9")] {
        bench.at(at);
        assert_eq!(bench.write(2), sent);
    }
    bench.at(420);
    let acked = bench.take(4, &[(9, 10)], None);
    assert_eq!(acked.outcome.lost, 0);
    let due = Timestamp::from_micros(1_426_000);
    assert_eq!(acked.outcome.reorder, super::Reorder::At(due));
    // It is 74 ms late; what was sent at 310 was to be looked at 10 ms later.
    bench.at(500);
    let (next, began) = bench.sender.on_reorder_timeout(bench.ts(), due);
    assert!(began);
    assert_eq!(bench.sender.flight().lost(), 2 * MSS);
    assert_eq!(next, super::Reorder::At(Timestamp::from_micros(1_436_000)));
}

// RFC 5682 3.1-1
// RFC 5682 3.1, RFC 4015: the originals arrive after a timeout, so it was spurious.
#[test]
fn a_spurious_timeout_gives_the_window_back() {
    let mut bench = twenty(Bench::new());
    bench.at(700);
    assert_eq!(bench.timeout(), "r10");
    assert_eq!((bench.cwnd(), bench.phase()), (1, Phase::Loss));
    // The original's acknowledgement; new data goes first, to see.
    bench.at(750);
    assert_eq!(bench.ack(11, &[]), "30 31");
    // An original again.
    assert!(!bench.ack(12, &[]).contains('r'));
    assert_eq!(bench.phase(), Phase::Open);
    assert!(bench.cwnd() >= 20, "{}", bench.cwnd());
    assert_eq!(bench.sender.flight().lost(), 0);
}

// RFC 5682 4-1
#[test]
fn without_undo_a_spurious_timeout_costs_the_window_but_nothing_is_sent_twice() {
    let mut bench = twenty(Bench::with(|config| config.undo = false));
    bench.at(700);
    bench.timeout();
    bench.at(750);
    bench.ack(11, &[]);
    assert_eq!(bench.ack(12, &[]), "");
    assert_eq!((bench.phase(), bench.sender.flight().lost()), (Phase::Open, 0));
    assert!(bench.cwnd() < 20, "{}", bench.cwnd());
}

// What the timeout took for lost is asked for again, in the order of time: one of it may be lost.
#[test]
fn a_loss_behind_a_spurious_timeout_is_found_without_another_one() {
    let mut bench = twenty(Bench::new());
    bench.at(700);
    assert_eq!(bench.timeout(), "r10");
    // As far as RACK can tell, what was sent again has arrived: it looks at all that was sent before.
    bench.at(850);
    assert_eq!(bench.ack(11, &[]), "30 31");
    bench.ack(12, &[]);
    assert_eq!((bench.phase(), bench.sender.flight().lost()), (Phase::Open, 0));
    let sent: Vec<Sent> = (0..4)
        .map(|n| {
            bench.at(860 + n);
            bench.ack(12, &[(13, 14 + u32::try_from(n).unwrap())])
        })
        .collect();
    assert!(sent.iter().any(|sent| sent.contains("r12")), "{sent:?}");
    assert!(!sent.iter().any(|sent| sent.contains("r13")), "{sent:?}");
}

// RFC 5682 3.1-2
// RFC 5682 3.1, step 3.a
#[test]
fn a_real_timeout_goes_on_to_send_again() {
    let mut bench = twenty(Bench::new());
    bench.at(700);
    assert_eq!(bench.timeout(), "r10");
    bench.at(800);
    assert_eq!(bench.ack(11, &[]), "30 31");
    bench.at(900);
    // The new ones are reported: what is between is lost.
    assert_eq!(bench.ack(11, &[(30, 31)]), "r11");
    assert_eq!(bench.phase(), Phase::Loss);
}

// RFC 3522, RFC 4015: the echo tells that the original has arrived.
#[test]
fn an_echo_of_the_original_undoes_a_recovery() {
    let mut bench = Bench::new();
    bench.timestamps = true;
    let mut bench = twenty(bench);
    for n in 0..3 {
        bench.ack_echo(10, &[(11, 12 + n)], 200);
    }
    assert_eq!(bench.phase(), Phase::Recovery);
    bench.at(305);
    bench.ack_echo(14, &[], 200);
    assert_eq!(bench.phase(), Phase::Open);
    assert!(bench.cwnd() >= 20, "{}", bench.cwnd());
}

// RACK's timer and what it waited for come at the same moment: nothing was sent again, so it was only late.
#[test]
fn what_comes_before_it_is_sent_again_was_not_lost() {
    let benches = || {
        let mut without_undo = Bench::with(|config| config.undo = false);
        without_undo.sender.use_sack();
        [Bench::new(), Bench::reno(), without_undo]
    };
    let in_recovery = |mut bench: Bench| {
        let is_reno = !bench.sender.recovery().switches().sack;
        for n in 0..3 {
            let blocks = [(11, 12 + n)];
            bench.take(10, if is_reno { &[] } else { &blocks }, None);
        }
        assert_eq!((bench.phase(), bench.sender.flight().lost()), (Phase::Recovery, MSS));
        bench
    };
    for up_to in [14, 30] {
        let outcomes = benches().map(|bench| {
            let mut bench = in_recovery(twenty(bench));
            let undone = bench.take(up_to, &[], None).outcome.undone;
            (undone, bench.cwnd() >= 20, bench.sender.flight().lost())
        });
        assert_eq!(outcomes, [(true, true, 0), (true, true, 0), (false, false, 0)], "up to {up_to}");
        // Once it is sent again, the acknowledgement may be that one's.
        let mut bench = in_recovery(twenty(Bench::new()));
        assert!(bench.send().starts_with("r10"));
        assert!(!bench.take(up_to, &[], None).outcome.undone && bench.cwnd() < 20);
    }
}

// RFC 3708, RFC 2883: the only retransmission arrived twice.
#[test]
fn a_d_sack_of_all_that_was_sent_again_undoes_a_recovery() {
    let mut bench = twenty(Bench::new());
    for n in 0..3 {
        bench.ack(10, &[(11, 12 + n)]);
    }
    assert_eq!(bench.phase(), Phase::Recovery);
    // The original was late.
    bench.at(310);
    bench.ack(14, &[]);
    assert!(bench.cwnd() < 20);
    bench.at(400);
    bench.ack(14, &[(10, 11)]);
    assert!(bench.cwnd() >= 20, "{}", bench.cwnd());
    assert_eq!(bench.sender.recovery().dsacked(), 1);
}

// RFC 2883 5-1
// RFC 2883 4: what lies before the acknowledgement's own number came twice. One that was overtaken reports no such thing.
#[test]
fn the_blocks_of_a_late_acknowledgement_are_no_d_sack() {
    let mut bench = twenty(Bench::new());
    bench.ack(10, &[(11, 12)]);
    bench.ack(15, &[]);
    bench.ack(10, &[(11, 13)]);
    assert_eq!(bench.sender.recovery().dsacked(), 0);
}

#[test]
fn more_d_sacks_than_retransmissions_are_a_lie() {
    let mut bench = twenty(Bench::new());
    for n in 0..3 {
        bench.ack(10, &[(11, 12 + n)]);
    }
    let cwnd = bench.cwnd();
    bench.ack(14, &[(0, 9)]);
    assert!(bench.cwnd() <= cwnd);
}

// What was sent as ten segments is ten, and ends where they did, whatever the MSS is now.
#[test]
fn another_mss_leaves_the_segments_as_they_were_sent() {
    for mss in [MSS / 5, 3 * MSS / 2] {
        let mut bench = twenty(Bench::new());
        bench.sender.set_mss(u16::try_from(mss).unwrap());
        bench.take(10, &[(11, 21)], None);
        assert_eq!(bench.sender.flight().sacked(), 10 * MSS);
        let (una, nxt) = (SeqNum::new(16 * MSS), bench.sender.snd().nxt);
        bench.sender.flight.acknowledge(una, |_| {});
        assert_eq!(bench.sender.flight().sacked_segments(), 5);
        assert!(bench.sender.flight().is_consistent(una, nxt));
    }
}

// RFC 2018 5-4, RFC 2018 5.1-2, RFC 5682 3.1-5, RFC 6675 4-7
// RFC 2018 5-3, RFC 2018 8-2: what was reported may be dropped: a timeout does not trust it any more.
#[test]
fn a_peer_that_reneges_gets_everything_again() {
    let mut bench = twenty(Bench::new());
    bench.ack(10, &[(11, 30)]);
    bench.at(400);
    // The hole is filled, and no more is acknowledged.
    bench.take(11, &[], None);
    assert!(bench.sender.flight().is_reneged());
    bench.at(1000);
    let mut again = bench.timeout();
    let mut acked = 11;
    while acked < 30 {
        bench.at(bench.now + 100);
        acked += 1;
        again = format!("{again} {}", bench.ack(acked, &[]));
    }
    for n in 11..30 {
        assert!(again.split(' ').any(|sent| sent == format!("r{n}")), "{n} in {again}");
    }
}

// RFC 8985 7.3: nothing is heard of the tail, so its last segment goes out again; its report shows the loss.
#[test]
fn a_lost_tail_is_repaired_without_a_timeout() {
    let mut bench = Bench::new();
    assert_eq!(bench.write(3), "0 1 2");
    let timeout = bench.sender.probe_timeout().unwrap();
    assert_eq!(timeout, Duration::from_millis(202));
    bench.at(302);
    let limits = Limits { nodelay: true, cork: false, buffer: usize::MAX, options: 0, train: 0 };
    let plan = bench.sender.tail_probe(&limits).unwrap();
    assert_eq!((plan.seq.get(), plan.len, plan.again), (2 * MSS, MSS, true));
    bench.sender.on_sent(&plan, bench.ts(), None);
    bench.sender.on_tail_probe_sent(&plan);
    assert_eq!(bench.sender.probe_timeout(), None, "one probe at a time");
    bench.at(402);
    assert_eq!(bench.ack(0, &[(2, 3)]), "r0");
    assert_eq!(bench.phase(), Phase::Recovery);
    bench.at(502);
    assert_eq!(bench.ack(1, &[(2, 3)]), "r1");
}

// RFC 8985 7.4.2-1
// RFC 8985 7.4.2: the probe itself was what was missing: a loss, though no recovery was needed.
#[test]
fn a_probe_that_repairs_a_loss_reduces_the_window() {
    let mut bench = Bench::new();
    bench.write(10);
    bench.at(200);
    bench.ack(9, &[]);
    bench.at(402);
    let limits = Limits { nodelay: true, cork: false, buffer: usize::MAX, options: 0, train: 0 };
    let plan = bench.sender.tail_probe(&limits).unwrap();
    bench.sender.on_sent(&plan, bench.ts(), None);
    bench.sender.on_tail_probe_sent(&plan);
    assert_eq!(plan.seq.get(), 9 * MSS);
    bench.at(502);
    bench.ack(10, &[]);
    assert_eq!(bench.phase(), Phase::Open);
    assert!(bench.sender.recovery().tlp_end().is_some(), "it may still be that both come");
    bench.write(1);
    bench.at(602);
    bench.ack(11, &[]);
    assert_eq!(bench.cwnd(), 2, "half of what was in flight");
}

// RFC 6582 on the same record: three duplicates, and each partial acknowledgement shows the next hole.
#[test]
fn without_sack_partial_acknowledgements_walk_the_holes() {
    let mut bench = twenty(Bench::reno());
    assert_eq!(bench.ack(10, &[]), "30");
    assert_eq!(bench.ack(10, &[]), "31");
    assert_eq!(bench.ack(10, &[]), "r10");
    bench.at(400);
    assert!(bench.ack(15, &[]).starts_with("r15"));
    bench.at(500);
    bench.ack(32, &[]);
    assert_eq!(bench.phase(), Phase::Open);
}

// RFC 5682 2.1
#[test]
fn without_sack_too_a_spurious_timeout_is_found_by_timestamps() {
    let mut bench = Bench::reno();
    bench.timestamps = true;
    let mut bench = twenty(bench);
    bench.at(700);
    assert_eq!(bench.timeout(), "r10");
    bench.at(750);
    bench.ack_echo(11, &[], 200);
    assert!(bench.cwnd() >= 20, "{}", bench.cwnd());
    assert_eq!(bench.sender.flight().lost(), 0);
}

// The flight that was out when a recovery began may have lost something, though that recovery was a mistake.
#[test]
fn without_sack_a_loss_behind_an_undone_recovery_needs_no_timeout() {
    let mut bench = Bench::reno();
    bench.timestamps = true;
    let mut bench = twenty(bench);
    let sent: Vec<Sent> = (0..3).map(|_| bench.ack_echo(10, &[], 200)).collect();
    assert!(sent[2].contains("r10"), "{sent:?}");
    bench.at(305);
    bench.ack_echo(14, &[], 200);
    assert_eq!(bench.phase(), Phase::Open);
    let sent: Vec<Sent> = (0..3).map(|_| bench.ack_echo(14, &[], 200)).collect();
    assert!(sent[2].contains("r14"), "{sent:?}");
}

/// Blocks that lie change nothing that they are not about, and what they cost is bounded.
#[test]
fn blocks_that_lie_do_no_harm() {
    let mut bench = twenty(Bench::new());
    let before = bench.sender.flight().clone();
    for block in [(0, 5), (30, 40), (9, 11), (20, 20), (25, 20), (4_000_000, 4_000_001), (10, 4_294_967)] {
        bench.take(10, &[block], None);
        assert_eq!(*bench.sender.flight(), before, "{block:?}");
    }
    // A part of a segment is not a segment.
    for n in 0..900 {
        bench.take_bytes(10_000, &[(11_000 + n, 11_010 + n)], None);
    }
    assert_eq!(*bench.sender.flight(), before);
}

#[test]
fn a_report_of_every_second_segment_makes_no_more_entries_than_segments() {
    let mut bench = twenty(Bench::new());
    for n in 0..10 {
        bench.take(10, &[(11 + 2 * n, 12 + 2 * n)], None);
    }
    assert!(bench.sender.flight().entries() <= 20 + 1);
    assert_eq!(bench.sender.flight().sacked(), 10 * MSS);
}

#[test]
fn what_is_reported_stands_together_as_one() {
    let mut bench = twenty(Bench::new());
    for n in 1..20 {
        bench.take(10, &[(11, 11 + n)], None);
    }
    assert_eq!(bench.sender.flight().entries(), 2);
    let last = bench.sender.flight().last().unwrap();
    assert!(last.marks.has(Marks::SACKED));
    assert_eq!((last.start.get(), last.segments), (11 * MSS, 19));
}

// RFC 6675 4-3
/// Any sequence of acknowledgements, timeouts, and writes leaves the record consistent, and never sends what is
/// acknowledged.
#[test]
fn random_acknowledgements_leave_the_record_consistent() {
    for seed in 0..300u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = move |below: u32| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            u32::try_from(state >> 33).unwrap() % below.max(1)
        };
        let mut bench = if seed % 3 == 0 { Bench::reno() } else { Bench::new() };
        bench.timestamps = seed % 2 == 0;
        bench.write(1 + random(60));
        for _ in 0..200 {
            bench.now += u64::from(random(80));
            let una = bench.sender.snd().una.get();
            let nxt = bench.sender.snd().nxt.get();
            match random(10) {
                0 if nxt > una => drop(bench.timeout()),
                1 => drop(bench.write(random(20))),
                2 => {
                    bench.sender.on_too_big();
                    bench.send();
                }
                3 => {
                    bench.sender.set_mss(u16::try_from(400 + random(3) * 300).unwrap());
                    bench.send();
                }
                _ => {
                    let ack = una + if random(3) == 0 { random(nxt - una + 1) } else { 0 };
                    let mut blocks = Vec::new();
                    for _ in 0..random(4) {
                        let start = ack + random(nxt - ack + 2000);
                        blocks.push((start.saturating_sub(random(1500)), start + random(5000)));
                    }
                    let blocks = if seed % 3 == 0 { Vec::new() } else { blocks };
                    let echo = bench.now.saturating_sub(u64::from(random(300)));
                    bench.take_bytes(ack, &blocks, bench.timestamps.then_some(echo));
                    bench.send();
                }
            }
            assert!(bench.sender.is_consistent(), "seed {seed}");
        }
        // Everything arrives in the end.
        for _ in 0..2000 {
            if bench.sender.outstanding() == 0 && bench.sender.not_sent() == 0 {
                break;
            }
            bench.now += 100;
            let nxt = bench.sender.snd().nxt.get();
            bench.take_bytes(nxt, &[], None);
            bench.send();
        }
        assert_eq!((bench.sender.outstanding(), bench.sender.not_sent()), (0, 0), "seed {seed}");
    }
}
