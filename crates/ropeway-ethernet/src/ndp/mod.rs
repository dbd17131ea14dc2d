//! Neighbor discovery for IPv6 (RFC 4861).

mod advertiser;
pub(crate) mod wire;

pub(crate) use self::advertiser::Advertiser;
pub use self::advertiser::RouterConfig;
