//! A cell over time, for a plot.

use std::fmt::Write as _;

use super::engine::Outcome;

/// What the connections' senders said, as tab-separated values: bytes, bytes a second, and microseconds.
pub(crate) fn series(outcome: &Outcome) -> String {
    let mut text = String::from(
        "time_us\tflow\tcwnd\tssthresh\tin_flight\tsrtt_us\tpacing_rate\tdelivery_rate\treceived\tretransmitted\tmss\n",
    );
    for look in &outcome.looks {
        let _ = writeln!(
            text,
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            look.at,
            look.flow,
            look.cwnd,
            look.ssthresh,
            look.in_flight,
            look.srtt,
            look.pacing_rate,
            look.delivery_rate,
            look.received,
            look.retransmitted,
            look.mss
        );
    }
    text
}
