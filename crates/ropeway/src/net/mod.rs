//! The types of `tokio::net`, on ropeway's own TCP.
//!
//! Replace `tokio::net` by `ropeway::net` in an import, and what follows compiles as before: each type and
//! method has tokio's name, contract, errors and cancel safety. Which stack a socket belongs to is decided
//! when it is made: see [`Stack`](crate::Stack). Constructors whose name ends in `_on` name it instead.
//!
//! # What differs from `tokio::net`
//!
//! | There | Here |
//! |---|---|
//! | `from_std`, `into_std`, `AsFd`, `AsRawFd`, `FromRawFd`, `from_std_stream` | do not exist: there is no file descriptor. What they are used for, options that tokio does not have, are methods here, by the names of `socket2::Socket` |
//! | `try_io`, `async_io` | call the closure when the socket is ready, as there. Readiness is what the connection's state says, not a cached flag: a closure that answers `WouldBlock` while the socket is ready is asked again |
//! | `set_linger` | does not block in `drop`, and is not deprecated; `TcpStream::close` is what waits |
//! | buffer sizes | are exact: the kernel doubles what it is told |
//! | `quickack` | stays as it is set, and is off by default |
//! | `bind_device` | always fails for a name: a stack has one device. Choose the stack |
//! | `TcpListener::bind` of a TCP port below 1024 | needs no rights |
//! | connections | live as long as their stack's runtime, not longer |

mod addr;
pub mod tcp;

pub use addr::{ToSocketAddrs, lookup_host};
pub use tcp::listener::TcpListener;
pub use tcp::socket::TcpSocket;
pub use tcp::stream::TcpStream;
