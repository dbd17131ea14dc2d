//! What ropeway has beyond `tokio::net`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use common::{Net, SERVER, kind, pattern, settle, within};
use ropeway::congestion::Cubic;
use ropeway::net::tcp::TcpKeepalive;
use ropeway::net::{TcpListener, TcpSocket, TcpStream};
use ropeway::{AckThinning, Algorithm, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SOON: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn bytes_without_copies() {
    let net = Net::new();
    let (client, server) = net.connect().await;
    let data = Bytes::from(pattern(3_000_000));
    let copy = data.clone();
    let writer = tokio::spawn(async move {
        client.write_bytes(copy).await.unwrap();
        client
    });
    let mut received = Vec::new();
    while received.len() < data.len() {
        let bytes = server.read_bytes(10_000).await.unwrap();
        assert!(!bytes.is_empty() && bytes.len() <= 10_000);
        received.extend_from_slice(&bytes);
    }
    assert!(received == data);
    let (client_read, client_write) = writer.await.unwrap().into_split();
    client_write.write_bytes(Bytes::from_static(b"end")).await.unwrap();
    drop(client_write);
    assert_eq!(server.read_bytes(1).await.unwrap(), "e");
    assert_eq!(server.read_bytes(100).await.unwrap(), "nd");
    assert!(server.read_bytes(100).await.unwrap().is_empty());
    drop(server);
    assert!(client_read.read_bytes(1).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_part_of_bytes() {
    let net = Net::with(|config| config.socket.send_buffer = 1000, 1024);
    let (client, _server) = net.connect().await;
    let mut data = Bytes::from(pattern(1500));
    assert_eq!(client.try_write_bytes(&mut data).unwrap(), 1000);
    assert_eq!(data, pattern(1500)[1000..]);
    assert_eq!(kind(client.try_write_bytes(&mut data)), ErrorKind::WouldBlock);
    assert_eq!(data.len(), 500);
}

#[tokio::test(start_paused = true)]
async fn urgent_data() {
    let net = Net::new();
    let (mut client, mut server) = net.connect().await;
    let waiting = tokio::time::timeout(SOON, server.priority());
    assert!(waiting.await.is_err());
    assert_eq!(server.urgent_remaining(), None);
    client.write_all(b"slow").await.unwrap();
    assert_eq!(client.write_urgent(b"now!").await.unwrap(), 4);
    client.write_all(b"later").await.unwrap();
    within(SOON, server.priority()).await.unwrap();
    assert_eq!(server.urgent_remaining(), Some(8));
    // It is part of the stream, in its place.
    let mut buf = [0; 6];
    server.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"slowno");
    assert_eq!(server.urgent_remaining(), Some(2));
    let mut buf = [0; 7];
    server.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"w!later");
    assert_eq!(server.urgent_remaining(), None);
}

#[tokio::test(start_paused = true)]
async fn info() {
    let net = Net::new();
    let (mut client, mut server) = net.connect().await;
    client.write_all(&pattern(100_000)).await.unwrap();
    server.read_exact(&mut vec![0; 100_000]).await.unwrap();
    tokio::time::sleep(SOON).await;
    let info = client.info().unwrap();
    assert_eq!(info.state, State::Established);
    assert_eq!((info.bytes_acked, info.unacked, info.not_sent), (100_000, 0, 0));
    assert_eq!((info.snd_mss, info.pmtu), (1448, 1500));
    assert_eq!(client.tcp_mss().unwrap(), 1448);
    assert!(info.rto >= Duration::from_millis(200) && info.cwnd > 0);
    assert_eq!(info.congestion, "cubic");
    assert_eq!(server.info().unwrap().bytes_received, 100_000);
    client.shutdown().await.unwrap();
    settle().await;
    assert_eq!(client.info().unwrap().state, State::FinWait2);
    assert_eq!(server.info().unwrap().state, State::CloseWait);
    assert!(format!("{server:?}").contains("10.0.0.1"), "{server:?}");
}

#[tokio::test(start_paused = true)]
async fn options_as_socket2_has_them() {
    let net = Net::new();
    let socket = TcpSocket::new_v4_on(&net.left).unwrap();
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(4))
        .with_retries(5);
    socket.set_tcp_keepalive(&keepalive).unwrap();
    assert!(socket.keepalive().unwrap());
    assert_eq!(kind(socket.set_tcp_keepalive(&TcpKeepalive::new().with_retries(0))), ErrorKind::InvalidInput);
    socket.set_tcp_user_timeout(Some(Duration::from_millis(1500))).unwrap();
    socket.set_tcp_mss(1000).unwrap();
    assert_eq!(kind(socket.set_tcp_mss(87)), ErrorKind::InvalidInput);
    socket.set_tcp_cork(true).unwrap();
    socket.set_quickack(true).unwrap();
    socket.set_ack_thinning(Some(AckThinning::default())).unwrap();
    assert_eq!(socket.ack_thinning().unwrap(), Some(AckThinning::default()));
    socket.set_tcp_notsent_lowat(16_384).unwrap();
    socket.set_max_pacing_rate(Some(1 << 40)).unwrap();
    socket.set_tcp_congestion(b"reno").unwrap();
    assert_eq!(kind(socket.set_tcp_congestion(b"vegas")), ErrorKind::NotFound);
    socket.set_tcp_syn_retries(2).unwrap();
    assert_eq!(kind(socket.set_tcp_syn_retries(128)), ErrorKind::InvalidInput);
    socket.set_send_buffer_size(12_345).unwrap();
    socket.set_recv_buffer_size(54_321).unwrap();
    socket.set_tos_v4(0x10).unwrap();
    socket.set_ttl(9).unwrap();

    let _listener = net.listen().await;
    let stream = socket.connect(SERVER.parse().unwrap()).await.unwrap();
    assert_eq!(stream.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
    assert_eq!(stream.tcp_keepalive_interval().unwrap(), Duration::from_secs(4));
    assert_eq!(stream.tcp_keepalive_retries().unwrap(), 5);
    assert_eq!(stream.tcp_user_timeout().unwrap(), Some(Duration::from_millis(1500)));
    assert!(stream.tcp_cork().unwrap() && stream.quickack().unwrap());
    assert_eq!(stream.tcp_notsent_lowat().unwrap(), 16_384);
    assert_eq!(stream.max_pacing_rate().unwrap(), Some(1 << 40));
    assert_eq!(stream.tcp_congestion().unwrap(), b"reno");
    let own = Algorithm::custom(Cubic::without_hystart());
    assert_ne!(own, Algorithm::Cubic);
    stream.set_congestion(own.clone()).unwrap();
    assert_eq!((stream.congestion().unwrap(), stream.info().unwrap().congestion), (own, "cubic"));
    assert_eq!(stream.tcp_syn_retries().unwrap(), 2);
    assert_eq!(stream.send_buffer_size().unwrap(), 12_345);
    assert_eq!(stream.recv_buffer_size().unwrap(), 54_321);
    assert_eq!((stream.tos_v4().unwrap(), stream.ttl().unwrap()), (0x10, 9));
    assert!(stream.tcp_mss().unwrap() <= 1000);
}

#[tokio::test(start_paused = true)]
async fn buffers_tune_themselves_until_a_size_is_set() {
    let net = Net::new();
    let usual = (128 * 1024, 16 * 1024);
    let socket = TcpSocket::new_v4_on(&net.left).unwrap();
    assert_eq!((socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap()), usual);
    let listener = net.listen().await;
    assert_eq!((listener.recv_buffer_size().unwrap(), listener.send_buffer_size().unwrap()), usual);
    listener.set_recv_buffer_size(20_000).unwrap();
    assert_eq!(listener.recv_buffer_size().unwrap(), 20_000);
    let mut client = TcpStream::connect_on(&net.left, SERVER).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    assert_eq!(client.recv_buffer_size().unwrap(), usual.0);
    assert_eq!(server.recv_buffer_size().unwrap(), 20_000);

    // What is sent grows with the congestion window, and what is read would let the other one grow.
    let data = pattern(5_000_000);
    let reader = tokio::spawn(async move {
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        (server, received)
    });
    within(SOON, client.write_all(&data)).await.unwrap();
    assert!(client.send_buffer_size().unwrap() > usual.1);
    assert_eq!(client.send_buffer_size().unwrap() as usize, client.info().unwrap().send_buffer);
    client.set_send_buffer_size(30_000).unwrap();
    assert_eq!(client.send_buffer_size().unwrap(), 30_000);
    client.shutdown().await.unwrap();
    let (server, received) = within(SOON, reader).await.unwrap();
    assert_eq!((received == data, server.recv_buffer_size().unwrap()), (true, 20_000));
}

#[tokio::test(start_paused = true)]
async fn a_cork_holds_small_segments() {
    let net = Net::new();
    let (mut client, server) = net.connect().await;
    client.set_tcp_cork(true).unwrap();
    client.write_all(b"head ").await.unwrap();
    client.write_all(b"body").await.unwrap();
    settle().await;
    let mut buf = [0; 20];
    assert_eq!(kind(server.try_read(&mut buf)), ErrorKind::WouldBlock);
    client.set_tcp_cork(false).unwrap();
    within(SOON, server.readable()).await.unwrap();
    assert_eq!(server.try_read(&mut buf).unwrap(), 9);
    assert_eq!(server.info().unwrap().segments_in, 2);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_that_is_full() {
    let net = Net::new();
    let socket = TcpSocket::new_v4_on(&net.right).unwrap();
    socket.bind(SERVER.parse().unwrap()).unwrap();
    let listener: TcpListener = socket.listen(3).unwrap();
    let mut connected = Vec::new();
    for _ in 0..6 {
        let connecting = TcpStream::connect_on(&net.left, SERVER);
        if let Ok(stream) = tokio::time::timeout(Duration::from_millis(500), connecting).await {
            connected.push(stream.unwrap());
        }
    }
    assert!(connected.len() >= 3 && connected.len() <= 4, "{}", connected.len());
    // Who waits gets in when there is room again.
    let late = tokio::spawn({
        let left = net.left.clone();
        async move { TcpStream::connect_on(&left, SERVER).await }
    });
    settle().await;
    for _ in 0..3 {
        listener.accept().await.unwrap();
    }
    within(Duration::from_secs(10), late).await.unwrap().unwrap();
}
