//! IP, but for the headers: whose addresses are whose, how large a packet may be, and what is done with those that are larger.

pub(crate) mod addresses;
pub(crate) mod identification;
pub(crate) mod path_mtu;
pub(crate) mod reassembly;
