//! What the bodies share.

use std::io;
use std::time::Duration;

use super::net::{TcpListener, TcpStream};

/// A connection: the end that connected, and the one that was accepted.
pub(super) async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    pair_through(&listener).await
}

/// Likewise, through a listener that stays.
pub(super) async fn pair_through(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let addr = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(addr), listener.accept());
    let (client, (server, peer)) = (client.unwrap(), server.unwrap());
    assert_eq!(client.local_addr().unwrap(), peer);
    (client, server)
}

/// Lets what is under way arrive. It takes real time, because the kernel does.
pub(super) async fn settle() {
    tokio::time::sleep(Duration::from_millis(4)).await;
}

/// The operating system's number of the error that `result` is. Its kind follows from that.
pub(super) fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    let error = result.unwrap_err();
    error.raw_os_error().unwrap_or_else(|| panic!("{error:?} has no number"))
}

/// The kind and the text of an error that has no number.
pub(super) fn told<T: std::fmt::Debug>(result: io::Result<T>) -> (io::ErrorKind, String) {
    let error = result.unwrap_err();
    assert_eq!(error.raw_os_error(), None, "{error:?}");
    (error.kind(), error.to_string())
}

/// Its kind alone.
pub(super) fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    told(result).0
}

/// Bytes that show where one is missing or out of order.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}
