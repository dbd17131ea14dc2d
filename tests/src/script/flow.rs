//! One connection as the script sees it: its sequence numbers and timestamps are not those on the wire.

use std::collections::HashMap;
use std::net::SocketAddr;

use ropeway_core::ConnectionId;

use super::ast::TcpOption;
use super::wire::{Tcp, flag};

/// The state of the translation between the script and the wire, as packetdrill has it: numbers are relative to
/// the initial sequence numbers of both ends, but for those of a SYN itself.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// The script's name for our port, if it has one.
    pub(super) script_port: Option<u16>,
    pub(super) connection: Option<ConnectionId>,
    /// The script's end; the same on the wire.
    remote_isn: u32,
    /// The number of the last SYN that arrived, whatever became of it.
    syn_seq: u32,
    /// The stack's end, once it has been seen.
    local_isn: u32,
    /// What the script calls it.
    script_isn: u32,
    /// The stack has sent more than a SYN.
    synchronized: bool,
    /// The stack has sent timestamps.
    has_timestamps: bool,
    /// The script's TSval to the one on the wire.
    ts_map: HashMap<u32, u32>,
    /// The first TSval: of the script, and of the wire.
    first_ts: Option<(u32, u32)>,
    /// What the application wrote.
    pub(super) written: Vec<u8>,
    /// How many bytes it has read.
    pub(super) read: usize,
    /// Where in the stream its end is not what [`byte_at`] says any more.
    pub(super) untrusted: bool,
    /// The last packet that arrived, to quote.
    pub(super) last_sent_seq: u32,
    /// How much data it had.
    pub(super) last_sent_len: usize,
}

/// The byte that the script's end sends at this place of its stream, and that `write(3, ..., 100)` writes.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn byte_at(at: usize) -> u8 {
    // 251 is prime, so a shift by any power of two shows.
    (at % 251) as u8
}

impl Flow {
    pub(super) fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            local,
            remote,
            script_port: None,
            connection: None,
            remote_isn: 0,
            syn_seq: 0,
            local_isn: 0,
            script_isn: 0,
            synchronized: false,
            has_timestamps: false,
            ts_map: HashMap::new(),
            first_ts: None,
            written: Vec::new(),
            read: 0,
            untrusted: false,
            last_sent_seq: 0,
            last_sent_len: 0,
        }
    }

    // ---- the script's end sends

    /// Puts a segment with the script's numbers onto the wire. Errors with what cannot be translated.
    pub(super) fn arrive(&mut self, tcp: &mut Tcp) -> Result<(), String> {
        let syn = tcp.has(flag::SYN);
        if syn {
            self.syn_seq = tcp.seq;
            if !self.synchronized {
                self.remote_isn = tcp.seq;
            }
        }
        if !syn {
            tcp.seq = tcp.seq.wrapping_add(self.remote_isn);
        }
        if tcp.has(flag::ACK) {
            tcp.ack = tcp.ack.wrapping_add(self.local_offset(syn));
        }
        let (acks, offset) = (tcp.has(flag::ACK), self.local_offset(syn));
        for option in &mut tcp.options {
            match option {
                TcpOption::Sack(blocks) => {
                    for (left, right) in blocks {
                        *left = left.wrapping_add(offset);
                        *right = right.wrapping_add(offset);
                    }
                }
                TcpOption::Timestamps { ecr, .. } if acks => {
                    *ecr =
                        self.echo(*ecr).ok_or(format!("no timestamp was sent that ecr {ecr} could echo"))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn local_offset(&self, syn: bool) -> u32 {
        if syn { self.local_isn.wrapping_sub(self.script_isn) } else { self.local_isn }
    }

    /// The script's number of a byte that we sent, on the wire.
    pub(super) fn local_seq(&self, script: u32) -> u32 {
        self.local_isn.wrapping_add(script)
    }

    fn echo(&self, script: u32) -> Option<u32> {
        if !self.has_timestamps {
            return Some(script);
        }
        let (first_script, first_wire) = self.first_ts?;
        let known = self.ts_map.get(&script).copied();
        Some(known.unwrap_or_else(|| script.wrapping_sub(first_script).wrapping_add(first_wire)))
    }

    // ---- the stack sends

    /// A segment has left the stack.
    pub(super) fn sent(&mut self, tcp: &Tcp) {
        self.last_sent_seq = tcp.seq;
        self.last_sent_len = tcp.payload.len();
        self.has_timestamps |=
            tcp.options.iter().any(|option| matches!(option, TcpOption::Timestamps { .. }));
        if tcp.has(flag::SYN) {
            self.local_isn = tcp.seq;
            // It may acknowledge data as well (Fast Open).
            if tcp.has(flag::ACK) {
                self.remote_isn = self.syn_seq;
            }
        }
        self.synchronized = !tcp.has(flag::SYN) && !tcp.has(flag::RST) || tcp.has(flag::SYN | flag::ACK);
    }

    /// The script calls the stack's initial sequence number so, in its SYN.
    pub(super) fn name_isn(&mut self, script: u32) {
        self.script_isn = script;
    }

    /// A TSval of the wire goes by this name in the script.
    pub(super) fn name_timestamp(&mut self, script: u32, wire: u32) {
        self.ts_map.insert(script, wire);
        self.first_ts.get_or_insert((script, wire));
    }

    /// A segment from the stack with the script's numbers.
    pub(super) fn out_to_script(&self, tcp: &Tcp) -> Tcp {
        let mut tcp = tcp.clone();
        let syn = tcp.has(flag::SYN);
        tcp.seq = tcp.seq.wrapping_sub(self.local_offset(syn));
        if tcp.has(flag::ACK) {
            tcp.ack = tcp.ack.wrapping_sub(if syn { 0 } else { self.remote_isn });
        }
        let sack_offset = if syn { 0 } else { self.remote_isn };
        for option in &mut tcp.options {
            match option {
                TcpOption::Sack(blocks) => {
                    for (left, right) in blocks {
                        *left = left.wrapping_sub(sack_offset);
                        *right = right.wrapping_sub(sack_offset);
                    }
                }
                TcpOption::Timestamps { val, .. } => {
                    if let Some((script, wire)) = self.first_ts {
                        *val = val.wrapping_sub(wire).wrapping_add(script);
                    }
                }
                _ => {}
            }
        }
        tcp
    }

    /// Whether the application has written more than a segment ends with.
    pub(super) fn has_more_behind(&self, tcp: &Tcp) -> bool {
        let start = tcp.seq.wrapping_sub(self.local_isn.wrapping_add(1)) as usize;
        !tcp.payload.is_empty() && start.saturating_add(tcp.payload.len()) < self.written.len()
    }

    /// What is wrong with the bytes that a segment of the stack carries: it must be what was written.
    pub(super) fn check_payload(&self, tcp: &Tcp) -> Option<String> {
        let syn = u32::from(tcp.has(flag::SYN));
        let start = tcp.seq.wrapping_add(syn).wrapping_sub(self.local_isn.wrapping_add(1)) as usize;
        let wrong = tcp.payload.iter().zip(start..).find(|(byte, at)| self.written.get(*at) != Some(byte))?;
        // A keep-alive or window probe may carry a byte that was sent before; it is checked like any other.
        Some(format!(
            "byte {} of the stream is {:#04x}, and {} was written",
            wrong.1,
            wrong.0,
            self.written.get(wrong.1).map_or("nothing".into(), |byte| format!("{byte:#04x}"))
        ))
    }
}
