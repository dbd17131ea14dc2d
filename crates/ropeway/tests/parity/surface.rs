//! What compiles: the methods' signatures and the traits of each type.

use std::fmt::Debug;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};

use super::net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs, lookup_host};
use super::tcp::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};

fn plain<T: Send + Sync + Unpin + Debug + UnwindSafe + RefUnwindSafe + 'static>() {}
fn reads<T: AsyncRead + AsRef<TcpStream> + Send + Sync + Unpin + Debug>() {}
fn writes<T: AsyncWrite + AsRef<TcpStream> + Send + Sync + Unpin + Debug>() {}
fn error<T: std::error::Error + Send + Sync + 'static>() {}
fn future<T>(_: impl Future<Output = T> + Send) {}

/// Methods as function pointers, whose types have to match to the letter.
macro_rules! signatures {
    ($($method:expr => $type:ty;)+) => { $(let _: $type = $method;)+ };
}

type Result<T> = io::Result<T>;
type Accepted = (TcpStream, SocketAddr);

#[test]
fn traits() {
    plain::<TcpStream>();
    fn shows<T: AsRef<TcpStream>>() {}
    shows::<TcpStream>();
    plain::<TcpListener>();
    plain::<TcpSocket>();
    plain::<OwnedReadHalf>();
    plain::<OwnedWriteHalf>();
    reads::<TcpStream>();
    writes::<TcpStream>();
    reads::<ReadHalf<'static>>();
    writes::<WriteHalf<'static>>();
    reads::<OwnedReadHalf>();
    writes::<OwnedWriteHalf>();
    error::<ReuniteError>();
    let _fields = |ReuniteError(_, _): ReuniteError| {};
}

#[test]
fn streams() {
    signatures! {
        TcpStream::local_addr => fn(&TcpStream) -> Result<SocketAddr>;
        TcpStream::peer_addr => fn(&TcpStream) -> Result<SocketAddr>;
        TcpStream::take_error => fn(&TcpStream) -> Result<Option<io::Error>>;
        TcpStream::poll_peek =>
            fn(&TcpStream, &mut Context<'_>, &mut ReadBuf<'_>) -> Poll<Result<usize>>;
        TcpStream::poll_read_ready => fn(&TcpStream, &mut Context<'_>) -> Poll<Result<()>>;
        TcpStream::poll_write_ready => fn(&TcpStream, &mut Context<'_>) -> Poll<Result<()>>;
        TcpStream::try_read => fn(&TcpStream, &mut [u8]) -> Result<usize>;
        TcpStream::try_read_vectored => fn(&TcpStream, &mut [IoSliceMut<'_>]) -> Result<usize>;
        TcpStream::try_read_buf => fn(&TcpStream, &mut Vec<u8>) -> Result<usize>;
        TcpStream::try_write => fn(&TcpStream, &[u8]) -> Result<usize>;
        TcpStream::try_write_vectored => fn(&TcpStream, &[IoSlice<'_>]) -> Result<usize>;
        TcpStream::nodelay => fn(&TcpStream) -> Result<bool>;
        TcpStream::set_nodelay => fn(&TcpStream, bool) -> Result<()>;
        TcpStream::linger => fn(&TcpStream) -> Result<Option<Duration>>;
        TcpStream::set_zero_linger => fn(&TcpStream) -> Result<()>;
        TcpStream::ttl => fn(&TcpStream) -> Result<u32>;
        TcpStream::set_ttl => fn(&TcpStream, u32) -> Result<()>;
        TcpStream::split => for<'a> fn(&'a mut TcpStream) -> (ReadHalf<'a>, WriteHalf<'a>);
        TcpStream::into_split => fn(TcpStream) -> (OwnedReadHalf, OwnedWriteHalf);
    }
    #[expect(deprecated, reason = "on either side")]
    {
        signatures! { TcpStream::set_linger => fn(&TcpStream, Option<Duration>) -> Result<()>; }
    }
    #[cfg(target_os = "linux")]
    signatures! {
        TcpStream::quickack => fn(&TcpStream) -> Result<bool>;
        TcpStream::set_quickack => fn(&TcpStream, bool) -> Result<()>;
    }
    // Never called: only compiled.
    let _ = |stream: &'static TcpStream, buf: &'static mut [u8]| {
        future::<Result<TcpStream>>(TcpStream::connect("localhost:80"));
        future::<Result<TcpStream>>(TcpStream::connect((String::from("localhost"), 80)));
        future::<Result<Ready>>(stream.ready(Interest::READABLE | Interest::WRITABLE));
        future::<Result<()>>(stream.readable());
        future::<Result<()>>(stream.writable());
        future::<Result<usize>>(stream.peek(buf));
        future::<Result<u8>>(stream.async_io(Interest::READABLE, || Ok(1)));
        let _: Result<u8> = stream.try_io(Interest::WRITABLE, || Ok(1));
    };
}

#[test]
fn listeners() {
    signatures! {
        TcpListener::local_addr => fn(&TcpListener) -> Result<SocketAddr>;
        TcpListener::poll_accept => fn(&TcpListener, &mut Context<'_>) -> Poll<Result<Accepted>>;
        TcpListener::ttl => fn(&TcpListener) -> Result<u32>;
        TcpListener::set_ttl => fn(&TcpListener, u32) -> Result<()>;
    }
    let _ = |listener: &'static TcpListener| {
        future::<Result<TcpListener>>(TcpListener::bind("127.0.0.1:0"));
        future::<Result<TcpListener>>(TcpListener::bind((std::net::Ipv6Addr::LOCALHOST, 0)));
        future::<Result<Accepted>>(listener.accept());
    };
}

#[test]
fn sockets() {
    signatures! {
        TcpSocket::new_v4 => fn() -> Result<TcpSocket>;
        TcpSocket::new_v6 => fn() -> Result<TcpSocket>;
        TcpSocket::keepalive => fn(&TcpSocket) -> Result<bool>;
        TcpSocket::set_keepalive => fn(&TcpSocket, bool) -> Result<()>;
        TcpSocket::reuseaddr => fn(&TcpSocket) -> Result<bool>;
        TcpSocket::set_reuseaddr => fn(&TcpSocket, bool) -> Result<()>;
        TcpSocket::reuseport => fn(&TcpSocket) -> Result<bool>;
        TcpSocket::set_reuseport => fn(&TcpSocket, bool) -> Result<()>;
        TcpSocket::send_buffer_size => fn(&TcpSocket) -> Result<u32>;
        TcpSocket::set_send_buffer_size => fn(&TcpSocket, u32) -> Result<()>;
        TcpSocket::recv_buffer_size => fn(&TcpSocket) -> Result<u32>;
        TcpSocket::set_recv_buffer_size => fn(&TcpSocket, u32) -> Result<()>;
        TcpSocket::linger => fn(&TcpSocket) -> Result<Option<Duration>>;
        TcpSocket::set_zero_linger => fn(&TcpSocket) -> Result<()>;
        TcpSocket::nodelay => fn(&TcpSocket) -> Result<bool>;
        TcpSocket::set_nodelay => fn(&TcpSocket, bool) -> Result<()>;
        TcpSocket::tos_v4 => fn(&TcpSocket) -> Result<u32>;
        TcpSocket::set_tos_v4 => fn(&TcpSocket, u32) -> Result<()>;
        TcpSocket::local_addr => fn(&TcpSocket) -> Result<SocketAddr>;
        TcpSocket::take_error => fn(&TcpSocket) -> Result<Option<io::Error>>;
        TcpSocket::bind => fn(&TcpSocket, SocketAddr) -> Result<()>;
        TcpSocket::listen => fn(TcpSocket, u32) -> Result<TcpListener>;
    }
    #[cfg(target_os = "linux")]
    signatures! {
        TcpSocket::tclass_v6 => fn(&TcpSocket) -> Result<u32>;
        TcpSocket::set_tclass_v6 => fn(&TcpSocket, u32) -> Result<()>;
        TcpSocket::device => fn(&TcpSocket) -> Result<Option<Vec<u8>>>;
        TcpSocket::bind_device => fn(&TcpSocket, Option<&[u8]>) -> Result<()>;
    }
    #[expect(deprecated, reason = "on either side")]
    {
        signatures! {
            TcpSocket::tos => fn(&TcpSocket) -> Result<u32>;
            TcpSocket::set_tos => fn(&TcpSocket, u32) -> Result<()>;
            TcpSocket::set_linger => fn(&TcpSocket, Option<Duration>) -> Result<()>;
        }
    }
    let _ = |socket: TcpSocket, addr: SocketAddr| {
        future::<Result<TcpStream>>(socket.connect(addr));
    };
}

#[test]
fn halves() {
    signatures! {
        ReadHalf::poll_peek =>
            fn(&mut ReadHalf<'static>, &mut Context<'_>, &mut ReadBuf<'_>) -> Poll<Result<usize>>;
        ReadHalf::try_read => fn(&ReadHalf<'static>, &mut [u8]) -> Result<usize>;
        ReadHalf::try_read_vectored => fn(&ReadHalf<'static>, &mut [IoSliceMut<'_>]) -> Result<usize>;
        ReadHalf::try_read_buf => fn(&ReadHalf<'static>, &mut Vec<u8>) -> Result<usize>;
        ReadHalf::peer_addr => fn(&ReadHalf<'static>) -> Result<SocketAddr>;
        ReadHalf::local_addr => fn(&ReadHalf<'static>) -> Result<SocketAddr>;
        WriteHalf::try_write => fn(&WriteHalf<'static>, &[u8]) -> Result<usize>;
        WriteHalf::try_write_vectored => fn(&WriteHalf<'static>, &[IoSlice<'_>]) -> Result<usize>;
        WriteHalf::peer_addr => fn(&WriteHalf<'static>) -> Result<SocketAddr>;
        WriteHalf::local_addr => fn(&WriteHalf<'static>) -> Result<SocketAddr>;
        OwnedReadHalf::reunite =>
            fn(OwnedReadHalf, OwnedWriteHalf) -> std::result::Result<TcpStream, ReuniteError>;
        OwnedReadHalf::poll_peek =>
            fn(&mut OwnedReadHalf, &mut Context<'_>, &mut ReadBuf<'_>) -> Poll<Result<usize>>;
        OwnedReadHalf::try_read => fn(&OwnedReadHalf, &mut [u8]) -> Result<usize>;
        OwnedReadHalf::try_read_vectored =>
            fn(&OwnedReadHalf, &mut [IoSliceMut<'_>]) -> Result<usize>;
        OwnedReadHalf::try_read_buf => fn(&OwnedReadHalf, &mut Vec<u8>) -> Result<usize>;
        OwnedReadHalf::peer_addr => fn(&OwnedReadHalf) -> Result<SocketAddr>;
        OwnedReadHalf::local_addr => fn(&OwnedReadHalf) -> Result<SocketAddr>;
        OwnedWriteHalf::reunite =>
            fn(OwnedWriteHalf, OwnedReadHalf) -> std::result::Result<TcpStream, ReuniteError>;
        OwnedWriteHalf::forget => fn(OwnedWriteHalf);
        OwnedWriteHalf::try_write => fn(&OwnedWriteHalf, &[u8]) -> Result<usize>;
        OwnedWriteHalf::try_write_vectored => fn(&OwnedWriteHalf, &[IoSlice<'_>]) -> Result<usize>;
        OwnedWriteHalf::peer_addr => fn(&OwnedWriteHalf) -> Result<SocketAddr>;
        OwnedWriteHalf::local_addr => fn(&OwnedWriteHalf) -> Result<SocketAddr>;
    }
    let _ = |read: &'static mut OwnedReadHalf, write: &'static OwnedWriteHalf| {
        future::<Result<Ready>>(read.ready(Interest::READABLE));
        future::<Result<()>>(read.readable());
        future::<Result<usize>>(read.peek(&mut []));
        future::<Result<Ready>>(write.ready(Interest::WRITABLE));
        future::<Result<()>>(write.writable());
    };
    let _ = |read: &'static mut ReadHalf<'static>, write: &'static WriteHalf<'static>| {
        future::<Result<Ready>>(read.ready(Interest::READABLE));
        future::<Result<()>>(read.readable());
        future::<Result<usize>>(read.peek(&mut []));
        future::<Result<Ready>>(write.ready(Interest::WRITABLE));
        future::<Result<()>>(write.writable());
    };
}

#[test]
fn names() {
    fn resolves<A: ToSocketAddrs>(_: A) {}
    resolves("127.0.0.1:80");
    let _ = || future(lookup_host("localhost:80"));
}
