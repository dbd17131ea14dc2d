//! UDP utility types: trains of datagrams, and the socket that takes what nobody else does.

mod any;
mod held;
mod options;
mod readiness;
pub(crate) mod socket;
mod train;
mod transfer;

pub use any::AnyUdpSocket;
pub use ropeway_core::{Outgoing, UdpInfo, UdpOptions};
pub use train::RecvMeta;
