//! What a gateway has done, and what it has not.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$of:meta])* $name:ident,)*) => {
        /// What a gateway has counted since it was made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct GatewayCounters { $($(#[$of])* pub $name: u64,)* }

        #[derive(Debug, Default)]
        pub(crate) struct Counts { $(pub(crate) $name: AtomicU64,)* }

        impl Counts {
            pub(crate) fn read(&self) -> GatewayCounters {
                GatewayCounters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// TCP connections that were opened for the guest.
    tcp_opened,
    /// Of these, and of those that were forwarded, how many are open now.
    tcp_open,
    /// Connections that the outside refused, or that could not be made.
    tcp_failed,
    /// Connections that one end has broken, and that were therefore reset at the other.
    tcp_reset,
    /// Connections that came in by forwards.
    forwarded,
    /// Datagrams that came in by forwards.
    forwarded_datagrams,
    /// UDP flows that were begun for the guest.
    udp_opened,
    /// Of these, how many exist now.
    udp_open,
    /// UDP flows that were ended for a newer one's sake.
    udp_evicted,
    /// Datagrams from the guest that went on.
    udp_sent,
    /// Datagrams for the guest.
    udp_received,
    /// Datagrams that were lost here, because whoever was to take them took no more.
    udp_dropped,
    /// DNS queries that were passed on.
    dns_queries,
    /// Answers that did not belong to their query, and were not passed on.
    dns_mismatched,
    /// Queries that no resolver has answered in time.
    dns_failed,
    /// Echo requests that were passed on.
    echo_requests,
    /// Answers to them.
    echo_replies,
    /// Echo requests that the host does not let an ordinary user send, or that failed otherwise.
    echo_failed,
    /// Flows to addresses that a guest must not reach.
    forbidden,
    /// Flows that the policy has refused or dropped.
    refused,
    /// Flows, queries and echo requests beyond a limit.
    over_limit,
    /// Sockets that could not be made, because there were no more descriptors.
    out_of_descriptors,
    /// Bytes of streams, from the guest.
    bytes_out,
    /// Likewise, for the guest.
    bytes_in,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// Counts one for as long as it lives.
#[derive(Debug)]
pub(crate) struct Open<'a>(&'a AtomicU64);

impl<'a> Open<'a> {
    pub(crate) fn new(counter: &'a AtomicU64) -> Self {
        add(counter, 1);
        Self(counter)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Display for GatewayCounters {
    /// One line, as a progress line shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} TCP open of {}, {} UDP flows of {}, {} queries, {} pings; {} MB out, {} MB in; {} failed, {} refused",
            self.tcp_open,
            self.tcp_opened + self.forwarded,
            self.udp_open,
            self.udp_opened,
            self.dns_queries,
            self.echo_requests,
            self.bytes_out / 1_000_000,
            self.bytes_in / 1_000_000,
            self.tcp_failed + self.dns_failed + self.out_of_descriptors,
            self.forbidden + self.refused + self.over_limit,
        )
    }
}
