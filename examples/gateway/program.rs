//! The program, where there are namespaces.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::ProgressBar;
use ropeway::{IpCidr, Stack};
use ropeway_ethernet::{
    DatagramLink, DhcpConfig, EthernetConfig, EthernetDevice, MacAddr, RouterConfig, StreamLink,
};
use ropeway_examples::guest::{Guest, Place};
use ropeway_examples::{report, say};
use ropeway_gateway::{DnsSettings, Forward, Gateway, HostSockets, Map, Settings, system_resolvers};

/// The guest's network: the addresses that slirp4netns and QEMU's user network have.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const DNS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const LAST_GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 30);
const PREFIX: u8 = 24;
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x2, 0, 0, 0, 0, 0, 2);
const DNS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x2, 0, 0, 0, 0, 0, 3);
const GUEST_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x2, 0, 0, 0, 0, 0, 0x15);
const PREFIX_V6: u8 = 64;
/// Locally administered.
const MAC: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];

#[derive(Parser)]
#[command(version, about = "A way to the world for a network namespace or a virtual machine, until Ctrl-C")]
struct Options {
    /// The namespace that is the guest: a process in it, or a file such as /run/netns/NAME. Without any, a new one
    #[arg(long, value_name = "PID|PATH", group = "guest")]
    netns: Option<String>,
    /// A TUN device that is there already, as docs/TUN.md shows
    #[arg(long, value_name = "NAME", group = "guest")]
    tun: Option<String>,
    /// A Unix socket to make, for QEMU's -netdev stream
    #[arg(long, value_name = "PATH", group = "guest")]
    socket: Option<PathBuf>,
    /// A Unix datagram socket to make, as libkrun and vfkit have them
    #[arg(long, value_name = "PATH", group = "guest")]
    datagram: Option<PathBuf>,
    /// The MTU of the guest's device
    #[arg(long, default_value_t = 1500)]
    mtu: u16,
    /// Where an address of the guest's leads to: `--map 10.0.2.2=127.0.0.1` shows it the host's own services
    #[arg(long, value_name = "ADDRESS=ADDRESS")]
    map: Vec<Map>,
    /// A resolver to ask. By default, those of /etc/resolv.conf
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = resolver)]
    resolver: Vec<SocketAddr>,
    /// A TCP port of the host that leads to the guest: `8080:80`, or `0.0.0.0:8080:80` for others than this machine
    #[arg(long, value_name = "[ADDRESS:]PORT:PORT", value_parser = ports)]
    tcp: Vec<(SocketAddr, u16)>,
    /// Likewise, a UDP port
    #[arg(long, value_name = "[ADDRESS:]PORT:PORT", value_parser = ports)]
    udp: Vec<(SocketAddr, u16)>,
    /// Refuse new flows beyond so many TCP connections
    #[arg(long, value_name = "NUMBER")]
    max_tcp: Option<usize>,
    /// What the program itself says to a copy of itself: make a device in there, and hand it over
    #[arg(long, hide = true)]
    hand_over: bool,
}

pub(crate) fn main() -> ExitCode {
    let options = Options::parse();
    let place = match &options.netns {
        Some(netns) => Place::There(netns.clone()),
        None => Place::New,
    };
    if options.hand_over {
        // First of all: a process enters a user namespace only while it has a single thread.
        let addresses = [IpCidr::new(GUEST.into(), PREFIX), IpCidr::new(GUEST_V6.into(), PREFIX_V6)];
        let result = ropeway_examples::guest::hand_over(&place, options.mtu, &addresses);
        return report::exit_code("gateway, in the guest's namespace", result.map_err(Into::into));
    }
    report::exit_code("gateway", run(&options, &place))
}

#[tokio::main(flavor = "current_thread")]
async fn run(options: &Options, place: &Place) -> Result<(), Box<dyn Error>> {
    let settings = settings(options)?;
    // The namespace, if we have made one, is there as long as this is.
    let (stack, _guest) = stack(options, place)?;
    let gateway = Gateway::new(stack, settings, HostSockets::new())?;
    let counters = gateway.counters();
    let progress = ProgressBar::new_spinner();
    let told = progress.clone();
    tokio::spawn(async move {
        loop {
            told.set_message(counters().to_string());
            told.tick();
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    });
    let ended = tokio::select! {
        ended = gateway.run() => ended,
        interrupted = tokio::signal::ctrl_c() => interrupted,
    };
    progress.finish_and_clear();
    Ok(ended?)
}

fn settings(options: &Options) -> io::Result<Settings> {
    let mut settings = Settings::default();
    settings.network = vec![IpCidr::new(GATEWAY.into(), PREFIX), IpCidr::new(GATEWAY_V6.into(), PREFIX_V6)];
    settings.maps.clone_from(&options.map);
    let resolvers = match options.resolver.as_slice() {
        [] => system_resolvers().unwrap_or_default(),
        named => named.to_vec(),
    };
    if resolvers.is_empty() {
        say!("No resolver is known (--resolver): the guest gets no names.");
    }
    settings.dns = Some(DnsSettings { at: vec![DNS.into(), DNS_V6.into()], resolvers });
    let to = |port| SocketAddr::new(GUEST.into(), port);
    settings.forwards.extend(options.tcp.iter().map(|(at, port)| Forward::tcp(*at, to(*port))));
    settings.forwards.extend(options.udp.iter().map(|(at, port)| Forward::udp(*at, to(*port))));
    settings.limits.tcp_flows = options.max_tcp.unwrap_or(settings.limits.tcp_flows);
    Ok(settings)
}

/// The gateway's stack on the guest's device; and the guest, if it is there because we are.
fn stack(options: &Options, place: &Place) -> Result<(Stack, Option<Guest>), Box<dyn Error>> {
    let builder = Stack::builder()
        .address(IpCidr::new(GATEWAY.into(), PREFIX))
        .address(IpCidr::new(GATEWAY_V6.into(), PREFIX_V6));
    if let Some(path) = &options.socket {
        let stack =
            builder.device(EthernetDevice::new(StreamLink::listen(path)?, ethernet(options)?)).build()?;
        let path = path.display();
        say!(
            "A machine is connected by\n\n    qemu-system-x86_64 ... -netdev stream,id=n0,server=off,addr.type=unix,addr.path={path} \
             -device virtio-net-pci,netdev=n0\n\nCtrl-C ends it."
        );
        return Ok((stack, None));
    }
    if let Some(path) = &options.datagram {
        let stack =
            builder.device(EthernetDevice::new(DatagramLink::listen(path)?, ethernet(options)?)).build()?;
        say!("A machine is connected by the datagram socket {}. Ctrl-C ends it.", path.display());
        return Ok((stack, None));
    }
    if let Some(name) = &options.tun {
        let stack = builder.device(ropeway::device::tun::TunDevice::attach(name)?).build()?;
        say!("The guest is whoever is behind {name}; its resolver is {DNS}. Ctrl-C ends it.");
        return Ok((stack, None));
    }
    let (device, guest) = Guest::start(place, options.mtu)?;
    let stack = builder.device(device).build()?;
    let command = guest.command_line("curl http://example.com/");
    say!("The guest's resolver is {DNS}. In another terminal, type\n\n    {command}\n\nCtrl-C ends it.");
    Ok((stack, Some(guest)))
}

/// The gateway as a station on the machine's Ethernet, with a DHCP server and router advertisements.
fn ethernet(options: &Options) -> Result<EthernetConfig, Box<dyn Error>> {
    let config = EthernetConfig::new(MacAddr::new(MAC))
        .address(IpCidr::new(GATEWAY.into(), PREFIX))
        .address(IpCidr::new(GATEWAY_V6.into(), PREFIX_V6))
        .proxy(IpCidr::from(IpAddr::from(DNS)))
        .proxy(IpCidr::from(IpAddr::from(DNS_V6)))
        .mtu(options.mtu)
        .dhcp(DhcpConfig::new(GUEST..=LAST_GUEST).dns(DNS))
        .advertise(RouterConfig::new().dns(DNS_V6));
    Ok(config)
}

/// `192.0.2.1`, or with a port.
fn resolver(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse().map(|address: IpAddr| SocketAddr::new(address, 53));
    address.or_else(|_| text.parse()).map_err(|_| format!("write ADDRESS or ADDRESS:PORT, not {text}"))
}

/// `8080:80`, or `127.0.0.1:8080:80`.
fn ports(text: &str) -> Result<(SocketAddr, u16), String> {
    let wrong = || format!("write PORT:PORT or ADDRESS:PORT:PORT, not {text}");
    let (at, to) = text.rsplit_once(':').ok_or_else(wrong)?;
    let to = to.parse().map_err(|_| wrong())?;
    let at = match at.parse::<u16>() {
        Ok(port) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
        Err(_) => at.parse().map_err(|_| wrong())?,
    };
    Ok((at, to))
}
