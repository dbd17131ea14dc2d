//! The sum under the Internet checksum (RFC 1071), in vector registers where the processor has
//! them.
//!
//! [`sum`] reads bytes, [`copy`] also copies them in the same pass. On x86-64 with AVX2, which is
//! looked for at run time, long inputs take about half the time of the [`portable`] code; that
//! code sums short ones, and everything elsewhere. The results are always the same.
//!
//! This crate exists for its `unsafe`: all of it is in `avx2.rs`, so that the crates that read
//! packets have none.
//!
//! With the feature `portable` only the portable code runs. Then instruction counts do not depend
//! on the processor.
//!
//! ```
//! // RFC 1071 3
//! let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
//! assert_eq!(ropeway_checksum::sum(&bytes), 0xddf2);
//!
//! let mut to = [0; 8];
//! assert_eq!(ropeway_checksum::copy(&bytes, &mut to), 0xddf2);
//! assert_eq!(to, bytes);
//! ```

#![deny(unsafe_code)]

#[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
mod avx2;
pub mod portable;

/// Fewer bytes are not worth a call and a look at what the processor can do.
#[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
const WORTH_IT: usize = 256;

/// The one's-complement sum of the big-endian 16-bit words of `bytes`, folded to 16 bits and not
/// complemented. The last byte of an odd number is the upper half of a word (RFC 1071 4.1).
#[inline]
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
    if bytes.len() >= WORTH_IT {
        return avx2::sum(bytes);
    }
    portable::sum(bytes)
}

/// Copies the bytes that both slices have room for from the start of `from` to the start of `to`,
/// and returns the [`sum`] of what was copied.
#[inline]
#[must_use = "a copy without its sum is copy_from_slice"]
pub fn copy(from: &[u8], to: &mut [u8]) -> u16 {
    let (from, to) = of_one_length(from, to);
    #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
    if from.len() >= WORTH_IT {
        return avx2::copy(from, to);
    }
    portable::copy(from, to)
}

/// Cuts both slices to the length of the shorter one.
#[inline]
fn of_one_length<'f, 't>(from: &'f [u8], to: &'t mut [u8]) -> (&'f [u8], &'t mut [u8]) {
    let len = from.len().min(to.len());
    (from.get(..len).unwrap_or_default(), to.get_mut(..len).unwrap_or_default())
}

/// Folds a sum of 16-bit words to 16 bits, end-around carries included.
///
/// ```
/// assert_eq!(ropeway_checksum::fold(0x2_fffd), 0xffff);
/// assert_eq!(ropeway_checksum::fold(0x2_fffe), 0x0001);
/// ```
#[inline]
#[must_use]
#[allow(clippy::cast_possible_truncation)] // each step leaves the upper bits zero; the last leaves 16 bits
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff); // at most 33 bits
    let sum = (sum >> 16) + (sum & 0xffff); // at most 18 bits
    let sum = (sum >> 16) + (sum & 0xffff); // at most 0x10002
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

#[cfg(test)]
mod tests;
