//! Probing the ports of others, half-open (SYN, SYN-ACK, RST) and with UDP datagrams.

use std::net::SocketAddr;

use ropeway_packet::{FourTuple, IpParams, Protocol, udp};

use super::outbox::Whom;
use super::{Noticed, Stack};
use crate::error::{ConnectError, ConnectionError};
use crate::event::ConnectionId;
use crate::options::SocketOptions;
use crate::probe::{ProbeOutcome, UdpProbeId};
use crate::time::Timestamp;
use crate::transmit::Transmit;

impl Stack {
    /// Asks whether a TCP port is open, without opening a connection: the SYN-ACK of an open port is answered
    /// with a RST. `Event::Ready` tells that there is an outcome; `options.syn_retries` says how long it may
    /// take. End it with [`close`](Self::close).
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn probe_tcp(
        &mut self,
        now: Timestamp,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: SocketOptions,
    ) -> Result<ConnectionId, ConnectError> {
        let id = self.connect(now, local, remote, options)?;
        self.with_connection(now, id, |connection, _| connection.only_probe());
        Ok(id)
    }

    /// What a TCP probe has found out, once it has.
    #[must_use]
    pub fn tcp_probe_outcome(&self, id: ConnectionId) -> Option<ProbeOutcome> {
        self.connection(id).ok()?.probe_outcome()
    }

    /// Asks whether a UDP port is closed, with a datagram of these bytes. `Event::Probed` tells that there is
    /// an outcome; silence has none, so whoever asked decides how long to wait. A probe is kept until
    /// [`end_udp_probe`](Self::end_udp_probe).
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn probe_udp(
        &mut self,
        now: Timestamp,
        remote: SocketAddr,
        payload: &[u8],
    ) -> Result<UdpProbeId, ConnectError> {
        self.clock_is(now);
        let remote = self.effective_remote(None, remote)?;
        let local = self.addresses.source_for(remote.ip()).ok_or(ConnectError::NetworkUnreachable)?;
        let port = self.choose_udp_port(local, remote).ok_or(ConnectError::PortsExhausted)?;
        let tuple = FourTuple::new(SocketAddr::new(local, port), remote);
        let id = self.udp_probes.insert(tuple).ok_or(ConnectError::PortsExhausted)?;
        self.ports.udp.flow_begins(&tuple, true);
        self.send_udp_probe(now, id, payload);
        Ok(id)
    }

    /// Sends a UDP probe's datagram again.
    pub fn send_udp_probe(&mut self, now: Timestamp, id: UdpProbeId, payload: &[u8]) {
        self.clock_is(now);
        let Some(tuple) = self.udp_probes.tuple(id) else { return };
        let ip = IpParams {
            src: tuple.local_addr,
            dst: tuple.remote_addr,
            protocol: Protocol::UDP,
            hop_limit: self.config.socket.ttl,
            traffic_class: self.config.socket.tos,
            dont_fragment: true,
            ident: 0,
            flow_label: self.isn.flow_label(Protocol::UDP, &tuple),
        };
        if let Ok(datagram) = udp::emit(&ip, tuple.local_port, tuple.remote_port, payload) {
            self.push_reply(tuple.remote_addr, Whom::Stranger, Transmit::whole(datagram.into()));
        }
    }

    /// What a UDP probe has found out, once it has.
    #[must_use]
    pub fn udp_probe_outcome(&self, id: UdpProbeId) -> Option<ProbeOutcome> {
        self.udp_probes.outcome(id)
    }

    /// Forgets a UDP probe.
    pub fn end_udp_probe(&mut self, id: UdpProbeId) {
        if let Some(tuple) = self.udp_probes.remove(id) {
            self.ports.udp.flow_ends(&tuple);
        }
    }

    /// Something has come back for a UDP probe from `tuple.local` to `tuple.remote`. Says whether there is one.
    pub(super) fn udp_probe_answered(&mut self, tuple: &FourTuple, outcome: ProbeOutcome) -> bool {
        let Some(id) = self.udp_probes.answer(tuple, outcome) else { return false };
        self.event_queue.push_back(Noticed::Probed(id));
        true
    }
}

/// What an ICMP error says of the UDP port that it is about.
pub(super) fn udp_outcome(error: ConnectionError) -> ProbeOutcome {
    match error {
        ConnectionError::Refused => ProbeOutcome::Closed,
        error => ProbeOutcome::Filtered(error),
    }
}
