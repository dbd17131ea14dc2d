//! A stream of bytes in which every place is known, so that what arrives can be checked as it arrives.

use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes that are written or read at once: neither a power of two nor a multiple of any segment's size.
const CHUNK: usize = 100_003;

/// Fills `buf` with the bytes that the stream has from `offset` on.
pub fn fill(offset: u64, buf: &mut [u8]) {
    let mut word_index = offset / 8;
    let mut skip = usize::try_from(offset % 8).unwrap_or_default();
    let mut rest = buf;
    while !rest.is_empty() {
        let word = mix(word_index).to_le_bytes();
        let word = &word[skip..];
        let len = word.len().min(rest.len());
        let (now, later) = rest.split_at_mut(len);
        now.copy_from_slice(&word[..len]);
        (rest, word_index, skip) = (later, word_index + 1, 0);
    }
}

/// SplitMix64's output function.
fn mix(index: u64) -> u64 {
    let mut word = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Writes the first `len` bytes of the stream, and gives their SHA-256.
///
/// # Panics
///
/// If they cannot be written.
pub async fn send(writer: &mut (impl AsyncWrite + Unpin), len: u64) -> String {
    let mut digest = Sha256::new();
    let mut buf = vec![0; CHUNK];
    let mut offset = 0;
    while offset < len {
        let left = usize::try_from(len - offset).unwrap_or(usize::MAX);
        let chunk = &mut buf[..left.min(CHUNK)];
        fill(offset, chunk);
        digest.update(&chunk);
        writer.write_all(chunk).await.unwrap();
        offset += chunk.len() as u64;
    }
    hex(digest)
}

/// Reads to the end, and gives the SHA-256 of what came and its length.
///
/// # Panics
///
/// If a byte is not the stream's, which tells where, or if reading fails.
pub async fn receive(reader: &mut (impl AsyncRead + Unpin)) -> (String, u64) {
    let mut digest = Sha256::new();
    let (mut buf, mut expected) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut offset = 0;
    loop {
        let len = reader.read(&mut buf).await.unwrap();
        if len == 0 {
            return (hex(digest), offset);
        }
        let (chunk, expected) = (&buf[..len], &mut expected[..len]);
        fill(offset, expected);
        if let Some(place) = chunk
            .iter()
            .zip(&*expected)
            .position(|(came, due)| came != due)
        {
            panic!(
                "the byte at {} of the stream is wrong",
                offset + place as u64
            );
        }
        digest.update(chunk);
        offset += len as u64;
    }
}

fn hex(digest: Sha256) -> String {
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_piece_of_the_stream_is_the_same_as_that_of_the_whole() {
        let mut whole = vec![0; 1000];
        fill(0, &mut whole);
        for (start, end) in [
            (0, 1),
            (1, 8),
            (7, 9),
            (8, 16),
            (13, 999),
            (999, 1000),
            (500, 500),
        ] {
            let mut piece = vec![0; end - start];
            fill(start as u64, &mut piece);
            assert_eq!(piece, whole[start..end]);
        }
    }

    #[tokio::test]
    async fn what_is_sent_is_what_is_received() {
        let (mut a, mut b) = tokio::io::duplex(1000);
        let len = 3 * CHUNK as u64 + 17;
        let send = async move { send(&mut a, len).await };
        let (sent, (received, received_len)) = tokio::join!(send, receive(&mut b));
        assert_eq!((sent, len), (received, received_len));
    }

    #[tokio::test]
    #[should_panic(expected = "the byte at 2 of the stream is wrong")]
    async fn a_wrong_byte_is_found() {
        let mut stream = [0; 10];
        fill(0, &mut stream);
        stream[2] ^= 1;
        receive(&mut &stream[..]).await;
    }
}
