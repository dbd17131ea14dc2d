//! Which segments a rule is about.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeBounds;

use ropeway_packet::{TcpFlags, TcpHeader};

use crate::host::Host;

/// A TCP segment that a host sends, as a [rule](crate::Net::rule) sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Segment<'a> {
    /// Who sends it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// Its header.
    pub header: &'a TcpHeader,
    /// Its data.
    pub payload: &'a [u8],
    /// Its sequence number, relative to that of the SYN: 1 is the first byte of data. `None` if there was no rule
    /// yet when the connection was opened.
    pub seq: Option<u32>,
    /// Its acknowledgement number, relative to the other end's SYN. Likewise; and `None` without ACK.
    pub ack: Option<u32>,
}

/// Which TCP segments a [rule](crate::Net::rule) or an [expectation](crate::Net::expect) is about: those that all
/// conditions hold for.
///
/// # Examples
///
/// ```
/// use ropeway_sim::{Segments, TcpFlags};
///
/// let third_syn_ack = Segments::new().flags(TcpFlags::SYN | TcpFlags::ACK).nth(3);
/// let a_get = Segments::new().to_port(80).containing(b"GET ");
/// let second_kilobyte = Segments::new().seq(1025..2049);
/// # let _ = (third_syn_ack, a_get, second_kilobyte);
/// ```
#[derive(Default)]
#[must_use = "it does nothing by itself"]
pub struct Segments {
    /// Each with a description.
    conditions: Vec<(String, Condition)>,
    /// Of those that fit, the numbers that are meant, from 1.
    numbers: Option<(u64, u64)>,
}

type Condition = Box<dyn Fn(&Segment<'_>) -> bool + Send>;

impl Segments {
    /// All segments.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those that `host` sends.
    pub fn from(self, host: &Host) -> Self {
        let addresses = host.addresses();
        self.and(format!("from {}", host.name()), move |segment| is_one_of(&addresses, segment.from))
    }

    /// Those that are sent to `host`.
    pub fn to(self, host: &Host) -> Self {
        let addresses = host.addresses();
        self.and(format!("to {}", host.name()), move |segment| is_one_of(&addresses, segment.to))
    }

    /// Those that are sent from this port.
    pub fn from_port(self, port: u16) -> Self {
        self.and(format!("from port {port}"), move |segment| segment.from.port() == port)
    }

    /// Those that are sent to this port.
    pub fn to_port(self, port: u16) -> Self {
        self.and(format!("to port {port}"), move |segment| segment.to.port() == port)
    }

    /// Those with all of these control bits, and perhaps others.
    pub fn flags(self, flags: TcpFlags) -> Self {
        self.and(format!("with {flags:?}"), move |segment| segment.header.flags.contains(flags))
    }

    /// Those with none of these control bits.
    pub fn without(self, flags: TcpFlags) -> Self {
        self.and(format!("without {flags:?}"), move |segment| !segment.header.flags.intersects(flags))
    }

    /// Those that carry data.
    pub fn with_data(self) -> Self {
        self.and("with data".to_owned(), |segment| !segment.payload.is_empty())
    }

    /// Those whose data has these bytes in it.
    pub fn containing(self, bytes: &[u8]) -> Self {
        let bytes = bytes.to_vec();
        let text = format!("containing {:?}", String::from_utf8_lossy(&bytes));
        self.and(text, move |segment| {
            bytes.is_empty() || segment.payload.windows(bytes.len()).any(|window| window == bytes)
        })
    }

    /// Those whose sequence number is in this range, relative to that of the SYN: 1 is the first byte of data. The
    /// connection must have been opened when the network had a rule already.
    pub fn seq(self, range: impl RangeBounds<u32> + fmt::Debug + Send + 'static) -> Self {
        self.and(format!("with seq in {range:?}"), move |segment| {
            segment.seq.is_some_and(|seq| range.contains(&seq))
        })
    }

    /// Those whose acknowledgement number is in this range, relative to the other end's SYN. Likewise.
    pub fn ack(self, range: impl RangeBounds<u32> + fmt::Debug + Send + 'static) -> Self {
        self.and(format!("with ack in {range:?}"), move |segment| {
            segment.ack.is_some_and(|ack| range.contains(&ack))
        })
    }

    /// Those that `condition` holds for.
    pub fn when(self, condition: impl Fn(&Segment<'_>) -> bool + Send + 'static) -> Self {
        self.and("of the test's choice".to_owned(), condition)
    }

    /// Of those that fit, counted from now, only the `number`-th; the first is 1.
    ///
    /// # Panics
    ///
    /// If the number is 0.
    #[track_caller]
    pub fn nth(mut self, number: u64) -> Self {
        assert!(number > 0, "the first segment is number 1, and none is number 0");
        self.numbers = Some((number, number));
        self
    }

    /// Of those that fit, counted from now, only the first `count`.
    ///
    /// # Panics
    ///
    /// If that is none.
    #[track_caller]
    pub fn first(mut self, count: u64) -> Self {
        assert!(count > 0, "the first 0 segments are none");
        self.numbers = Some((1, count));
        self
    }

    fn and(mut self, text: String, condition: impl Fn(&Segment<'_>) -> bool + Send + 'static) -> Self {
        self.conditions.push((text, Box::new(condition)));
        self
    }

    pub(super) fn fit(&self, segment: &Segment<'_>) -> bool {
        self.conditions.iter().all(|(_, condition)| condition(segment))
    }

    /// Whether the one that fits with this number is meant.
    pub(super) fn chooses_number(&self, number: u64) -> bool {
        self.numbers.is_none_or(|(first, last)| (first..=last).contains(&number))
    }
}

fn is_one_of(addresses: &[IpAddr], end: SocketAddr) -> bool {
    addresses.contains(&end.ip())
}

impl fmt::Display for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.numbers {
            None => f.write_str("segments")?,
            Some((first, last)) if first == last => write!(f, "segment number {first} of those")?,
            Some((_, last)) => write!(f, "the first {last} segments of those")?,
        }
        self.conditions.iter().try_for_each(|(text, _)| write!(f, " {text}"))
    }
}

impl fmt::Debug for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segments({self})")
    }
}
