//! Real guests on a link of Ethernet frames: the kernel behind a TAP device, with its own ARP and neighbor discovery, and DHCP
//! clients that know nothing of ropeway.

#![cfg(target_os = "linux")]

use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use ropeway::Stack;
use ropeway::net::{TcpListener, TcpStream};
use ropeway_ethernet::{
    DhcpConfig, EthernetConfig, EthernetCountersHandle, EthernetDevice, RouterConfig, TapLink,
};
use ropeway_tests::programs::{ip, spawn};
use ropeway_tests::{http, namespace};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener as KernelListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const TAP: &str = "guest0";
/// What BusyBox's client runs at each event: the kernel gets what was leased.
const SCRIPT: &str = "#!/bin/sh
[ \"$1\" = bound ] || [ \"$1\" = renew ] || exit 0
ip address replace $ip/$mask dev $interface
ip link set $interface mtu $mtu
ip route replace default via $router dev $interface
echo \"leased $ip/$mask router $router dns $dns mtu $mtu lease $lease\"
";

/// The world behind the device: it answers pings, and serves pages.
async fn world() -> (Stack, EthernetCountersHandle, JoinHandle<()>) {
    let link = TapLink::open(TAP).unwrap();
    let pool = Ipv4Addr::new(10, 0, 2, 15)..=Ipv4Addr::new(10, 0, 2, 30);
    let config = EthernetConfig::new("52:55:0a:00:02:02".parse().unwrap())
        .address("10.0.2.2/24".parse().unwrap())
        .address("fd00::2/64".parse().unwrap())
        .mtu(1400)
        .dhcp(DhcpConfig::new(pool).dns(Ipv4Addr::new(10, 0, 2, 3)))
        .advertise(RouterConfig::new().dns("fd00::3".parse().unwrap()));
    let device = EthernetDevice::new(link, config);
    let counters = device.counters();
    let link_local = ropeway::IpCidr::new(device.link_local().into(), 64);
    let addresses = ["10.0.2.2/24", "fd00::2/64"].map(|text| text.parse().unwrap());
    let builder = addresses.into_iter().fold(Stack::builder(), |builder, address| builder.address(address));
    let stack = builder.address(link_local).device(device).build().unwrap();
    let listener = TcpListener::bind_on(&stack, "[::]:80").await.unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(http::serve(stream));
        }
    });
    (stack, counters, serving)
}

/// Runs a program to its end, which has to be a good one. What it printed.
async fn run(program: &str, arguments: &str) -> String {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let child = spawn(program, &arguments);
    let output = timeout(Duration::from_secs(60), child.wait_with_output()).await.expect("in time").unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {printed}");
    printed
}

/// Waits for something that the kernel does by itself.
async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..200 {
        if let Some(found) = look() {
            return found;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}: not within 10 s");
}

/// The kernel's own address of the link, made from a router advertisement.
fn autoconfigured() -> Option<String> {
    let addresses = ip(&format!("-6 -o address show dev {TAP} scope global -tentative"));
    let address = addresses.split_whitespace().find(|word| word.starts_with("fd00:"))?;
    Some(address.trim_end_matches("/64").to_owned())
}

async fn lease_with_busybox() -> String {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    let mut file = std::fs::File::create(&script).unwrap();
    file.write_all(SCRIPT.as_bytes()).unwrap();
    file.set_permissions(PermissionsExt::from_mode(0o755)).unwrap();
    drop(file);
    run("udhcpc", &format!("-i {TAP} -f -n -q -s {}", script.display())).await
}

#[test]
fn the_kernel_gets_addresses_and_fetches_pages() {
    namespace::run_with(&["udhcpc", "curl", "ping", "ip"], async || {
        let (_stack, counters, _serving) = world().await;
        ip(&format!("link set {TAP} up"));
        let said = lease_with_busybox().await;
        let expected = "leased 10.0.2.15/24 router 10.0.2.2 dns 10.0.2.3 mtu 1400 lease 3600";
        assert!(said.contains(expected), "{said}");
        let own = until("an address by router advertisement", autoconfigured).await;
        let route = ip(&format!("-6 route show default dev {TAP}"));
        assert!(route.contains("via fe80::5055:aff:fe00:202 proto ra"), "{route}");
        run("ping", "-c 3 -i 0.2 -W 5 10.0.2.2").await;
        run("ping", "-c 3 -i 0.2 -W 5 fd00::2").await;
        run("ping", &format!("-c 3 -i 0.2 -W 5 fe80::5055:aff:fe00:202%{TAP}")).await;
        // Fragments, both ways.
        run("ping", "-c 2 -i 0.2 -W 5 -s 4000 10.0.2.2").await;
        for host in ["10.0.2.2", "[fd00::2]"] {
            let size = 3_000_000;
            let address = format!("http://{host}/{size}");
            let arguments = format!("-sS --max-time 60 -o /dev/null -w %{{size_download}} {address}");
            assert_eq!(run("curl", &arguments).await, size.to_string());
        }
        let neighbors = ip(&format!("neighbor show dev {TAP}"));
        for address in ["10.0.2.2", "fe80::5055:aff:fe00:202"] {
            let known = format!("{address} lladdr 52:55:0a:00:02:02");
            assert!(neighbors.contains(&known), "{neighbors}");
        }
        let counters = counters.read();
        assert_eq!(
            (counters.dhcp_leases, counters.unresolved, counters.bad_ndp, counters.bad_arp),
            (1, 0, 0, 0)
        );
        assert!(!own.is_empty());
    });
}

/// The other direction: we ask who the kernel is, over both families.
#[test]
fn we_connect_to_the_kernel() {
    namespace::run_with(&["udhcpc", "ip"], async || {
        let (stack, counters, _serving) = world().await;
        ip(&format!("link set {TAP} up"));
        lease_with_busybox().await;
        let own = until("an address by router advertisement", autoconfigured).await;
        for address in ["10.0.2.15".to_owned(), own] {
            let listener = KernelListener::bind((address.as_str(), 0)).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let serve = async { http::serve(listener.accept().await.unwrap().0).await };
            let fetch = async {
                let address: std::net::IpAddr = address.parse().unwrap();
                let mut stream = TcpStream::connect_on(&stack, (address, port)).await.unwrap();
                http::request(&mut stream, 2_000_000).await;
                let mut body = Vec::new();
                stream.read_to_end(&mut body).await.unwrap();
                body.len()
            };
            let (_, len) =
                timeout(Duration::from_secs(60), async { tokio::join!(serve, fetch) }).await.unwrap();
            assert_eq!(len, 2_000_000);
        }
        assert_eq!(counters.read().unresolved, 0);
    });
}

/// Another DHCP client, which checks that its address is free and tells its own name.
#[test]
fn another_client_leases_an_address() {
    namespace::run_with(&["dhcpcd", "ip"], async || {
        let (_stack, counters, _serving) = world().await;
        ip(&format!("link set {TAP} up"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        // It writes below these folders.
        let mounts = format!("mount -t tmpfs none /var/lib/dhcpcd; mount -t tmpfs none /run; cd {path}");
        let client =
            format!("dhcpcd -4 -1 -B -t 20 -C resolv.conf -C ntp.conf -C hostname -c /bin/true {TAP}");
        let script = format!("{mounts}; exec {client}");
        let status = Command::new("unshare").args(["--mount", "sh", "-c", &script]).spawn().unwrap();
        let mut status = status;
        let ended = until("the client ends", || status.try_wait().unwrap()).await;
        assert!(ended.success());
        let addresses = ip(&format!("-4 -o address show dev {TAP}"));
        assert!(addresses.contains("10.0.2.15/24"), "{addresses}");
        assert_eq!((counters.read().dhcp_leases, counters.read().bad_dhcp), (1, 0));
    });
}

/// A guest that starts again with another hardware address.
#[test]
fn a_guest_that_comes_back_as_another_station_is_found_again() {
    namespace::run_with(&["ping", "ip"], async || {
        let (stack, counters, _serving) = world().await;
        ip(&format!("link set {TAP} address 02:00:00:00:00:01 up"));
        ip(&format!("address add 10.0.2.99/24 dev {TAP}"));
        run("ping", "-c 1 -W 5 10.0.2.2").await;
        let connect = async |port| {
            let listener = KernelListener::bind(("10.0.2.99", port)).await.unwrap();
            let connected = TcpStream::connect_on(&stack, ("10.0.2.99", port));
            timeout(Duration::from_secs(30), connected).await.expect("in time").unwrap();
            drop(listener);
        };
        connect(7001).await;
        ip(&format!("link set {TAP} down"));
        ip(&format!("link set {TAP} address 02:00:00:00:00:02 up"));
        // The old station is asked first, and is silent: until then nothing is taken from the new one.
        run("ping", "-c 8 -W 5 10.0.2.2").await;
        connect(7002).await;
        let counters = counters.read();
        assert!(counters.neighbor_conflicts >= 1 && counters.stolen_sources >= 1, "{counters:?}");
    });
}
