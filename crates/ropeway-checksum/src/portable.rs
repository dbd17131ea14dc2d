//! The code for every processor, and what the other is held against.

use crate::{fold, of_one_length};

/// Fewer bytes than this are headers: for these, what several lanes need before and behind costs more than they spare.
const SHORT: usize = 64;

/// A block that is copied is still in the cache when it is summed. An even number of bytes.
const BLOCK: usize = 4096;

/// [`sum`](crate::sum), in code that is the same everywhere.
#[inline]
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    // Summing in the machine's byte order gives the byte-swapped sum (RFC 1071 2, "byte order
    // independence").
    u16::from_be(fold(if bytes.len() < SHORT { sum_of_short(bytes) } else { sum_of_long(bytes) }))
}

#[inline]
fn sum_of_short(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut sum = 0;
    for word in words {
        sum = add(sum, u64::from_ne_bytes(*word));
    }
    add(sum, sum_of_rest(rest))
}

/// Adds with the end-around carry: 2^16 - 1 divides 2^64 - 1.
#[inline]
const fn add(sum: u64, word: u64) -> u64 {
    let (sum, carry) = sum.overflowing_add(word);
    sum + carry as u64
}

fn sum_of_long(bytes: &[u8]) -> u64 {
    // Independent lanes without carries between them let the compiler use vector
    // registers.
    let mut lanes = [0_u64; 8];
    let (chunks, rest) = bytes.as_chunks::<32>();
    for chunk in chunks {
        let (words, _) = chunk.as_chunks::<4>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    lanes.into_iter().fold(sum_of_rest(rest), u64::wrapping_add)
}

/// The sum of the last bytes, a zero behind them if they are odd in number.
#[inline]
fn sum_of_rest(rest: &[u8]) -> u64 {
    let (words, tail) = rest.as_chunks::<4>();
    let mut sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let (half, last) = tail.as_chunks::<2>();
    for half in half {
        sum += u64::from(u16::from_ne_bytes(*half));
    }
    if let [byte, ..] = *last {
        sum += u64::from(u16::from_ne_bytes([byte, 0]));
    }
    sum
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
