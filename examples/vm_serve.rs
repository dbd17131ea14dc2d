//! Serves a web page to a virtual machine, or to whatever else speaks Ethernet on a Unix socket or behind a TAP device: it gets an
//! address by DHCP or router advertisements, and fetches the page from `http://10.0.2.2/` or `http://[fd00::2]/`.
//!
//! `docs/ETHERNET.md` has the commands for QEMU, libkrun and vfkit. `--help` tells the rest.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ropeway::Stack;
use ropeway::net::TcpListener;
use ropeway_ethernet::{
    DatagramLink, DhcpConfig, EthernetConfig, EthernetDevice, Link, MacAddr, RouterConfig, StreamLink,
};
use ropeway_examples::site::Site;
use ropeway_examples::{report, say};

/// Our end of the link.
const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const OURS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const MAC: MacAddr = MacAddr::new([0x52, 0x55, 10, 0, 2, 2]);
const POOL: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 2, 15), Ipv4Addr::new(10, 0, 2, 30)];

#[derive(Parser)]
#[command(version, about = "Serve a web page to a virtual machine, until Ctrl-C")]
struct Options {
    #[command(flatten)]
    link: Choice,
    /// The longest packet, in bytes
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u16).range(1280..=65_520))]
    mtu: u16,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Choice {
    /// A Unix stream socket to listen on, with QEMU's framing (`-netdev stream`, libkrun's unixstream)
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// A Unix datagram socket to listen on, as for vfkit and libkrun's unixgram
    #[arg(long, value_name = "PATH")]
    datagram: Option<PathBuf>,
    /// A TAP device
    #[arg(long, value_name = "NAME")]
    tap: Option<String>,
}

impl Choice {
    fn open(&self) -> io::Result<Box<dyn Link>> {
        match self {
            Self { socket: Some(path), .. } => Ok(Box::new(StreamLink::listen(path)?)),
            Self { datagram: Some(path), .. } => Ok(Box::new(DatagramLink::listen(path)?)),
            #[cfg(target_os = "linux")]
            Self { tap: Some(name), .. } => Ok(Box::new(ropeway_ethernet::TapLink::open(name)?)),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

fn main() -> ExitCode {
    report::exit_code("vm_serve", run(&Options::parse()))
}

#[tokio::main(flavor = "current_thread")]
async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let addresses = [(OURS.into(), 24), (OURS_V6.into(), 64)];
    let addresses = addresses.map(|(address, prefix)| ropeway::IpCidr::new(address, prefix));
    let [first, last] = POOL;
    let mut config = EthernetConfig::new(MAC)
        .mtu(options.mtu)
        .dhcp(DhcpConfig::new(first..=last))
        .advertise(RouterConfig::new());
    let mut builder = Stack::builder();
    for address in addresses {
        config = config.address(address);
        builder = builder.address(address);
    }
    let device = EthernetDevice::new(options.link.open()?, config);
    let counters = device.counters();
    let link_local = device.link_local();
    let stack = builder.address(ropeway::IpCidr::new(link_local.into(), 64)).device(device).build()?;
    say!("ropeway serves http://{OURS}/ and http://[{OURS_V6}]/ to whoever is on the link. Ctrl-C ends it.");
    let v4 = TcpListener::bind_on(&stack, (OURS, 80)).await?;
    let v6 = TcpListener::bind_on(&stack, (OURS_V6, 80)).await?;
    tokio::select! {
        result = serve(v4) => result?,
        result = serve(v6) => result?,
        result = tokio::signal::ctrl_c() => result?,
    }
    say!("{:#?}", counters.read());
    Ok(())
}

/// Hands every connection to hyper.
async fn serve(listener: TcpListener) -> io::Result<()> {
    let site = Site::default();
    loop {
        let (stream, peer) = listener.accept().await?;
        say!("{peer} is connected");
        let site = site.clone();
        tokio::spawn(async move {
            match site.serve(stream).await {
                Ok(()) => say!("{peer} is done"),
                Err(error) => say!("{peer} is gone: {error}"),
            }
        });
    }
}
