//! Frames out of a file.

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

/// Bytes of a file that are in memory at a time, at first.
const BUFFER: usize = 1 << 16;
/// And at most: the largest block that is read. Wireshark writes none larger than 256 KiB plus its options.
const LARGEST_BLOCK: usize = 1 << 24;
/// Interfaces that a file may describe.
const MOST_INTERFACES: usize = 1 << 16;

/// A captured frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// Its number in the file, from 1 on, as Wireshark counts.
    pub(crate) number: u64,
    /// When it was captured, since the epoch. Zero where the file does not say.
    pub(crate) at: Duration,
    /// What its bytes begin with.
    pub(crate) link: Linktype,
    /// The bytes that were captured.
    pub(crate) data: &'a [u8],
    /// Its length in bytes on the wire.
    pub(crate) len: usize,
}

/// What the file says of frames that are not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    /// Frames that the capturing program or its system dropped, as pcapng's interface statistics say.
    pub(crate) dropped: u64,
    /// The file ends within a block.
    pub(crate) truncated: bool,
}

/// Why a file cannot be read on. [`fmt::Display`] is one line.
#[derive(Debug)]
#[non_exhaustive]
pub enum CaptureError {
    /// Reading failed.
    Io(io::Error),
    /// The file is empty.
    Empty,
    /// It is neither pcap nor pcapng.
    NotACapture,
    /// It is compressed.
    Compressed,
    /// A block says that it is larger than any may be: its frame number, and the bytes read before.
    TooLarge(u64, u64),
    /// A block contradicts itself: the number of frames before it, and the bytes read before.
    Malformed(u64, u64),
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the capture cannot be read: {error}"),
            Self::Empty => f.write_str("the capture is empty: not even a header is in it"),
            Self::NotACapture => f.write_str("this is neither a pcap nor a pcapng file"),
            Self::Compressed => {
                f.write_str("the capture is compressed: decompress it first, e.g. zcat FILE | ropeway why -")
            }
            Self::TooLarge(frames, at) => {
                write!(
                    f,
                    "the capture is damaged after frame {frames} (byte {at}): a block is longer than 16 MiB"
                )
            }
            Self::Malformed(frames, at) => {
                write!(
                    f,
                    "the capture is damaged after frame {frames} (byte {at}): what follows is not a block"
                )
            }
        }
    }
}

impl std::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// Reads all frames of a capture, and gives each to `each`.
///
/// The file is read once and front to back, so a pipe will do. Memory is bounded by the largest block, 16 MiB, whatever
/// the file says. A file that ends within a block is no error: that is what becomes of a capture that was interrupted.
///
/// # Errors
///
/// What is no capture, or is damaged. The frames before the damage have been given to `each` then.
pub(crate) fn read(input: impl Read + Send, mut each: impl FnMut(Frame<'_>)) -> Result<Losses, CaptureError> {
    let mut failed = None;
    let whole = Whole { input, failed: &mut failed };
    let result = frames(whole, &mut each);
    match failed {
        Some(error) => Err(CaptureError::Io(error)),
        None => result,
    }
}

fn frames(input: impl Read + Send, each: &mut dyn FnMut(Frame<'_>)) -> Result<Losses, CaptureError> {
    let mut input = input;
    let mut magic = [0; 4];
    let head = input.read(&mut magic).unwrap_or_default();
    let magic = magic.get(..head).unwrap_or_default();
    match magic {
        [] => return Err(CaptureError::Empty),
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd] | [b'B', b'Z', b'h', _] | [0xfd, b'7', b'z', b'X'] => {
            return Err(CaptureError::Compressed);
        }
        _ => {}
    }
    let input = Whole { input: io::Cursor::new(magic).chain(input), failed: &mut None };
    let mut reader = create_reader(BUFFER, input).map_err(|error| match error {
        PcapError::Eof => CaptureError::Empty,
        _ => CaptureError::NotACapture,
    })?;
    let mut state = State::default();
    let mut capacity = BUFFER;
    loop {
        let step = match reader.next() {
            Ok((consumed, block)) if state.block(&block, each) => Step::Read(consumed),
            Err(PcapError::Eof) => Step::End,
            Err(PcapError::Incomplete(_) | PcapError::UnexpectedEof) => Step::More,
            _ => Step::Damaged,
        };
        match step {
            Step::Read(consumed) => {
                reader.consume(consumed);
                state.bytes += consumed as u64;
            }
            Step::More if reader.reader_exhausted() => {
                state.losses.truncated = !reader.data().is_empty();
                return Ok(state.losses);
            }
            Step::More => refill(reader.as_mut(), &mut capacity, &state)?,
            Step::End => return Ok(state.losses),
            Step::Damaged => return Err(CaptureError::Malformed(state.frames, state.bytes)),
        }
    }
}

/// What the parser says.
enum Step {
    /// A block of so many bytes.
    Read(usize),
    /// The block is not whole yet.
    More,
    End,
    Damaged,
}

/// Reads on; where a block is larger than the buffer, that grows.
fn refill(
    reader: &mut dyn PcapReaderIterator,
    capacity: &mut usize,
    state: &State,
) -> Result<(), CaptureError> {
    let before = reader.data().len();
    // An error of the input is kept by `Whole`, and ends the file.
    let _ = reader.refill();
    if reader.data().len() == before && !reader.reader_exhausted() {
        *capacity *= 2;
        if *capacity > LARGEST_BLOCK || !reader.grow(*capacity) {
            return Err(CaptureError::TooLarge(state.frames, state.bytes));
        }
    }
    Ok(())
}

/// What earlier blocks say of later ones.
#[derive(Default)]
struct State {
    frames: u64,
    bytes: u64,
    interfaces: Vec<Interface>,
    losses: Losses,
}

#[derive(Clone, Copy)]
struct Interface {
    link: Linktype,
    /// Ticks a second.
    resolution: u64,
    offset: i64,
}

impl State {
    /// `false` where the block contradicts an earlier one.
    fn block(&mut self, block: &PcapBlockOwned<'_>, each: &mut dyn FnMut(Frame<'_>)) -> bool {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                let resolution = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
                // The upper bits of the field say how long the frame check sequence is.
                let link = Linktype(header.network.0 & 0xffff);
                self.interfaces = vec![Interface { link, resolution, offset: 0 }];
            }
            PcapBlockOwned::Legacy(block) => {
                let Some(interface) = self.interfaces.first() else { return false };
                let at = Duration::from_secs(block.ts_sec.into())
                    + ticks(block.ts_usec.into(), interface.resolution);
                self.frame(interface.link, at, block.data, block.origlen, each);
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => self.interfaces.clear(),
            PcapBlockOwned::NG(Block::InterfaceDescription(block)) => {
                let resolution = match block.if_tsresol {
                    power @ 0..=19 => 10_u64.pow(power.into()),
                    bits @ 0x80..=0xbf => 1 << (bits & 0x7f),
                    _ => return false,
                };
                if self.interfaces.len() >= MOST_INTERFACES {
                    return false;
                }
                self.interfaces.push(Interface {
                    link: block.linktype,
                    resolution,
                    offset: block.if_tsoffset,
                });
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(block)) => {
                let Some(interface) =
                    usize::try_from(block.if_id).ok().and_then(|at| self.interfaces.get(at))
                else {
                    return false;
                };
                let since =
                    ticks(u64::from(block.ts_high) << 32 | u64::from(block.ts_low), interface.resolution);
                let offset = Duration::from_secs(interface.offset.unsigned_abs());
                let at = if interface.offset < 0 {
                    since.saturating_sub(offset)
                } else {
                    since.saturating_add(offset)
                };
                self.frame(interface.link, at, block.packet_data(), block.origlen, each);
            }
            PcapBlockOwned::NG(Block::SimplePacket(block)) => {
                let Some(interface) = self.interfaces.first() else { return false };
                self.frame(interface.link, Duration::ZERO, block.packet_data(), block.origlen, each);
            }
            PcapBlockOwned::NG(Block::InterfaceStatistics(block)) => {
                let told = [block.isb_ifdrop(), block.isb_osdrop()];
                let dropped: u64 = told.into_iter().flatten().flatten().fold(0, u64::saturating_add);
                self.losses.dropped = self.losses.dropped.saturating_add(dropped);
            }
            PcapBlockOwned::NG(_) => {}
        }
        true
    }

    fn frame(
        &mut self,
        link: Linktype,
        at: Duration,
        data: &[u8],
        len: u32,
        each: &mut dyn FnMut(Frame<'_>),
    ) {
        self.frames += 1;
        let len = usize::try_from(len).unwrap_or(usize::MAX).max(data.len());
        each(Frame { number: self.frames, at, link, data, len });
    }
}

/// The time that so many ticks take.
fn ticks(count: u64, resolution: u64) -> Duration {
    let fraction = u128::from(count % resolution) * 1_000_000_000 / u128::from(resolution);
    Duration::from_secs(count / resolution)
        + Duration::from_nanos(u64::try_from(fraction).unwrap_or_default())
}

/// A reader that gives as much as it is asked for, unless the input ends: the parser takes a short read for the end. The first
/// error is kept, and ends the input.
struct Whole<'a, R> {
    input: R,
    failed: &'a mut Option<io::Error>,
}

impl<R: Read> Read for Whole<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.input.read(rest) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed.get_or_insert(error);
                    break;
                }
            }
        }
        Ok(filled)
    }
}
