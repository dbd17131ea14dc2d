//! IPv4 addresses in IPv6 clothes: `::ffff:127.0.0.1` (RFC 3493 3.7, RFC 4291 2.5.5.2).

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::common::{errno, pair_through};
use super::net::{TcpListener, TcpSocket, TcpStream, lookup_host};

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The same port, at another address.
fn at(ip: &str, port: u16) -> SocketAddr {
    (ip.parse::<IpAddr>().unwrap(), port).into()
}

async fn ip_of(listener: &TcpListener, ip: &str) -> TcpStream {
    TcpStream::connect(at(ip, listener.local_addr().unwrap().port())).await.unwrap()
}

#[tokio::test]
async fn a_server_of_ipv4_is_reached_at_its_mapped_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut client = ip_of(&listener, "::ffff:127.0.0.1").await;
    let (mut server, peer) = listener.accept().await.unwrap();
    // Each end sees its own family.
    assert_eq!(client.peer_addr().unwrap(), at("::ffff:127.0.0.1", port));
    assert_eq!(client.local_addr().unwrap(), at("::ffff:127.0.0.1", peer.port()));
    assert_eq!(peer.ip(), addr("127.0.0.1:0").ip());
    assert_eq!(server.local_addr().unwrap(), at("127.0.0.1", port));

    client.write_all(b"mapped").await.unwrap();
    let mut buf = [0; 6];
    server.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"mapped");
}

#[tokio::test]
async fn an_accepted_stream_s_peer_can_be_connected_to() {
    // What a dual-stack server does with the address that it has been shown.
    let server = TcpListener::bind("[::]:0").await.unwrap();
    let callback = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = ip_of(&server, "127.0.0.1").await;
    let (_accepted, mut peer) = server.accept().await.unwrap();
    assert!(peer.is_ipv6() && client.local_addr().unwrap().is_ipv4());
    peer.set_port(callback.local_addr().unwrap().port());
    TcpStream::connect(peer).await.unwrap();
}

#[tokio::test]
async fn a_listener_at_a_mapped_address_takes_ipv4() {
    let listener = TcpListener::bind("[::ffff:127.0.0.1]:0").await.unwrap();
    let own = listener.local_addr().unwrap();
    assert_eq!(own.ip(), addr("[::ffff:127.0.0.1]:0").ip());
    let client = ip_of(&listener, "127.0.0.1").await;
    let (server, peer) = listener.accept().await.unwrap();
    assert_eq!(server.local_addr().unwrap(), own);
    assert_eq!(server.peer_addr().unwrap(), peer);
    assert_eq!(peer, at("::ffff:127.0.0.1", client.local_addr().unwrap().port()));
    assert_eq!(client.peer_addr().unwrap(), at("127.0.0.1", own.port()));

    let (_client, _server) = pair_through(&listener).await;
    for other in ["127.0.0.2", "::1", "::ffff:127.0.0.2"] {
        assert_eq!(errno(TcpStream::connect(at(other, own.port())).await), libc::ECONNREFUSED, "{other}");
    }
}

#[tokio::test]
async fn the_mapped_unspecified_address_is_all_of_ipv4() {
    let listener = TcpListener::bind("[::ffff:0.0.0.0]:0").await.unwrap();
    let own = listener.local_addr().unwrap();
    assert_eq!(own.ip(), addr("[::ffff:0.0.0.0]:0").ip());
    for ip in ["127.0.0.1", "127.0.0.2", "::ffff:127.0.0.1"] {
        let client = ip_of(&listener, ip).await;
        let (server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.port(), client.local_addr().unwrap().port());
        assert!(peer.is_ipv6() && server.local_addr().unwrap().is_ipv6());
    }
    assert_eq!(errno(TcpStream::connect(at("::1", own.port())).await), libc::ECONNREFUSED);
    // Connected to, it is this host, as `0.0.0.0` and `::` are.
    let client = ip_of(&listener, "::ffff:0.0.0.0").await;
    assert_eq!(client.peer_addr().unwrap(), at("::ffff:127.0.0.1", own.port()));
    let client = ip_of(&listener, "0.0.0.0").await;
    assert_eq!(client.peer_addr().unwrap(), at("127.0.0.1", own.port()));
}

#[tokio::test]
async fn mapped_or_not_it_is_the_same_port() {
    let listener = TcpListener::bind("[::ffff:127.0.0.1]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for taken in ["127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "::"] {
        assert_eq!(errno(TcpListener::bind(at(taken, port)).await), libc::EADDRINUSE, "{taken}");
        let socket = if taken.contains(':') { TcpSocket::new_v6() } else { TcpSocket::new_v4() };
        assert_eq!(errno(socket.unwrap().bind(at(taken, port))), libc::EADDRINUSE, "{taken}");
    }
    for free in ["::1", "::ffff:127.0.0.2", "127.0.0.3"] {
        TcpListener::bind(at(free, port)).await.unwrap();
    }
}

#[tokio::test]
async fn mapped_addresses_that_are_not_ours() {
    let not_ours = addr("[::ffff:198.51.100.1]:0");
    assert_eq!(errno(TcpListener::bind(not_ours).await), libc::EADDRNOTAVAIL);
    assert_eq!(errno(TcpSocket::new_v6().unwrap().bind(not_ours)), libc::EADDRNOTAVAIL);
    for nowhere in ["[::ffff:255.255.255.255]:9", "[::ffff:224.0.0.1]:9"] {
        assert_eq!(errno(TcpStream::connect(nowhere).await), libc::ENETUNREACH, "{nowhere}");
    }
    assert_eq!(errno(TcpStream::connect("[::ffff:127.0.0.1]:0").await), libc::ECONNREFUSED);
}

#[tokio::test]
async fn sockets_of_ipv6() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = at("::ffff:127.0.0.1", listener.local_addr().unwrap().port());

    let socket = TcpSocket::new_v6().unwrap();
    socket.bind(addr("[::ffff:127.0.0.2]:0")).unwrap();
    let bound = socket.local_addr().unwrap();
    assert_eq!(bound.ip(), addr("[::ffff:127.0.0.2]:0").ip());
    assert!(bound.port() != 0);
    assert_eq!(errno(socket.bind(addr("[::ffff:127.0.0.2]:0"))), libc::EINVAL);
    let client = socket.connect(server).await.unwrap();
    assert_eq!((client.local_addr().unwrap(), client.peer_addr().unwrap()), (bound, server));
    assert_eq!(listener.accept().await.unwrap().1, at("127.0.0.2", bound.port()));

    // Bound to any address, it is of either family.
    let socket = TcpSocket::new_v6().unwrap();
    socket.bind(addr("[::]:0")).unwrap();
    let bound = socket.local_addr().unwrap();
    let client = socket.connect(server).await.unwrap();
    assert_eq!(client.local_addr().unwrap(), at("::ffff:127.0.0.1", bound.port()));

    let socket = TcpSocket::new_v6().unwrap();
    socket.bind(addr("[::ffff:127.0.0.1]:0")).unwrap();
    let bound = socket.local_addr().unwrap();
    let listener = socket.listen(1).unwrap();
    assert_eq!(listener.local_addr().unwrap(), bound);
    TcpStream::connect(at("127.0.0.1", bound.port())).await.unwrap();
}

#[tokio::test]
async fn sockets_of_ipv4_take_no_mapped_address() {
    let socket = TcpSocket::new_v4().unwrap();
    assert_eq!(errno(socket.bind(addr("[::ffff:127.0.0.1]:0"))), libc::EAFNOSUPPORT);
    assert_eq!(errno(socket.connect(addr("[::ffff:127.0.0.1]:9")).await), libc::EAFNOSUPPORT);
}

#[tokio::test]
async fn a_local_address_of_the_other_family() {
    let from = |local: &str| {
        let socket = TcpSocket::new_v6().unwrap();
        socket.bind(addr(local)).unwrap();
        socket
    };
    for local in ["[::ffff:127.0.0.1]:0", "[::ffff:0.0.0.0]:0"] {
        assert_eq!(errno(from(local).connect(addr("[::1]:9")).await), libc::EAFNOSUPPORT, "{local}");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = from(local).connect(at("::", port)).await.unwrap();
        assert_eq!(client.peer_addr().unwrap(), at("::ffff:127.0.0.1", port));
    }
    assert_eq!(errno(from("[::1]:0").connect(addr("[::ffff:127.0.0.1]:9")).await), libc::ENETUNREACH);
}

#[tokio::test]
async fn mapped_addresses_as_text() {
    let listener = TcpListener::bind(("::ffff:127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    TcpStream::connect(format!("[::ffff:127.0.0.1]:{port}")).await.unwrap();
    TcpStream::connect(format!("[::ffff:7f00:1]:{port}")).await.unwrap();
    TcpStream::connect((String::from("::ffff:127.0.0.1"), port)).await.unwrap();
    let found: Vec<_> = lookup_host("[::ffff:127.0.0.1]:7").await.unwrap().collect();
    assert_eq!(found, [addr("[::ffff:127.0.0.1]:7")]);
}
