//! UDP on ropeway: one question and its answer, then a train of datagrams as QUIC sends them. Two stacks stand on one cable in
//! memory, so it needs no device and no rights; with a TUN device in place of the cable it is the same program.

use std::error::Error;
use std::io::{self, IoSliceMut};

use ropeway::device::memory;
use ropeway::net::udp::{Outgoing, RecvMeta};
// use tokio::net::UdpSocket;
use ropeway::net::UdpSocket;
use ropeway::{Stack, packet::EcnCodepoint};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (left, right) = memory::pair(1500);
    let left = Stack::builder().address("10.0.0.1/24".parse()?).device(left).build()?;
    let right = Stack::builder().address("10.0.0.2/24".parse()?).device(right).build()?;

    let server = UdpSocket::bind_on(&right, "10.0.0.2:7").await?;
    let echo = tokio::spawn(async move {
        let mut buf = [0; 1500];
        let (len, peer) = server.recv_from(&mut buf).await?;
        server.send_to(buf.get(..len).unwrap_or_default(), peer).await?;
        io::Result::Ok(server)
    });

    let client = UdpSocket::bind_on(&left, "0.0.0.0:0").await?;
    client.connect("10.0.0.2:7").await?;
    client.send(b"both ends of the rope are ready").await?;
    let mut buf = [0; 1500];
    let len = client.recv(&mut buf).await?;
    println!("{}", String::from_utf8_lossy(buf.get(..len).unwrap_or_default()));

    // Forty datagrams with one call; the receiver is told of each size, mark and destination.
    let server = echo.await??;
    let how = Outgoing { segment_size: Some(1200), ecn: Some(EcnCodepoint::Ect0), ..Outgoing::default() };
    client.send_train(&[7; 48_000], &how).await?;
    let (mut buf, mut meta, mut received) = (vec![0; 65_535], [RecvMeta::default()], 0);
    while received < 40 {
        server.recv_trains(&mut [IoSliceMut::new(&mut buf)], &mut meta).await?;
        let [train] = meta;
        let datagrams = train.len.div_ceil(train.stride);
        println!("{datagrams} datagrams of {} bytes from {} to {}", train.stride, train.remote, train.local);
        received += datagrams;
    }

    // Nobody listens there, and the host says so.
    client.connect("10.0.0.2:9").await?;
    client.send(b"anybody?").await?;
    match client.recv(&mut buf).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => println!("port 9 is closed"),
        other => println!("port 9 said {other:?}"),
    }
    Ok(())
}
