//! One packet becomes several (GSO).

use std::error::Error;
use std::fmt;

use super::headers::{DatagramHeaders, Headers, Other};
use super::template::{Place, Template};
use crate::segment::{ChecksumMode, HeaderBuf, Payload, Slices};
use crate::{Checksum, TcpFlags};

/// The most bytes that an IP length field announces.
const LONGEST: usize = u16::MAX as usize;

/// Cuts a packet with the given headers and payload into segments of `segment_size` bytes of data,
/// the last of which may be shorter. Data that fits into one makes one.
///
/// The lengths and checksums in `headers` do not count; so a train may be longer than an IP packet
/// can be. Of what differs, each segment has its own:
///
/// - lengths, sequence number and checksums; the IPv4 identification counts up, unless DF is set:
///   then it is repeated;
/// - PSH and FIN stand on the last one;
/// - CWR stands on the first one, where congestion is signalled by RFC 3168. With [Accurate
///   ECN](Split::accurate_ecn) it is part of a counter, and repeated like AE and ECE always are.
///
/// Everything else is repeated, TCP options among it. UDP datagrams are cut likewise: each has a length and a checksum of its
/// own.
///
/// # Errors
///
/// See [`SplitError`].
pub fn split<'a>(headers: &[u8], payload: &'a Payload, segment_size: u16) -> Result<Split<'a>, SplitError> {
    let segment_size = usize::from(segment_size);
    let template = match Headers::read(headers) {
        Ok(read) => {
            const ALONE: TcpFlags = TcpFlags::SYN.union(TcpFlags::RST).union(TcpFlags::URG);
            if payload.len() > segment_size && read.flags().intersects(ALONE) {
                return Err(SplitError::Flags);
            }
            Template::new(&read)
        }
        Err(Other::NotTcp) => DatagramHeaders::read(headers).and_then(|read| Template::of_datagrams(&read)),
        Err(Other::Opaque) => None,
    };
    let template = template.ok_or(SplitError::Headers)?;
    let longest = template.len() + payload.len().min(segment_size);
    if segment_size == 0 || longest > LONGEST {
        return Err(SplitError::SegmentSize);
    }
    let whole = payload.slices(0..payload.len());
    Ok(Split { template, segment_size, offset: Some(0), index: 0, left: whole, checksum: ChecksumMode::Full })
}

/// The segments of a train, from [`split`].
#[derive(Clone, Debug)]
pub struct Split<'a> {
    template: Template,
    segment_size: usize,
    /// Bytes of data before the next segment; `None` behind the last one.
    offset: Option<usize>,
    /// Segments before it.
    index: usize,
    left: Slices<'a>,
    checksum: ChecksumMode,
}

/// One segment of a train: a packet of its own.
#[derive(Clone, Debug)]
pub struct Cut<'a> {
    /// Its IP and transport headers.
    pub headers: HeaderBuf,
    /// Its data.
    pub payload: Slices<'a>,
}

impl Cut<'_> {
    /// The packet's length in bytes.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // a packet is never empty
    pub fn len(&self) -> usize {
        self.headers.len() + self.payload.len()
    }
}

impl<'a> Split<'a> {
    /// Who computes the TCP checksums; [`ChecksumMode::Full`] unless this says otherwise.
    #[must_use]
    pub fn checksum(self, checksum: ChecksumMode) -> Self {
        Self { checksum, ..self }
    }

    /// The connection has negotiated Accurate ECN: AE, CWR and ECE are one number, which every
    /// segment repeats (RFC 9768 3.2.2).
    #[must_use]
    pub fn accurate_ecn(mut self) -> Self {
        self.template.repeat_cwr();
        self
    }

    /// The last segment has PSH, whatever the headers say: for a train that was received, whose
    /// headers are those of its first packet.
    #[must_use]
    pub fn push(mut self) -> Self {
        self.template.push();
        self
    }

    /// Copies the next segment to the start of `out` and returns its length; the checksum is
    /// computed in the same pass. `None` behind the last segment, or if `out` is too short for the
    /// next one, which then remains the next.
    pub fn fill(&mut self, out: &mut [u8]) -> Option<usize> {
        let headers_len = self.template.len();
        let payload_len = self.left.len().min(self.segment_size);
        let (headers, data) = out.get_mut(..headers_len + payload_len)?.split_at_mut(headers_len);
        let (place, payload) = self.advance()?;
        let (mut sum, mut room) = (Checksum::new(), data);
        for slice in payload {
            let copied = sum.add_copy(slice, room);
            room = room.get_mut(copied..).unwrap_or_default();
        }
        self.template.write(&place, self.checksum, sum.fold(), headers);
        Some(headers_len + payload_len)
    }

    /// Steps to the next segment.
    #[inline]
    fn advance(&mut self) -> Option<(Place, Slices<'a>)> {
        let offset = self.offset?;
        let payload = self.left.take_front(self.segment_size);
        let last = self.left.is_empty();
        self.offset = (!last).then_some(offset + payload.len());
        let index = self.index;
        self.index += 1;
        Some((Place { offset, index, len: payload.len(), last }, payload))
    }
}

impl<'a> Iterator for Split<'a> {
    type Item = Cut<'a>;

    fn next(&mut self) -> Option<Cut<'a>> {
        let (place, payload) = self.advance()?;
        let headers = self.template.headers_of(&place, self.checksum, || {
            let mut sum = Checksum::new();
            payload.clone().for_each(|slice| sum.add_bytes(slice));
            sum.fold()
        });
        Some(Cut { headers, payload })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Without data there is one segment, too.
        let segments = self.offset.map_or(0, |_| self.left.len().div_ceil(self.segment_size).max(1));
        (segments, Some(segments))
    }
}

impl ExactSizeIterator for Split<'_> {}

/// Why [`split`] cuts nothing. All of these are mistakes of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SplitError {
    /// The headers are not those of a TCP or UDP packet, or there are IP options, IPv6 extension headers or
    /// a fragment.
    Headers,
    /// Segments of no bytes, or longer than a packet can be.
    SegmentSize,
    /// A segment with SYN, RST or URG cannot be cut: these mean one place in the stream.
    Flags,
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Headers => "not the headers of a TCP or UDP packet that can be cut",
            Self::SegmentSize => "a segment size that no packet can have",
            Self::Flags => "a segment with SYN, RST or URG cannot be cut",
        })
    }
}

impl Error for SplitError {}
