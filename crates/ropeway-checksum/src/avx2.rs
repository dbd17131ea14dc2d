//! The same in 256-bit registers. All `unsafe` of this crate is here: calls of functions that need
//! AVX2, behind the question whether the processor has it, and loads and stores of arrays.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_extract_epi64, _mm256_loadu_si256,
    _mm256_set1_epi64x, _mm256_setzero_si256, _mm256_srli_epi64, _mm256_storeu_si256,
};

use crate::{fold, portable};

/// What one register holds.
type Vector = [u8; 32];

#[inline(never)]
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        unsafe { sum_avx2(bytes) }
    } else {
        portable::sum(bytes)
    }
}

/// Both slices have the same length.
#[inline(never)]
pub(crate) fn copy(from: &[u8], to: &mut [u8]) -> u16 {
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        unsafe { copy_avx2(from, to) }
    } else {
        portable::copy(from, to)
    }
}

#[target_feature(enable = "avx2")]
fn sum_avx2(bytes: &[u8]) -> u16 {
    let (chunks, rest) = bytes.as_chunks::<64>();
    let mut lanes = Lanes::new();
    for chunk in chunks {
        lanes.add(load_both(chunk));
    }
    lanes.finish(rest)
}

#[target_feature(enable = "avx2")]
fn copy_avx2(from: &[u8], to: &mut [u8]) -> u16 {
    let (chunks, rest) = from.as_chunks::<64>();
    let (room, room_of_rest) = to.as_chunks_mut::<64>();
    let mut lanes = Lanes::new();
    for (chunk, room) in chunks.iter().zip(room) {
        let vectors = load_both(chunk);
        lanes.add(vectors);
        store_both(vectors, room);
    }
    room_of_rest.copy_from_slice(rest);
    lanes.finish(rest)
}

/// Sums of the lower and of the upper halves of 64-bit words: a lane would overflow after 2^32
/// chunks. Of two vectors each, so that none waits for the one before.
struct Lanes {
    lower: [__m256i; 2],
    upper: [__m256i; 2],
}

impl Lanes {
    #[target_feature(enable = "avx2")]
    #[inline]
    fn new() -> Self {
        let zero = _mm256_setzero_si256();
        Self { lower: [zero; 2], upper: [zero; 2] }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn add(&mut self, vectors: [__m256i; 2]) {
        let lower_half = _mm256_set1_epi64x(0xffff_ffff);
        let lanes = self.lower.iter_mut().zip(&mut self.upper);
        for ((lower, upper), vector) in lanes.zip(vectors) {
            *lower = _mm256_add_epi64(*lower, _mm256_and_si256(vector, lower_half));
            *upper = _mm256_add_epi64(*upper, _mm256_srli_epi64::<32>(vector));
        }
    }

    /// The folded sum of what was added, and of fewer than 64 bytes behind it.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn finish(self, rest: &[u8]) -> u16 {
        let ([a, b], [c, d]) = (self.lower, self.upper);
        let all = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
        let lanes = [
            _mm256_extract_epi64::<0>(all),
            _mm256_extract_epi64::<1>(all),
            _mm256_extract_epi64::<2>(all),
            _mm256_extract_epi64::<3>(all),
        ];
        // As in the portable code, all of it is in the machine's byte order.
        let sum = lanes.into_iter().map(|lane| halves(lane.cast_unsigned())).sum::<u64>() + sum_of_rest(rest);
        u16::from_be(fold(sum))
    }
}

/// The sum of fewer than 64 bytes in the machine's byte order. It is not inlined, so that it is not
/// compiled for AVX2: that costs a tenth of the time of a full packet.
#[inline(never)]
fn sum_of_rest(rest: &[u8]) -> u64 {
    u64::from(portable::sum(rest).to_be())
}

/// The sum of the two halves: 33 bits.
#[inline]
const fn halves(word: u64) -> u64 {
    (word >> 32) + (word & 0xffff_ffff)
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_both(chunk: &[u8; 64]) -> [__m256i; 2] {
    let mut vectors = [_mm256_setzero_si256(); 2];
    for (vector, bytes) in vectors.iter_mut().zip(chunk.as_chunks::<32>().0) {
        *vector = load(bytes);
    }
    vectors
}

#[target_feature(enable = "avx2")]
#[inline]
fn store_both(vectors: [__m256i; 2], room: &mut [u8; 64]) {
    for (vector, bytes) in vectors.into_iter().zip(room.as_chunks_mut::<32>().0) {
        store(vector, bytes);
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load(bytes: &Vector) -> __m256i {
    // SAFETY: the reference covers all 32 bytes, and this load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn store(vector: __m256i, bytes: &mut Vector) {
    // SAFETY: the reference covers all 32 bytes, and this store needs no alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) }
}
