//! Transfers through the boxes.

use std::time::Duration;

use ropeway_core::EcnMode;
use ropeway_core::congestion::Algorithm;

use crate::boxes::{DEEDS, Deed, Head, KINDS, Kind, Meddler, PARTS, Part, WAYS, Way, head, marked};
use crate::common::*;

/// What a transfer has come to.
#[derive(Debug)]
struct Outcome {
    finished: bool,
    micros: u64,
    packets: usize,
    /// The narrowest congestion window of each end, in segments.
    narrowest: [u32; 2],
}

/// 60,000 bytes there and 40,000 back, a millisecond apart. One data packet in twenty is lost, one packet in thirty that may be
/// marked is; `seed` says which.
fn transfer(modes: [EcnMode; 2], congestion: &Algorithm, at_work: Option<Meddler>, seed: u64) -> Outcome {
    let mut pair = Pair::with(|side, config| {
        config.socket.ecn = modes[side];
        config.socket.congestion = congestion.clone();
        config.min_rto = Duration::from_millis(200);
    });
    // What both ends have agreed on, an onlooker in front of the box cannot know.
    pair.watch = None;
    let mut random = Random::new(seed);
    let mut last: [Option<Head>; 2] = [None, None];
    pair.set_fate(move |crossing| {
        let Some(segment) = parse(crossing.packet) else { return Fate::Deliver };
        let (lost, mark) = (random.chance(5) && !segment.payload.is_empty(), random.chance(3));
        let mut packet = if mark { marked(crossing.packet) } else { crossing.packet.to_vec() };
        let said = head(&packet);
        if let Some(meddler) = at_work.filter(|meddler| meddler.concerns(crossing.from, &segment)) {
            packet = meddler.change(&packet, last[1 - crossing.from].as_ref());
        }
        last[crossing.from] = Some(said);
        if lost { Fate::Drop } else { Fate::Replace(packet) }
    });
    let script = |first: Op, second: Op| [first, second, Op::ShutdownWrite, Op::RecvEof, Op::Close];
    pair.converse(&script(Op::Send(60_000), Op::Recv(40_000)), &script(Op::Recv(60_000), Op::Send(40_000)));
    let mut narrowest = [u32::MAX; 2];
    pair.pump();
    while !pair.all_finished() && pair.now < LONGEST && pair.step() {
        assert!(
            pair.stacks.iter().all(ropeway_core::Stack::is_consistent),
            "the record of what is out does not add up: {at_work:?}, {seed}\n{}",
            pair.record()
        );
        for (side, narrowest) in narrowest.iter_mut().enumerate() {
            let id = pair.programs[side].id;
            let info = id.and_then(|id| pair.stacks[side].info(pair.ts(), id).ok());
            if let Some(info) = info.filter(|info| info.snd_mss > 0) {
                *narrowest = (*narrowest).min(info.cwnd / u32::from(info.snd_mss));
            }
        }
    }
    let outcome =
        Outcome { finished: pair.all_finished(), micros: pair.now, packets: pair.total_crossed(), narrowest };
    if outcome.finished {
        pair.settle();
        pair.assert_empty();
    }
    outcome
}

/// After so long it has not come to its end.
const LONGEST: u64 = secs(60);

/// So long a transfer may take. Without a box most take less than ten milliseconds; a few lose their last segment, or a
/// retransmission, and wait for a timeout or two.
const IN_TIME: u64 = secs(3);

/// More packets than a transfer takes that goes on for a minute without coming to its end.
const PATIENT: usize = 2000;

/// A stack may trust what the handshake has agreed on: where a box changes timestamps in a way that makes segments old (RFC 7323
/// 5.3), or tells one end of a window scale and the other not, the rules leave them no way. Then it is to be patient, not more.
fn breaks_the_agreement(meddler: &Meddler) -> bool {
    match (meddler.part, meddler.deed, meddler.kind) {
        (Part::Timestamps, Deed::Strip, _) | (Part::Timestamps, _, Kind::Syn) => false,
        (Part::Timestamps, ..) => true,
        // Windows that are read as much smaller than they are.
        (Part::WindowScale, Deed::Strip | Deed::Zero, _) => true,
        _ => false,
    }
}

/// Every part, deed, kind and way.
fn meddlers() -> impl Iterator<Item = Meddler> {
    PARTS.into_iter().flat_map(|part| {
        DEEDS.into_iter().flat_map(move |deed| {
            KINDS
                .into_iter()
                .flat_map(move |kind| WAYS.into_iter().map(move |way| Meddler { part, deed, kind, way }))
        })
    })
}

fn soak() -> u64 {
    std::env::var("ROPEWAY_SOAK").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

const ALGORITHMS: [Algorithm; 3] = [Algorithm::Cubic, Algorithm::NewReno, Algorithm::Bbr];
const MODES: [EcnMode; 2] = [EcnMode::On, EcnMode::Accurate];

#[test]
fn whatever_a_box_does_to_a_bit_or_an_option_the_transfer_is_complete_in_time() {
    let mut cases = 0;
    for (meddler, seed) in (0..soak()).flat_map(|_| meddlers()).zip(0_u64..) {
        let congestion = &ALGORITHMS[seed as usize % ALGORITHMS.len()];
        for mode in MODES {
            // Now and then the other end knows RFC 3168 only.
            let other = if seed % 4 == 3 { EcnMode::WhenAsked } else { mode };
            let outcome = transfer([mode, other], congestion, Some(meddler), seed);
            let what = format!("{meddler:?}, {mode:?}, {congestion}, seed {seed}: {outcome:?}");
            if breaks_the_agreement(&meddler) {
                assert!(outcome.packets < PATIENT, "without end: {what}");
            } else {
                assert!(outcome.finished && outcome.micros < IN_TIME, "not in time: {what}");
                assert!(outcome.narrowest.iter().all(|window| *window > 0), "nothing may be sent: {what}");
            }
            cases += 1;
        }
    }
    assert!(cases >= 13 * 5 * 5 * 3 * 2, "{cases}");
}

/// 600 kB from A to B at 100 Mbit/s, five milliseconds each way: nothing is lost, and no router marks. How long it takes, and the
/// window behind it, in segments.
fn download(mode: EcnMode, fallback: bool, at_work: Option<Meddler>) -> (u64, u32) {
    const LEN: usize = 600_000;
    let mut pair = Pair::with(|_, config| {
        config.socket.ecn = mode;
        config.socket.ecn_fallback = fallback;
    });
    (pair.rate, pair.delay, pair.watch) = (Some(12_500_000), [Duration::from_millis(5); 2], None);
    let mut last: [Option<Head>; 2] = [None, None];
    pair.set_fate(move |crossing| {
        let Some(segment) = parse(crossing.packet) else { return Fate::Deliver };
        let said = head(crossing.packet);
        let meddler = at_work.filter(|meddler| meddler.concerns(crossing.from, &segment));
        let changed =
            meddler.map(|meddler| meddler.change(crossing.packet, last[1 - crossing.from].as_ref()));
        last[crossing.from] = Some(said);
        changed.map_or(Fate::Deliver, Fate::Replace)
    });
    pair.converse(&[Op::Send(LEN)], &[Op::Recv(LEN)]);
    pair.run(secs(600));
    let info = pair.stacks[0].info(pair.ts(), pair.programs[0].id.unwrap()).unwrap();
    (pair.now, info.cwnd / u32::from(info.snd_mss))
}

// A box that makes up marks on all packets, or echoes in all acknowledgements, is found out after a few round trips.
#[test]
fn marks_that_a_box_has_made_up_do_not_slow_a_sender_down_for_ever() {
    let parts = [Part::Ae, Part::Cwr, Part::Ece, Part::EcnField, Part::Counters, Part::CounterOrder];
    let meddlers = || meddlers().filter(|meddler| meddler.way == Way::Both && parts.contains(&meddler.part));
    for mode in [EcnMode::On, EcnMode::Accurate] {
        for meddler in meddlers() {
            // Two segments a round trip would be two seconds.
            let (time, window) = download(mode, true, Some(meddler));
            assert!(time < secs(1) && window > 4, "{mode:?}, {meddler:?}: {time}, {window}");
        }
    }
    // Who does without the fallback goes on at the least window.
    let echoes = Meddler { part: Part::Ece, deed: Deed::Set, kind: Kind::PureAck, way: Way::FromB };
    let (time, window) = download(EcnMode::On, false, Some(echoes));
    assert!(time > secs(1) && window <= 2, "{time}, {window}");
}
