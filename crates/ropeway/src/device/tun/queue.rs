//! A queue of a TUN device: reads and writes that do not wait.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::sync::Arc;

use bytes::BytesMut;

use super::super::{PacketPool, Received, Transmit};
use super::counters::Counts;
use super::vnet;

/// Payloads from this size on are written in pieces as they lie. Below it, a copy to one piece is cheaper than
/// what the kernel spends on several.
const GATHER_FROM: usize = 16 * 1024;
/// Most pieces that are written as they lie.
const GATHER_MOST: usize = 64;

pub(super) struct Queue {
    /// Our own handle of what tokio-tun has opened.
    file: Arc<File>,
    /// A header before each packet says what is left to do.
    offload: bool,
    /// The kernel cuts trains of segments, and of datagrams. Some refuse those with a short end, older ones all of the latter.
    kernel_cuts: [bool; 2],
    /// How many segments of the train that is being sent have gone.
    cut: usize,
    pool: PacketPool,
    /// The packet that is being sent, in one piece.
    outgoing: BytesMut,
}

impl Queue {
    pub(super) fn new(file: File, mtu: u16, offload: bool) -> Self {
        let pool = if offload { PacketPool::with_trains(mtu) } else { PacketPool::new(mtu) };
        Self {
            file: Arc::new(file),
            offload,
            kernel_cuts: [offload; 2],
            cut: 0,
            pool,
            outgoing: BytesMut::new(),
        }
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(super) fn has_offload(&self) -> bool {
        self.offload
    }

    /// Bytes of memory that wait for packets.
    pub(super) fn slabs(&self) -> usize {
        self.pool.capacity()
    }

    /// Reads a packet; `None` if it had to be thrown away.
    pub(super) fn read(&mut self, counters: &Counts) -> io::Result<Option<Received>> {
        if self.offload {
            return self.read_offloaded();
        }
        let window = self.pool.window();
        let room = window.len();
        let len = (&*self.file).read(window)?;
        if len < room {
            return Ok(Some(self.pool.take(len)));
        }
        // Somebody has raised the MTU, and the kernel has cut this packet to the room there was.
        Counts::add(&counters.truncated);
        self.pool = PacketPool::new(u16::MAX);
        Ok(None)
    }

    /// Likewise, after its header. There is room for whatever comes.
    fn read_offloaded(&mut self) -> io::Result<Option<Received>> {
        let mut header = [0; vnet::LEN];
        let [window, overflow] = self.pool.windows();
        let mut pieces = [&mut header[..], window, overflow].map(IoSliceMut::new);
        let len = (&*self.file).read_vectored(&mut pieces)?;
        let Some(len) = len.checked_sub(vnet::LEN) else { return Ok(None) };
        let vnet::Offload { checksum, segment_size } = vnet::parse(&header);
        Ok(Some(self.pool.take(len).with_checksum(checksum).with_segment_size(segment_size)))
    }

    /// Writes a packet, or what is left of a train. After an error that is no reason to wait it is lost.
    pub(super) fn write(&mut self, packet: &Transmit) -> io::Result<()> {
        let Some(size) = packet.segment_size else { return self.write_whole(packet) };
        let [segments, datagrams] = self.kernel_cuts;
        let of_datagrams = vnet::is_udp(packet);
        if (if of_datagrams { datagrams } else { segments }) && !vnet::spoils(packet) {
            match self.write_whole(packet) {
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    tracing::warn!(%error, of_datagrams, "the kernel refuses trains: they are cut here from now on");
                    let [segments, datagrams] = &mut self.kernel_cuts;
                    *(if of_datagrams { datagrams } else { segments }) = false;
                }
                result => return result,
            }
        }
        self.write_cut(packet, size)
    }

    fn write_whole(&mut self, packet: &Transmit) -> io::Result<()> {
        let Self { file, offload, outgoing, .. } = self;
        let mut file = &**file;
        let header = offload.then(|| vnet::of(packet));
        let header = header.as_ref().map_or(&[][..], |header| header);
        if packet.payload.len() >= GATHER_FROM
            && let Some(sent) = gather(header, packet, |pieces| file.write_vectored(pieces))
        {
            return sent.map(drop);
        }
        outgoing.clear();
        outgoing.extend_from_slice(header);
        packet.write_to(outgoing);
        file.write(outgoing).map(drop)
    }

    /// Writes the segments of a train one by one.
    fn write_cut(&mut self, train: &Transmit, size: u16) -> io::Result<()> {
        let Self { file, offload, cut, outgoing, .. } = self;
        let Some(mut split) = train.split() else { return Err(io::ErrorKind::InvalidData.into()) };
        // Segments are complete, so their headers say nothing.
        let header_len = if *offload { vnet::LEN } else { 0 };
        outgoing.clear();
        outgoing.resize(header_len + train.header.len() + usize::from(size), 0);
        for number in 0.. {
            let Some(len) = outgoing.get_mut(header_len..).and_then(|room| split.fill(room)) else { break };
            if number < *cut {
                continue;
            }
            match (&**file).write(outgoing.get(..header_len + len).unwrap_or_default()) {
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
                {
                    return Err(error);
                }
                Err(error) => {
                    *cut = 0;
                    return Err(error);
                }
                Ok(_) => *cut += 1,
            }
        }
        *cut = 0;
        Ok(())
    }
}

/// Gives the pieces of a packet to `write`, unless there are too many.
fn gather<R>(before: &[u8], packet: &Transmit, write: impl FnOnce(&[IoSlice<'_>]) -> R) -> Option<R> {
    let mut pieces = [IoSlice::new(&[]); GATHER_MOST];
    let mut used = 0;
    let all = [before, &packet.header].into_iter().chain(packet.payload.parts().map(|part| &**part));
    for piece in all.filter(|piece| !piece.is_empty()) {
        *pieces.get_mut(used)? = IoSlice::new(piece);
        used += 1;
    }
    pieces.get(..used).map(write)
}
