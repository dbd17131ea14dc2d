//! Writes packets to a file, for Wireshark.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, PcapError, TsResolution};

/// Bytes that a packet in a capture may have: no IP packet has more.
const SNAPLEN: u32 = 65535;

/// A capture in the pcap format, with an IP header first in each packet (LINKTYPE_RAW); or none. Clones of it write to
/// the same file.
#[derive(Clone, Default)]
pub struct Capture(Arc<Mutex<State>>);

#[derive(Default)]
enum State {
    /// Nothing is captured, or the capture has ended.
    #[default]
    Off,
    On(String, PcapWriter<BufWriter<File>>),
    /// The file took no more.
    Failed(String),
}

impl Capture {
    /// Starts a capture in the file `path`; without one, nothing is captured.
    ///
    /// # Errors
    ///
    /// When the file cannot be written: one line that names it.
    pub fn create(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let name = path.display().to_string();
        let named = |error: &dyn std::fmt::Display| io::Error::other(format!("cannot write {name}: {error}"));
        let file = BufWriter::new(File::create(path).map_err(|error| named(&error))?);
        let header = PcapHeader {
            snaplen: SNAPLEN,
            datalink: DataLink::RAW,
            ts_resolution: TsResolution::NanoSecond,
            ..PcapHeader::default()
        };
        let writer = PcapWriter::with_header(file, header).map_err(|error| named(&error))?;
        Ok(Self(Arc::new(Mutex::new(State::On(name, writer)))))
    }

    /// Writes a packet that crossed at `time`. When the file takes no more, the capture ends, and says so at once.
    pub fn write(&self, time: SystemTime, packet: &[u8]) {
        let mut state = self.lock();
        let State::On(name, writer) = &mut *state else { return };
        let timestamp = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let len = u32::try_from(packet.len()).unwrap_or(SNAPLEN);
        if let Err(error) = writer.write_packet(&PcapPacket::new(timestamp, len, packet)) {
            let why = format!("the capture {name} ends early: {}", plain(error));
            eprintln!("{why}");
            *state = State::Failed(why);
        }
    }

    /// Ends the capture.
    ///
    /// # Errors
    ///
    /// When not all of it is in the file: one line that names it and says why.
    pub fn finish(&self) -> io::Result<()> {
        match std::mem::take(&mut *self.lock()) {
            State::Off => Ok(()),
            State::On(name, writer) => writer
                .into_writer()
                .flush()
                .map_err(|error| io::Error::other(format!("the capture {name} ends early: {error}"))),
            State::Failed(why) => Err(io::Error::other(why)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the file said, without the library's words around it.
fn plain(error: PcapError) -> String {
    match error {
        PcapError::IoError(error) => error.to_string(),
        error => error.to_string(),
    }
}
