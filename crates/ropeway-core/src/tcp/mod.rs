//! TCP: a room for each state that needs one, and one for what all share.

pub(crate) mod closed;
pub(crate) mod connection;
pub(crate) mod ecn;
pub(crate) mod fast_open;
pub(crate) mod isn;
pub(crate) mod listen;
pub(crate) mod receiver;
pub(crate) mod sender;
pub(crate) mod time_wait;
