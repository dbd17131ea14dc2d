//! Waiting.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::time::timeout;

use super::common::{kind, pair, settle};

#[tokio::test]
async fn what_is_ready() {
    let (mut client, server) = pair().await;
    let both = Interest::READABLE | Interest::WRITABLE;
    let ready = client.ready(both).await.unwrap();
    assert!(ready.is_writable() && !ready.is_readable() && !ready.is_read_closed());

    client.write_all(b"x").await.unwrap();
    server.readable().await.unwrap();
    let ready = server.ready(both).await.unwrap();
    assert!(ready.is_writable() && ready.is_readable() && !ready.is_read_closed());
    let ready = server.ready(Interest::READABLE).await.unwrap();
    assert!(ready.is_readable() && !ready.is_writable());

    client.shutdown().await.unwrap();
    settle().await;
    let ready = server.ready(both).await.unwrap();
    assert!(ready.is_read_closed() && !ready.is_write_closed());
}

#[tokio::test]
async fn what_is_not_ready() {
    let (client, server) = pair().await;
    let cx = &mut Context::from_waker(Waker::noop());
    assert_eq!(kind(server.try_read(&mut [0])), ErrorKind::WouldBlock);
    assert!(server.poll_read_ready(cx).is_pending());
    assert!(timeout(Duration::from_millis(4), server.readable()).await.is_err());
    assert!(timeout(Duration::from_millis(4), server.ready(Interest::READABLE)).await.is_err());
    // An error would be ready for everyone; there is none.
    assert!(timeout(Duration::from_millis(4), server.ready(Interest::ERROR)).await.is_err());
    assert_eq!(client.try_write(b"x").unwrap(), 1);
    poll_fn(|cx| server.poll_read_ready(cx)).await.unwrap();
    poll_fn(|cx| server.poll_write_ready(cx)).await.unwrap();
}

#[tokio::test]
async fn readiness_stays_until_it_is_used() {
    let (mut client, server) = pair().await;
    client.write_all(b"x").await.unwrap();
    server.readable().await.unwrap();
    server.readable().await.unwrap();
    assert_eq!(server.try_read(&mut [0; 8]).unwrap(), 1);
    assert_eq!(kind(server.try_read(&mut [0; 8])), ErrorKind::WouldBlock);
    assert!(timeout(Duration::from_millis(4), server.readable()).await.is_err());
}

#[tokio::test]
async fn any_number_may_wait() {
    let (mut client, server) = pair().await;
    let server = Arc::new(server);
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { server.readable().await })
        })
        .collect();
    settle().await;
    client.write_all(b"for all of you").await.unwrap();
    for task in waiting {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_waiter_that_gives_up_takes_nothing() {
    let (mut client, mut server) = pair().await;
    let mut buf = [0; 8];
    assert!(timeout(Duration::from_millis(2), server.read(&mut buf)).await.is_err());
    assert!(timeout(Duration::from_millis(2), server.peek(&mut buf)).await.is_err());
    client.write_all(b"x").await.unwrap();
    assert_eq!(server.read(&mut buf).await.unwrap(), 1);
}

#[tokio::test]
async fn operations_of_ones_own() {
    let (mut client, server) = pair().await;
    let not_called = || -> io::Result<()> { panic!("nothing is ready") };
    assert_eq!(kind(server.try_read(&mut [0])), ErrorKind::WouldBlock);
    assert_eq!(kind(server.try_io(Interest::READABLE, not_called)), ErrorKind::WouldBlock);
    client.write_all(b"x").await.unwrap();
    server.readable().await.unwrap();
    assert_eq!(server.try_io(Interest::READABLE, || Ok(7)).unwrap(), 7);
    assert_eq!(server.async_io(Interest::READABLE, || Ok(8)).await.unwrap(), 8);
    let own = server.async_io(Interest::WRITABLE, || Err::<(), _>(ErrorKind::Other.into()));
    assert_eq!(kind(own.await), ErrorKind::Other);
}

#[tokio::test]
async fn halves_wait_alike() {
    let (client, server) = pair().await;
    let (client_read, mut client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    server_write.writable().await.unwrap();
    assert!(server_write.ready(Interest::WRITABLE).await.unwrap().is_writable());
    assert_eq!(server_write.try_write(b"down").unwrap(), 4);
    client_read.readable().await.unwrap();
    assert!(client_read.ready(Interest::READABLE).await.unwrap().is_readable());
    let mut buf = Vec::with_capacity(8);
    assert_eq!(client_read.try_read_buf(&mut buf).unwrap(), 4);
    client_write.write_all(b"up").await.unwrap();
    server_read.readable().await.unwrap();
    assert_eq!(server_read.try_read(&mut [0; 8]).unwrap(), 2);
}

#[tokio::test]
async fn urgent_data_is_told() {
    let (_client, server) = pair().await;
    #[cfg(target_os = "linux")]
    assert!(timeout(Duration::from_millis(4), server.ready(Interest::PRIORITY)).await.is_err());
    drop(server);
}
