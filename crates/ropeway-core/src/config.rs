//! The settings of a whole stack: what `ip addr` and `sysctl net.ipv4` are to Linux.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::options::{MAX_BUFFER, SocketOptions};
use crate::policy::EchoPolicy;
use crate::tcp::connection::MIN_MSS;

/// An address of ours with the length of its network's prefix, as in `10.0.0.2/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpCidr {
    address: IpAddr,
    prefix_len: u8,
}

/// The text is not an address, optionally followed by `/` and a prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseIpCidrError;

impl std::fmt::Display for ParseIpCidrError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "expected an IP address with a prefix length, such as 10.0.0.2/24 or fd00::2/64 \
             (/32 or /128 if it is alone in its network)",
        )
    }
}

impl std::error::Error for ParseIpCidrError {}

impl IpCidr {
    /// An address in a network of `prefix_len` bits; longer than the address counts as a host's own.
    #[must_use]
    pub fn new(address: IpAddr, prefix_len: u8) -> Self {
        Self { address, prefix_len: prefix_len.min(Self::max_prefix(address)) }
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The prefix length in bits.
    #[must_use]
    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// Whether `other` is in the same network.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let host_bits = 32 - u32::from(self.prefix_len);
                (own.to_bits() ^ other.to_bits()).checked_shr(host_bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let host_bits = 128 - u32::from(self.prefix_len);
                (own.to_bits() ^ other.to_bits()).checked_shr(host_bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// Whether `other` is the broadcast address of this IPv4 network.
    #[must_use]
    pub fn is_broadcast(&self, other: IpAddr) -> bool {
        self.broadcast().is_some_and(|broadcast| other == IpAddr::V4(broadcast))
    }

    /// The broadcast address of this network: a /31 has none (RFC 3021), and a /32 is no network.
    pub(crate) fn broadcast(&self) -> Option<Ipv4Addr> {
        let IpAddr::V4(own) = self.address else { return None };
        let host_bits = u32::MAX.checked_shr(u32::from(self.prefix_len)).unwrap_or(0);
        (self.prefix_len < 31).then(|| Ipv4Addr::from_bits(own.to_bits() | host_bits))
    }

    /// The first address of this network, and the length of its prefix: the same for all addresses in it.
    pub(crate) fn network(&self) -> (IpAddr, u8) {
        let len = u32::from(self.prefix_len);
        let first = match self.address {
            IpAddr::V4(own) => {
                let host = u32::MAX.checked_shr(len).unwrap_or(0);
                Ipv4Addr::from_bits(own.to_bits() & !host).into()
            }
            IpAddr::V6(own) => {
                let host = u128::MAX.checked_shr(len).unwrap_or(0);
                Ipv6Addr::from_bits(own.to_bits() & !host).into()
            }
        };
        (first, self.prefix_len)
    }

    fn max_prefix(address: IpAddr) -> u8 {
        if address.is_ipv4() { 32 } else { 128 }
    }
}

impl From<IpAddr> for IpCidr {
    fn from(address: IpAddr) -> Self {
        Self { address, prefix_len: Self::max_prefix(address) }
    }
}

impl std::fmt::Display for IpCidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl FromStr for IpCidr {
    type Err = ParseIpCidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Without a prefix it is most likely forgotten, and a device with such an address reaches nobody.
        let (address, prefix_len) = text.split_once('/').ok_or(ParseIpCidrError)?;
        let address: IpAddr = address.parse().map_err(|_| ParseIpCidrError)?;
        let is_number = prefix_len.bytes().all(|digit| digit.is_ascii_digit());
        let prefix_len = prefix_len.parse().ok().filter(|len| is_number && *len <= Self::max_prefix(address));
        Ok(Self { address, prefix_len: prefix_len.ok_or(ParseIpCidrError)? })
    }
}

/// How large a buffer may be that tunes itself: what `tcp_rmem` and `tcp_wmem` are to Linux, in bytes of payload.
///
/// What cannot be meant is clamped: all three are 1 byte to 1 GiB, `min <= initial <= max`, and `min` is at most a 64th of the
/// [`memory_budget`](StackConfig::memory_budget).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferRange {
    /// Scarce memory does not take it below this. What so many bytes may take is set aside for each connection: for 2 KiB each
    /// way, 8 KiB.
    pub min: usize,
    /// What it begins with, and what it goes back to when nothing has moved for a retransmission timeout.
    pub initial: usize,
    /// It grows no further.
    pub max: usize,
}

impl BufferRange {
    fn normalize(&mut self, budget: usize) {
        self.max = self.max.clamp(1, MAX_BUFFER);
        self.min = self.min.clamp(1, self.max.min(budget / 64));
        self.initial = self.initial.clamp(self.min, self.max);
    }
}

/// When a listener answers with SYN cookies (`tcp_syncookies`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SynCookieMode {
    /// Never: when the SYN queue is full, SYNs are dropped.
    Never,
    /// When the SYN queue is full, or a source prefix has its share of it.
    #[default]
    WhenFull,
    /// Always: no handshake costs memory before it is complete.
    Always,
}

/// When connections look for the MTU of their path by probes (RFC 4821; `tcp_mtu_probing`): larger segments than others, whose
/// loss says nothing of congestion.
///
/// A black hole is a path that drops what is too large, and whose routers do not say so, or are not heard. Only probes find it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MtuProbing {
    /// Never (0 in Linux): a connection in a black hole times out.
    Off,
    /// When there is a black hole, or a router has said that less passes (1 in Linux, whose default is 0). A connection that
    /// meets neither sends the same as without, and a search costs it one segment that is sent again for each size that does not
    /// pass.
    #[default]
    BlackHole,
    /// Always (2 in Linux): connections begin with [`StackConfig::base_mss`], unless more is known to pass.
    Always,
}

impl MtuProbing {
    /// The mode of this number in Linux's `net.ipv4.tcp_mtu_probing`.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Off),
            1 => Some(Self::BlackHole),
            2 => Some(Self::Always),
            _ => None,
        }
    }
}

/// Which connects may take a tuple over that is still in TIME-WAIT (`tcp_tw_reuse`).
///
/// A connect that finds no free local port takes the tuple that has been in TIME-WAIT the longest, if timestamps were in
/// use there and it is at least a second old. The new connection begins beyond all sequence numbers and timestamps of
/// the old one, so no old segment is taken for one of its own (RFC 9293 3.6.1, RFC 6191, RFC 7323 5).
///
/// A connect that names its local port may take over its tuple in any mode and at any age, if timestamps were in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeWaitReuse {
    /// None (0 in Linux): all local ports may be in TIME-WAIT, and connects fail.
    Never,
    /// Those to our own addresses, loopback or not (2 in Linux).
    #[default]
    Local,
    /// All (1 in Linux): a peer behind an address that several hosts share must have timestamps that rise.
    Always,
}

/// The settings of a [`Stack`](crate::Stack). Each field's default is Linux's, unless it says otherwise.
///
/// Any value is allowed. What cannot be meant is clamped, and [`Stack::config`](crate::Stack::config) shows to what: a
/// retransmission timeout is at least a millisecond and at most `max_rto`, an MTU at least 68 bytes; a duration beyond a
/// hundred years counts as a hundred years.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StackConfig {
    /// Our addresses on the device. Empty: only the loopback addresses exist.
    pub addresses: Vec<IpCidr>,
    /// The device's MTU in bytes, IP header included. 1500 by default.
    pub mtu: u16,
    /// The device finishes transport checksums, so the stack writes only their pseudo-header sum.
    pub tx_checksum_offload: bool,
    /// The longest train, in bytes, IP header included: several segments of a connection in one packet that the device cuts
    /// ([`Transmit::segment_size`](crate::Transmit::segment_size)). 0, the default: it cuts none.
    pub longest_train: u16,
    /// What new sockets start with.
    pub socket: SocketOptions,
    /// How long TIME-WAIT lasts: 2 MSL. 60 s by default; RFC 9293's own MSL would make it 4 minutes. Five days
    /// at most.
    pub time_wait: Duration,
    /// The retransmission timeout before there is a round-trip sample (RFC 6298 2-1). 1 s.
    pub initial_rto: Duration,
    /// By how much the retransmission timeout exceeds the smoothed round-trip time at the least. 200 ms, as in
    /// Linux; RFC 6298 (2.4) suggests a timeout of 1 s at the least.
    pub min_rto: Duration,
    /// The largest retransmission timeout, backoff included (RFC 6298 2-5). 120 s.
    pub max_rto: Duration,
    /// How long an acknowledgement may wait for company. 40 ms; always below 500 ms (RFC 9293 MUST-40).
    pub delayed_ack: Duration,
    /// How many acknowledgements are not delayed at a connection's beginning, and after a pause longer than a
    /// retransmission timeout: the sender's congestion window is small then, and opens with each. As in Linux,
    /// an application that answers what it reads within `delayed_ack` ends that. 16; 0 delays from the first.
    pub quick_acks: u8,
    /// The stack's owner lets applications act on events before it calls [`handle_timeout`](crate::Stack::handle_timeout) again,
    /// in the same moment. Then acknowledgements that are not delayed are due in the first call after all events were taken: an
    /// answer that is written at once takes them along. So is that of a FIN in ESTABLISHED, which leaves at once otherwise. That of
    /// a SYN-ACK is due in the next call in any case: a listener that is full opens the connection with the data behind it. Off by
    /// default; `ropeway`'s drivers have it on.
    pub events_first: bool,
    /// R1 (RFC 9293 3.8.3 SHLD-10): retransmissions of a segment after which delivery trouble is reported. 3.
    pub retries1: u32,
    /// R2 (RFC 9293 3.8.3 SHLD-11): retransmissions of a segment after which the connection is given up. 15,
    /// which is more than a quarter of an hour.
    pub retries2: u32,
    /// R2 of a connection that no application holds any more. 8.
    pub orphan_retries: u32,
    /// How often a SYN-ACK is retransmitted before its half-open connection is reaped. 5: with a first
    /// timeout of 1 s, reaped after 63 s (RFC 4987 3.3-1).
    pub synack_retries: u32,
    /// How long a connection that no application holds any more waits in FIN-WAIT-2 (`tcp_fin_timeout`), and three and a half
    /// retransmission timeouts at least. 60 s. Zero: not at all; a RST tells the peer.
    pub fin_timeout: Duration,
    /// The sizes of a receive buffer that tunes itself, which it does unless [`SocketOptions::recv_buffer`] says its size
    /// (`tcp_rmem`). 2 KiB, 128 KiB and 32 MiB.
    pub auto_recv_buffer: BufferRange,
    /// Likewise of a send buffer (`tcp_wmem`). 2 KiB, 16 KiB and 32 MiB.
    pub auto_send_buffer: BufferRange,
    /// The largest window that may ever be asked for, in bytes: it decides the window scale that is announced in our SYN
    /// (RFC 7323 2.3), with the size of the receive buffer if that is more, or the largest that it may grow to. 32 MiB.
    pub max_window: u32,
    /// Use RFC 7323 timestamps when the peer does. On.
    pub timestamps: bool,
    /// Drop what lacks the timestamps that both SYNs had, as RFC 7323 3.2 asks for; a RST needs none. Off, as in Linux:
    /// some peers and boxes on the way have them in their SYN only, and would never get through.
    pub strict_timestamps: bool,
    /// Use SACK when the peer does (RFC 2018; `tcp_sack`). On.
    pub sack: bool,
    /// Report by SACK what has arrived twice (D-SACK, RFC 2883; `tcp_dsack`). On.
    pub dsack: bool,
    /// Use RFC 7323 window scaling when the peer does. On.
    pub window_scaling: bool,
    /// How coarse the clock is by which packets and timers are handled: Tokio's timers tick in milliseconds. Losses are not
    /// found by differences in time that it may have made (RFC 8985). 1 ms.
    pub clock_granularity: Duration,
    /// Find losses by time (RACK, RFC 8985; `tcp_recovery`), if the peer uses SACK. On. Off: by counting what SACK reports
    /// (RFC 6675).
    pub rack: bool,
    /// Probe the tail of what is in flight when nothing is heard of it (TLP, RFC 8985 7; `tcp_early_retrans`). On.
    pub tlp: bool,
    /// Find out whether a retransmission timeout was spurious (F-RTO, RFC 5682; `tcp_frto`). On.
    pub frto: bool,
    /// Give the congestion window back when a retransmission proves to have been spurious (RFC 4015). On.
    pub undo: bool,
    /// Reduce the window in proportion to what arrives (PRR, RFC 9937). On. Off: at once.
    pub prr: bool,
    /// Send at a rate rather than in bursts of more than ten segments, or twenty in slow start. On.
    pub pacing: bool,
    /// When connections look for the MTU of their path by probes, beside what ICMP says (RFC 4821; `tcp_mtu_probing`). When they
    /// meet a black hole.
    pub mtu_probing: MtuProbing,
    /// The MSS that a connection goes down to in a black hole, and where searches begin (`tcp_base_mss`). 1024.
    ///
    /// IPv6 never goes below an MTU of 1280 bytes, which each of its links has (RFC 8200 5).
    pub base_mss: u16,
    /// The least MSS that a connection goes down to if even `base_mss` does not pass (`tcp_mtu_probe_floor`). 48, which is the
    /// least allowed.
    pub mtu_probe_floor: u16,
    /// How long after a search for the path's MTU a larger one is tried again (`tcp_probe_interval`). 600 s.
    pub probe_interval: Duration,
    /// A search is over when fewer bytes than this are between what passes and what does not (`tcp_probe_threshold`). 8.
    pub probe_threshold: u16,
    /// Ports for connections that did not choose one (RFC 6056). 32768 to 60999.
    pub ephemeral_ports: RangeInclusive<u16>,
    /// Most connections at a time, all listeners together; SYNs beyond it are dropped. 1,000,000.
    pub max_connections: usize,
    /// Most connections that were closed, that nobody holds any more, and that are still to send or to wait for the peer
    /// (`tcp_max_orphans`); the next one is reset. 65,536.
    pub max_orphans: usize,
    /// Most entries in TIME-WAIT; beyond it the oldest makes room. 262,144; 0 leaves TIME-WAIT out.
    pub max_time_wait: usize,
    /// Which connects may take over a tuple in TIME-WAIT when no port is free. Those to ourselves.
    pub time_wait_reuse: TimeWaitReuse,
    /// When SYNs are answered with cookies instead of entries in the SYN queue (RFC 4987). When it is full.
    pub syn_cookies: SynCookieMode,
    /// Most half-open connections of one source prefix (/24, or /64 for IPv6), all listeners together: what
    /// is beyond counts as if the SYN queue were full. 512.
    pub half_open_per_prefix: u32,
    /// For how long data goes with no SYN after Fast Open was found to be swallowed on the way: as often as it is found again before
    /// it has worked, twice as long as the last time, up to 64 times (RFC 7413 7.1; `tcp_fastopen_blackhole_timeout`). An hour;
    /// zero is never. Linux has 0 since its version 5.14.
    pub fast_open_blackhole_timeout: Duration,
    /// Of how many servers the cookie is kept that they gave us for Fast Open, for a day at most (RFC 7413 4.1.3). 1024.
    pub max_fast_open_cookies: usize,
    /// Answer with a RST when the accept queue is full, instead of letting the peer try again
    /// (`tcp_abort_on_overflow`). Off.
    pub abort_on_overflow: bool,
    /// How long an unanswered SYN of `listen_any` waits for the user's decision. 120 s: by then the peer has
    /// given up.
    pub decision_timeout: Duration,
    /// Most challenge ACKs of one connection a second (RFC 5961 7-2). 100.
    pub challenge_acks_per_second: u32,
    /// How much memory the stack may take, in bytes: [`MemoryUse`](crate::MemoryUse) tells what counts. At least
    /// [`LEAST_MEMORY_BUDGET`](Self::LEAST_MEMORY_BUDGET).
    ///
    /// `None`, the default, is 4 GiB (1 GiB where addresses have 32 bits). In `ropeway`, a stack with a TUN device takes a
    /// quarter of the machine's memory instead, or of what its control group may have (`memory.max`), whichever is less.
    ///
    /// A network (/24, or /64 for IPv6) is held to what it has and what is left, so that it never has all. From eight
    /// sixteenths of that on, counting what is set aside for each connection, no buffer grows; from ten on windows close from
    /// the left and writers wait; from eleven on what lies beyond gaps is dropped, if it is more than a fair part of what is
    /// left; from twelve on streams grow no further, and connections that nobody holds any more are reset; from thirteen on no
    /// connection is taken or opened; from fourteen on data is dropped as if it had been lost. When less than a quarter of the
    /// budget is left, a network is held to an equal share of it, too, the more the less there is. A connection may always receive and send the `min` of its buffers: that is what is set aside for
    /// it, 8 KiB of memory at the defaults. SYN queue and TIME-WAIT take an eighth of the budget each at most.
    pub memory_budget: Option<usize>,
    /// How long the fragments of an IP datagram wait for the others (`ipfrag_time`, `ip6frag_time`). 60 s, as RFC 8200 4.5 has it,
    /// and RFC 1122 3.3.2 suggests from there on; Linux gives those of IPv4 30 s.
    pub reassembly_timeout: Duration,
    /// How much memory fragments may take that wait, in bytes (`ipfrag_high_thresh`), and an eighth of the memory budget at most; those
    /// of one source prefix, half of it. When there is no more room, the oldest datagrams are given up. 4 MiB; 0 takes no fragments.
    pub reassembly_memory: usize,
    /// What becomes of ICMP echo requests to our addresses (`icmp_echo_ignore_all`). They are answered.
    pub echo: EchoPolicy,
    /// Most ICMP errors we send a second (RFC 1812 4.3.2.8, RFC 4443 2.4 f). 1000.
    pub icmp_errors_per_second: u32,
    /// Most of these to one address, or one /64 of IPv6 (`icmp_ratelimit`). Some share a limit with others: there are 256. 100.
    pub icmp_errors_per_source: u32,
}

/// How far buffers grow by themselves.
const LARGEST: u32 = 32 * 1024 * 1024;

/// RFC 791 3.2: no link carries less.
const MIN_MTU: u16 = 68;

/// The memory budget of a stack whose user does not say: the same everywhere.
const MEMORY_BUDGET: usize = if usize::BITS > 32 { 4 << 30 } else { 1 << 30 };

/// The clock's granularity, G of RFC 6298: no timeout is shorter.
pub(crate) const GRANULARITY: Duration = Duration::from_millis(1);

/// A hundred years. What is longer counts as this, so that a sum of some durations is one, too.
pub(crate) const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

impl StackConfig {
    /// The least that [`memory_budget`](Self::memory_budget) may be: 1 MiB.
    pub const LEAST_MEMORY_BUDGET: usize = 1 << 20;

    /// The sizes in bytes that the receive buffer and the send buffer of a socket with these options begin with.
    #[must_use]
    pub fn initial_buffers(&self, options: &SocketOptions) -> (usize, usize) {
        (
            options.fixed_recv_buffer().unwrap_or(self.auto_recv_buffer.initial),
            options.fixed_send_buffer().unwrap_or(self.auto_send_buffer.initial),
        )
    }

    /// What all may take that the stack holds.
    pub(crate) fn budget(&self) -> usize {
        self.memory_budget.unwrap_or(MEMORY_BUDGET).max(Self::LEAST_MEMORY_BUDGET)
    }

    /// Leaves one of so many equal parts of what a host may have as a whole, memory apart.
    pub(crate) fn divide(&mut self, parts: NonZeroUsize) {
        let limits = [
            &mut self.max_connections,
            &mut self.max_orphans,
            &mut self.max_time_wait,
            &mut self.reassembly_memory,
        ];
        for limit in limits {
            *limit = limit.div_ceil(parts.get());
        }
        let parts = u32::try_from(parts.get()).unwrap_or(u32::MAX);
        let limits = [
            &mut self.half_open_per_prefix,
            &mut self.icmp_errors_per_second,
            &mut self.icmp_errors_per_source,
        ];
        for limit in limits {
            *limit = limit.div_ceil(parts);
        }
    }

    /// Brings what the user said into the range that makes sense.
    pub(crate) fn normalize(&mut self) {
        self.socket.normalize();
        self.memory_budget = Some(self.budget());
        self.auto_recv_buffer.normalize(self.budget());
        self.auto_send_buffer.normalize(self.budget());
        self.mtu = self.mtu.max(MIN_MTU);
        self.mtu_probe_floor = self.mtu_probe_floor.max(MIN_MSS);
        self.base_mss = self.base_mss.max(self.mtu_probe_floor);
        self.probe_threshold = self.probe_threshold.max(1);
        self.probe_interval = self.probe_interval.min(FOREVER);
        self.max_rto = self.max_rto.clamp(GRANULARITY, FOREVER);
        self.initial_rto = self.initial_rto.clamp(GRANULARITY, self.max_rto);
        self.min_rto = self.min_rto.min(self.max_rto);
        self.clock_granularity = self.clock_granularity.min(Duration::from_secs(1));
        let waits = [
            &mut self.time_wait,
            &mut self.delayed_ack,
            &mut self.fin_timeout,
            &mut self.decision_timeout,
            &mut self.reassembly_timeout,
        ];
        for wait in waits {
            *wait = (*wait).min(FOREVER);
        }
    }
}

impl Default for StackConfig {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            mtu: 1500,
            tx_checksum_offload: false,
            longest_train: 0,
            socket: SocketOptions::default(),
            time_wait: Duration::from_secs(60),
            initial_rto: Duration::from_secs(1),
            min_rto: Duration::from_millis(200),
            max_rto: Duration::from_secs(120),
            delayed_ack: Duration::from_millis(40),
            quick_acks: 16,
            events_first: false,
            retries1: 3,
            retries2: 15,
            orphan_retries: 8,
            synack_retries: 5,
            fin_timeout: Duration::from_secs(60),
            auto_recv_buffer: BufferRange { min: 2048, initial: 128 * 1024, max: LARGEST as usize },
            auto_send_buffer: BufferRange { min: 2048, initial: 16 * 1024, max: LARGEST as usize },
            max_window: LARGEST,
            timestamps: true,
            strict_timestamps: false,
            sack: true,
            dsack: true,
            window_scaling: true,
            clock_granularity: GRANULARITY,
            rack: true,
            tlp: true,
            frto: true,
            undo: true,
            prr: true,
            pacing: true,
            mtu_probing: MtuProbing::default(),
            base_mss: 1024,
            mtu_probe_floor: MIN_MSS,
            probe_interval: Duration::from_secs(600),
            probe_threshold: 8,
            ephemeral_ports: 32768..=60999,
            max_connections: 1_000_000,
            max_orphans: 65_536,
            max_time_wait: 262_144,
            time_wait_reuse: TimeWaitReuse::Local,
            syn_cookies: SynCookieMode::WhenFull,
            half_open_per_prefix: 512,
            fast_open_blackhole_timeout: Duration::from_secs(3600),
            max_fast_open_cookies: 1024,
            abort_on_overflow: false,
            decision_timeout: Duration::from_secs(120),
            challenge_acks_per_second: 100,
            memory_budget: None,
            reassembly_timeout: Duration::from_secs(60),
            reassembly_memory: 4 << 20,
            echo: EchoPolicy::Answer,
            icmp_errors_per_second: 1000,
            icmp_errors_per_source: 100,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_its_prefix_is_refused_with_what_to_write() {
        for good in ["10.0.0.2/24", "10.0.0.2/32", "0.0.0.0/0", "fd00::2/64", "fd00::2/128"] {
            assert_eq!(good.parse::<IpCidr>().unwrap().to_string(), good);
        }
        for bad in [
            "10.0.0.2",
            "fd00::2",
            "10.0.0.2/",
            "10.0.0.2/33",
            "10.0.0.2/+24",
            "10.0.0.2/-1",
            "/24",
            "",
            "fd00::2/129",
        ] {
            let error = bad.parse::<IpCidr>().unwrap_err().to_string();
            assert!(error.contains("10.0.0.2/24") && error.contains("/32"), "{bad}");
        }
    }
}
