//! Moving bytes.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::common::{errno, kind, pair, pattern, settle};
use super::net::{TcpListener, TcpStream};

#[tokio::test]
async fn echo() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    assert!(addr.ip().is_loopback() && addr.port() != 0);
    let server = tokio::spawn(async move {
        let (mut stream, peer) = listener.accept().await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), peer);
        assert_eq!(stream.local_addr().unwrap(), addr);
        let mut buf = [0; 64];
        loop {
            match stream.read(&mut buf).await.unwrap() {
                0 => break,
                len => stream.write_all(&buf[..len]).await.unwrap(),
            }
        }
    });
    let mut client = TcpStream::connect(addr).await.unwrap();
    assert_eq!(client.peer_addr().unwrap(), addr);
    client.write_all(b"climbing").await.unwrap();
    client.flush().await.unwrap();
    let mut buf = [0; 8];
    client.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"climbing");
    client.shutdown().await.unwrap();
    assert_eq!(client.read(&mut buf).await.unwrap(), 0);
    server.await.unwrap();
}

#[tokio::test]
async fn ipv6() {
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(addr), listener.accept());
    let (mut client, (mut server, peer)) = (client.unwrap(), accepted.unwrap());
    assert!(peer.is_ipv6() && client.peer_addr().unwrap() == addr);
    client.write_all(b"six").await.unwrap();
    let mut buf = [0; 3];
    server.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"six");
}

#[tokio::test]
async fn data_waits_for_accept() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(b"early").await.unwrap();
    drop(client);
    settle().await;
    let (mut server, _) = listener.accept().await.unwrap();
    let mut said = String::new();
    server.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "early");
}

#[tokio::test]
async fn large_both_ways() {
    const LEN: usize = 2_000_000;
    let (mut a, mut b) = pair().await;
    async fn exchange(stream: &mut TcpStream) {
        let (mut read, mut write) = stream.split();
        let mut received = Vec::new();
        let (_, sent) = tokio::join!(read.read_to_end(&mut received), async {
            write.write_all(&pattern(LEN)).await.unwrap();
            write.shutdown().await
        });
        sent.unwrap();
        assert!(received == pattern(LEN), "{} bytes", received.len());
    }
    tokio::join!(exchange(&mut a), exchange(&mut b));
}

#[tokio::test]
async fn half_close_each_way() {
    let (mut client, mut server) = pair().await;
    let mut buf = [0; 16];

    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    // The FIN is on its way, and shutdown has not waited for anyone.
    let mut question = Vec::new();
    server.read_to_end(&mut question).await.unwrap();
    assert_eq!(question, b"question");
    assert_eq!(server.read(&mut buf).await.unwrap(), 0);

    // The other direction is as open as before.
    server.write_all(b"answer").await.unwrap();
    settle().await;
    server.write_all(b", late").await.unwrap();
    client.read_exact(&mut buf[..12]).await.unwrap();
    assert_eq!(&buf[..12], b"answer, late");

    server.shutdown().await.unwrap();
    assert_eq!(client.read(&mut buf).await.unwrap(), 0);
    // More than once is no error.
    client.shutdown().await.unwrap();
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn writing_after_shutdown() {
    let (mut client, _server) = pair().await;
    client.shutdown().await.unwrap();
    assert_eq!(errno(client.write(b"x").await), libc::EPIPE);
    assert_eq!(errno(client.try_write(b"x")), libc::EPIPE);
    client.flush().await.unwrap();
}

#[tokio::test]
async fn simultaneous_close() {
    let (mut client, mut server) = pair().await;
    client.shutdown().await.unwrap();
    server.shutdown().await.unwrap();
    let mut buf = [0; 1];
    assert_eq!(client.read(&mut buf).await.unwrap(), 0);
    assert_eq!(server.read(&mut buf).await.unwrap(), 0);
}

#[tokio::test]
async fn peeking() {
    let (mut client, mut server) = pair().await;
    client.write_all(b"peekaboo").await.unwrap();
    let mut buf = [0; 4];
    assert_eq!(server.peek(&mut buf).await.unwrap(), 4);
    assert_eq!(&buf, b"peek");
    assert_eq!(server.peek(&mut buf).await.unwrap(), 4);

    let mut buf = [0; 32];
    let mut buf = ReadBuf::new(&mut buf);
    buf.put_slice(b"::");
    let len = poll_fn(|cx| server.poll_peek(cx, &mut buf)).await.unwrap();
    assert_eq!((len, buf.filled()), (8, &b"::peekaboo"[..]));

    let mut buf = [0; 8];
    server.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"peekaboo");

    client.shutdown().await.unwrap();
    assert_eq!(server.peek(&mut buf).await.unwrap(), 0);
    assert_eq!(server.read(&mut buf).await.unwrap(), 0);
}

#[tokio::test]
async fn halves_that_borrow() {
    let (mut client, mut server) = pair().await;
    {
        let (mut read, mut write) = client.split();
        assert_eq!(read.peer_addr().unwrap(), write.peer_addr().unwrap());
        assert_eq!(read.local_addr().unwrap(), read.as_ref().local_addr().unwrap());
        let mut said = [0; 4];
        let (written, heard) = tokio::join!(write.write_all(b"ping"), async {
            let mut heard = [0; 4];
            server.read_exact(&mut heard).await.unwrap();
            server.write_all(b"pong").await.unwrap();
            heard
        });
        written.unwrap();
        assert_eq!(&heard, b"ping");
        assert_eq!(read.peek(&mut said).await.unwrap(), 4);
        read.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"pong");
        // Dropping the write half sends nothing.
    }
    settle().await;
    assert_eq!(kind(server.try_read(&mut [0; 1])), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn halves_that_own() {
    let (client, mut server) = pair().await;
    let (mut read, mut write) = client.into_split();
    let reader = tokio::spawn(async move {
        let mut heard = Vec::new();
        read.read_to_end(&mut heard).await.unwrap();
        (read, heard)
    });
    write.write_all(b"over").await.unwrap();
    drop(write);
    // Dropping the write half was a FIN.
    let mut heard = Vec::new();
    server.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"over");
    server.write_all(b"and out").await.unwrap();
    drop(server);
    let (_read, heard) = reader.await.unwrap();
    assert_eq!(heard, b"and out");
}

#[tokio::test]
async fn halves_together_again() {
    let (client, mut server) = pair().await;
    let (other, _other_server) = pair().await;
    let (read, write) = client.into_split();
    let (other_read, other_write) = other.into_split();

    let error = read.reunite(other_write).unwrap_err();
    assert!(!error.to_string().is_empty());
    let (read, other_write) = (error.0, error.1);
    let error = write.reunite(other_read).unwrap_err();
    let (other_read, write) = (error.0, error.1);
    other_read.reunite(other_write).unwrap();

    let mut client = read.reunite(write).unwrap();
    settle().await;
    // No FIN has been sent.
    assert_eq!(kind(server.try_read(&mut [0; 1])), ErrorKind::WouldBlock);
    client.write_all(b"whole").await.unwrap();
    let mut buf = [0; 5];
    server.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"whole");
}

#[tokio::test]
async fn a_forgotten_half_sends_no_fin() {
    let (client, mut server) = pair().await;
    let (read, write) = client.into_split();
    write.forget();
    settle().await;
    let mut buf = [0; 1];
    assert_eq!(kind(server.try_read(&mut buf)), ErrorKind::WouldBlock);
    drop(read);
    assert_eq!(server.read(&mut buf).await.unwrap(), 0);
}

#[tokio::test]
async fn an_owned_half_that_was_shut_down() {
    let (client, mut server) = pair().await;
    let (mut read, mut write) = client.into_split();
    write.shutdown().await.unwrap();
    assert_eq!(errno(write.write(b"x").await), libc::EPIPE);
    drop(write);
    server.write_all(b"still here").await.unwrap();
    let mut buf = [0; 10];
    read.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"still here");
}

#[tokio::test]
async fn trying() {
    let (client, server) = pair().await;
    let mut buf = [0; 16];
    assert_eq!(kind(server.try_read(&mut buf)), ErrorKind::WouldBlock);
    client.writable().await.unwrap();
    assert_eq!(client.try_write(b"0123456789").unwrap(), 10);
    server.readable().await.unwrap();
    assert_eq!(server.try_read(&mut buf[..4]).unwrap(), 4);
    assert_eq!(&buf[..4], b"0123");

    let mut vec = Vec::with_capacity(2);
    assert_eq!(server.try_read_buf(&mut vec).unwrap(), 2);
    assert_eq!(vec, b"45");

    let (mut one, mut two) = ([0; 1], [0; 8]);
    let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
    assert_eq!(server.try_read_vectored(&mut bufs).unwrap(), 4);
    assert_eq!((&one, &two[..3]), (b"6", &b"789"[..]));
    assert_eq!(kind(server.try_read(&mut buf)), ErrorKind::WouldBlock);

    let bufs = [IoSlice::new(b"a"), IoSlice::new(b""), IoSlice::new(b"bc")];
    assert_eq!(client.try_write_vectored(&bufs).unwrap(), 3);
    server.readable().await.unwrap();
    assert_eq!(server.try_read(&mut buf).unwrap(), 3);
    assert_eq!(&buf[..3], b"abc");

    drop(client);
    server.readable().await.unwrap();
    assert_eq!(server.try_read(&mut buf).unwrap(), 0);
    assert_eq!(server.try_read(&mut buf).unwrap(), 0);
}

#[tokio::test]
async fn vectored() {
    let (mut client, mut server) = pair().await;
    assert!(client.is_write_vectored());
    let bufs = [IoSlice::new(b"head"), IoSlice::new(b" and "), IoSlice::new(b"body")];
    assert_eq!(client.write_vectored(&bufs).await.unwrap(), 13);
    let mut buf = [0; 13];
    server.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"head and body");
}

#[tokio::test]
async fn nothing_at_all() {
    let (mut client, mut server) = pair().await;
    assert_eq!(client.write(b"").await.unwrap(), 0);
    assert_eq!(client.try_write(b"").unwrap(), 0);
    // A buffer without room waits for something to read, and then takes nothing.
    let cx = &mut Context::from_waker(Waker::noop());
    let mut none = ReadBuf::new(&mut []);
    assert!(Pin::new(&mut server).poll_read(cx, &mut none).is_pending());
    assert_eq!(kind(server.try_read(&mut [])), ErrorKind::WouldBlock);
    client.write_all(b"x").await.unwrap();
    assert_eq!(server.read(&mut []).await.unwrap(), 0);
    let mut buf = [0; 1];
    server.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"x");
}

#[tokio::test]
async fn polling() {
    let (mut client, mut server) = pair().await;
    let cx = &mut Context::from_waker(Waker::noop());
    let mut buf = [0; 8];
    let mut buf = ReadBuf::new(&mut buf);
    assert!(Pin::new(&mut server).poll_read(cx, &mut buf).is_pending());
    assert!(buf.filled().is_empty());
    poll_fn(|cx| client.poll_write_ready(cx)).await.unwrap();
    let Poll::Ready(Ok(2)) = Pin::new(&mut client).poll_write(cx, b"hi") else {
        panic!("a new connection has room");
    };
    assert!(Pin::new(&mut client).poll_flush(cx).is_ready());
    poll_fn(|cx| Pin::new(&mut server).poll_read(cx, &mut buf)).await.unwrap();
    assert_eq!(buf.filled(), b"hi");
    assert!(matches!(Pin::new(&mut client).poll_shutdown(cx), Poll::Ready(Ok(()))));
    buf.clear();
    poll_fn(|cx| Pin::new(&mut server).poll_read(cx, &mut buf)).await.unwrap();
    assert!(buf.filled().is_empty());
}

#[tokio::test]
async fn a_full_buffer_becomes_writable_again() {
    let (client, mut server) = pair().await;
    let mut written = 0;
    let chunk = pattern(64 * 1024);
    while let Ok(len) = client.try_write(&chunk) {
        written += len;
        if len < chunk.len() {
            settle().await;
        }
    }
    assert_eq!(kind(client.try_write(&chunk)), ErrorKind::WouldBlock);
    assert!(written > 0);
    let mut read = 0;
    let mut buf = vec![0; 64 * 1024];
    while read < written {
        read += server.read(&mut buf).await.unwrap();
    }
    client.writable().await.unwrap();
    assert!(client.try_write(&chunk).unwrap() > 0);
}
