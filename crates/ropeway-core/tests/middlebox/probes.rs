//! Boxes that let large packets vanish, or lie about them: whatever is probed, the transfer is complete in time.

use std::time::Duration;

use ropeway_core::packet::{IcmpErrorKind, icmp};
use ropeway_core::{MtuProbing, Received, SocketOptions};

use crate::common::*;

/// What becomes of large packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deed {
    /// They vanish: those of the client, those of the server, or both.
    Swallow([bool; 2]),
    /// Each second one vanishes: two links, and packets that go over both in turns.
    SwallowSome,
    /// They vanish from the tenth packet on, for a while or for ever.
    SwallowLater,
    SwallowForAWhile,
    /// They pass, but an ICMP error says that they do not.
    Lie(u32),
    /// They vanish, and an ICMP error says that less passes than does, or more.
    Tell(u32),
}

const DEEDS: [Deed; 11] = [
    Deed::Swallow([true, false]),
    Deed::Swallow([false, true]),
    Deed::Swallow([true, true]),
    Deed::SwallowSome,
    Deed::SwallowLater,
    Deed::SwallowForAWhile,
    Deed::Lie(600),
    Deed::Lie(0),
    Deed::Tell(1200),
    Deed::Tell(700),
    Deed::Tell(1450),
];

/// What passes.
const NARROW: usize = 1300;
const MUCH: usize = 100_000;

/// So many bytes each way; how long it takes.
fn transfer(deed: Deed, probing: MtuProbing, v6: bool) -> Option<u64> {
    let mut pair = Pair::with(|_, config| config.mtu_probing = probing);
    if v6 {
        pair = pair.v6();
    }
    (pair.delay, pair.watch) = ([Duration::from_millis(5); 2], None);
    let errors = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let said = errors.clone();
    pair.set_fate(move |crossing| {
        let large = crossing.packet.len() > NARROW;
        let tell = |mtu: u32| {
            let segment = parse(crossing.packet).unwrap();
            let kind = IcmpErrorKind::PacketTooBig { mtu };
            let error = icmp::emit_error(segment.ip.dst, segment.ip.src, kind, crossing.packet, 64);
            said.borrow_mut().push((crossing.from, error));
        };
        let lost = match deed {
            _ if !large => false,
            Deed::Swallow(ways) => ways[crossing.from],
            Deed::SwallowSome => crossing.number.is_multiple_of(2),
            Deed::SwallowLater => crossing.number >= 10,
            Deed::SwallowForAWhile => (10..60).contains(&crossing.number),
            Deed::Lie(mtu) => {
                tell(mtu);
                false
            }
            Deed::Tell(mtu) => {
                tell(mtu);
                true
            }
        };
        if lost { Fate::Drop } else { Fate::Deliver }
    });
    let wide = |options: &mut SocketOptions| {
        (options.send_buffer, options.recv_buffer) = (1 << 20, 1 << 20);
    };
    let script = |first: Op, second: Op| [first, second, Op::ShutdownWrite, Op::RecvEof, Op::Close];
    pair.converse_with(
        &script(Op::Send(MUCH), Op::Recv(MUCH)),
        &script(Op::Send(MUCH), Op::Recv(MUCH)),
        wide,
        wide,
    );
    pair.pump();
    while !pair.all_finished() && pair.now < secs(60) && pair.step() {
        for (to, error) in errors.take() {
            pair.stacks[to].handle_packet(pair.ts(), Received::new(error.into()));
        }
        assert!(
            pair.stacks.iter().all(ropeway_core::Stack::is_consistent),
            "{deed:?}: the record does not add up"
        );
        pair.pump();
    }
    pair.all_finished().then_some(pair.now)
}

#[test]
fn whatever_a_box_does_to_large_packets_the_transfer_is_complete_in_time() {
    for deed in DEEDS {
        for probing in [MtuProbing::BlackHole, MtuProbing::Always] {
            for v6 in [false, true] {
                // Two timeouts find a black hole; where the path flaps, or a router names what does not pass, there are more.
                let took = transfer(deed, probing, v6);
                assert!(
                    took.is_some_and(|took| took < secs(5)),
                    "{deed:?}, {probing:?}, IPv6: {v6}: {took:?}"
                );
            }
        }
    }
    // It is the probing that does it.
    assert_eq!(transfer(Deed::Swallow([true, false]), MtuProbing::Off, false), None);
}
