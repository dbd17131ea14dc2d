//! Boxes on the way that clear, set, change or reflect what ECN is made of: connections come about, and carry their data,
//! whatever they do.

use std::time::Duration;

use proptest::prelude::*;
use ropeway_core::packet::{AccurateEcn, EcnCodepoint, EcnOrder, IpParams, TcpFlags, TcpHeader};
use ropeway_core::{EcnFeedback, EcnMode};
use ropeway_sim::changed;

use crate::common::*;

/// What a box does to the ECN field of every packet.
#[derive(Clone, Copy, Debug)]
enum Field {
    Leave,
    /// All packets say this.
    Set(EcnCodepoint),
    /// Only those that could be marked.
    Mark,
}

/// What it does to the three flags.
#[derive(Clone, Copy, Debug)]
enum Flags {
    Leave,
    Clear(u8),
    Set(u8),
    Flip(u8),
}

/// What it does to the option.
#[derive(Clone, Copy, Debug)]
enum Counters {
    Leave,
    Strip,
    Zero,
    Garble(u32),
    /// Packets with it do not come through.
    Drop,
}

/// To which segments it does so.
#[derive(Clone, Copy, Debug)]
enum Which {
    All,
    Syns,
    Others,
    Every(usize),
}

#[derive(Clone, Copy, Debug)]
struct Meddler {
    /// 0: what A sends; 1: what B sends; 2: both.
    way: usize,
    field: Field,
    flags: Flags,
    option: Counters,
    which: Which,
    /// SYNs that ask for ECN do not come through.
    drops_syns: bool,
}

impl Meddler {
    fn concerns(&self, crossing: &pair::Crossing<'_>, header: &TcpHeader) -> bool {
        let syn = header.flags.contains(TcpFlags::SYN);
        (self.way == 2 || self.way == crossing.from)
            && match self.which {
                Which::All => true,
                Which::Syns => syn,
                Which::Others => !syn,
                Which::Every(every) => crossing.number_this_way.is_multiple_of(every),
            }
    }

    fn fate(&self, crossing: &pair::Crossing<'_>) -> Fate {
        let Some(segment) = parse(crossing.packet) else { return Fate::Deliver };
        let is_syn = segment.tcp.flags & (TcpFlags::SYN | TcpFlags::ACK) == TcpFlags::SYN;
        let asks = is_syn && segment.tcp.flags.ace() != 0;
        if !self.concerns(crossing, &segment.tcp) {
            return Fate::Deliver;
        }
        let blocked = matches!(self.option, Counters::Drop) && segment.tcp.options.accurate_ecn.is_some();
        if (self.drops_syns && asks) || blocked {
            return Fate::Drop;
        }
        Fate::Replace(changed(crossing.packet, |ip, tcp| self.change(ip, tcp)))
    }

    fn change(&self, ip: &mut IpParams, tcp: &mut TcpHeader) {
        let field = match (self.field, EcnCodepoint::of(ip.traffic_class)) {
            (Field::Set(field), _) => field,
            (Field::Mark, EcnCodepoint::Ect0 | EcnCodepoint::Ect1) => EcnCodepoint::Ce,
            (_, field) => field,
        };
        ip.traffic_class = field.within(ip.traffic_class);
        let ace = tcp.flags.ace();
        let ace = match self.flags {
            Flags::Leave => ace,
            Flags::Clear(bits) => ace & !bits,
            Flags::Set(bits) => ace | bits,
            Flags::Flip(bits) => ace ^ bits,
        };
        tcp.flags = tcp.flags & !TcpFlags::ACE | TcpFlags::from_ace(ace);
        if let Some(option) = tcp.options.accurate_ecn {
            let garbled = |with: u32| {
                let counters: Vec<_> = option.counters().iter().map(|counter| counter ^ with).collect();
                AccurateEcn::new(option.order(), &counters)
            };
            tcp.options.accurate_ecn = match self.option {
                Counters::Leave | Counters::Drop => Some(option),
                Counters::Strip => None,
                Counters::Zero => Some(AccurateEcn::new(EcnOrder::Ect1First, &[0; 3])),
                Counters::Garble(with) => Some(garbled(with)),
            };
        }
    }
}

/// Both ends send and receive, through the box, in these modes; how often did anything have to be sent again?
fn converse(modes: [EcnMode; 2], cookies: bool, at_work: Meddler) -> (u64, [u64; 2]) {
    let mut pair = Pair::with(|side, config| {
        config.socket.ecn = modes[side];
        config.min_rto = Duration::from_millis(200);
        if cookies {
            config.syn_cookies = ropeway_core::SynCookieMode::Always;
        }
    })
    .fate(move |crossing| at_work.fate(crossing));
    let script = |first: Op, second: Op| [first, second, Op::ShutdownWrite, Op::RecvEof, Op::Close];
    pair.converse(&script(Op::Send(60_000), Op::Recv(40_000)), &script(Op::Recv(60_000), Op::Send(40_000)));
    pair.live(secs(300));
    let counters = [0, 1].map(|side| pair.stacks[side].counters().tcp_retransmitted);
    (pair.now, counters)
}

fn ways() -> impl Strategy<Value = Meddler> {
    use EcnCodepoint::{Ce, Ect0, Ect1, NotEct};
    let field = prop_oneof![
        3 => Just(Field::Leave),
        1 => prop_oneof![Just(NotEct), Just(Ect0), Just(Ect1), Just(Ce)].prop_map(Field::Set),
        1 => Just(Field::Mark),
    ];
    let flags = prop_oneof![
        3 => Just(Flags::Leave),
        1 => (1..8_u8).prop_map(Flags::Clear),
        1 => (1..8_u8).prop_map(Flags::Set),
        1 => (1..8_u8).prop_map(Flags::Flip),
    ];
    let option = prop_oneof![
        3 => Just(Counters::Leave),
        1 => Just(Counters::Strip),
        1 => Just(Counters::Zero),
        1 => (1..1_u32 << 24).prop_map(Counters::Garble),
        1 => Just(Counters::Drop),
    ];
    let which = prop_oneof![
        3 => Just(Which::All),
        1 => Just(Which::Syns),
        1 => Just(Which::Others),
        1 => (2..5_usize).prop_map(Which::Every),
    ];
    (0..3_usize, field, flags, option, which, prop::bool::weighted(0.1)).prop_map(
        |(way, field, flags, option, which, drops_syns)| {
            // What blocks every segment with the option blocks the connection, unless it is a few.
            let option = match (option, which) {
                (Counters::Drop, Which::All | Which::Others) => Counters::Strip,
                (option, _) => option,
            };
            Meddler { way, field, flags, option, which, drops_syns }
        },
    )
}

fn modes() -> impl Strategy<Value = [EcnMode; 2]> {
    let mode = || (0..6_u8).prop_map(|number| EcnMode::from_number(number).unwrap());
    [mode(), mode()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn connections_come_about_and_carry_their_data_whatever_a_box_does(
        modes in modes(),
        cookies in prop::bool::weighted(0.2),
        at_work in ways(),
    ) {
        // Behind a cookie nobody remembers what did not come through.
        let blocks = cookies && matches!(at_work.option, Counters::Drop);
        let option = if blocks { Counters::Strip } else { at_work.option };
        let at_work = Meddler { option, ..at_work };
        converse(modes, cookies, at_work);
    }
}

const NOTHING: Meddler = Meddler {
    way: 2,
    field: Field::Leave,
    flags: Flags::Leave,
    option: Counters::Leave,
    which: Which::All,
    drops_syns: false,
};

#[test]
fn a_box_that_clears_the_field_or_the_flags_costs_nothing() {
    for mode in [EcnMode::On, EcnMode::Accurate] {
        let (time, _) = converse([mode; 2], false, NOTHING);
        for at_work in [
            Meddler { field: Field::Set(EcnCodepoint::NotEct), ..NOTHING },
            Meddler { field: Field::Set(EcnCodepoint::Ect1), ..NOTHING },
            Meddler { flags: Flags::Clear(7), ..NOTHING },
            Meddler { option: Counters::Strip, ..NOTHING },
            Meddler { option: Counters::Zero, ..NOTHING },
        ] {
            let (with, again) = converse([mode; 2], false, at_work);
            assert_eq!(again, [0, 0], "{mode:?}, {at_work:?}");
            assert!(with <= time * 21 / 20, "{mode:?}, {at_work:?}: {with} and not {time}");
        }
    }
}

// RFC 3168 6.1.1.1, RFC 9768 3.1.4.1
#[test]
fn where_syns_that_ask_do_not_come_through_the_connection_comes_about_without() {
    for mode in [EcnMode::On, EcnMode::Accurate] {
        let at_work = Meddler { drops_syns: true, which: Which::Syns, ..NOTHING };
        let mut pair =
            Pair::with(|_, config| config.socket.ecn = mode).fate(move |crossing| at_work.fate(crossing));
        pair.converse(&[Op::Send(1000), Op::Recv(1)], &[Op::Recv(1000)]);
        pair.run_to(secs(4));
        let id = pair.programs[0].id.unwrap();
        let info = pair.stacks[0].info(pair.ts(), id).unwrap();
        assert_eq!((info.ecn, info.bytes_acked), (EcnFeedback::None, 1000), "{mode:?}");
    }
}

// RFC 9768 3.2.2.3
#[test]
fn a_box_that_marks_everything_is_found_out_by_counting() {
    let at_work = Meddler { field: Field::Mark, ..NOTHING };
    let mut pair = Pair::with(|_, config| config.socket.ecn = EcnMode::Accurate)
        .fate(move |crossing| at_work.fate(crossing));
    pair.converse(&[Op::Send(3_000_000)], &[Op::Recv(3_000_000)]);
    pair.run(secs(60));
    let id = pair.programs[0].id.unwrap();
    let info = pair.stacks[0].info(pair.ts(), id).unwrap();
    assert!(info.delivered_ce > 0 && info.cwnd > 20 * u32::from(info.snd_mss), "{info:?}");
}
