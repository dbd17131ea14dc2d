//! Sequence numbers of 32 bits as offsets that do not wrap.

/// Where the first number that is seen lies: far enough from 0 for what comes before it.
const BEGIN: u64 = 1 << 32;

/// The offsets of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offsets {
    /// A number, and its offset.
    reference: Option<(u32, u64)>,
}

impl Offsets {
    /// The offset of `seq`: the one next to the largest offset so far.
    pub(crate) fn of(&mut self, seq: u32) -> u64 {
        let (number, offset) = *self.reference.get_or_insert((seq, BEGIN));
        let ahead = i64::from(seq.wrapping_sub(number).cast_signed());
        let found = offset.saturating_add_signed(ahead);
        if ahead > 0 {
            self.reference = Some((seq, found));
        }
        found
    }

    /// The same, without moving on: for numbers that anybody may have made up.
    pub(crate) fn peek(&self, seq: u32) -> Option<u64> {
        let (number, offset) = self.reference?;
        Some(offset.saturating_add_signed(i64::from(seq.wrapping_sub(number).cast_signed())))
    }

    /// Begins at `seq`, whatever came before.
    pub(crate) fn begin(&mut self, seq: u32) {
        self.reference = Some((seq, BEGIN));
    }

    /// Whether any number is known.
    pub(crate) fn is_known(&self) -> bool {
        self.reference.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_wrap_go_on_rising() {
        let mut offsets = Offsets::default();
        let first = offsets.of(u32::MAX - 9);
        assert_eq!(offsets.of(10) - first, 20);
        assert_eq!(offsets.of(u32::MAX - 9), first);
        assert_eq!(offsets.peek(5).map(|offset| offset - first), Some(15));
    }
}
