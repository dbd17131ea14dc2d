//! Linux's switches by their names on sockets (docs/OPTIONS.md): what they take, what they refuse, and what they do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::{self, ErrorKind};
use std::time::Duration;

use common::{Net, SERVER, kind, within};
use ropeway::net::{TcpListener, TcpSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What is set is what is shown, and what is refused changes nothing and says what to do.
macro_rules! takes {
    ($socket:expr, $get:ident, $set:ident, [$($good:expr),*], refuses [$($bad:expr),*]) => {
        $($socket.$set($good).unwrap(); assert_eq!($socket.$get().unwrap(), $good, stringify!($set));)*
        let before = $socket.$get().unwrap();
        let refused: [io::Result<()>; _] = [$($socket.$set($bad)),*];
        for refused in refused {
            let error = refused.expect_err(stringify!($set));
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(!error.to_string().contains('\n') && error.to_string().len() > 15, "{error}");
        }
        assert_eq!($socket.$get().unwrap(), before, stringify!($set));
    };
}

macro_rules! takes_all {
    ($socket:expr) => {
        let socket = &$socket;
        let ms = |millis| Some(Duration::from_millis(millis));
        takes!(socket, tcp_window_scaling, set_tcp_window_scaling, [false, true], refuses []);
        takes!(socket, tcp_timestamps, set_tcp_timestamps, [false, true], refuses []);
        takes!(socket, tcp_sack, set_tcp_sack, [false, true], refuses []);
        takes!(socket, tcp_dsack, set_tcp_dsack, [false, true], refuses []);
        takes!(socket, tcp_recovery, set_tcp_recovery, [0, 1, 2, 3, 4, 5, 6, 7, 1], refuses [8, u32::MAX]);
        takes!(socket, tcp_early_retrans, set_tcp_early_retrans, [0, 3], refuses [5]);
        takes!(socket, tcp_reordering, set_tcp_reordering, [1, 65_535, 3], refuses [0, 65_536]);
        takes!(socket, tcp_max_reordering, set_tcp_max_reordering, [3, 300], refuses [0, 65_536]);
        takes!(socket, tcp_slow_start_after_idle, set_tcp_slow_start_after_idle, [false, true], refuses []);
        takes!(socket, tcp_syn_linear_timeouts, set_tcp_syn_linear_timeouts, [127, 0], refuses [128, 256]);
        takes!(socket, thin_linear_timeouts, set_thin_linear_timeouts, [true, false], refuses []);
        takes!(socket, tcp_rto_min, set_tcp_rto_min, [ms(1), ms(120_000), None], refuses [ms(0), ms(120_001)]);
        takes!(socket, tcp_rto_max, set_tcp_rto_max, [ms(1000), ms(120_000), None], refuses [ms(999), ms(120_001)]);
        takes!(socket, tcp_delack_max, set_tcp_delack_max, [ms(1), ms(499), None], refuses [ms(0), ms(500)]);
        takes!(socket, tcp_fin_timeout, set_tcp_fin_timeout, [ms(0), ms(120_000), None], refuses []);
        takes!(socket, tcp_defer_accept, set_tcp_defer_accept, [ms(1000), None], refuses []);
        takes!(socket, tcp_synack_retries, set_tcp_synack_retries, [Some(0), Some(127), None], refuses [Some(128)]);
        takes!(socket, tcp_window_clamp, set_tcp_window_clamp, [65_536, 0], refuses []);
    };
}

#[tokio::test(start_paused = true)]
async fn sockets_streams_and_listeners_have_the_same_switches() {
    let net = Net::new();
    takes_all!(TcpSocket::new_v4_on(&net.left).unwrap());
    let (client, _server) = net.connect().await;
    takes_all!(client);
    takes_all!(TcpListener::bind_on(&net.right, "0.0.0.0:0").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_linux_clamps_is_clamped() {
    let socket = TcpSocket::new_v4_on(&Net::new().left).unwrap();
    socket.set_tcp_fin_timeout(Some(Duration::from_secs(3600))).unwrap();
    assert_eq!(socket.tcp_fin_timeout().unwrap(), Some(Duration::from_secs(120)));
    socket.set_tcp_defer_accept(Some(Duration::ZERO)).unwrap();
    assert_eq!(socket.tcp_defer_accept().unwrap(), None);
    socket.set_tcp_early_retrans(2).unwrap();
    assert_eq!(socket.tcp_early_retrans().unwrap(), 0);
    // A connection shows what it goes by.
    let (client, _server) = Net::new().connect().await;
    client.set_tcp_window_clamp(1).unwrap();
    assert_eq!(client.tcp_window_clamp().unwrap(), 1152);
    client.set_tcp_reordering(500).unwrap();
    assert_eq!(client.tcp_max_reordering().unwrap(), 500);
}

#[tokio::test(start_paused = true)]
async fn a_largest_segment_can_be_taken_off_again() {
    let (client, _server) = Net::new().connect().await;
    let whole = client.tcp_mss().unwrap();
    client.set_tcp_mss(500).unwrap();
    assert_eq!(client.tcp_mss().unwrap(), 488);
    client.set_tcp_mss(0).unwrap();
    assert_eq!(client.tcp_mss().unwrap(), whole);
    assert_eq!(kind(client.set_tcp_mss(32_768)), ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn what_a_socket_has_off_its_connection_does_without() {
    let net = Net::new();
    let listener = TcpListener::bind_on(&net.right, SERVER).await.unwrap();
    let socket = TcpSocket::new_v4_on(&net.left).unwrap();
    socket.set_tcp_timestamps(false).unwrap();
    socket.set_tcp_sack(false).unwrap();
    let client = socket.connect(SERVER.parse().unwrap()).await.unwrap();
    let info = client.info().unwrap();
    assert_eq!((info.timestamps, info.sack, info.rcv_wscale.is_some()), (false, false, true));
    drop(listener);
}

#[tokio::test(start_paused = true)]
async fn a_deferring_listener_accepts_with_the_request() {
    let net = Net::new();
    let listener = TcpListener::bind_on(&net.right, SERVER).await.unwrap();
    listener.set_tcp_defer_accept(Some(Duration::from_secs(30))).unwrap();
    let socket = TcpSocket::new_v4_on(&net.left).unwrap();
    let mut client = socket.connect(SERVER.parse().unwrap()).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_secs(5), listener.accept()).await;
    assert!(waits.is_err(), "accepted without a request");
    client.write_all(b"GET").await.unwrap();
    let (mut server, _) = within(Duration::from_secs(1), listener.accept()).await.unwrap();
    let mut request = [0; 3];
    assert_eq!(server.try_read(&mut request).unwrap(), 3);
    server.write_all(b"OK").await.unwrap();
    let mut answer = [0; 2];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!((&request, &answer), (b"GET", b"OK"));
}
