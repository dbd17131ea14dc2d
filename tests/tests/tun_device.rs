//! The TUN device alone, without a stack behind it: what it makes, what it moves, how it ends.

#![cfg(target_os = "linux")]

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use ropeway::device::tun::{TunBuilder, TunDevice, TunError};
use ropeway::device::{Device, Received, RxChecksum, Transmit};
use ropeway_core::packet::{Protocol, checksum};
use ropeway_tests::namespace::{self, LinkState};
use ropeway_tests::programs::ip;
use tokio::net::UdpSocket;
use tokio::time::timeout;

fn device() -> TunDevice {
    builder().build().unwrap()
}

fn builder() -> TunBuilder {
    let builder = TunDevice::builder().name("rope0").up();
    builder.address("10.9.0.1/24".parse().unwrap()).address("fd09::1/64".parse().unwrap())
}

async fn receive(device: &mut TunDevice, max: usize) -> io::Result<Vec<Received>> {
    let mut batch = Vec::new();
    let received = poll_fn(|cx| device.poll_recv(cx, &mut batch, max));
    timeout(Duration::from_secs(5), received).await.expect("packets, or an error")?;
    Ok(batch)
}

async fn send(device: &mut TunDevice, packets: Vec<Bytes>) -> io::Result<()> {
    let mut queue: VecDeque<_> = packets.into_iter().map(Transmit::whole).collect();
    let sent = poll_fn(|cx| device.poll_send(cx, &mut queue));
    timeout(Duration::from_secs(5), sent).await.expect("the device takes packets")?;
    assert!(queue.is_empty());
    Ok(())
}

fn tun_error(error: &io::Error) -> &TunError {
    error.get_ref().and_then(|inner| inner.downcast_ref()).expect("a TunError")
}

/// Tries until it succeeds: a program that another test starts at this moment has our open files until it runs.
fn eventually<T>(what: &str, attempt: impl Fn() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(result) = attempt() {
            return result;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}: not within 5 s");
}

/// An UDP datagram as it came over IPv4 or IPv6, with its two ends exchanged: what an echo server answers.
fn echo(packet: &[u8]) -> Bytes {
    let mut answer = packet.to_vec();
    let (addresses, ports) = match packet[0] >> 4 {
        4 => (12..20, 20..24),
        6 => (8..40, 40..44),
        version => panic!("IP version {version}"),
    };
    for range in [addresses, ports] {
        let half = range.len() / 2;
        answer[range].rotate_left(half);
    }
    answer.into()
}

#[test]
fn packets_cross_in_both_directions_over_both_families() {
    packets_cross(builder());
    packets_cross(builder().offload(false));
    for time in [Duration::MAX, Duration::from_nanos(1)] {
        packets_cross(builder().busy_poll(time));
        packets_cross(builder().busy_poll(time).offload(false));
    }
}

fn packets_cross(builder: TunBuilder) {
    namespace::run(async move || {
        let mut device = builder.build().unwrap();
        datagrams_cross(&mut device).await;
    });
}

async fn datagrams_cross(device: &mut TunDevice) {
    for (kernel, ours) in [("10.9.0.1:0", "10.9.0.2:7"), ("[fd09::1]:0", "[fd09::2]:7")] {
        let socket = UdpSocket::bind(kernel).await.unwrap();
        socket.connect(ours).await.unwrap();
        for len in [0, 1, 999, 1400, 1452] {
            let payload = vec![7; len];
            socket.send(&payload).await.unwrap();
            let datagram = receive_datagram(device).await;
            send(device, vec![echo(&datagram.packet)]).await.unwrap();
            let mut buf = [0; 2000];
            let len = timeout(Duration::from_secs(5), socket.recv(&mut buf)).await.unwrap().unwrap();
            assert_eq!(buf[..len], payload);
        }
    }
}

/// The next UDP datagram. The kernel may speak IPv6 on a link that is not ours to configure.
async fn receive_datagram(device: &mut TunDevice) -> Received {
    loop {
        let received = receive(device, 1).await.unwrap().remove(0);
        let protocol = if received.packet[0] >> 4 == 4 { received.packet[9] } else { received.packet[6] };
        if protocol == Protocol::UDP.0 {
            return received;
        }
    }
}

#[test]
fn a_burst_is_read_in_batches_of_at_most_max() {
    namespace::run(async || {
        let mut device = device();
        let socket = UdpSocket::bind("10.9.0.1:0").await.unwrap();
        for n in 0..150_u8 {
            socket.send_to(&[n; 100], "10.9.0.2:7").await.unwrap();
        }
        let mut received = Vec::new();
        for expected in [64, 64, 22] {
            let batch = receive(&mut device, 64).await.unwrap();
            assert_eq!(batch.len(), expected);
            received.extend(batch);
        }
        for (n, packet) in (0_u8..).zip(&received) {
            assert_eq!(packet.packet[28..], [n; 100]);
        }
    });
}

#[test]
fn the_link_is_quiet() {
    namespace::run(async || {
        let mut device = device();
        let mut batch = Vec::new();
        let noise = poll_fn(|cx| device.poll_recv(cx, &mut batch, 64));
        let outcome = timeout(Duration::from_secs(3), noise).await;
        assert!(outcome.is_err(), "the kernel sent on its own account: {batch:02x?}");
    });
}

#[test]
fn settings_are_what_was_asked_for() {
    namespace::run_with(&["ip"], async || {
        let device = TunDevice::builder()
            .name("rope7")
            .mtu(1400)
            .tx_queue_len(777)
            .address("10.9.0.1/24".parse().unwrap())
            .address("10.9.0.9/24".parse().unwrap())
            .address("10.8.0.1/30".parse().unwrap())
            .address("fd09::1/64".parse().unwrap())
            .address("fd08::1/127".parse().unwrap())
            .up()
            .build()
            .unwrap();
        assert_eq!((device.name(), device.mtu(), device.capabilities().mtu), ("rope7", 1400, 1400));
        let link = ip("link show rope7");
        assert!(link.contains("mtu 1400") && link.contains("qlen 777") && link.contains(",UP"), "{link}");
        let addresses = ip("-oneline address show dev rope7");
        for address in ["10.9.0.1/24", "10.9.0.9/24", "10.8.0.1/30", "fd09::1/64", "fd08::1/127"] {
            assert!(addresses.contains(&format!(" {address} ")), "{address} in {addresses}");
        }
        assert!(!addresses.contains("tentative") && !addresses.contains("fe80"), "{addresses}");
        drop(device);
        eventually("the device ends with its owner", || (!ip("link show").contains("rope7")).then_some(()));
    });
}

#[test]
fn without_a_name_the_first_free_number_is_taken() {
    namespace::run_with(&["ip"], async || {
        let first = TunDevice::builder().build().unwrap();
        let second = TunDevice::builder().build().unwrap();
        assert_eq!((first.name(), second.name()), ("rope0", "rope1"));
        assert!(!ip("link show rope0").contains(",UP"), "a link is left down unless asked for");
    });
}

#[test]
fn outside_of_a_runtime_the_error_says_so() {
    let error = TunDevice::builder().build().unwrap_err();
    assert!(matches!(tun_error(&error), TunError::NoRuntime), "{error}");
    let error = TunDevice::attach("rope0").unwrap_err();
    assert!(matches!(tun_error(&error), TunError::NoRuntime), "{error}");
}

#[test]
fn a_deleted_device_ends_a_pending_receive_and_every_later_call() {
    for busy_poll in [Duration::ZERO, Duration::MAX] {
        deletion_is_told(builder().busy_poll(busy_poll));
    }
}

fn deletion_is_told(builder: TunBuilder) {
    namespace::run_with(&["ip"], async move || {
        let mut device = builder.build().unwrap();
        datagrams_cross(&mut device).await;
        let delete = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ip("link delete rope0");
        };
        // Until then the kernel may say something of its own.
        let failure = async {
            loop {
                if let Err(error) = receive(&mut device, 64).await {
                    break error;
                }
            }
        };
        let (failure, ()) = tokio::join!(failure, delete);
        let told = |error: io::Error| {
            assert!(matches!(tun_error(&error), TunError::Deleted { .. }), "{error}");
            assert_eq!(error.to_string(), "the TUN device rope0 was deleted");
        };
        told(failure);
        told(receive(&mut device, 64).await.unwrap_err());
        told(send(&mut device, vec![Bytes::from_static(&[0x45; 40])]).await.unwrap_err());
    });
}

#[test]
fn a_link_that_is_down_loses_packets_and_nothing_else() {
    namespace::run(async || {
        let mut device = device();
        let counters = device.counters();
        let socket = UdpSocket::bind("10.9.0.1:0").await.unwrap();
        socket.connect("10.9.0.2:7").await.unwrap();
        socket.send(b"before").await.unwrap();
        let packet = receive(&mut device, 1).await.unwrap().remove(0).packet;

        namespace::set_link(c"rope0", LinkState::Down).unwrap();
        send(&mut device, vec![echo(&packet); 3]).await.unwrap();
        assert_eq!(counters.link_down(), 3);

        namespace::set_link(c"rope0", LinkState::Up).unwrap();
        send(&mut device, vec![echo(&packet)]).await.unwrap();
        let mut buf = [0; 10];
        let len = timeout(Duration::from_secs(5), socket.recv(&mut buf)).await.unwrap().unwrap();
        assert_eq!(&buf[..len], b"before");
        assert_eq!((counters.link_down(), counters.refused()), (3, 0));
    });
}

/// What comes faster than it is read is dropped by the kernel, which says how much.
#[test]
fn a_queue_that_overflows_is_told_of() {
    namespace::run(async || {
        let address = "10.9.0.1/24".parse().unwrap();
        let builder = TunDevice::builder().name("rope0").address(address).tx_queue_len(10).up();
        let mut device = builder.build().unwrap();
        let counters = device.counters();
        // What the kernel says for itself, router solicitations and the like, is read first.
        while timeout(Duration::from_millis(300), receive(&mut device, 64)).await.is_ok() {}
        let before = counters.overflowed();
        let socket = UdpSocket::bind("10.9.0.1:0").await.unwrap();
        socket.connect("10.9.0.2:7").await.unwrap();
        for _ in 0..50 {
            let _dropped = socket.send(b"unread").await;
        }
        let lost = counters.overflowed() - before;
        assert!((35..=50).contains(&lost), "{lost}");
        assert!(receive(&mut device, 64).await.unwrap().len() >= 10 - 3);
        drop(device);
        assert_eq!(counters.overflowed(), 0, "the interface is gone");
    });
}

#[test]
fn what_is_no_packet_is_dropped_and_counted() {
    namespace::run(async || {
        let mut device = device();
        let counters = device.counters();
        let garbage: Vec<Bytes> =
            vec![vec![0xff; 40].into(), Bytes::new(), vec![0; 1].into(), vec![0x75; 70_000].into()];
        send(&mut device, garbage).await.unwrap();
        assert_eq!((counters.refused(), counters.link_down()), (3, 0));
    });
}

#[test]
fn a_large_packet_leaves_in_pieces_and_arrives_whole() {
    namespace::run(async || {
        let mut device = TunDevice::builder()
            .name("rope0")
            .mtu(65535)
            .address("10.9.0.1/24".parse().unwrap())
            .up()
            .build()
            .unwrap();
        let socket = UdpSocket::bind("10.9.0.1:0").await.unwrap();
        socket.connect("10.9.0.2:7").await.unwrap();
        let payload: Vec<u8> = (0..60_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        socket.send(&payload).await.unwrap();
        let packet = echo(&receive(&mut device, 1).await.unwrap()[0].packet);
        let mut transmit = Transmit::whole(packet.slice(..28));
        for part in [28..5_000, 5_000..40_001, 40_001..packet.len()] {
            transmit.payload.push(packet.slice(part));
        }
        let mut queue = VecDeque::from([transmit]);
        poll_fn(|cx| device.poll_send(cx, &mut queue)).await.unwrap();
        let mut buf = vec![0; 70_000];
        let len = timeout(Duration::from_secs(5), socket.recv(&mut buf)).await.unwrap().unwrap();
        assert!(buf[..len] == payload[..]);
    });
}

#[test]
fn an_mtu_that_is_raised_later_costs_one_packet_at_most() {
    namespace::run_with(&["ip"], async || {
        for (offload, lost) in [(true, 0), (false, 1)] {
            let mut device = builder().offload(offload).build().unwrap();
            let counters = device.counters();
            ip("link set rope0 mtu 65535");
            let socket = UdpSocket::bind("10.9.0.1:0").await.unwrap();
            // Two packets of this size do not fit the memory that is there for shorter ones.
            for _ in 0..3 {
                socket.send_to(&[1; 50_000], "10.9.0.2:7").await.unwrap();
            }
            let packets = receive(&mut device, 3).await.unwrap();
            assert!(packets.iter().all(|packet| packet.packet.len() == 50_028));
            assert_eq!((packets.len() as u64, counters.truncated()), (3 - lost, lost));
        }
    });
}

#[test]
fn a_persistent_device_is_attached_to_by_name_and_stays() {
    namespace::run_with(&["ip"], async || {
        let missing = TunDevice::attach("rope5").unwrap_err();
        assert!(matches!(tun_error(&missing), TunError::NotFound { .. }), "{missing}");
        assert!(!ip("link show").contains("rope5"), "trying made no device");
        assert!(matches!(tun_error(&TunDevice::attach("lo").unwrap_err()), TunError::WrongType { .. }));

        ip("tuntap add dev rope5 mode tun");
        ip("link set rope5 mtu 1300 up");
        ip("address add 10.9.0.1/24 dev rope5");
        let taken = TunDevice::builder().name("rope5").build().unwrap_err();
        assert!(matches!(tun_error(&taken), TunError::NameTaken { .. }), "{taken}");
        let mut device = TunDevice::attach("rope5").unwrap();
        assert_eq!(device.mtu(), 1300);
        let busy = TunDevice::attach("rope5").unwrap_err();
        assert!(matches!(tun_error(&busy), TunError::Busy { .. }), "{busy}");
        assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy);

        let socket = UdpSocket::bind("10.9.0.1:0").await.unwrap();
        socket.send_to(b"hello", "10.9.0.2:7").await.unwrap();
        assert_eq!(receive_datagram(&mut device).await.packet[28..], b"hello"[..]);
        drop(device);
        assert!(ip("link show rope5").contains("rope5"), "the device stays");
        drop(eventually("the device is free again", || TunDevice::attach("rope5").ok()));

        ip("tuntap add dev tap5 mode tap");
        assert!(matches!(tun_error(&TunDevice::attach("tap5").unwrap_err()), TunError::WrongType { .. }));
    });
}

#[test]
fn a_persistent_device_is_attached_to_as_root_made_it() {
    namespace::run_with(&["ip"], async || {
        for kind in ["", "vnet_hdr", "multi_queue", "multi_queue vnet_hdr"] {
            ip(format!("tuntap add dev rope6 mode tun {kind}").trim_end());
            ip("link set rope6 up");
            ip("address add 10.9.0.1/24 dev rope6");
            ip("address add fd09::1/64 dev rope6 nodad");
            // Whoever was there before has left it as it was.
            for _ in 0..2 {
                let mut device = eventually("the device is free", || TunDevice::attach("rope6").ok());
                assert_eq!(device.has_offload(), kind.contains("vnet_hdr"), "{kind}");
                // The kernel makes an IPv6 address work in the background, once somebody is attached.
                let works = || ip("-6 route get fd09::1").starts_with("local").then_some(());
                eventually("the address works", works);
                let busy = TunDevice::attach("rope6").unwrap_err();
                assert!(matches!(tun_error(&busy), TunError::Busy { .. }), "{kind}: {busy}");
                datagrams_cross(&mut device).await;
                device.set_offload(true).unwrap();
                let socket = UdpSocket::bind("10.9.0.1:0").await.unwrap();
                socket.send_to(b"a checksum of its own", "10.9.0.2:7").await.unwrap();
                let checksum = receive_datagram(&mut device).await.checksum;
                assert_eq!(checksum == RxChecksum::Verified, device.has_offload(), "{kind}");
            }
            let told = ip("-details link show rope6");
            assert_eq!(told.contains("vnet_hdr on"), kind.contains("vnet_hdr"), "{told}");
            assert_eq!(told.contains("multi_queue"), kind.contains("multi_queue"), "{told}");
            ip("link delete rope6");
        }
    });
}

#[test]
fn the_device_is_the_kernels_interface_for_its_addresses() {
    namespace::run(async || {
        let _device = device();
        for address in ["10.9.0.1", "fd09::1"] {
            let address: IpAddr = address.parse().unwrap();
            drop(UdpSocket::bind((address, 0)).await.unwrap());
        }
        assert!(UdpSocket::bind("10.9.0.2:0").await.is_err(), "our address is not the kernel's");
    });
}

/// Whoever wraps a device, and knows nothing of trains, never sees one.
#[test]
fn trains_and_unfinished_checksums_come_only_to_those_who_ask() {
    namespace::run(async || {
        for (builder, asks) in [(builder(), false), (builder(), true), (builder().offload(false), true)] {
            let mut device = builder.build().unwrap();
            device.set_offload(asks).unwrap();
            let offloads = asks && device.has_offload();
            let socket = UdpSocket::bind("10.9.0.1:0").await.unwrap();
            socket.send_to(b"a checksum of its own", "10.9.0.2:7").await.unwrap();
            let received = receive(&mut device, 1).await.unwrap().remove(0);
            assert_eq!(received.checksum == RxChecksum::Verified, offloads);
            let datagram = &received.packet[20..];
            let (source, destination) = ("10.9.0.1".parse().unwrap(), "10.9.0.2".parse().unwrap());
            assert_eq!(checksum::verify(source, destination, Protocol::UDP, datagram), !offloads);
        }
    });
}
