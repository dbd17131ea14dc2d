//! What the layer drops, and why.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What an Ethernet layer has counted.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct EthernetCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        struct Cells {
            $($name: AtomicU64,)*
        }

        /// The counters where they are counted.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Counts {
            cells: Arc<Cells>,
        }

        #[allow(dead_code)]
        impl Counts {
            $(pub(crate) fn $name(&self) {
                self.cells.$name.fetch_add(1, Ordering::Relaxed);
            })*

            pub(crate) fn read(&self) -> EthernetCounters {
                EthernetCounters { $($name: self.cells.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Frames shorter than an Ethernet header, or whose packet is shorter than an IP header.
    runt_frames,
    /// Frames with a packet longer than the MTU.
    oversized_frames,
    /// Frames with a VLAN tag.
    vlan_frames,
    /// Frames that carry neither IP nor ARP, or whose packet is of another version than they say.
    unknown_frames,
    /// Frames to the address of another station.
    frames_to_others,
    /// Frames whose source cannot be a station, or is our own address.
    bad_source_macs,
    /// Packets to one address in a frame to several (RFC 1122 3.3.6).
    unicast_in_broadcast_frames,
    /// Packets whose source is one of our addresses, a group, or not of this link.
    bad_sources,
    /// Packets whose source another station has.
    stolen_sources,
    /// ARP packets that are malformed, or whose sender is not who sent the frame.
    bad_arp,
    /// Neighbor-discovery messages that RFC 4861 has dropped.
    bad_ndp,
    /// Messages that claim one of our addresses (RFC 5227 2.4).
    address_conflicts,
    /// Messages that claim an address that another station has.
    neighbor_conflicts,
    /// Replies and advertisements that nobody asked for.
    unsolicited_answers,
    /// Router advertisements and redirects of others, which are ignored.
    foreign_routers,
    /// Neighbors that were forgotten to make room for others.
    evicted_neighbors,
    /// Neighbors that could not be remembered, since all places are in use.
    neighbor_table_full,
    /// Addresses that nobody answered for.
    unresolved,
    /// Packets that were dropped while their next hop was looked for: too many wait, or there was no answer.
    unresolved_packets,
    /// Packets to an address off the link, without a router to give them to.
    unroutable_packets,
    /// Packets longer than the MTU that were to be sent.
    oversized_packets,
    /// Questions that were put off, since too many have been asked in this second.
    solicitations_limited,
    /// Frames of the layer's own that were dropped, since the link takes no more.
    control_frames_dropped,
    /// DHCP messages that are malformed, come from a relay, or from another station than they say.
    bad_dhcp,
    /// DHCP messages and router solicitations that were not answered, since there were too many.
    answers_limited,
    /// DHCP clients for which there was no address.
    dhcp_exhausted,
    /// Leases given.
    dhcp_leases,
    /// DHCP requests refused (DHCPNAK).
    dhcp_refused,
    /// Router advertisements sent.
    router_advertisements,
}
