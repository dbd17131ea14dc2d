//! What stands in a connection until its handshake tells how large segments may be.

use super::{CongestionEvent, Controller, Delivery};

/// It takes no memory: nothing is sent by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unbuilt;

impl Controller for Unbuilt {
    /// Ten segments of the size that every peer takes (RFC 6928, RFC 9293 3.7.1).
    fn window(&self) -> u32 {
        10 * 536
    }

    fn ssthresh(&self) -> u32 {
        u32::MAX
    }

    fn on_ack(&mut self, _delivery: &Delivery) {}

    fn on_congestion(&mut self, _event: &CongestionEvent) {}

    fn on_mss_change(&mut self, _mss: u32) {}

    fn boxed(&self) -> Box<dyn Controller> {
        Box::new(Self)
    }
}
