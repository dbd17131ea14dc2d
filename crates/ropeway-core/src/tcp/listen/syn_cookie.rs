//! SYN cookies (RFC 4987 3.6, appendix A): a handshake that costs us no memory before it is complete.
//!
//! The cookie is our ISN: four bits of a coarse clock, one for whether our SYN-ACK announced a window scale, three for
//! the peer's MSS, and 24 bits of SipHash-2-4 over the four-tuple, the peer's ISN and those eight bits, under a secret
//! that changes every few minutes. What else a SYN says travels in the low six bits of our timestamp, which the peer
//! echoes; if it does not, though it had timestamps in its SYN, its window scale is lost, but not that it uses ours.

use std::hash::Hasher;

use ropeway_packet::{
    AccurateEcn, FourTuple, SeqNum, TcpFlags, TcpHeader, TcpOptions, Timestamps, WindowScale,
};
use siphasher::sip::SipHasher24;

use crate::ecn::EcnFeedback;
use crate::tcp::connection::Negotiated;
use crate::tcp::ecn::Ecn;
use crate::tcp::ecn::handshake::shows_accurate;
use crate::tcp::isn::{low_u32, with_packed};
use crate::time::Timestamp;

/// The coarse clock ticks every 64 s. A cookie is good in the tick it was made in and in the next.
const TICK_MICROS: u64 = 64_000_000;

/// The secret changes every eight ticks: eight and a half minutes.
const TICKS_PER_SECRET: u64 = 8;

/// The largest of these that does not exceed the peer's MSS is remembered.
const MSS_TABLE_V4: [u16; 8] = [48, 536, 1220, 1360, 1400, 1440, 1460, 8960];

/// Likewise for IPv6, whose header takes 20 bytes more of a jumbo frame.
const MSS_TABLE_V6: [u16; 8] = [48, 536, 1220, 1360, 1400, 1440, 1460, 8940];

fn mss_table(tuple: &FourTuple) -> &'static [u16; 8] {
    if tuple.remote_addr.is_ipv4() { &MSS_TABLE_V4 } else { &MSS_TABLE_V6 }
}

/// No window scale, in the four bits for it: 15 is not a legal scale.
const NO_SCALE: u32 = 0xf;
const SACK_BIT: u32 = 1 << 4;
const ECN_BIT: u32 = 1 << 5;
const OPTION_BITS: u32 = 0x3f;

/// The coarse clock modulo this is in the cookie.
const CLOCK: u64 = 16;
const SCALED_BIT: u32 = 1 << 3;
const MSS_BITS: u32 = 0x7;

/// The bits of a cookie that are a hash.
const MAC_BITS: u32 = 0x00ff_ffff;

/// Makes and checks cookies. It keeps secrets and nothing else.
#[derive(Clone)]
pub(crate) struct SynCookies {
    secret: [u8; 16],
    /// The secrets of this period and of the one before, derived from the one that never changes.
    derived: [(u64, [u8; 16]); 2],
}

impl std::fmt::Debug for SynCookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SynCookies { .. }")
    }
}

/// What a cookie remembers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// The peer's MSS, rounded down.
    pub(crate) mss: u16,
    /// Our SYN-ACK announced a window scale, and timestamps.
    pub(crate) scaled: bool,
}

/// What a good cookie brings back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recovered {
    said: Remembered,
    /// The low bits of the echoed timestamp.
    options: Option<u32>,
    tsval: u32,
}

impl SynCookies {
    pub(crate) fn new(secret: [u8; 16]) -> Self {
        let derived = [0, 1].map(|period| (period, derive(&secret, period)));
        Self { secret, derived }
    }

    /// Our ISN for this SYN (RFC 4987 3.6-1).
    pub(crate) fn make(
        &mut self,
        tuple: &FourTuple,
        irs: SeqNum,
        said: Remembered,
        now: Timestamp,
    ) -> SeqNum {
        let tick = now.as_micros() / TICK_MICROS;
        let mss_index = mss_table(tuple).iter().rposition(|mss| *mss <= said.mss).unwrap_or(0);
        let scaled = if said.scaled { SCALED_BIT } else { 0 };
        let bits = low_u32(tick % CLOCK) << 4 | scaled | low_u32(mss_index as u64);
        SeqNum::new(bits << 24 | self.mac(tuple, irs, tick, bits))
    }

    /// Whether `ack` acknowledges a cookie that we made for this peer, lately (RFC 4987 3.6-1).
    pub(crate) fn check(
        &mut self,
        tuple: &FourTuple,
        segment: &TcpHeader,
        now: Timestamp,
    ) -> Option<Recovered> {
        let cookie = (segment.ack - 1).get();
        let irs = segment.seq - 1;
        let bits = cookie >> 24;
        let this = now.as_micros() / TICK_MICROS;
        let tick = [Some(this), this.checked_sub(1)]
            .into_iter()
            .flatten()
            .find(|tick| low_u32(tick % CLOCK) == bits >> 4)?;
        if cookie & MAC_BITS != self.mac(tuple, irs, tick, bits) {
            return None;
        }
        let timestamps = segment.options.timestamps;
        let mss = *mss_table(tuple).get((bits & MSS_BITS) as usize)?;
        Some(Recovered {
            said: Remembered { mss, scaled: bits & SCALED_BIT != 0 },
            options: timestamps.map(|timestamps| timestamps.tsecr & OPTION_BITS),
            tsval: timestamps.map_or(0, |timestamps| timestamps.tsval),
        })
    }

    fn mac(&mut self, tuple: &FourTuple, irs: SeqNum, tick: u64, bits: u32) -> u32 {
        let mut hasher = SipHasher24::new_with_key(&self.secret_of(tick / TICKS_PER_SECRET));
        with_packed(tuple, |packed| hasher.write(packed));
        hasher.write_u64(u64::from(irs.get()) << 32 | u64::from(bits));
        hasher.write_u64(tick);
        low_u32(hasher.finish()) & MAC_BITS
    }

    fn secret_of(&mut self, period: u64) -> [u8; 16] {
        let [first, second] = &mut self.derived;
        let place = if period.is_multiple_of(2) { first } else { second };
        if place.0 != period {
            *place = (period, derive(&self.secret, period));
        }
        place.1
    }
}

/// The secret of a period.
fn derive(secret: &[u8; 16], period: u64) -> [u8; 16] {
    let mut derived = [0; 16];
    for (half, index) in derived.chunks_exact_mut(8).zip(0u64..) {
        let mut hasher = SipHasher24::new_with_key(secret);
        hasher.write_u64(period);
        hasher.write_u64(index);
        half.copy_from_slice(&hasher.finish().to_le_bytes());
    }
    derived
}

/// The timestamp of a SYN-ACK with a cookie: what the SYN said stands in its low bits, and it is not ahead of
/// our clock.
pub(crate) fn timestamp_with_options(clock: u32, syn: &TcpOptions, ecn: bool) -> u32 {
    let scale = syn.window_scale.map_or(NO_SCALE, |shift| u32::from(WindowScale::new(shift).get()));
    let bits = scale | if syn.sack_permitted { SACK_BIT } else { 0 } | if ecn { ECN_BIT } else { 0 };
    let stamped = clock & !OPTION_BITS | bits;
    if SeqNum::new(stamped).after(SeqNum::new(clock)) {
        stamped.wrapping_sub(OPTION_BITS + 1)
    } else {
        stamped
    }
}

impl Recovered {
    /// What the handshake agreed on. `own_scale`: the window scale that our SYN-ACK announced, if the peer's
    /// SYN had one. `ecn`: the most that we agree to of ECN, and the flags of the
    /// third segment, which tell whether that was Accurate ECN (RFC 9768 5.1-1).
    pub(crate) fn negotiated(
        &self,
        own_scale: Option<WindowScale>,
        use_timestamps: bool,
        use_sack: bool,
        (ecn, third): (EcnFeedback, TcpFlags),
    ) -> Negotiated {
        let options = self.options.filter(|_| use_timestamps);
        let peer_scale = options.map(|bits| bits & NO_SCALE).filter(|scale| *scale != NO_SCALE);
        // If it is not known, the peer's windows are at least what they say.
        let peer_scale =
            peer_scale.and_then(|scale| u8::try_from(scale).ok()).map_or(WindowScale::ZERO, WindowScale::new);
        Negotiated {
            peer_mss: Some(self.said.mss),
            wscale: own_scale.filter(|_| self.said.scaled).map(|own| (peer_scale, own)),
            timestamps: options.map(|_| self.tsval),
            sack: use_sack && options.is_some_and(|bits| bits & SACK_BIT != 0),
            ecn: Ecn::agreed(self.ecn_of(ecn, third), true),
        }
    }

    fn ecn_of(&self, most: EcnFeedback, third: TcpFlags) -> EcnFeedback {
        let remembers = self.options.is_some_and(|bits| bits & ECN_BIT != 0);
        match most {
            EcnFeedback::Accurate if shows_accurate(third) => EcnFeedback::Accurate,
            EcnFeedback::Classic | EcnFeedback::Accurate if remembers => EcnFeedback::Classic,
            _ => EcnFeedback::None,
        }
    }

    /// The timestamps that both SYNs had are missing, as far as a cookie can tell.
    pub(crate) fn lacks_timestamps(&self) -> bool {
        self.said.scaled && self.options.is_none()
    }
}

/// The options of a SYN-ACK with a cookie.
pub(crate) fn syn_ack_options(
    syn: &TcpHeader,
    advmss: u16,
    own_scale: Option<WindowScale>,
    clock: Option<u32>,
    use_sack: bool,
    (ecn, option): (EcnFeedback, Option<AccurateEcn>),
) -> TcpOptions {
    let timestamps = clock.zip(syn.options.timestamps).map(|(clock, theirs)| Timestamps {
        tsval: timestamp_with_options(clock, &syn.options, ecn == EcnFeedback::Classic),
        tsecr: theirs.tsval,
    });
    TcpOptions {
        mss: Some(advmss),
        // Without a timestamp there is no place to remember the scale.
        window_scale: own_scale
            .filter(|_| timestamps.is_some() && syn.options.window_scale.is_some())
            .map(WindowScale::get),
        // Nor to remember that SACK is permitted (RFC 2018 2-1).
        sack_permitted: use_sack && timestamps.is_some() && syn.options.sack_permitted,
        timestamps,
        accurate_ecn: option.filter(|_| ecn == EcnFeedback::Accurate),
        ..TcpOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple() -> FourTuple {
        FourTuple::new("10.0.0.1:80".parse().unwrap(), "192.0.2.7:40000".parse().unwrap())
    }

    fn said(mss: u16) -> Remembered {
        Remembered { mss, scaled: false }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn ack(cookie: SeqNum, irs: SeqNum) -> TcpHeader {
        TcpHeader { seq: irs + 1, ack: cookie + 1, ..TcpHeader::default() }
    }

    #[test]
    fn a_cookie_is_good_for_its_tick_and_the_next() {
        let mut cookies = SynCookies::new([1; 16]);
        let irs = SeqNum::new(77);
        let cookie = cookies.make(&tuple(), irs, said(1460), at(640));
        let mut check =
            |seconds| cookies.check(&tuple(), &ack(cookie, irs), at(seconds)).map(|found| found.said.mss);
        assert_eq!(check(640), Some(1460));
        assert_eq!(check(767), Some(1460));
        assert_eq!(check(768), None);
        assert_eq!(check(639), None, "not before it was made");
        // The four bits come round after 16 ticks; the hash knows better.
        assert_eq!(check(640 + 16 * 64), None);
    }

    #[test]
    fn a_cookie_is_good_for_its_peer_only() {
        let mut cookies = SynCookies::new([1; 16]);
        let irs = SeqNum::new(77);
        let cookie = cookies.make(&tuple(), irs, said(1460), at(640));
        let other = FourTuple { remote_port: 40001, ..tuple() };
        assert_eq!(cookies.check(&other, &ack(cookie, irs), at(640)), None);
        assert_eq!(cookies.check(&tuple(), &ack(cookie, irs + 1), at(640)), None);
        assert_eq!(SynCookies::new([2; 16]).check(&tuple(), &ack(cookie, irs), at(640)), None);
        for bit in 0..32 {
            let forged = SeqNum::new(cookie.get() ^ 1 << bit);
            assert_eq!(cookies.check(&tuple(), &ack(forged, irs), at(640)), None, "bit {bit}");
        }
    }

    #[test]
    fn the_secret_changes_every_eight_ticks_and_the_one_before_is_kept() {
        let mut cookies = SynCookies::new([1; 16]);
        for (tick, periods) in [(7, [0, 1]), (15, [0, 1]), (16, [2, 1]), (23, [2, 1]), (24, [2, 3])] {
            cookies.make(&tuple(), SeqNum::new(77), said(1460), at(64 * tick));
            assert_eq!(cookies.derived.map(|(period, _)| period), periods, "in tick {tick}");
        }
        let secrets: std::collections::HashSet<_> =
            (0..100).map(|period| cookies.secret_of(period)).collect();
        assert_eq!(secrets.len(), 100);
    }

    #[test]
    fn options_travel_in_a_timestamp_that_is_not_ahead() {
        for clock in [0u32, 5, 63, 64, 1000, u32::MAX] {
            let syn = TcpOptions { window_scale: Some(7), sack_permitted: true, ..TcpOptions::default() };
            let stamped = timestamp_with_options(clock, &syn, false);
            assert!(SeqNum::new(stamped).at_or_before(SeqNum::new(clock)));
            assert!(clock.wrapping_sub(stamped) < 64 + 64);
            let recovered = Recovered {
                said: Remembered { mss: 1460, scaled: true },
                options: Some(stamped & OPTION_BITS),
                tsval: 9,
            };
            let negotiated = recovered.negotiated(
                Some(WindowScale::new(8)),
                true,
                true,
                (EcnFeedback::Classic, TcpFlags::ACK),
            );
            assert!(negotiated.sack);
            assert_eq!(negotiated.wscale, Some((WindowScale::new(7), WindowScale::new(8))));
            assert_eq!(negotiated.timestamps, Some(9));
        }
    }

    #[test]
    fn scale_sack_and_ecn_have_six_bits_as_in_linux() {
        for scale in [None, Some(0), Some(14)] {
            for (sack_permitted, ecn) in [(false, false), (true, false), (false, true), (true, true)] {
                let syn = TcpOptions { window_scale: scale, sack_permitted, ..TcpOptions::default() };
                let bits = timestamp_with_options(1000, &syn, ecn) & 0b11_1111;
                assert_eq!(bits & 0b1111, scale.map_or(15, u32::from));
                assert_eq!(bits & 0b01_0000 != 0, sack_permitted);
                assert_eq!(bits & 0b10_0000 != 0, ecn);
            }
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        assert_eq!(format!("{:?}", SynCookies::new([173; 16])), "SynCookies { .. }");
    }

    #[test]
    fn the_mss_is_rounded_down() {
        let mut cookies = SynCookies::new([1; 16]);
        for (offered, kept) in [(536, 536), (1459, 1440), (1460, 1460), (65495, 8960), (10, 48), (600, 536)] {
            let cookie = cookies.make(&tuple(), SeqNum::new(1), said(offered), at(64));
            let found = cookies.check(&tuple(), &ack(cookie, SeqNum::new(1)), at(64)).unwrap();
            assert_eq!(found.said.mss, kept);
        }
    }

    #[test]
    fn a_jumbo_frame_of_ipv6_is_remembered() {
        let mut cookies = SynCookies::new([1; 16]);
        let host = |n: u16| std::net::IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
        let tuple = FourTuple { local_addr: host(1), remote_addr: host(2), ..tuple() };
        for (offered, kept) in [(8939, 1460), (8940, 8940), (8960, 8940), (1440, 1440)] {
            let cookie = cookies.make(&tuple, SeqNum::new(1), said(offered), at(64));
            let found = cookies.check(&tuple, &ack(cookie, SeqNum::new(1)), at(64)).unwrap();
            assert_eq!(found.said.mss, kept);
        }
    }
}
