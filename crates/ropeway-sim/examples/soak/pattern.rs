//! The bytes of each direction of each connection, and reading and writing them.

use std::io;

use ropeway::net::tcp::{ReadHalf, WriteHalf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What went wrong at one end.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// The socket said so.
    Io(io::ErrorKind),
    /// Bytes were lost, doubled, changed, or came from elsewhere. That never happens.
    Wrong(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

/// One direction of a connection: which bytes are sent in it.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    key: u64,
    at: u64,
}

impl Pattern {
    /// `part` tells the connections of one [`App::Short`](super::scenario::App::Short) from each other.
    pub fn new(connection: u32, part: u32, is_up: bool) -> Self {
        let key = mix(u64::from(connection) << 33 | u64::from(part) << 1 | u64::from(is_up));
        Self { key, at: 0 }
    }

    /// The next bytes.
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            let word = mix(self.key.wrapping_add(self.at / 8)).to_le_bytes();
            *byte = word[(self.at % 8) as usize];
            self.at += 1;
        }
    }

    /// Sends the next `len` bytes.
    pub async fn write(&mut self, writer: &mut WriteHalf<'_>, mut len: u32) -> Result<(), Trouble> {
        let mut buffer = [0; 4096];
        while len > 0 {
            let part = &mut buffer[..4096.min(len as usize)];
            self.fill(part);
            writer.write_all(part).await?;
            len -= part.len() as u32;
        }
        Ok(())
    }

    /// Reads the next `len` bytes, and makes sure that they are these.
    pub async fn read(&mut self, reader: &mut ReadHalf<'_>, mut len: u32) -> Result<(), Trouble> {
        while len > 0 {
            let read = self.read_some(reader, len).await?;
            if read == 0 {
                return Err(Trouble::Wrong(format!("the end came after byte {}, {len} too soon", self.at)));
            }
            len -= read;
        }
        Ok(())
    }

    /// Reads at most `len` bytes at once. 0: the end.
    pub async fn read_some(&mut self, reader: &mut ReadHalf<'_>, len: u32) -> Result<u32, Trouble> {
        let mut buffer = [0; 4096];
        let read = reader.read(&mut buffer[..4096.min(len as usize)]).await?;
        let mut expected = [0; 4096];
        let start = self.at;
        self.fill(&mut expected[..read]);
        match (0..read).find(|at| buffer[*at] != expected[*at]) {
            Some(at) => Err(Trouble::Wrong(format!("byte {} is not what was sent", start + at as u64))),
            None => Ok(read as u32),
        }
    }
}

/// Datagram `part` of a client: which one it is, and then `len` bytes of its pattern.
pub fn datagram(number: u32, part: u32, len: u32) -> Vec<u8> {
    let mut bytes = [number.to_be_bytes(), part.to_be_bytes(), len.to_be_bytes()].concat();
    let start = bytes.len();
    bytes.resize(start + len as usize, 0);
    Pattern::new(number, part, true).fill(&mut bytes[start..]);
    bytes
}

/// Of which client a datagram is, and which one; `None` if it is not whole.
pub fn datagram_of(bytes: &[u8]) -> Option<(u32, u32)> {
    let word = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let (number, part, len) = (word(0)?, word(4)?, word(8)?);
    (bytes.len() == 12 + len as usize && bytes == datagram(number, part, len)).then_some((number, part))
}

/// Makes sure that nothing follows.
pub async fn read_end(reader: &mut ReadHalf<'_>) -> Result<(), Trouble> {
    match reader.read(&mut [0; 64]).await? {
        0 => Ok(()),
        more => Err(Trouble::Wrong(format!("{more} bytes came after the last that was sent"))),
    }
}

/// SplitMix64's output function (Steele, Lea and Flood).
fn mix(mut word: u64) -> u64 {
    word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
