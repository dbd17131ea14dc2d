//! The options: MSS (RFC 9293 3.7.1), window scale and timestamps (RFC 7323), SACK (RFC 2018), Fast
//! Open (RFC 7413), Accurate ECN (RFC 9768).

use std::fmt;

use pnet_packet::tcp::TcpOptionNumbers as numbers;

use super::AccurateEcn;
use crate::SeqNum;

const EOL: u8 = numbers::EOL.0;
const NOP: u8 = numbers::NOP.0;
const MSS: u8 = numbers::MSS.0;
const WINDOW_SCALE: u8 = numbers::WSCALE.0;
const SACK_PERMITTED: u8 = numbers::SACK_PERMITTED.0;
const SACK: u8 = numbers::SACK.0;
const TIMESTAMPS: u8 = numbers::TIMESTAMPS.0;
const FAST_OPEN: u8 = 34;
/// The experimental kind that Fast Open had first, and the two bytes that tell it from others (RFC 6994).
const EXPERIMENT: u8 = 254;
const FAST_OPEN_MAGIC: [u8; 2] = [0xf9, 0x89];

/// The bytes that a header has for options.
const SPACE: usize = 40;
/// The bytes that timestamps take, with their two NOPs.
const TIMESTAMPS_LEN: usize = 12;
/// What stands before the numbers of timestamps that are the only option: RFC 7323 appendix A.
pub(super) const LONE_TIMESTAMPS: u32 = u32::from_be_bytes([NOP, NOP, TIMESTAMPS, 10]);

/// The options of a segment that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TcpOptions {
    /// Maximum segment size in bytes, in a SYN.
    pub mss: Option<u16>,
    /// The shift count as it stands, in a SYN; it may exceed 14 (see
    /// [`WindowScale::new`](crate::WindowScale::new)).
    pub window_scale: Option<u8>,
    /// SACK-permitted, in a SYN.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
    /// Blocks of data received out of order.
    pub sack: SackBlocks,
    /// Fast Open, in a SYN.
    pub fast_open: Option<FastOpen>,
    /// Accurate ECN.
    pub accurate_ecn: Option<AccurateEcn>,
}

/// The timestamps option (RFC 7323 3.2), in ticks of the clocks of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Timestamps {
    /// The sender's clock.
    pub tsval: u32,
    /// The echo of the receiver's clock; meaningful with ACK.
    pub tsecr: u32,
}

/// The blocks of a SACK option (RFC 2018 3), in the order they stand in: at most four, each from
/// its first sequence number to the one behind its last.
///
/// ```
/// use ropeway_packet::{SackBlocks, SeqNum};
/// let mut blocks = SackBlocks::default();
/// assert!(blocks.push((SeqNum::new(10), SeqNum::new(20))));
/// assert_eq!(blocks.as_slice(), [(SeqNum::new(10), SeqNum::new(20))]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct SackBlocks {
    /// Those behind `len` are zero, so that derived equality is right.
    blocks: [(SeqNum, SeqNum); Self::MAX],
    len: u8,
}

impl SackBlocks {
    /// How many blocks a header has room for.
    pub const MAX: usize = 4;
    /// No blocks.
    pub const EMPTY: Self = Self { blocks: [(SeqNum::new(0), SeqNum::new(0)); Self::MAX], len: 0 };

    /// The blocks.
    #[inline]
    pub fn as_slice(&self) -> &[(SeqNum, SeqNum)] {
        self.blocks.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Appends a block. Returns `false`, and changes nothing, if there are four already.
    #[inline]
    pub fn push(&mut self, block: (SeqNum, SeqNum)) -> bool {
        let Some(free) = self.blocks.get_mut(usize::from(self.len)) else {
            return false;
        };
        *free = block;
        self.len += 1;
        true
    }

    /// How many blocks there are.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether there is no block.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for SackBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

/// A Fast Open option (RFC 7413 4.1.1): a cookie, or the request for one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FastOpen {
    /// The bytes behind `len` are zero, so that derived equality is right.
    cookie: [u8; Self::MAX],
    len: u8,
    experimental: bool,
}

impl FastOpen {
    const MIN: usize = 4;
    const MAX: usize = 16;

    /// The request for a cookie.
    pub const REQUEST: Self = Self { cookie: [0; Self::MAX], len: 0, experimental: false };

    /// The option with this cookie; empty is the request. `None` if the length is not allowed: it
    /// is 0, or an even number from 4 to 16.
    #[inline]
    pub fn new(cookie: &[u8]) -> Option<Self> {
        let legal = cookie.is_empty()
            || (Self::MIN..=Self::MAX).contains(&cookie.len()) && cookie.len().is_multiple_of(2);
        let len = u8::try_from(cookie.len()).ok().filter(|_| legal)?;
        let mut option = Self { len, ..Self::REQUEST };
        option.cookie.get_mut(..cookie.len())?.copy_from_slice(cookie);
        Some(option)
    }

    /// The cookie; empty in a request.
    #[inline]
    pub fn cookie(&self) -> &[u8] {
        self.cookie.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Whether this asks for a cookie.
    #[inline]
    pub fn is_request(&self) -> bool {
        self.len == 0
    }

    /// The same, as kind 254 with the magic number 0xF989: what some peers, and boxes on the way, know instead of kind 34.
    #[must_use]
    #[inline]
    pub fn as_experiment(self, experimental: bool) -> Self {
        Self { experimental, ..self }
    }

    /// Whether it is of the experimental kind.
    #[inline]
    pub fn is_experiment(&self) -> bool {
        self.experimental
    }

    /// The bytes of the option before the cookie.
    #[inline]
    fn base_len(&self) -> usize {
        if self.experimental { 4 } else { 2 }
    }

    /// The bytes that the option takes, padded to words.
    #[inline]
    fn padded_len(&self) -> usize {
        (self.base_len() + usize::from(self.len)).next_multiple_of(4)
    }
}

impl fmt::Debug for FastOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.experimental { "FastOpenExperiment" } else { "FastOpen" };
        f.debug_tuple(name).field(&self.cookie()).finish()
    }
}

/// What of the options is written, and how long that is.
pub(super) struct Layout {
    /// The segment has a SYN.
    syn: bool,
    /// How many SACK blocks fit.
    sack_blocks: usize,
    /// The bytes of the counters of ECN.
    accurate_ecn: usize,
    /// Bytes, a multiple of 4, at most 40.
    pub(super) len: usize,
}

impl TcpOptions {
    /// Takes the option bytes of a header. Returns whether any of them was malformed.
    #[inline]
    pub(super) fn read(&mut self, bytes: &[u8], syn: bool) -> bool {
        // RFC 7323 appendix A: the layout that nearly every segment of a connection with timestamps
        // has.
        if let &[NOP, NOP, TIMESTAMPS, 10, v0, v1, v2, v3, e0, e1, e2, e3] = bytes {
            let tsval = u32::from_be_bytes([v0, v1, v2, v3]);
            let tsecr = u32::from_be_bytes([e0, e1, e2, e3]);
            self.timestamps = Some(Timestamps { tsval, tsecr });
            return false;
        }
        !bytes.is_empty() && self.walk(bytes, syn)
    }

    fn walk(&mut self, bytes: &[u8], syn: bool) -> bool {
        let mut malformed = false;
        let mut rest = bytes;
        // RFC 9293 3.1 MUST-5: any segment may have options; 3.2 MUST-64: they may start at any
        // byte.
        while let Some((&kind, behind)) = rest.split_first() {
            match kind {
                // RFC 9293 3.1 MUST-4; what follows the end of the list is not looked at.
                EOL => break,
                NOP => {
                    rest = behind;
                    continue;
                }
                _ => {}
            }
            // RFC 9293 3.1 MUST-68: all other options have a length; MUST-7: an illegal option
            // length, above all zero, must not harm. What follows cannot be told apart, so the walk
            // ends.
            let Some((option, behind)) =
                behind.first().and_then(|&len| rest.split_at_checked(usize::from(len)))
            else {
                return true;
            };
            let Some((_, value)) = option.split_first_chunk::<2>() else {
                return true;
            };
            malformed |= !self.take(kind, value, syn);
            rest = behind;
        }
        malformed
    }

    /// Takes one option. Returns `false` if its length is wrong for its kind.
    fn take(&mut self, kind: u8, value: &[u8], syn: bool) -> bool {
        match (kind, value) {
            // RFC 9293 3.7.1, RFC 7323 2.2-2, RFC 2018 2 and RFC 7413 4.1.1: these belong to a SYN
            // and are ignored elsewhere.
            (MSS | WINDOW_SCALE | SACK_PERMITTED | FAST_OPEN, _) if !syn => true,
            // RFC 9293 3.1 MUST-4
            (MSS, &[hi, lo]) => {
                self.mss = Some(u16::from_be_bytes([hi, lo]));
                true
            }
            (WINDOW_SCALE, &[shift]) => {
                self.window_scale = Some(shift);
                true
            }
            (SACK_PERMITTED, []) => {
                self.sack_permitted = true;
                true
            }
            (SACK, blocks) => self.take_sack(blocks),
            (TIMESTAMPS, &[v0, v1, v2, v3, e0, e1, e2, e3]) => {
                self.timestamps = Some(Timestamps {
                    tsval: u32::from_be_bytes([v0, v1, v2, v3]),
                    tsecr: u32::from_be_bytes([e0, e1, e2, e3]),
                });
                true
            }
            (AccurateEcn::KIND_0 | AccurateEcn::KIND_1, counters) => {
                self.accurate_ecn = Some(AccurateEcn::read(kind, counters));
                true
            }
            // RFC 7413 4.1.1-1: one of a length that is not allowed is ignored.
            (FAST_OPEN, cookie) => {
                self.fast_open = FastOpen::new(cookie).or(self.fast_open);
                true
            }
            (EXPERIMENT, option) if syn => {
                let cookie = option.strip_prefix(&FAST_OPEN_MAGIC);
                let option = cookie.and_then(FastOpen::new).map(|option| option.as_experiment(true));
                self.fast_open = option.or(self.fast_open);
                true
            }
            (MSS | WINDOW_SCALE | SACK_PERMITTED | TIMESTAMPS, _) => false,
            // RFC 9293 3.1 MUST-6: an option that is not implemented is ignored; it has a length to
            // skip it by.
            _ => true,
        }
    }

    fn take_sack(&mut self, blocks: &[u8]) -> bool {
        let (blocks, rest) = blocks.as_chunks::<8>();
        if blocks.is_empty() || !rest.is_empty() {
            return false;
        }
        self.sack = SackBlocks::EMPTY;
        for &[s0, s1, s2, s3, e0, e1, e2, e3] in blocks {
            let start = SeqNum::new(u32::from_be_bytes([s0, s1, s2, s3]));
            let end = SeqNum::new(u32::from_be_bytes([e0, e1, e2, e3]));
            self.sack.push((start, end));
        }
        true
    }

    /// The timestamps, if nothing else goes into a header without SYN.
    #[inline]
    pub(super) fn lone_timestamps(&self, syn: bool) -> Option<Timestamps> {
        let alone = !syn && self.accurate_ecn.is_none() && self.sack.is_empty();
        self.timestamps.filter(|_| alone)
    }

    /// Decides what of these options goes into a header.
    #[inline]
    pub(super) fn layout(&self, syn: bool) -> Layout {
        let mut len = 0;
        if self.timestamps.is_some() {
            len += TIMESTAMPS_LEN;
        }
        if syn {
            len += if self.mss.is_some() { 4 } else { 0 };
            len += if self.window_scale.is_some() { 4 } else { 0 };
            // With timestamps, SACK-permitted stands in the place of their two NOPs.
            let sack_permitted_alone = self.sack_permitted && self.timestamps.is_none();
            len += if sack_permitted_alone { 4 } else { 0 };
            len += self.fast_open.map_or(0, |option| option.padded_len());
        }
        // At most 40 bytes so far: 20, and 20 of Fast Open. The counters of ECN get what is left, and SACK
        // blocks what is left then, behind 4 bytes of their own.
        let accurate_ecn = self.accurate_ecn.map_or(0, |option| option.padded_len());
        let accurate_ecn = if len + accurate_ecn <= SPACE { accurate_ecn } else { 0 };
        len += accurate_ecn;
        let sack_blocks = self.sack.len().min(SPACE.saturating_sub(len + 4) / 8);
        if sack_blocks > 0 {
            len += 4 + 8 * sack_blocks;
        }
        Layout { syn, sack_blocks, accurate_ecn, len }
    }

    /// Writes the options as Linux's `tcp_options_write` does. `out` has the layout's length. NOPs pad, so
    /// there is no end of list with anything behind it (RFC 9293 3.1 MUST-69).
    #[inline]
    pub(super) fn emit(&self, layout: &Layout, out: &mut [u8]) {
        let mut out = Writer { out };
        let mut sack_permitted = layout.syn && self.sack_permitted;
        if let Some(mss) = self.mss.filter(|_| layout.syn) {
            let [hi, lo] = mss.to_be_bytes();
            out.put([MSS, 4, hi, lo]);
        }
        if let Some(Timestamps { tsval, tsecr }) = self.timestamps {
            out.put(if sack_permitted {
                [SACK_PERMITTED, 2, TIMESTAMPS, 10]
            } else {
                [NOP, NOP, TIMESTAMPS, 10]
            });
            sack_permitted = false;
            out.put(tsval.to_be_bytes());
            out.put(tsecr.to_be_bytes());
        }
        if let Some(option) = self.accurate_ecn.filter(|_| layout.accurate_ecn > 0) {
            out.put_slice(option.bytes(NOP).get(..layout.accurate_ecn).unwrap_or_default());
        }
        if sack_permitted {
            out.put([NOP, NOP, SACK_PERMITTED, 2]);
        }
        if let Some(shift) = self.window_scale.filter(|_| layout.syn) {
            out.put([NOP, WINDOW_SCALE, 3, shift]);
        }
        if let Some(blocks) =
            self.sack.as_slice().get(..layout.sack_blocks).filter(|blocks| !blocks.is_empty())
        {
            out.put([NOP, NOP, SACK, u8::try_from(2 + 8 * blocks.len()).unwrap_or(0)]);
            for (start, end) in blocks {
                out.put(start.get().to_be_bytes());
                out.put(end.get().to_be_bytes());
            }
        }
        if let Some(option) = self.fast_open.filter(|_| layout.syn) {
            out.put_fast_open(option);
        }
    }
}

/// The option bytes that are still to be written.
struct Writer<'a> {
    out: &'a mut [u8],
}

impl Writer<'_> {
    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some((chunk, rest)) = std::mem::take(&mut self.out).split_first_chunk_mut() {
            *chunk = bytes;
            self.out = rest;
        }
    }

    /// The longest option with the padding behind it, as Linux pads it.
    fn put_fast_open(&mut self, option: FastOpen) {
        let mut bytes = [NOP; 4 + FastOpen::MAX];
        let base = option.base_len();
        let [kind, len, magic @ ..] = &mut bytes;
        (*kind, *len) = (FAST_OPEN, option.len + 2);
        if option.experimental {
            (*kind, *len) = (EXPERIMENT, option.len + 4);
            for (to, from) in magic.iter_mut().zip(FAST_OPEN_MAGIC) {
                *to = from;
            }
        }
        for (to, from) in bytes.iter_mut().skip(base).zip(option.cookie()) {
            *to = *from;
        }
        for (to, from) in self.out.iter_mut().zip(bytes) {
            *to = from;
        }
    }

    fn put_slice(&mut self, bytes: &[u8]) {
        if let Some((place, rest)) = std::mem::take(&mut self.out).split_at_mut_checked(bytes.len()) {
            place.copy_from_slice(bytes);
            self.out = rest;
        }
    }
}
