//! The option of Accurate ECN (RFC 9768 3.2.3).

use std::fmt;

/// Which counter stands first, and so which of them may be left out at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EcnOrder {
    /// ECT(0), CE, ECT(1): AccECN0.
    Ect0First,
    /// ECT(1), CE, ECT(0): AccECN1.
    Ect1First,
}

/// How many bytes of data have arrived in packets with each field of ECN, modulo 2^24: up to three counters.
///
/// ```
/// use ropeway_packet::{AccurateEcn, EcnOrder};
///
/// let option = AccurateEcn::new(EcnOrder::Ect0First, &[1001, 500]);
/// assert_eq!((option.e0b(), option.ceb(), option.e1b()), (Some(1001), Some(500), None));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AccurateEcn {
    order: EcnOrder,
    /// Those behind `count` are zero, so that derived equality is right.
    counters: [u32; Self::MAX],
    count: u8,
}

impl AccurateEcn {
    /// The kind of AccECN0.
    pub(super) const KIND_0: u8 = 172;
    /// The kind of AccECN1.
    pub(super) const KIND_1: u8 = 174;
    /// How many counters there are.
    pub const MAX: usize = 3;
    /// The option with all counters, padded to words.
    pub const LONGEST: usize = Self::padded_len_of(Self::MAX);

    /// The option with these counters, in its order; more than three are none.
    #[inline]
    #[must_use]
    pub fn new(order: EcnOrder, counters: &[u32]) -> Self {
        let mut option = Self { order, counters: [0; Self::MAX], count: 0 };
        for (place, counter) in option.counters.iter_mut().zip(counters) {
            *place = counter & 0x00ff_ffff;
            option.count += 1;
        }
        option
    }

    /// The option as it stands. What is left of a counter, or beyond the third, is padding.
    pub(super) fn read(kind: u8, value: &[u8]) -> Self {
        let order = if kind == Self::KIND_0 { EcnOrder::Ect0First } else { EcnOrder::Ect1First };
        let mut counters = [0; Self::MAX];
        let (fields, _) = value.as_chunks::<3>();
        for (counter, &[high, middle, low]) in counters.iter_mut().zip(fields) {
            *counter = u32::from_be_bytes([0, high, middle, low]);
        }
        Self::new(order, counters.get(..fields.len().min(Self::MAX)).unwrap_or_default())
    }

    /// The order of the counters.
    #[inline]
    #[must_use]
    pub fn order(&self) -> EcnOrder {
        self.order
    }

    /// The counters that there are, in their order.
    #[inline]
    #[must_use]
    pub fn counters(&self) -> &[u32] {
        self.counters.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// Bytes in packets with ECT(0), and one.
    #[must_use]
    pub fn e0b(&self) -> Option<u32> {
        self.counters().get(if self.order == EcnOrder::Ect0First { 0 } else { 2 }).copied()
    }

    /// Bytes in packets with CE.
    #[must_use]
    pub fn ceb(&self) -> Option<u32> {
        self.counters().get(1).copied()
    }

    /// Bytes in packets with ECT(1), and one.
    #[must_use]
    pub fn e1b(&self) -> Option<u32> {
        self.counters().get(if self.order == EcnOrder::Ect1First { 0 } else { 2 }).copied()
    }

    /// The bytes that an option with so many counters takes, padded to words.
    #[must_use]
    pub const fn padded_len_of(counters: usize) -> usize {
        (2 + 3 * counters).next_multiple_of(4)
    }

    #[inline]
    pub(super) fn padded_len(&self) -> usize {
        Self::padded_len_of(usize::from(self.count))
    }

    /// Kind, length and counters; what is behind them is `padding`.
    pub(super) fn bytes(&self, padding: u8) -> [u8; Self::LONGEST] {
        let mut bytes = [padding; Self::LONGEST];
        let [kind, len, fields @ ..] = &mut bytes;
        *kind = if self.order == EcnOrder::Ect0First { Self::KIND_0 } else { Self::KIND_1 };
        *len = 2 + 3 * self.count;
        let (places, _) = fields.as_chunks_mut::<3>();
        for (place, counter) in places.iter_mut().zip(self.counters()) {
            let [_, field @ ..] = counter.to_be_bytes();
            *place = field;
        }
        bytes
    }
}

impl fmt::Debug for AccurateEcn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("AccurateEcn");
        shown.field("order", &self.order).field("counters", &self.counters());
        shown.finish()
    }
}
