//! What `TCP_INFO` tells, in Linux's terms.

use std::time::Duration;

use crate::congestion::Phase;
use crate::ecn::EcnFeedback;
use crate::tcp::connection::state::State;
use crate::tcp::fast_open::FastOpenFailure;

/// What keeps the sender from sending more right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SenderLimit {
    /// Nothing is waiting to be sent: the application is the limit.
    #[default]
    Application,
    /// The congestion window is full.
    CongestionWindow,
    /// All that the send buffer holds was sent, and it is full: the application has more to write.
    SendBuffer,
    /// The peer's receive window is full.
    ReceiveWindow,
    /// Segments follow each other at a rate, and the next one is not due yet.
    Pacing,
    /// A small segment is held back by Nagle's algorithm or by cork.
    SmallSegment,
}

/// A search for the MTU of a connection's path (RFC 4821).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MtuSearch {
    /// `search_low`: packets of so many bytes pass, IP header included.
    pub low: u16,
    /// `search_high`: no larger ones are tried for now.
    pub high: u16,
    /// How large the probe is that is on its way.
    pub probing: Option<u16>,
    /// Probes sent.
    pub probes: u32,
    /// Those that have arrived.
    pub passed: u32,
    /// Those that were lost.
    pub lost: u32,
    /// Black holes found.
    pub black_holes: u32,
}

/// A snapshot of one connection (Linux's `struct tcp_info`). Sequence counts are in bytes where the name
/// says so and in segments elsewhere; times have microsecond resolution.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// `tcpi_state`: the state of RFC 9293 3.3.2.
    pub state: State,
    /// `tcpi_rto`: the retransmission timeout, backoff not included.
    pub rto: Duration,
    /// `tcpi_backoff`: how often the timeout has been doubled.
    pub backoff: u32,
    /// `tcpi_total_rto`: retransmission timeouts in all, those of SYN and SYN-ACK included.
    pub total_rto: u32,
    /// `tcpi_total_rto_recoveries`: recoveries that they began: one for those that follow each other without an
    /// acknowledgement of new data between them.
    pub total_rto_recoveries: u32,
    /// `tcpi_total_rto_time`: how long these recoveries took, with one that goes on.
    pub total_rto_time: Duration,
    /// `tcpi_ato`: how long an acknowledgement of data may wait for an answer to go with, or for more data.
    pub ato: Duration,
    /// `tcpi_retransmits`: timeouts in a row without an acknowledgement of new data.
    pub retransmits: u32,
    /// `tcpi_probes`: unanswered zero-window or keep-alive probes.
    pub probes: u32,
    /// `tcpi_rtt`: the smoothed round-trip time; zero before the first sample.
    pub srtt: Duration,
    /// `tcpi_rttvar`: its variation.
    pub rttvar: Duration,
    /// `tcpi_min_rtt`: the smallest sample, if there was one.
    pub min_rtt: Option<Duration>,
    /// `tcpi_snd_cwnd`, in bytes.
    pub cwnd: u32,
    /// `tcpi_snd_ssthresh`, in bytes; `u32::MAX` before the first loss.
    pub ssthresh: u32,
    /// `tcpi_unacked`: bytes sent and not acknowledged.
    pub unacked: u32,
    /// `tcpi_sacked`: bytes the peer holds beyond a gap, as far as known.
    pub sacked: u32,
    /// `tcpi_lost`: bytes taken for lost, those that were sent again and are not acknowledged yet included.
    pub lost: u32,
    /// `tcpi_retrans`: bytes sent again and not acknowledged yet.
    pub retrans_out: u32,
    /// Bytes thought to be on their way: `pipe` of RFC 6675.
    pub in_flight: u32,
    /// `tcpi_ca_state`: what the sender is about.
    pub ca_state: Phase,
    /// `tcpi_reordering`: how many segments must have arrived before one that is missing between is taken for lost.
    pub reordering: u32,
    /// `tcpi_reord_seen`: how often the path was seen to reorder.
    pub reord_seen: u32,
    /// `tcpi_dsack_dups`: segments of which the peer has reported that they arrived twice (RFC 2883).
    pub dsack_dups: u64,
    /// `tcpi_total_retrans`: segments retransmitted in all.
    pub retransmitted: u64,
    /// `tcpi_bytes_retrans`: payload bytes retransmitted in all.
    pub bytes_retransmitted: u64,
    /// `tcpi_delivered`: segments known to have been delivered.
    pub delivered: u64,
    /// `tcpi_delivered_ce`: those of them that arrived with a mark of congestion, as far as the peer tells.
    pub delivered_ce: u32,
    /// `tcpi_received_ce`: packets that arrived with such a mark; 0 without Accurate ECN, as the next six.
    pub received_ce: u32,
    /// `tcpi_delivered_ce_bytes`: bytes of data that arrived with a mark, as the peer tells in the option of Accurate ECN.
    pub delivered_ce_bytes: u32,
    /// `tcpi_delivered_e0_bytes`: likewise, with ECT(0).
    pub delivered_e0_bytes: u32,
    /// `tcpi_delivered_e1_bytes`: likewise, with ECT(1).
    pub delivered_e1_bytes: u32,
    /// `tcpi_received_ce_bytes`: bytes of data that have arrived here with a mark.
    pub received_ce_bytes: u32,
    /// `tcpi_received_e0_bytes`: likewise, with ECT(0).
    pub received_e0_bytes: u32,
    /// `tcpi_received_e1_bytes`: likewise, with ECT(1).
    pub received_e1_bytes: u32,
    /// `tcpi_bytes_acked`: payload bytes acknowledged.
    pub bytes_acked: u64,
    /// `tcpi_bytes_sent`: payload bytes sent, retransmissions included.
    pub bytes_sent: u64,
    /// `tcpi_bytes_received`: payload bytes received in order.
    pub bytes_received: u64,
    /// `tcpi_notsent_bytes`: bytes written and not sent yet.
    pub not_sent: usize,
    /// Bytes that wait for the application to read them.
    pub unread: usize,
    /// Bytes of memory that these take: what the rest of their packets takes and bookkeeping are counted, as in Linux's
    /// `SK_MEMINFO_RMEM_ALLOC`.
    pub receive_memory: usize,
    /// Likewise, bytes of memory that data beyond a gap takes. Both together are never more than twice `recv_buffer` and
    /// 16 KiB.
    pub reassembly_memory: usize,
    /// `tcpi_pacing_rate`: how fast data may be sent, in bytes a second; `None`: as fast as the window allows.
    pub pacing_rate: Option<u64>,
    /// `tcpi_max_pacing_rate`: what the socket limits that to (`SO_MAX_PACING_RATE`).
    pub max_pacing_rate: Option<u64>,
    /// `tcpi_delivery_rate`: how fast data has arrived lately, in bytes a second.
    pub delivery_rate: Option<u64>,
    /// `tcpi_delivery_rate_app_limited`: the application was what limited that.
    pub delivery_rate_app_limited: bool,
    /// `tcpi_segs_in`: segments received; several that the device has merged count each, here and below.
    pub segments_in: u64,
    /// `tcpi_segs_out`: segments sent.
    pub segments_out: u64,
    /// `tcpi_data_segs_in`: segments received with data, modulo 2^32, as in Linux.
    pub data_segments_in: u64,
    /// `tcpi_data_segs_out`: segments sent with data, modulo 2^32.
    pub data_segments_out: u64,
    /// `tcpi_rcv_ooopack`: segments received beyond a gap.
    pub out_of_order: u64,
    /// `tcpi_snd_wnd`: the peer's receive window in bytes, scaled.
    pub snd_wnd: u32,
    /// `tcpi_rcv_wnd`: the receive window that we last announced, in bytes.
    pub rcv_wnd: u32,
    /// `tcpi_rcv_rtt`: the round trip as seen from what arrives, once anything is known of it.
    pub rcv_rtt: Option<Duration>,
    /// `tcpi_rcv_space`: the most bytes that the application has read in a round trip, by which the receive buffer is tuned.
    pub rcv_space: u32,
    /// `tcpi_rcv_ssthresh`: the widest window that would be announced now, if all was read.
    pub rcv_ssthresh: u32,
    /// The size of the receive buffer in bytes (`SO_RCVBUF`), as it is now if it tunes itself.
    pub recv_buffer: usize,
    /// The size of the send buffer in bytes (`SO_SNDBUF`), as it is now if it tunes itself.
    pub send_buffer: usize,
    /// `tcpi_snd_wscale`: the peer's window scale; `None` when scaling is not in use.
    pub snd_wscale: Option<u8>,
    /// `tcpi_rcv_wscale`: our window scale; `None` when scaling is not in use.
    pub rcv_wscale: Option<u8>,
    /// `TCPI_OPT_TIMESTAMPS`: RFC 7323 timestamps are in use.
    pub timestamps: bool,
    /// `TCPI_OPT_SACK`: SACK is in use (RFC 2018).
    pub sack: bool,
    /// `TCPI_OPT_SYN_DATA`: data was taken, or acknowledged, with the SYN (Fast Open, RFC 7413).
    pub syn_data: bool,
    /// `TCPI_OPT_TFO_CHILD`: it was accepted by Fast Open, before its third segment.
    pub fast_open_child: bool,
    /// `tcpi_fastopen_client_fail`: why our data did not go with the SYN.
    pub fast_open_failure: FastOpenFailure,
    /// `TCPI_OPT_ECN`: how both ends tell each other of marks.
    pub ecn: EcnFeedback,
    /// `TCPI_OPT_ECN_SEEN`: the peer has sent packets that can be marked.
    pub ecn_seen: bool,
    /// `tcpi_snd_mss`: most payload bytes in a segment that we send, options already taken off.
    pub snd_mss: u16,
    /// `tcpi_rcv_mss`: the largest payload received in a segment so far; `advmss` at most.
    pub rcv_mss: u16,
    /// `tcpi_advmss`: the MSS that we announced.
    pub advmss: u16,
    /// `tcpi_pmtu`: the path's MTU as far as known.
    pub pmtu: u16,
    /// The search for it by probes, if there was one.
    pub mtu_search: Option<MtuSearch>,
    /// What limits the sender now.
    pub limited_by: SenderLimit,
    /// `tcpi_busy_time`: time with data outstanding or waiting.
    pub busy_time: Duration,
    /// `tcpi_rwnd_limited`: time stalled by the peer's window.
    pub rwnd_limited: Duration,
    /// `tcpi_sndbuf_limited`: time stalled because the send buffer was full, and all in it was sent.
    pub sndbuf_limited: Duration,
    /// `tcpi_last_data_sent`: time since data was last sent.
    pub last_data_sent: Option<Duration>,
    /// `tcpi_last_ack_recv`: time since the peer was last heard of: each of its segments acknowledges.
    pub last_ack_recv: Option<Duration>,
    /// `tcpi_last_data_recv`: time since data was last received.
    pub last_data_recv: Option<Duration>,
    /// The name of the congestion control in use.
    pub congestion: &'static str,
}
