//! TCP utility types: the halves of a [`TcpStream`](crate::net::TcpStream), and its options' own types.

pub(crate) mod connection;
pub(crate) mod incoming;
pub(crate) mod listener;
mod options;
pub(crate) mod socket;
mod split;
mod split_owned;
pub(crate) mod stream;
mod switches;

pub use incoming::{AnyListener, Incoming};
pub use options::TcpKeepalive;
pub use ropeway_core::{Rejection, SynOptions};
pub use split::{ReadHalf, WriteHalf};
pub use split_owned::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};
