//! A TCP proxy, which connects within the tasks that it spawns.

use std::io;

use ropeway::net::{TcpListener, TcpStream};
use ropeway_sim::{Link, Net};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};

use super::{MS, body, clean, troubled};

async fn proxy(to: &'static str) -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:3128").await?;
    loop {
        let (mut inbound, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut outbound = TcpStream::connect(to).await?;
            copy_bidirectional(&mut inbound, &mut outbound).await
        });
    }
}

async fn echo() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:7").await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await?;
            writer.shutdown().await
        });
    }
}

/// Sends `len` bytes through the proxy, and reads them back until the end.
async fn there_and_back(len: usize) -> io::Result<()> {
    let (mut reader, mut writer) = TcpStream::connect("proxy:3128").await?.into_split();
    let sent = body(len);
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        writer.write_all(&sent).await?;
        writer.shutdown().await
    });
    let mut received = Vec::new();
    reader.read_to_end(&mut received).await?;
    writing.await.unwrap()?;
    assert!(received == expected, "{} of {len} bytes", received.len());
    Ok(())
}

fn start(net: &Net) {
    net.add_host("server").build().spawn(echo());
    net.add_host("proxy").build().spawn(proxy("server:7"));
}

#[tokio::test(start_paused = true)]
async fn a_half_close_goes_through() {
    for net in [clean, troubled] {
        let net = net();
        start(&net);
        net.add_host("client").build().run(there_and_back(100_000)).await.unwrap();
        assert_eq!(net.host("proxy").stack().counters().active_opens, 1);
        drop(net);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn many_clients_over_a_slow_and_lossy_uplink() {
    let net = clean();
    start(&net);
    net.host("proxy").link().update(|pipe| *pipe = Link::lossy_wifi().forth);
    let clients: Vec<_> = (0..10)
        .map(|number| net.add_host(&format!("client{number}")).build().spawn(there_and_back(20_000 + number)))
        .collect();
    for client in clients {
        client.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_behind_a_partition_that_heals() {
    let net = clean();
    start(&net);
    let client = net.add_host("client").build().spawn(there_and_back(3_000_000));
    tokio::time::sleep(MS(300)).await;
    net.partition([&net.host("server")], [&net.host("proxy")]);
    tokio::time::sleep(MS(5_000)).await;
    assert!(!client.is_finished());
    net.heal();
    client.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_proxy_whose_server_is_gone_lets_its_clients_go() {
    let net = clean();
    net.add_host("server").build(); // where nobody listens
    net.add_host("proxy").build().spawn(proxy("server:7"));
    let start = tokio::time::Instant::now();
    let ended = net.add_host("client").build().run(there_and_back(10)).await;
    // The proxy drops the stream with ten bytes unread: the client learns that by a reset, or by an end.
    assert!(ended.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset));
    assert!(start.elapsed() < MS(200), "{:?}", start.elapsed());
}
