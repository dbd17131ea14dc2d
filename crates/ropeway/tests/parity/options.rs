//! Socket options.

use std::time::Duration;

use super::common::{errno, pair};
use super::net::{TcpListener, TcpSocket};

#[tokio::test]
async fn of_streams() {
    let (stream, _peer) = pair().await;
    assert!(!stream.nodelay().unwrap());
    stream.set_nodelay(true).unwrap();
    assert!(stream.nodelay().unwrap());

    assert_eq!(stream.linger().unwrap(), None);
    #[expect(deprecated, reason = "on either side")]
    stream.set_linger(Some(Duration::from_secs(3))).unwrap();
    assert_eq!(stream.linger().unwrap(), Some(Duration::from_secs(3)));
    stream.set_zero_linger().unwrap();
    assert_eq!(stream.linger().unwrap(), Some(Duration::ZERO));

    assert_eq!(stream.ttl().unwrap(), 64);
    stream.set_ttl(7).unwrap();
    assert_eq!(stream.ttl().unwrap(), 7);
    assert_eq!(errno(stream.set_ttl(0)), libc::EINVAL);
    assert_eq!(errno(stream.set_ttl(256)), libc::EINVAL);

    #[cfg(target_os = "linux")]
    {
        stream.set_quickack(true).unwrap();
        assert!(stream.quickack().unwrap());
    }
    assert!(stream.take_error().unwrap().is_none());
}

#[tokio::test]
async fn of_listeners() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.set_ttl(99).unwrap();
    assert_eq!(listener.ttl().unwrap(), 99);
}

#[tokio::test]
async fn of_sockets() {
    let socket = TcpSocket::new_v4().unwrap();
    assert!(!socket.keepalive().unwrap() && !socket.reuseaddr().unwrap());
    assert!(!socket.reuseport().unwrap() && !socket.nodelay().unwrap());
    socket.set_keepalive(true).unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.set_nodelay(true).unwrap();
    assert!(socket.keepalive().unwrap() && socket.reuseaddr().unwrap());
    assert!(socket.reuseport().unwrap() && socket.nodelay().unwrap());

    assert_eq!(socket.tos_v4().unwrap(), 0);
    // The bits of ECN are TCP's.
    socket.set_tos_v4(0xbb).unwrap();
    assert_eq!(socket.tos_v4().unwrap(), 0xb8);

    socket.set_zero_linger().unwrap();
    assert_eq!(socket.linger().unwrap(), Some(Duration::ZERO));
    socket.set_send_buffer_size(100_000).unwrap();
    assert!(socket.send_buffer_size().unwrap() >= 100_000);
    socket.set_recv_buffer_size(100_000).unwrap();
    assert!(socket.recv_buffer_size().unwrap() >= 100_000);
    // They have a minimum.
    for least in [0, 1, 1000] {
        socket.set_send_buffer_size(least).unwrap();
        socket.set_recv_buffer_size(least).unwrap();
        assert!(socket.send_buffer_size().unwrap() >= 4608 && socket.recv_buffer_size().unwrap() >= 2304);
    }
    assert!(socket.take_error().unwrap().is_none());
    assert_eq!(socket.device().unwrap(), None);

    let socket = TcpSocket::new_v6().unwrap();
    socket.set_tclass_v6(0xfc).unwrap();
    assert_eq!(socket.tclass_v6().unwrap(), 0xfc);
    assert_eq!(errno(socket.set_tclass_v6(256)), libc::EINVAL);
}

#[tokio::test]
async fn accepted_streams_inherit() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_nodelay(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    listener.set_ttl(33).unwrap();
    let (client, server) = super::common::pair_through(&listener).await;
    assert!(server.nodelay().unwrap() && !client.nodelay().unwrap());
    assert_eq!(server.ttl().unwrap(), 33);
}
