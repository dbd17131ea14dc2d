//! Headers written a word at a time: byte by byte, the compiler stores each byte by itself.

/// Writes words in network byte order.
#[inline]
pub(crate) fn put_words<const WORDS: usize, const LEN: usize>(out: &mut [u8; LEN], words: [u32; WORDS]) {
    let (places, _) = out.as_chunks_mut();
    for (place, word) in places.iter_mut().zip(words) {
        *place = word.to_be_bytes();
    }
}
