//! The boxes: what they change, how, and where.
#![allow(unreachable_pub, reason = "a part of a test")]

use ropeway_core::packet::{
    AccurateEcn, EcnCodepoint, EcnOrder, IpParams, SackBlocks, SeqNum, TcpFlags, TcpHeader, TcpSegment,
    Timestamps, ip,
};
use ropeway_sim::changed;

use crate::common::{parse, tcp_packet};

/// What a box looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Ae,
    Cwr,
    Ece,
    EcnField,
    Dscp,
    Mss,
    WindowScale,
    SackPermitted,
    SackBlocks,
    Timestamps,
    Counters,
    /// The order of the counters, and not their values.
    CounterOrder,
    /// An option that nobody knows; a box can only add it.
    Unknown,
}

/// What it does to that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    Strip,
    Zero,
    Flip,
    Set,
    /// It says what the last packet of the other direction said.
    Reflect,
}

/// In which segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Syn,
    SynAck,
    PureAck,
    Data,
    All,
}

/// In which direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    FromA,
    FromB,
    Both,
}

pub const PARTS: [Part; 13] = [
    Part::Ae,
    Part::Cwr,
    Part::Ece,
    Part::EcnField,
    Part::Dscp,
    Part::Mss,
    Part::WindowScale,
    Part::SackPermitted,
    Part::SackBlocks,
    Part::Timestamps,
    Part::Counters,
    Part::CounterOrder,
    Part::Unknown,
];
pub const DEEDS: [Deed; 5] = [Deed::Strip, Deed::Zero, Deed::Flip, Deed::Set, Deed::Reflect];
pub const KINDS: [Kind; 5] = [Kind::Syn, Kind::SynAck, Kind::PureAck, Kind::Data, Kind::All];
pub const WAYS: [Way; 3] = [Way::FromA, Way::FromB, Way::Both];

#[derive(Clone, Copy, Debug)]
pub struct Meddler {
    pub part: Part,
    pub deed: Deed,
    pub kind: Kind,
    pub way: Way,
}

/// What a packet says besides its data.
pub type Head = (IpParams, TcpHeader);

/// The headers of a packet.
pub fn head(packet: &[u8]) -> Head {
    let mut head = None;
    let _same = changed(packet, |ip, tcp| head = Some((*ip, *tcp)));
    head.unwrap()
}

impl Meddler {
    pub fn concerns(&self, from: usize, segment: &TcpSegment) -> bool {
        let way = match self.way {
            Way::FromA => from == 0,
            Way::FromB => from == 1,
            Way::Both => true,
        };
        let kind =
            match (segment.tcp.flags.contains(TcpFlags::SYN), segment.tcp.flags.contains(TcpFlags::ACK)) {
                (true, false) => Kind::Syn,
                (true, true) => Kind::SynAck,
                _ if segment.payload.is_empty() => Kind::PureAck,
                _ => Kind::Data,
            };
        way && (self.kind == Kind::All || self.kind == kind)
    }

    /// The packet as it goes on. `other`: the last one of the other direction.
    pub fn change(&self, packet: &[u8], other: Option<&Head>) -> Vec<u8> {
        if self.part == Part::Unknown {
            return with_unknown(packet, self.deed);
        }
        changed(packet, |ip, tcp| match self.part {
            Part::Ae => self.flag(TcpFlags::AE, tcp, other),
            Part::Cwr => self.flag(TcpFlags::CWR, tcp, other),
            Part::Ece => self.flag(TcpFlags::ECE, tcp, other),
            Part::EcnField => {
                let field = self.bits(ip.traffic_class & 3, 3, other.map(|(ip, _)| ip.traffic_class & 3));
                ip.traffic_class = ip.traffic_class & !3 | field;
            }
            Part::Dscp => {
                let dscp =
                    self.bits(ip.traffic_class & 0xfc, 0xfc, other.map(|(ip, _)| ip.traffic_class & 0xfc));
                ip.traffic_class = ip.traffic_class & 3 | dscp;
            }
            _ => self.option(tcp, other.map(|(_, tcp)| tcp)),
        })
    }

    fn bits(&self, own: u8, all: u8, other: Option<u8>) -> u8 {
        match self.deed {
            Deed::Strip | Deed::Zero => 0,
            Deed::Flip => own ^ all,
            Deed::Set => all,
            Deed::Reflect => other.unwrap_or(own),
        }
    }

    fn flag(&self, flag: TcpFlags, tcp: &mut TcpHeader, other: Option<&Head>) {
        let has = |tcp: &TcpHeader| u8::from(tcp.flags.contains(flag));
        let on = self.bits(has(tcp), 1, other.map(|(_, tcp)| has(tcp))) == 1;
        tcp.flags = if on { tcp.flags | flag } else { tcp.flags & !flag };
    }

    fn option(&self, tcp: &mut TcpHeader, other: Option<&TcpHeader>) {
        let is_syn = tcp.flags.contains(TcpFlags::SYN);
        let (options, other) = (&mut tcp.options, other.map(|tcp| &tcp.options));
        match self.part {
            Part::Mss => {
                options.mss = self.number(options.mss, 0x155, u16::MAX, other.map(|other| other.mss));
            }
            Part::WindowScale => {
                options.window_scale =
                    self.number(options.window_scale, 3, 14, other.map(|other| other.window_scale));
            }
            Part::SackPermitted if is_syn => {
                let permitted = self.bits(
                    u8::from(options.sack_permitted),
                    1,
                    other.map(|other| u8::from(other.sack_permitted)),
                );
                options.sack_permitted = permitted == 1;
            }
            Part::SackBlocks => options.sack = self.blocks(options.sack, other.map(|other| other.sack)),
            Part::Timestamps => {
                options.timestamps =
                    self.timestamps(options.timestamps, other.and_then(|other| other.timestamps));
            }
            Part::Counters => {
                options.accurate_ecn =
                    self.counters(options.accurate_ecn, other.and_then(|other| other.accurate_ecn));
            }
            Part::CounterOrder => {
                options.accurate_ecn = options.accurate_ecn.map(|option| {
                    let order = match option.order() {
                        EcnOrder::Ect1First => EcnOrder::Ect0First,
                        _ => EcnOrder::Ect1First,
                    };
                    AccurateEcn::new(order, option.counters())
                });
            }
            _ => {}
        }
    }

    fn number<T>(&self, own: Option<T>, flip: T, most: T, other: Option<Option<T>>) -> Option<T>
    where
        T: Copy + Default + std::ops::BitXor<Output = T>,
    {
        own.and_then(|own| match self.deed {
            Deed::Strip => None,
            Deed::Zero => Some(T::default()),
            Deed::Flip => Some(own ^ flip),
            Deed::Set => Some(most),
            Deed::Reflect => other.flatten().or(Some(own)),
        })
    }

    fn blocks(&self, own: SackBlocks, other: Option<SackBlocks>) -> SackBlocks {
        let each = |change: fn(u32) -> u32| {
            let mut blocks = SackBlocks::default();
            for (from, to) in own.as_slice() {
                blocks.push((SeqNum::new(change(from.get())), SeqNum::new(change(to.get()))));
            }
            blocks
        };
        match self.deed {
            Deed::Strip => SackBlocks::EMPTY,
            Deed::Zero => each(|_| 0),
            Deed::Flip => each(|number| number ^ 0x5a5a_5a5a),
            Deed::Set => each(|_| u32::MAX),
            Deed::Reflect => other.unwrap_or(own),
        }
    }

    fn timestamps(&self, own: Option<Timestamps>, other: Option<Timestamps>) -> Option<Timestamps> {
        let Timestamps { tsval, tsecr } = own?;
        match self.deed {
            Deed::Strip => None,
            Deed::Zero => Some(Timestamps { tsval: 0, tsecr: 0 }),
            Deed::Flip => Some(Timestamps { tsval: tsval ^ 0x5a5a_5a5a, tsecr: tsecr ^ 0x5a5a_5a5a }),
            Deed::Set => Some(Timestamps { tsval: u32::MAX, tsecr: u32::MAX }),
            Deed::Reflect => other.or(own),
        }
    }

    fn counters(&self, own: Option<AccurateEcn>, other: Option<AccurateEcn>) -> Option<AccurateEcn> {
        let option = own?;
        let each = |change: fn(u32) -> u32| {
            let counters: Vec<u32> = option.counters().iter().map(|counter| change(*counter)).collect();
            Some(AccurateEcn::new(option.order(), &counters))
        };
        match self.deed {
            Deed::Strip => None,
            Deed::Zero => each(|_| 0),
            Deed::Flip => each(|counter| counter ^ 0x5a_5a5a),
            Deed::Set => each(|_| u32::MAX),
            Deed::Reflect => other.or(own),
        }
    }
}

/// The packet with an option more, if there is room: one of a kind that nobody knows (RFC 6994), with the deed's value.
fn with_unknown(packet: &[u8], deed: Deed) -> Vec<u8> {
    let value = match deed {
        Deed::Strip | Deed::Zero => [0, 0],
        Deed::Flip => [0x5a, 0x5a],
        Deed::Set => [0xff, 0xff],
        // An option of options.
        Deed::Reflect => [253, 4],
    };
    let segment = parse(packet).unwrap();
    let start = ip::parse(packet).unwrap().payload.start;
    let mut options = packet[start + 20..segment.payload.start].to_vec();
    if options.len() > 36 {
        return packet.to_vec();
    }
    options.extend([253, 4, value[0], value[1]]);
    let data = &packet[segment.payload.clone()];
    tcp_packet(segment.ip.src, segment.ip.dst, &segment.tcp, Some(&options), data)
}

/// A router marks this packet, if it may.
pub fn marked(packet: &[u8]) -> Vec<u8> {
    changed(packet, |ip, _| {
        if EcnCodepoint::of(ip.traffic_class) != EcnCodepoint::NotEct {
            ip.traffic_class = EcnCodepoint::Ce.within(ip.traffic_class);
        }
    })
}
