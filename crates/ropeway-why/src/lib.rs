//! Why was it slow? What was sent again, and why? How did it end?
//!
//! [`why`] reads a capture of anybody's TCP, pcap or pcapng, made at either end or between them, perhaps cut or one-sided, and
//! says of each connection how the handshake went, what limited the transfer over time, the cause of each retransmission
//! and whether it was needed, and why it ended. Each [`Verdict`] names the frames that it rests on, and has a [`Grade`]:
//! shown, likely or unknown.
//!
//! ```
//! # fn main() -> Result<(), ropeway_why::CaptureError> {
//! # let file: &[u8] = &[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0];
//! // let file = std::fs::File::open("slow.pcapng")?;
//! let report = ropeway_why::why(file, &ropeway_why::Options::default())?;
//! print!("{}", report.text(false));
//! # Ok(())
//! # }
//! ```

mod capture;
mod connection;
mod explain;
mod grade;
mod page;
mod report;

use std::io::Read;
use std::net::SocketAddr;

pub use capture::CaptureError;
pub use connection::{Cause, Counts, Limit, Needed, Retransmission, Side, Span, Totals};
pub use explain::{ConnectionReport, Direction, Place, Report, Share};
pub use grade::{Grade, Verdict};

/// What of a capture is looked at.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Connections that are told of at most, 1,000 by default. Memory is bounded whatever this is: the more there are, the
    /// less is remembered of each.
    pub connections: usize,
    /// Only those with this end.
    pub filter: Option<SocketAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self { connections: 1000, filter: None }
    }
}

/// Reads a capture once, front to back, and says what it shows.
///
/// # Errors
///
/// What is no capture, or is damaged.
pub fn why(input: impl Read + Send, options: &Options) -> Result<Report, CaptureError> {
    let mut table = connection::Table::new(options.connections, options.filter);
    let losses = capture::read(input, |frame| table.on_frame(&frame))?;
    table.finish();
    Ok(Report::new(table, losses))
}
