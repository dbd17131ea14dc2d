//! What a box on the way does to a packet that it lets through.

use bytes::Bytes;
use ropeway_core::packet::{AccurateEcn, EcnCodepoint, EcnOrder, IpParams, SackBlocks, TcpFlags, TcpHeader};
use ropeway_sim::changed;

use crate::common::{parse, tcp_packet};

/// A change of one packet. Checksums are right again behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A router is congested: what may be marked is.
    Mark,
    /// The ECN field is cleared.
    Bleach,
    /// AE, CWR and ECE are cleared.
    ClearFlags,
    /// All three are set.
    SetFlags,
    /// The option of Accurate ECN is taken out.
    StripCounters,
    /// Its counters are zeroed.
    ZeroCounters,
    /// SACK-permitted, and the blocks of SACK, are taken out.
    StripSack,
    /// The option of Fast Open is taken out. What the SYN carries goes on.
    StripFastOpen,
    /// The data of a SYN is taken out.
    CutSyn,
}

impl Change {
    pub const ALL: [Self; 9] = [
        Self::Mark,
        Self::Bleach,
        Self::ClearFlags,
        Self::SetFlags,
        Self::StripCounters,
        Self::ZeroCounters,
        Self::StripSack,
        Self::StripFastOpen,
        Self::CutSyn,
    ];

    /// What routers may do. Everything else breaks what both ends have agreed on.
    pub fn is_allowed(self) -> bool {
        self == Self::Mark
    }

    /// The packet as it goes on, if the box finds something to change.
    pub fn of(self, packet: &Bytes) -> Option<Bytes> {
        if self == Self::CutSyn {
            let segment = parse(packet)?;
            let is_early = segment.tcp.flags.contains(TcpFlags::SYN) && !segment.payload.is_empty();
            let cut = || tcp_packet(segment.ip.src, segment.ip.dst, &segment.tcp, None, &[]);
            return is_early.then(|| cut().into());
        }
        let after = changed(packet, |ip, tcp| self.change(ip, tcp));
        (after != *packet).then(|| after.into())
    }

    fn change(self, ip: &mut IpParams, tcp: &mut TcpHeader) {
        let options = &mut tcp.options;
        match self {
            Self::Mark if EcnCodepoint::of(ip.traffic_class) == EcnCodepoint::NotEct => {}
            Self::Mark => ip.traffic_class = EcnCodepoint::Ce.within(ip.traffic_class),
            Self::Bleach => ip.traffic_class = EcnCodepoint::NotEct.within(ip.traffic_class),
            Self::ClearFlags => tcp.flags = tcp.flags & !TcpFlags::ACE,
            Self::SetFlags => tcp.flags |= TcpFlags::ACE,
            Self::StripCounters => options.accurate_ecn = None,
            Self::ZeroCounters => {
                let zeroed = AccurateEcn::new(EcnOrder::Ect1First, &[0; AccurateEcn::MAX]);
                options.accurate_ecn = options.accurate_ecn.map(|_| zeroed);
            }
            Self::StripSack => (options.sack_permitted, options.sack) = (false, SackBlocks::EMPTY),
            Self::StripFastOpen => options.fast_open = None,
            // It is not in the header.
            Self::CutSyn => {}
        }
    }
}
