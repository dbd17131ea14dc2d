//! The fixed part of the header.

use pnet_packet::tcp::TcpPacket;

use super::options::LONE_TIMESTAMPS;
use super::{TcpFlags, TcpOptions, Timestamps};
use crate::words::put_words;
use crate::{Checksum, SeqNum, TcpError};

/// Bytes of a header without options.
const MIN_LEN: usize = 20;
/// Likewise, of one with timestamps and nothing else.
const WITH_TIMESTAMPS: usize = 32;
/// Where the checksum stands.
pub(crate) const CHECKSUM_OFFSET: usize = 16;

/// A TCP header (RFC 9293 3.1), without the data offset and the checksum, which follow from the
/// rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TcpHeader {
    /// The sender's port.
    pub src_port: u16,
    /// The receiver's port.
    pub dst_port: u16,
    /// SEG.SEQ: the number of the first byte of data, or of the SYN.
    pub seq: SeqNum,
    /// SEG.ACK: the number expected next; meaningful with [`TcpFlags::ACK`].
    pub ack: SeqNum,
    /// The control bits.
    pub flags: TcpFlags,
    /// The window field as it stands, not scaled.
    pub window: u16,
    /// The urgent pointer, relative to `seq`; meaningful with [`TcpFlags::URG`].
    pub urgent: u16,
    /// The options.
    pub options: TcpOptions,
}

/// What [`TcpHeader::parse`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsedTcp {
    /// The header.
    pub header: TcpHeader,
    /// Where the data starts: the data offset in bytes, 20 to 60.
    pub header_len: usize,
    /// Some option had an illegal length; it, and what could not be told apart behind it, is not in
    /// [`TcpHeader::options`].
    pub malformed_options: bool,
}

impl TcpHeader {
    /// Reads the header at the start of `segment`. The checksum is not looked at.
    ///
    /// Options that are not understood are skipped; see [`ParsedTcp::malformed_options`] for
    /// illegal ones. Of an option that occurs twice the last one wins, as in Linux. Options that
    /// are defined only for segments with SYN are ignored in others.
    ///
    /// # Errors
    ///
    /// [`TcpError::Truncated`] if the segment is shorter than 20 bytes or than its data offset
    /// says, [`TcpError::BadDataOffset`] if that is below 5.
    #[inline]
    pub fn parse(segment: &[u8]) -> Result<ParsedTcp, TcpError> {
        let fields = TcpPacket::new(segment).ok_or(TcpError::Truncated)?;
        let header_len = usize::from(fields.get_data_offset()) * 4;
        if header_len < MIN_LEN {
            return Err(TcpError::BadDataOffset);
        }
        let options = segment.get(MIN_LEN..header_len).ok_or(TcpError::Truncated)?;
        // RFC 9293 3.1: the reserved bits "must be ignored in received segments", but for the one
        // AccECN took.
        let flags = u16::from(fields.get_reserved()) << 8 | u16::from(fields.get_flags());
        let flags = TcpFlags::from_bits_truncate(flags);
        // Options are read where they stay.
        let mut parsed = Ok(ParsedTcp {
            header: Self {
                src_port: fields.get_source(),
                dst_port: fields.get_destination(),
                seq: SeqNum::new(fields.get_sequence()),
                ack: SeqNum::new(fields.get_acknowledgement()),
                flags,
                window: fields.get_window(),
                urgent: fields.get_urgent_ptr(),
                options: TcpOptions::default(),
            },
            header_len,
            malformed_options: false,
        });
        if let Ok(parsed) = &mut parsed {
            parsed.malformed_options = parsed.header.options.read(options, flags.contains(TcpFlags::SYN));
        }
        parsed
    }

    /// The length of the header in bytes, with the options that fit: a multiple of 4, 20 to 60.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // a header is never empty
    pub fn len(&self) -> usize {
        MIN_LEN + self.options.layout(self.flags.contains(TcpFlags::SYN)).len
    }

    /// Writes the header to the start of `out` and returns its length, [`len`](Self::len). The
    /// checksum is written as zero. If `out` is too short, writes nothing and returns 0.
    ///
    /// Options stand in the order and with the padding that Linux uses. If they exceed the 40 bytes
    /// there are, SACK blocks are left out, the last one first; all others together always fit.
    /// Options that are defined only for segments with SYN are left out of others (RFC 9293 3.2
    /// MUST-65).
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> usize {
        self.emit_summed(out).0
    }

    /// Likewise, with the sum of what was written: to read it again just behind the stores would be to wait for them.
    #[inline]
    pub(crate) fn emit_summed(&self, out: &mut [u8]) -> (usize, Checksum) {
        let syn = self.flags.contains(TcpFlags::SYN);
        if let Some(Timestamps { tsval, tsecr }) = self.options.lone_timestamps(syn)
            && let Some(out) = out.first_chunk_mut::<WITH_TIMESTAMPS>()
        {
            // By far the most headers: eight words.
            let [ports, seq, ack, flags, urgent] = self.words(WITH_TIMESTAMPS);
            let words = [ports, seq, ack, flags, urgent, LONE_TIMESTAMPS, tsval, tsecr];
            put_words(out, words);
            return (WITH_TIMESTAMPS, sum_of_words(&words));
        }
        let layout = self.options.layout(syn);
        let len = MIN_LEN + layout.len;
        let Some((fixed, options)) = out.get_mut(..len).and_then(<[u8]>::split_first_chunk_mut::<MIN_LEN>)
        else {
            return (0, Checksum::new());
        };
        let words = self.words(len);
        put_words(fixed, words);
        self.options.emit(&layout, options);
        let mut sum = sum_of_words(&words);
        sum.add_bytes(options);
        (len, sum)
    }

    /// What stands before the options of a header of `len` bytes. The checksum is zero.
    #[inline]
    fn words(&self, len: usize) -> [u32; 5] {
        // The data offset stands in the upper four bits, in words: len / 4 << 4.
        let offset_and_flags = u32::try_from(len * 4).unwrap_or(0) << 8 | u32::from(self.flags.bits());
        [
            u32::from(self.src_port) << 16 | u32::from(self.dst_port),
            self.seq.get(),
            self.ack.get(),
            offset_and_flags << 16 | u32::from(self.window),
            u32::from(self.urgent),
        ]
    }

    /// SEG.LEN: the sequence numbers that the segment occupies: `payload_len` bytes of data, and
    /// one each for SYN and FIN (RFC 9293 3.4).
    #[inline]
    pub fn segment_len(&self, payload_len: usize) -> u32 {
        u32::try_from(payload_len)
            .unwrap_or(u32::MAX)
            .saturating_add(u32::from(self.flags.contains(TcpFlags::SYN)))
            .saturating_add(u32::from(self.flags.contains(TcpFlags::FIN)))
    }
}

#[inline]
fn sum_of_words(words: &[u32]) -> Checksum {
    let mut sum = Checksum::new();
    words.iter().for_each(|word| sum.add_u32(*word));
    sum
}
