//! The little of IP that TCP needs: whose addresses are whose, and how large a packet may be.

pub(crate) mod addresses;
pub(crate) mod path_mtu;
