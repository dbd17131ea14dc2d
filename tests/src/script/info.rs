//! `%{ ... }%`: Python that looks at `TCP_INFO`, in Linux's units.

use ropeway_core::congestion::Phase;
use ropeway_core::{EcnFeedback, State, TcpInfo};

use super::python::{self, Trouble, Value};
use super::report::Failure;
use super::run::{Runner, Stop};
use super::sockets::Kind;

impl Runner<'_> {
    pub(super) fn code(&mut self, code: &str) -> Result<(), Stop> {
        self.note(&format!("%{{{code}}}%"));
        let connection = self.current.and_then(|current| self.flows[current].connection);
        let info = connection.and_then(|id| self.stack.info(self.ts(), id).ok());
        let mut names = std::mem::take(&mut self.names);
        let listening = self.sockets.values().any(|socket| matches!(socket.kind, Kind::Listener(_)));
        let unconnected = if connection.is_none() && listening { State::Listen } else { State::Closed };
        let lookup = |name: &str| match &info {
            _ if symbol(name).is_some() => symbol(name).map(Value::Int),
            Some(info) => field(info, name),
            None => (name == "tcpi_state").then(|| Value::Int(state_number(unconnected))),
        };
        let result = python::run(code, &mut names, &lookup);
        self.names = names;
        match result {
            Ok(()) => Ok(()),
            Err(Trouble::Unknown(name)) if name.starts_with("tcpi_") && info.is_none() => {
                Err(self.fail(format!("{name}: there is no connection")))
            }
            Err(Trouble::Unknown(what)) => Err(Stop::Unsupported(what)),
            Err(Trouble::Bad(what)) => Err(self.fail(what)),
            Err(Trouble::False(text, message)) => {
                let mut failure = Failure::new(self.line, format!("does not hold: {text}"));
                failure.actual = message.or_else(|| Some(values_in(&text, info.as_ref()?)));
                Err(failure.into())
            }
        }
    }
}

/// The values of all names in an assertion without a message.
fn values_in(text: &str, info: &TcpInfo) -> String {
    let names = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let values = names.filter_map(|name| Some(format!("{name} = {}", field(info, name)?.show())));
    values.collect::<Vec<_>>().join(", ")
}

/// The number that Linux has for a state.
pub(super) fn state_number(state: State) -> i64 {
    match state {
        State::Established => 1,
        State::SynSent => 2,
        State::SynReceived => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        State::TimeWait => 6,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Listen => 10,
        State::Closing => 11,
        _ => 7,
    }
}

/// The number that Linux has for what a sender is about.
fn phase_number(phase: Phase) -> i64 {
    match phase {
        Phase::Disorder => 1,
        Phase::Cwr => 2,
        Phase::Recovery => 3,
        Phase::Loss => 4,
        _ => 0,
    }
}

pub(super) fn symbol(name: &str) -> Option<i64> {
    Some(match name {
        "TCP_ESTABLISHED" => 1,
        "TCP_SYN_SENT" => 2,
        "TCP_SYN_RECV" => 3,
        "TCP_FIN_WAIT1" => 4,
        "TCP_FIN_WAIT2" => 5,
        "TCP_TIME_WAIT" => 6,
        "TCP_CLOSE" => 7,
        "TCP_CLOSE_WAIT" => 8,
        "TCP_LAST_ACK" => 9,
        "TCP_LISTEN" => 10,
        "TCP_CLOSING" => 11,
        "TCP_CA_Open" | "TCPI_OPT_NONE" => 0,
        "TCP_CA_Disorder" | "TCPI_OPT_TIMESTAMPS" => 1,
        "TCP_CA_CWR" | "TCPI_OPT_SACK" => 2,
        "TCP_CA_Recovery" => 3,
        "TCP_CA_Loss" | "TCPI_OPT_WSCALE" => 4,
        // FreeBSD's names.
        "TCPI_SYN_SENT" => 2,
        "TCPI_SYN_RECEIVED" => 3,
        "TCPI_ESTABLISHED" => 1,
        "TCPI_FIN_WAIT_1" => 4,
        "TCPI_FIN_WAIT_2" => 5,
        "TCPI_TIME_WAIT" => 6,
        "TCPI_CLOSED" => 7,
        "TCPI_CLOSE_WAIT" => 8,
        "TCPI_LAST_ACK" => 9,
        "TCPI_LISTEN" => 10,
        "TCPI_CLOSING" => 11,
        "TCPI_OPT_ECN" => 8,
        "TCPI_OPT_ECN_SEEN" => 16,
        "TCPI_OPT_SYN_DATA" => 32,
        _ => return None,
    })
}

/// A field of Linux's `struct tcp_info`: segments where Linux counts segments, times in microseconds but for
/// the last four, which have milliseconds.
pub(super) fn field(info: &TcpInfo, name: &str) -> Option<Value> {
    let mss = i64::from(info.snd_mss.max(1));
    let segments = |bytes: u32| (i64::from(bytes) + mss - 1) / mss;
    let micros = |time: std::time::Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    let millis = |time: Option<std::time::Duration>| time.map_or(0, |time| micros(time) / 1000);
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    Some(Value::Int(match name {
        "tcpi_state" => state_number(info.state),
        "tcpi_rto" => micros(info.rto) << info.backoff.min(30),
        "tcpi_backoff" => i64::from(info.backoff),
        "tcpi_retransmits" => i64::from(info.retransmits),
        "tcpi_probes" => i64::from(info.probes),
        "tcpi_rtt" => micros(info.srtt),
        "tcpi_rttvar" => micros(info.rttvar),
        "tcpi_min_rtt" => info.min_rtt.map_or(i64::from(u32::MAX), micros),
        "tcpi_snd_cwnd" => i64::from(info.cwnd) / mss,
        "tcpi_snd_ssthresh" if info.ssthresh == u32::MAX => 0x7fff_ffff,
        "tcpi_snd_ssthresh" => i64::from(info.ssthresh) / mss,
        "tcpi_unacked" => segments(info.unacked),
        "tcpi_sacked" => segments(info.sacked),
        "tcpi_lost" => segments(info.lost),
        "tcpi_retrans" => segments(info.retrans_out),
        "tcpi_ca_state" => phase_number(info.ca_state),
        "tcpi_reordering" => i64::from(info.reordering),
        "tcpi_reord_seen" => i64::from(info.reord_seen),
        "tcpi_dsack_dups" => count(info.dsack_dups),
        "tcpi_total_retrans" => count(info.retransmitted),
        "tcpi_bytes_retrans" => count(info.bytes_retransmitted),
        // Linux counts our SYN, too.
        "tcpi_delivered" => {
            count(info.delivered)
                + i64::from(state_number(info.state) != 2 && info.state != State::SynReceived)
        }
        "tcpi_bytes_acked" => count(info.bytes_acked),
        "tcpi_bytes_sent" => count(info.bytes_sent),
        "tcpi_bytes_received" => count(info.bytes_received),
        "tcpi_notsent_bytes" => i64::try_from(info.not_sent).unwrap_or(i64::MAX),
        "tcpi_segs_in" => count(info.segments_in),
        "tcpi_segs_out" => count(info.segments_out),
        "tcpi_data_segs_in" => count(info.data_segments_in),
        "tcpi_data_segs_out" => count(info.data_segments_out),
        "tcpi_rcv_ooopack" => count(info.out_of_order),
        "tcpi_pacing_rate" => info.pacing_rate.map_or(-1, count),
        "tcpi_max_pacing_rate" => info.max_pacing_rate.map_or(-1, count),
        "tcpi_delivery_rate" => info.delivery_rate.map_or(0, count),
        "tcpi_delivery_rate_app_limited" => i64::from(info.delivery_rate_app_limited),
        "tcpi_delivered_ce" => i64::from(info.delivered_ce),
        "tcpi_delivered_ce_bytes" => i64::from(info.delivered_ce_bytes),
        "tcpi_delivered_e0_bytes" => i64::from(info.delivered_e0_bytes),
        "tcpi_delivered_e1_bytes" => i64::from(info.delivered_e1_bytes),
        "tcpi_received_ce" => i64::from(info.received_ce),
        "tcpi_received_ce_bytes" => i64::from(info.received_ce_bytes),
        "tcpi_received_e0_bytes" => i64::from(info.received_e0_bytes),
        "tcpi_received_e1_bytes" => i64::from(info.received_e1_bytes),
        "tcpi_rcv_rtt" => info.rcv_rtt.map_or(0, micros),
        "tcpi_rcv_space" => i64::from(info.rcv_space),
        "tcpi_rcv_ssthresh" => i64::from(info.rcv_ssthresh),
        "tcpi_snd_wnd" => i64::from(info.snd_wnd),
        "tcpi_rcv_wnd" => i64::from(info.rcv_wnd),
        "tcpi_snd_wscale" => i64::from(info.snd_wscale.unwrap_or(0)),
        "tcpi_rcv_wscale" => i64::from(info.rcv_wscale.unwrap_or(0)),
        "tcpi_options" => {
            i64::from(info.timestamps)
                + 2 * i64::from(info.sack)
                + 4 * i64::from(info.snd_wscale.is_some())
                + 8 * i64::from(info.ecn != EcnFeedback::None)
                + 16 * i64::from(info.ecn_seen)
                + 32 * i64::from(info.syn_data)
                + 128 * i64::from(info.fast_open_child)
        }
        "tcpi_fastopen_client_fail" => info.fast_open_failure as i64,
        "tcpi_snd_mss" => mss,
        "tcpi_rcv_mss" => i64::from(info.rcv_mss),
        "tcpi_advmss" => i64::from(info.advmss),
        "tcpi_pmtu" => i64::from(info.pmtu),
        "tcpi_busy_time" => micros(info.busy_time),
        "tcpi_rwnd_limited" => micros(info.rwnd_limited),
        "tcpi_sndbuf_limited" => micros(info.sndbuf_limited),
        "tcpi_ato" => micros(info.ato),
        "tcpi_last_ack_recv" => millis(info.last_ack_recv),
        "tcpi_total_rto" => i64::from(info.total_rto),
        "tcpi_total_rto_recoveries" => i64::from(info.total_rto_recoveries),
        "tcpi_total_rto_time" => i64::try_from(info.total_rto_time.as_millis()).unwrap_or(i64::MAX),
        "tcpi_last_data_sent" => millis(info.last_data_sent),
        "tcpi_last_data_recv" => millis(info.last_data_recv),
        _ => return None,
    }))
}
