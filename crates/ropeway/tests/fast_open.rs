//! Fast Open through the sockets: what connects and accepts give, and when (RFC 7413).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use common::{Net, SERVER, kind, pattern};
use ropeway::net::{TcpListener, TcpSocket, TcpStream};
use ropeway::{FastOpenFailure, FastOpenKeys};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn listen(net: &Net, most: u32) -> TcpListener {
    let socket = TcpSocket::new_v4_on(&net.right).unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(SERVER.parse().unwrap()).unwrap();
    socket.set_fastopen(most).unwrap();
    socket.listen(16).unwrap()
}

async fn connect_with(net: &Net, data: &[u8]) -> std::io::Result<TcpStream> {
    TcpSocket::new_v4_on(&net.left)?.connect_with(SERVER.parse().unwrap(), data).await
}

/// Both ends of a connection whose client has sent `data`.
async fn pair(net: &Net, listener: &TcpListener, data: &[u8]) -> (TcpStream, TcpStream) {
    let (client, accepted) = tokio::join!(connect_with(net, data), listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

#[tokio::test(start_paused = true)]
async fn the_second_connect_sends_its_data_with_the_syn() {
    let net = Net::new();
    let listener = listen(&net, 4);
    assert_eq!(listener.fastopen().unwrap(), 4);
    for (with_syn, failure) in [(false, FastOpenFailure::CookieUnavailable), (true, FastOpenFailure::None)] {
        let (client, mut server) = pair(&net, &listener, b"request").await;
        let mut request = [0; 7];
        server.read_exact(&mut request).await.unwrap();
        assert_eq!(&request, b"request");
        let info = client.info().unwrap();
        assert_eq!((info.syn_data, info.fast_open_failure), (with_syn, failure));
        assert_eq!(server.info().unwrap().syn_data, with_syn);
    }
}

#[tokio::test(start_paused = true)]
async fn data_beyond_what_a_syn_takes_follows_it() {
    let net = Net::new();
    let listener = listen(&net, 4);
    pair(&net, &listener, b"").await;
    let data = pattern(1_000_000);
    let serve = async {
        let (mut server, _) = listener.accept().await.unwrap();
        let mut received = vec![0; 1_000_000];
        server.read_exact(&mut received).await.unwrap();
        received
    };
    let (client, received) = tokio::join!(connect_with(&net, &data), serve);
    assert!(received == data);
    assert!(client.unwrap().info().unwrap().syn_data);
}

#[tokio::test(start_paused = true)]
async fn a_server_reads_and_answers_at_once() {
    let net = Net::new();
    let listener = listen(&net, 4);
    pair(&net, &listener, b"").await;
    let serve = async {
        let (mut server, from) = listener.accept().await.unwrap();
        assert_eq!(server.peer_addr().unwrap(), from);
        let mut request = [0; 7];
        server.read_exact(&mut request).await.unwrap();
        server.write_all(b"answer").await.unwrap();
        server.shutdown().await.unwrap();
        server
    };
    let (client, server) = tokio::join!(connect_with(&net, b"request"), serve);
    let mut answer = String::new();
    client.unwrap().read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "answer");
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn without_a_listener_it_is_refused_as_any_connect() {
    let net = Net::new();
    assert_eq!(kind(connect_with(&net, b"request").await), ErrorKind::ConnectionRefused);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_closes_the_connection() {
    let net = Net::new();
    let listener = listen(&net, 4);
    pair(&net, &listener, b"").await;
    let aborted = tokio::time::timeout(Duration::ZERO, connect_with(&net, b"request")).await;
    assert!(aborted.is_err());
    net.left.closed().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn keys_are_those_that_were_set() {
    let net = Net::new();
    let listener = listen(&net, 4);
    let keys = FastOpenKeys::new([7; 16]);
    net.right.set_fastopen_keys(keys).unwrap();
    assert_eq!(net.right.fastopen_keys(), keys);
    pair(&net, &listener, b"").await;
    // A new key, twice: the cookie is of no use any more, and the client gets another.
    net.right.set_fastopen_keys(keys.rotate([8; 16]).rotate([9; 16])).unwrap();
    for with_syn in [false, true] {
        let (client, _server) = pair(&net, &listener, b"request").await;
        assert_eq!(client.info().unwrap().syn_data, with_syn);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_of_it_is_left() {
    let net = Net::new();
    let listener = listen(&net, 4);
    for _ in 0..3 {
        let (client, server) = pair(&net, &listener, b"request").await;
        drop((client, server));
    }
    drop(listener);
    net.expect_empty().await;
}
