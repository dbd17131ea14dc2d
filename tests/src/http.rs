//! As much HTTP as it takes to give curl what it asks for, on any stream.

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use crate::pattern;

/// Answers one request for `/N` with the first N bytes of the [pattern], closes the connection
/// for writing, and waits until the peer has closed it too. Gives the body's SHA-256.
///
/// # Panics
///
/// If the request is another, or the stream fails.
pub async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut request).await.unwrap() > 0, "the request is cut short: {request:?}");
    }
    let size = request.strip_prefix("GET /").and_then(|rest| rest.split(' ').next());
    let size: u64 = size.and_then(|size| size.parse().ok()).expect("GET /N");
    let header = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n");
    stream.write_all(header.as_bytes()).await.unwrap();
    let digest = pattern::send(&mut stream, size).await;
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "a second request: {rest:?}");
    digest
}

/// Asks for `/N` and reads the answer's header; the body is left to be read.
///
/// # Panics
///
/// If the answer is another, or the stream fails.
pub async fn request(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), size: u64) {
    stream.write_all(format!("GET /{size} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).await.unwrap();
    let mut header = Vec::new();
    while !header.ends_with(b"\r\n\r\n") {
        header.push(stream.read_u8().await.unwrap());
    }
    assert!(header.starts_with(b"HTTP/1.1 200 OK\r\n"));
}
