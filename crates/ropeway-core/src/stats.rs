//! Counters: what happened, and why a packet was dropped.

use std::ops::AddAssign;

/// Makes the struct, and the sum of two of it.
macro_rules! counters {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$of_field:meta])* pub $field:ident: u64,)* }) => {
        $(#[$meta])*
        pub struct $name { $($(#[$of_field])* pub $field: u64,)* }

        impl AddAssign for $name {
            /// Counts what another [shard](crate::Stack::shards) has counted, too.
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

counters! {
/// Everything the stack counts since it was made. Counts are of packets unless the name says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Packets handed to the stack, looped ones included.
    pub received: u64,
    /// Packets the stack gave out, looped ones included.
    pub sent: u64,
    /// TCP segments received with good checksums.
    pub tcp_received: u64,
    /// TCP segments sent.
    pub tcp_sent: u64,
    /// TCP segments sent again: data, SYN, SYN-ACK and FIN.
    pub tcp_retransmitted: u64,
    /// RST segments sent.
    pub resets_sent: u64,
    /// Connections ended by the peer's RST.
    pub resets_received: u64,
    /// Active opens started.
    pub active_opens: u64,
    /// Passive opens completed.
    pub passive_opens: u64,
    /// Connections that failed before they were established.
    pub failed_opens: u64,
    /// Connections given up because the peer did not answer.
    pub timed_out: u64,
    /// Bytes that were written and not acknowledged when their connection ended: reset, aborted or given up. Who
    /// holds the connection gets an error; of what had been closed before, only this tells.
    pub bytes_lost: u64,
    /// Retransmission timeouts.
    pub retransmission_timeouts: u64,
    /// Fast retransmits (RFC 5681 3.2).
    pub fast_retransmits: u64,
    /// Tail loss probes sent (RFC 8985 7).
    pub tail_probes: u64,
    /// Retransmission timeouts that were proved spurious (RFC 5682, RFC 3522).
    pub spurious_timeouts: u64,
    /// Reductions of a congestion window that were proved wrong, and undone (RFC 4015).
    pub undone: u64,
    /// Probes of a path's MTU sent (RFC 4821).
    pub mtu_probes: u64,
    /// Those of them that have arrived (Linux: TCPMTUPSuccess).
    pub mtu_probes_passed: u64,
    /// Those that were lost (Linux: TCPMTUPFail).
    pub mtu_probes_lost: u64,
    /// Black holes found: smaller segments got through where larger ones had not, and no router had said so.
    pub black_holes: u64,
    /// TCP packets received with Congestion Experienced (Linux: InCEPkts); those that a device has merged count as one.
    pub marks_received: u64,
    /// Segments that peers have reported to have arrived with Congestion Experienced (Linux: TCPDeliveredCE).
    pub delivered_ce: u64,
    /// SYNs received for a listener.
    pub syns_received: u64,
    /// Half-open connections reaped because their handshake never completed.
    pub half_open_reaped: u64,
    /// Half-open connections ended by the peer's RST.
    pub half_open_reset: u64,
    /// SYNs that found the SYN queue full.
    pub syn_queue_overflows: u64,
    /// SYNs whose source prefix had its share of the SYN queue already.
    pub prefix_overflows: u64,
    /// SYNs dropped because there was no place for them and cookies were off.
    pub syns_dropped: u64,
    /// SYN cookies sent.
    pub cookies_sent: u64,
    /// Handshakes that a cookie completed.
    pub cookies_accepted: u64,
    /// Acknowledgements that completed a handshake but for the data that its listener waits for (`TCPDeferAcceptDrop`).
    pub accepts_deferred: u64,
    /// ACKs that brought no good cookie back while cookies were in use.
    pub cookies_failed: u64,
    /// SYNs and final ACKs dropped because the accept queue was full, or there were `max_connections`.
    pub accept_queue_overflows: u64,
    /// TIME-WAIT entries that made room for a newer one.
    pub time_wait_overflows: u64,
    /// TIME-WAIT tuples taken over by a newer SYN, the peer's or our own (RFC 6191, RFC 9293 MAY-2).
    pub time_wait_reused: u64,
    /// Steps of searches for a free local port: in each, sixty-four ports are looked at.
    pub port_search_steps: u64,
    /// Challenge ACKs sent (RFC 5961).
    pub challenge_acks: u64,
    /// Connects whose data went with the SYN, all of it acknowledged by the SYN-ACK (Linux: TCPFastOpenActive).
    pub fast_open_active: u64,
    /// Those whose data was not, and paths that were found to swallow what Fast Open sends (Linux: TCPFastOpenActiveFail).
    pub fast_open_active_failed: u64,
    /// Paths that were found to swallow what Fast Open sends (Linux: TCPFastOpenBlackhole).
    pub fast_open_black_holes: u64,
    /// Connections opened by a SYN with a good cookie, before its third segment (Linux: TCPFastOpenPassive).
    pub fast_open_passive: u64,
    /// Those of them whose cookie was made with the second key (Linux: TCPFastOpenPassiveAltKey).
    pub fast_open_passive_alt_key: u64,
    /// SYNs with a cookie that was not good (Linux: TCPFastOpenPassiveFail).
    pub fast_open_passive_failed: u64,
    /// SYNs with data or a cookie that were taken as any other, because too many connections of the listener waited for their
    /// third segment (Linux: TCPFastOpenListenOverflow).
    pub fast_open_overflows: u64,
    /// SYNs that asked for a cookie (Linux: TCPFastOpenCookieReqd).
    pub fast_open_cookies_requested: u64,
    /// Segments dropped by PAWS (RFC 7323 5).
    pub paws_dropped: u64,
    /// Segments outside the receive window.
    pub out_of_window: u64,
    /// Segments that arrived beyond a gap and were kept.
    pub out_of_order: u64,
    /// Segments beyond a gap that were dropped, for memory's sake.
    pub reassembly_overflows: u64,
    /// Segments with an acknowledgement of what was never sent, or too old (RFC 5961 5).
    pub unacceptable_acks: u64,
    /// Segments with malformed options.
    pub malformed_options: u64,
    /// Packets that could not be parsed: IP.
    pub malformed_ip: u64,
    /// Packets that could not be parsed: TCP, UDP or ICMP.
    pub malformed_transport: u64,
    /// TCP segments with a wrong checksum.
    pub bad_checksums: u64,
    /// IP fragments received (Linux: ReasmReqds).
    pub fragments: u64,
    /// Datagrams put together out of fragments (Linux: ReasmOKs).
    pub datagrams_reassembled: u64,
    /// Datagrams given up because fragments of them did not come in time (Linux: ReasmTimeout).
    pub datagrams_timed_out: u64,
    /// Datagrams dropped because their fragments overlap, or contradict each other otherwise (Linux: ReasmOverlaps).
    pub datagrams_overlapping: u64,
    /// Datagrams of which something was missing, and that made room for newer ones.
    pub datagrams_displaced: u64,
    /// Datagrams sent in fragments (Linux: FragOKs).
    pub datagrams_fragmented: u64,
    /// Those fragments (Linux: FragCreates).
    pub fragments_sent: u64,
    /// Packets for an address that is not ours.
    pub not_ours: u64,
    /// Packets from an address that nobody can have: broadcast, multicast, unspecified, or our own.
    pub martian_sources: u64,
    /// TCP segments to a broadcast or multicast address (RFC 9293 3.9.2.3).
    pub broadcast_segments: u64,
    /// Packets of a protocol that we do not speak.
    pub unknown_protocol: u64,
    /// Packets that the packet policy dropped or refused.
    pub policy_refused: u64,
    /// UDP datagrams received with good checksums, whether anybody took them or not.
    pub udp_received: u64,
    /// UDP datagrams sent (Linux: OutDatagrams).
    pub udp_sent: u64,
    /// UDP datagrams with a wrong checksum, or over IPv6 with none (Linux: InCsumErrors).
    pub udp_bad_checksums: u64,
    /// UDP datagrams dropped because their socket's queue was full (Linux: RcvbufErrors).
    pub udp_queue_full: u64,
    /// UDP datagrams dropped because memory was scarce, or the others' queues left no more to their socket (Linux: MemErrors).
    pub udp_memory_dropped: u64,
    /// UDP datagrams that no socket took.
    pub udp_no_port: u64,
    /// ICMP messages received.
    pub icmp_received: u64,
    /// ICMP errors that matched no connection or whose sequence number was not outstanding (RFC 5927).
    pub icmp_ignored: u64,
    /// ICMP errors sent.
    pub icmp_errors_sent: u64,
    /// ICMP errors not sent because of the rate limit.
    pub icmp_rate_limited: u64,
    /// ICMP echo requests answered.
    pub echo_replies: u64,
    /// Timeouts of what the device had not taken yet (Linux: TCPSpuriousRtxHostQueues).
    pub timeouts_unsent: u64,
    /// Times at which a buffer that tunes itself wanted to grow, and did not because memory was scarce.
    pub growth_stopped: u64,
    /// Segments sent with a smaller window than the buffer has room for, because memory was scarce.
    pub windows_closed: u64,
    /// Bytes beyond gaps that had been reported, and were dropped because memory was scarce (RFC 2018 8).
    pub bytes_reneged: u64,
    /// Connections that nobody held any more, and that were reset: there were `max_orphans`, or memory was scarce.
    pub orphans_reset: u64,
    /// SYNs and final ACKs dropped, and calls of `connect` that failed, because memory was scarce.
    pub opens_refused: u64,
    /// Segments with data that a window had promised to take, dropped because memory was scarce.
    pub promised_dropped: u64,
    /// Packets that nobody took, and that wait for the program or were taken by it.
    pub diverted: u64,
    /// Those for which there was no room.
    pub diverted_dropped: u64,
    /// Answers dropped because too many waited to be sent.
    pub replies_dropped: u64,
}
}
