//! Much data, to and from the kernel.

#![cfg(target_os = "linux")]

use std::num::NonZeroUsize;

use ropeway::device::tun::TunDevice;
use ropeway::net::{TcpListener, TcpStream};
use ropeway_tests::link::{Family, Link};
use ropeway_tests::programs::ip;
use ropeway_tests::{http, over_both_families, pattern, programs};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener as KernelListener, TcpStream as KernelStream};
use tokio::task::JoinSet;

/// 100 MiB
const MUCH: u64 = 100 << 20;

over_both_families! {
    #[needs("curl")]
    curl_fetches_100_mib_from_us
    we_fetch_100_mib_from_the_kernel
    both_directions_at_once
    many_flows_over_several_queues
    #[needs("ip")]
    both_directions_over_a_device_that_root_made
}

async fn curl_fetches_100_mib_from_us(family: Family) {
    let link = Link::new(family);
    let listener = TcpListener::bind_on(&link.stack, link.ours(80)).await.unwrap();
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        http::serve(stream).await
    };
    let mut curl = programs::spawn("curl", &["-sS", "--fail", &format!("http://{}/{MUCH}", link.ours(80))]);
    let mut output = curl.stdout.take().unwrap();
    let (sent, (received, len)) = tokio::join!(serve, pattern::receive(&mut output));
    assert_eq!((sent, len), (received, MUCH));
    assert!(curl.wait().await.unwrap().success());
    assert_eq!(link.lost.refused(), 0);
}

async fn we_fetch_100_mib_from_the_kernel(family: Family) {
    let link = Link::new(family);
    let listener = KernelListener::bind(link.kernel(80)).await.unwrap();
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        http::serve(stream).await
    };
    let fetch = async {
        let mut stream = TcpStream::connect_on(&link.stack, link.kernel(80)).await.unwrap();
        http::request(&mut stream, MUCH).await;
        pattern::receive(&mut stream).await
    };
    let (sent, (received, len)) = tokio::join!(serve, fetch);
    assert_eq!((sent, len), (received, MUCH));
    assert_eq!(link.lost.refused(), 0);
}

async fn both_directions_at_once(family: Family) {
    both_directions(Link::new(family)).await;
}

async fn many_flows_over_several_queues(family: Family) {
    const FLOWS: usize = 12;
    const BYTES: u64 = MUCH / 50;
    let link = Link::with_queues(family, NonZeroUsize::new(3).unwrap());
    let ours = TcpListener::bind_on(&link.stack, link.ours(7)).await.unwrap();
    let kernels = KernelListener::bind(link.kernel(7)).await.unwrap();
    let mut receiving = JoinSet::new();
    let mut sending = JoinSet::new();
    for _ in 0..FLOWS {
        let (out, taken) = tokio::join!(KernelStream::connect(link.ours(7)), ours.accept());
        let (mut out, (mut taken, _)) = (out.unwrap(), taken.unwrap());
        let (opened, met) =
            tokio::join!(TcpStream::connect_on(&link.stack, link.kernel(7)), kernels.accept());
        let (mut opened, (mut met, _)) = (opened.unwrap(), met.unwrap());
        receiving.spawn(async move { pattern::receive(&mut taken).await });
        receiving.spawn(async move { pattern::receive(&mut met).await });
        sending.spawn(async move {
            let sent = pattern::send(&mut out, BYTES).await;
            out.shutdown().await.unwrap();
            sent
        });
        sending.spawn(async move {
            let sent = pattern::send(&mut opened, BYTES).await;
            opened.shutdown().await.unwrap();
            sent
        });
    }
    let (sent, received) = tokio::join!(sending.join_all(), receiving.join_all());
    assert_eq!((sent.len(), received.len()), (2 * FLOWS, 2 * FLOWS));
    assert!(received.iter().all(|(digest, bytes)| *bytes == BYTES && *digest == sent[0]));
    assert_eq!(link.lost.refused(), 0);
}

async fn both_directions_over_a_device_that_root_made(family: Family) {
    ip("tuntap add dev rope0 mode tun multi_queue vnet_hdr");
    ip("link set rope0 txqueuelen 5000 up");
    ip("address add 10.9.0.1/24 dev rope0");
    ip("address add fd09::1/64 dev rope0 nodad");
    let device = TunDevice::attach("rope0").unwrap();
    assert!(device.has_offload());
    let lost = device.counters();
    both_directions(Link::over(device, lost, family, |_| ())).await;
}

async fn both_directions(link: Link) {
    let listener = TcpListener::bind_on(&link.stack, link.ours(7)).await.unwrap();
    let (kernel, ours) = tokio::join!(KernelStream::connect(link.ours(7)), listener.accept());
    let (mut kernel_reader, mut kernel_writer) = kernel.unwrap().into_split();
    let (mut our_reader, mut our_writer) = ours.unwrap().0.into_split();
    let from_kernel = async {
        let sent = pattern::send(&mut kernel_writer, MUCH / 4).await;
        kernel_writer.shutdown().await.unwrap();
        sent
    };
    let from_us = async {
        let sent = pattern::send(&mut our_writer, MUCH / 4).await;
        our_writer.shutdown().await.unwrap();
        sent
    };
    let (at_us, at_kernel) = (pattern::receive(&mut our_reader), pattern::receive(&mut kernel_reader));
    let (kernel_sent, we_sent, we_got, kernel_got) = tokio::join!(from_kernel, from_us, at_us, at_kernel);
    assert_eq!((kernel_sent, MUCH / 4), we_got);
    assert_eq!((we_sent, MUCH / 4), kernel_got);
}
