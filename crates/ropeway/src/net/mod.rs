//! The types of `tokio::net`, on ropeway's own TCP.
//!
//! Replace `tokio::net` by `ropeway::net` in an import, and what follows compiles as before: each type and
//! method has tokio's name, contract, errors and cancel safety. Which stack a socket belongs to is decided
//! when it is made: see [`Stack`](crate::Stack). Constructors whose name ends in `_on` name it instead.
//!
//! # What cannot exist here
//!
//! A socket of ropeway's is not one of the operating system's: there is no file descriptor, and nothing can be
//! made from one, or turned into one.
//!
//! | `tokio::net` | What to write instead |
//! |---|---|
//! | `TcpListener::from_std`, `TryFrom<std::net::TcpListener>` | [`TcpListener::bind`]; with options, [`TcpSocket`] and its [`listen`](TcpSocket::listen). A listener that another process has opened (socket activation) stays with `tokio::net` |
//! | `TcpStream::from_std`, `TryFrom<std::net::TcpStream>` | [`TcpStream::connect`]; with options, [`TcpSocket`] and its [`connect`](TcpSocket::connect) |
//! | `TcpSocket::from_std_stream`, `FromRawFd`, `FromRawSocket` | [`TcpSocket::new_v4`], [`TcpSocket::new_v6`], and its methods for what `socket2::Socket` was made for |
//! | `TcpStream::into_std`, `TcpListener::into_std`, `IntoRawFd`, `IntoRawSocket` | stay asynchronous; blocking code gets `tokio_util::io::SyncIoBridge`, or a `block_on` of its own |
//! | `AsFd`, `AsRawFd`, `AsSocket`, `AsRawSocket`, and with them `socket2::SockRef::from` | the method of that name on the socket itself: `stream.set_tcp_keepalive(..)`, [`set_tcp_user_timeout`](TcpStream::set_tcp_user_timeout), [`set_recv_buffer_size`](TcpStream::set_recv_buffer_size), [`tcp_mss`](TcpStream::tcp_mss) and so on |
//! | `getsockopt(TCP_INFO)` | [`TcpStream::info`] |
//! | `sendfile`, `splice`, `MSG_ZEROCOPY` on the descriptor | [`TcpStream::write_bytes`] and [`TcpStream::read_bytes`], which do not copy |
//! | `tokio::io::unix::AsyncFd` of a socket | [`ready`](TcpStream::ready), [`try_io`](TcpStream::try_io), [`async_io`](TcpStream::async_io) |
//! | `UdpSocket::from_std`, `into_std`, `AsFd` and its like | [`UdpSocket::bind`]; with options, [`UdpSocket::bind_with`] |
//! | `recvmsg` and `sendmsg` with control messages (`UDP_SEGMENT`, `UDP_GRO`, `IP_PKTINFO`, `IP_TOS`) | [`UdpSocket::send_train`], [`UdpSocket::recv_trains`] |
//! | `UnixStream`, `UnixListener`, `UnixDatagram`, `UnixSocket`, `unix::pipe`, `windows::named_pipe` | keep them from `tokio::net`: they are neither TCP nor UDP |
//!
//! What a program did through `std` or `socket2`:
//!
//! ```
//! use std::time::Duration;
//! use ropeway::net::tcp::TcpKeepalive;
//! use ropeway::net::{TcpSocket, TcpStream};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! // let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None)?;
//! // socket.set_nonblocking(true)?;
//! // let listener = TcpListener::from_std(socket.into())?;
//! let socket = TcpSocket::new_v4()?;
//! socket.set_reuseaddr(true)?;
//! socket.set_recv_buffer_size(256 * 1024)?;
//! socket.bind("127.0.0.1:0".parse().unwrap())?;
//! let listener = socket.listen(128)?;
//!
//! // SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
//! let stream = TcpStream::connect(listener.local_addr()?).await?;
//! stream.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(30)))?;
//! stream.set_tcp_user_timeout(Some(Duration::from_secs(60)))?;
//! # Ok(())
//! # }
//! ```
//!
//! Helpers that ask for `AsFd` cannot take a socket of ropeway's. Those that ask for `AsyncRead + AsyncWrite` can.
//!
//! # What differs from `tokio::net`
//!
//! | There | Here |
//! |---|---|
//! | `try_io`, `async_io` | call the closure when the socket is ready, as there. Readiness is what the connection's state says, not a cached flag: a closure that answers `WouldBlock` while the socket is ready is asked again |
//! | `set_linger` | does not block in `drop`; [`TcpStream::close`] is what waits |
//! | buffer sizes | are exact: the kernel doubles what it is told |
//! | `quickack` | stays as it is set, and is off by default |
//! | `bind_device` | always fails for a name: a stack has one device. Choose the stack |
//! | `TcpListener::bind` of a TCP port below 1024 | needs no rights |
//! | connections | live as long as their stack's runtime, not longer; those on the [loopback of the process](crate::Stack#the-loopback-of-the-process) as long as the process |
//! | a runtime's I/O driver (`enable_io`), or any runtime at all | is not needed for the loopback of the process |

mod addr;
pub(crate) mod everywhere;
mod ready;
pub mod tcp;
pub mod udp;

pub use addr::{ToSocketAddrs, lookup_host};
pub use tcp::listener::TcpListener;
pub use tcp::socket::TcpSocket;
pub use tcp::stream::TcpStream;
pub use udp::socket::UdpSocket;
