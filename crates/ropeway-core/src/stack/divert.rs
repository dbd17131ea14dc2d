//! Diversion: what no socket and no rule takes, handed whole to the program; and whole packets that the program sends.

use bytes::{Bytes, BytesMut};
use ropeway_packet::{Protocol, ip};

use super::{Noticed, Stack};
use crate::buffer::chunk::Chunk;
use crate::divert::{DivertOptions, Diverted};
use crate::error::{ListenError, PacketError};
use crate::policy::EchoPolicy;
use crate::time::Timestamp;
use crate::transmit::{Received, RxChecksum, Transmit};

/// Diverted packets that wait may take this part of what is left of the memory budget.
const PART: usize = 8;

impl Stack {
    /// From now on, packets that no connection, no socket, no listener and no [rule](Self::set_port_policy) takes wait for
    /// [`poll_diverted`](Self::poll_diverted), and nobody answers them. That includes packets to addresses that are not ours, to
    /// groups, and to everybody. Those in fragments are put together first.
    ///
    /// Still dropped: what comes from an address that nobody can have, what goes to a loopback address, and what the IP header makes
    /// malformed. What follows the IP header has been checked only in packets to addresses of ours.
    ///
    /// # Errors
    /// [`ListenError::AddressInUse`] if packets are diverted already.
    pub fn divert(&mut self, options: DivertOptions) -> Result<(), ListenError> {
        if self.diverted.is_some() {
            return Err(ListenError::AddressInUse);
        }
        self.diverted = Some(Box::new(Diverted::new(options)));
        Ok(())
    }

    /// Diverts no more packets. Those that wait are lost.
    pub fn end_diversion(&mut self) {
        self.diverted = None;
        self.weigh_datagrams();
    }

    /// The next diverted packet: a whole IP packet, as it was on the wire or could have been, with all its checksums.
    pub fn poll_diverted(&mut self) -> Option<Bytes> {
        let packet = self.diverted.as_mut()?.pop()?;
        self.weigh_datagrams();
        Some(packet)
    }

    /// Sends a whole IP packet to the device, from whatever address it says. It is sent as it stands; if it is larger than the path
    /// takes, in fragments, unless it is one, or is IPv4's with the DF bit.
    ///
    /// # Errors
    /// See [`PacketError`].
    pub fn send_packet(&mut self, now: Timestamp, packet: Bytes) -> Result<(), PacketError> {
        self.clock_is(now);
        let ip = ip::parse(&packet).map_err(|_| PacketError::Malformed)?;
        let (to, end) = (ip.dst, ip.payload.end);
        if end != packet.len() {
            return Err(PacketError::Malformed);
        }
        if self.addresses.is_local(to) {
            return Err(PacketError::ToOurselves);
        }
        let fits = packet.len() <= usize::from(self.path_mtu(to));
        if !fits && (ip.fragment.is_some() || to.is_ipv4() && ip.dont_fragment) {
            return Err(PacketError::TooLong);
        }
        let transmit = Transmit::whole(packet);
        let packets = match fits {
            true => vec![transmit],
            false => self.in_fragments(to, transmit).ok_or(PacketError::TooLong)?,
        };
        let taken = self.outbox.push_all(packets, self.config.budget());
        self.weigh_outbox();
        if taken { Ok(()) } else { Err(PacketError::WouldBlock) }
    }

    /// Sets what echo requests to our addresses are answered with. It begins as [`StackConfig::echo`](crate::StackConfig::echo).
    pub fn set_echo_policy(&mut self, policy: EchoPolicy) {
        self.echo = policy;
    }

    /// Whether packets of that protocol are diverted if nobody takes them.
    pub(super) fn diverts(&self, protocol: Protocol) -> bool {
        self.diverted.as_ref().is_some_and(|diverted| diverted.options.take(protocol))
    }

    /// A packet that nobody takes goes to the program, if it takes such. Says whether it does.
    #[cold]
    pub(super) fn divert_unclaimed(&mut self, received: &Received, protocol: Protocol) -> bool {
        if !self.diverts(protocol) {
            return false;
        }
        let whole = received.checksum == RxChecksum::Unverified && received.is_one_segment();
        let shared = Chunk::new(received.packet.clone(), received.true_size);
        if whole && shared.is_worth_sharing(0, usize::MAX) {
            self.divert_packet(shared);
        } else {
            received
                .for_each_on_wire(&mut BytesMut::new(), |packet| self.divert_packet(Chunk::copy_of(packet)));
        }
        self.weigh_datagrams();
        true
    }

    fn divert_packet(&mut self, packet: Chunk) {
        let left = self.ledger.left() / PART;
        let Some(diverted) = &mut self.diverted else { return };
        let was_empty = diverted.is_empty();
        if !diverted.push(packet, left) {
            self.counters.diverted_dropped += 1;
            return;
        }
        self.counters.diverted += 1;
        if was_empty {
            self.event_queue.push_back(Noticed::Diverted);
        }
    }
}
