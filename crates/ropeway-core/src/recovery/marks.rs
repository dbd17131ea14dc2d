//! Marks of congestion (RFC 3168 6.1.2): a reduction without a loss, paced by PRR as any other.

use super::{Case, Recovery};
use crate::congestion::{Congestion, CongestionEvent, Phase};

impl Recovery {
    /// An acknowledgement may tell of a mark. Says whether that is news: a loss or a mark that has reduced the window stands for
    /// all that was sent before.
    pub(super) fn take_mark(&mut self, case: &Case<'_>) -> bool {
        if case.news.marked && matches!(self.phase, Phase::Recovery | Phase::Loss) {
            // Late or lost, there was congestion: nothing of the reduction is given back.
            self.episode.undo.forbid();
        }
        case.news.marked && case.news.una.after(self.high)
    }

    /// Nothing is lost, but the network has marked packets (RFC 3168 6.1.2-1).
    pub(super) fn reduce_for_mark(&mut self, case: &mut Case<'_>) {
        let out = case.flight.outstanding().saturating_add(case.news.acked);
        let flight_size = out.min(case.congestion.window());
        case.congestion.on_congestion(&CongestionEvent::new(
            case.news.now,
            Congestion::Ecn,
            flight_size,
            case.news.nxt,
        ));
        case.outcome.reduced = true;
        self.episode.undo.forbid();
        self.begin_reduction(case, out);
        self.phase = Phase::Cwr;
    }
}
