//! A device that takes nothing: time goes on, and so does the loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use common::{Mode, Net, SERVER, builder, kind, pattern, within};
use ropeway::Stack;
use ropeway::device::channel::{ChannelDevice, PacketChannel, channel_with_capacity};
use ropeway::net::{TcpListener, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SOON: Duration = Duration::from_secs(20);

/// A stack whose packets nobody takes: the device has room for one.
fn behind_a_full_channel() -> (Stack, PacketChannel) {
    let (device, channel): (ChannelDevice, _) = channel_with_capacity(1500, 1);
    (builder(1).device(device).build().unwrap(), channel)
}

#[tokio::test(start_paused = true)]
async fn ten_connects_behind_a_full_device_are_given_up_in_time() {
    let (stack, _channel) = behind_a_full_channel();
    let start = tokio::time::Instant::now();
    let connects: Vec<_> = (0..10)
        .map(|_| {
            let stack = stack.clone();
            tokio::spawn(async move { TcpStream::connect_on(&stack, SERVER).await.map(drop) })
        })
        .collect();
    for connect in connects {
        assert_eq!(kind(within(Duration::from_secs(3600), connect).await.unwrap()), ErrorKind::TimedOut);
    }
    assert_eq!(start.elapsed().as_secs(), 247);
}

#[tokio::test(start_paused = true)]
async fn twenty_user_timeouts_behind_a_blocked_device_pass_and_the_loopback_goes_on() {
    let net = Net::with(|config| config.socket.send_buffer = 1 << 20, 1024);
    let listener = net.listen().await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let (client, accepted) = tokio::join!(TcpStream::connect_on(&net.left, SERVER), listener.accept());
        let client = client.unwrap();
        client.set_tcp_user_timeout(Some(Duration::from_secs(30))).unwrap();
        streams.push((client, accepted.unwrap()));
    }
    let local = TcpListener::bind_on(&net.left, "127.0.0.1:80").await.unwrap();
    net.trouble.set(Mode::Blocked);
    let start = tokio::time::Instant::now();
    for (client, _) in &mut streams {
        client.write_all(&pattern(100_000)).await.unwrap();
    }
    let (one, other) = tokio::join!(TcpStream::connect_on(&net.left, "127.0.0.1:80"), local.accept());
    let (mut one, mut other) = (one.unwrap(), other.unwrap().0);
    let echo = tokio::spawn(async move {
        let mut buf = vec![0; 2_000_000];
        other.read_exact(&mut buf).await.map(|_| buf)
    });
    within(SOON, one.write_all(&pattern(2_000_000))).await.unwrap();
    assert_eq!(within(SOON, echo).await.unwrap().unwrap(), pattern(2_000_000));
    for (mut client, _) in streams {
        let failed = within(Duration::from_secs(3600), client.read(&mut [0])).await;
        assert_eq!(kind(failed), ErrorKind::TimedOut);
    }
    assert_eq!(start.elapsed().as_secs(), 30);
}
