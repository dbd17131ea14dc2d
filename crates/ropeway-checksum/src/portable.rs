//! The code for every processor, and what the other is held against.

use crate::{fold, of_one_length};

/// A block that is copied is still in the cache when it is summed. An even number of bytes.
const BLOCK: usize = 4096;

/// [`sum`](crate::sum), in code that is the same everywhere.
#[inline]
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    // Summing in the machine's byte order gives the byte-swapped sum (RFC 1071 2, "byte order
    // independence"). Independent lanes without carries between them let the compiler use vector
    // registers.
    let mut lanes = [0_u64; 8];
    let (chunks, rest) = bytes.as_chunks::<32>();
    for chunk in chunks {
        let (words, _) = chunk.as_chunks::<4>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    let mut sum: u64 = lanes.into_iter().fold(0, u64::wrapping_add);
    let (words, tail) = rest.as_chunks::<4>();
    for word in words {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    let mut last = [0_u8; 4];
    for (to, from) in last.iter_mut().zip(tail) {
        *to = *from;
    }
    sum += u64::from(u32::from_ne_bytes(last));
    u16::from_be(fold(sum))
}

/// [`copy`](crate::copy), in code that is the same everywhere.
#[inline]
#[must_use = "a copy without its sum is copy_from_slice"]
pub fn copy(from: &[u8], to: &mut [u8]) -> u16 {
    let (from, to) = of_one_length(from, to);
    let blocks = from.chunks(BLOCK).zip(to.chunks_mut(BLOCK));
    let sums = blocks.map(|(from, to)| {
        to.copy_from_slice(from);
        u64::from(sum(from))
    });
    fold(sums.sum())
}
