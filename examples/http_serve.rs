//! Serves a web page on ropeway's TCP, for curl, a browser, or whatever else runs on the kernel's.
//!
//! Without arguments it makes a TUN device in a network namespace of this process, so that nothing on the
//! machine changes, and prints what to type. `--help` tells the rest.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::HumanBytes;
use ropeway::device::memory::{self, MemoryDevice};
use ropeway::net::{TcpListener, TcpStream};
use ropeway::{IpCidr, Stack, StackConfig};
use ropeway_examples::capture::Capture;
use ropeway_examples::namespace::Namespace;
use ropeway_examples::site::Site;
use ropeway_examples::{link, namespace, report, say};
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener as KernelListener;
use tokio::time::sleep;

#[derive(Parser)]
#[command(version, about = "Serve a web page on ropeway's TCP, until Ctrl-C")]
struct Options {
    /// The TUN device to use, made by hand as docs/TUN.md shows. Without it, one in a namespace of our own
    #[arg(long, value_name = "NAME", requires = "address")]
    tun: Option<String>,
    /// Our address on it, such as 10.9.0.2/24
    #[arg(long, value_name = "ADDRESS/PREFIX", requires = "tun")]
    address: Option<IpCidr>,
    /// The kernel's address on it. Needed only to make a device that is not there
    #[arg(long, value_name = "ADDRESS", requires = "tun")]
    via: Option<IpAddr>,
    /// The port to serve on
    #[arg(long, default_value_t = link::PORT)]
    port: u16,
    /// Write all packets to a file that Wireshark opens
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// How much memory connections may take together, such as 50M. By default a quarter of the machine's
    #[arg(long, value_name = "SIZE", value_parser = report::parse_size)]
    memory: Option<u64>,
    /// Tell every so many seconds how much memory they take, what for, and what was done about it
    #[arg(long, value_name = "SECONDS", value_parser = report::seconds())]
    memory_report: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    // First of all: an ordinary user gets the rights only while the process has a single thread.
    let place = options.tun.is_none().then(namespace::enter);
    report::exit_code("http_serve", run(options, place))
}

#[tokio::main(flavor = "current_thread")]
async fn run(options: Options, place: Option<Result<Namespace, String>>) -> Result<(), Box<dyn Error>> {
    let capture = Capture::create(options.pcap.as_deref())?;
    let (file, own) = (capture.clone(), options.address.map_or(link::OURS, |own| own.address()));
    let record = move |time, packet: &[u8]| file.write(time, packet);
    let mut config = StackConfig::default();
    config.memory_budget = options.memory.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    let (stack, reach) = match (place, &options.tun, options.address) {
        (None, Some(tun), Some(address)) => {
            let device = link::attach_or_make(tun, address, options.via)?;
            (link::stack_with(config, device, address, record)?, Reach::Directly)
        }
        (Some(place), ..) => {
            let device =
                place.and_then(|place| Ok((link::tun(&place).map_err(|error| error.to_string())?, place)));
            match device {
                Ok((device, place)) => {
                    (link::stack_with(config, device, link::own_address(), record)?, Reach::From(place))
                }
                Err(reason) => {
                    say!("No TUN device ({reason}): a relay on the kernel's 127.0.0.1 stands in for it");
                    let (ours, theirs) = memory::pair(1500);
                    (link::stack_with(config, ours, link::own_address(), record)?, Reach::Through(theirs))
                }
            }
        }
        _ => return Err("--tun and --address go together".into()),
    };

    let listener = TcpListener::bind_on(&stack, (own, options.port)).await?;
    // Port 0 has become a port that is free.
    let own = listener.local_addr()?;
    let command = match reach {
        Reach::Directly => format!("curl http://{own}/"),
        Reach::From(place) => place.command_line(&format!("curl http://{own}/")),
        Reach::Through(memory) => format!("curl http://{}/", relay(memory, own).await?),
    };
    say!(
        "ropeway serves on {own}. In another terminal, type\n\n    {command}\n\nor fetch /bytes/N from there. Ctrl-C ends it."
    );
    if let Some(seconds) = options.memory_report {
        tokio::spawn(report_memory(stack.clone(), Duration::from_secs(seconds)));
    }
    tokio::select! {
        result = serve(listener) => result?,
        result = tokio::signal::ctrl_c() => result?,
    }
    say!();
    capture.finish()?;
    Ok(())
}

/// How whoever types the command gets to the server.
enum Reach {
    Directly,
    /// In the namespace of this process.
    From(Namespace),
    /// By a relay at the other end of this memory.
    Through(MemoryDevice),
}

/// Hands every connection to hyper, as one does with those of Tokio's listener.
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

/// Tells of the stack's memory once each `period`.
async fn report_memory(stack: Stack, period: Duration) {
    loop {
        sleep(period).await;
        let (memory, sizes, counters) = (stack.memory(), stack.sizes(), stack.counters());
        let size = |bytes: usize| HumanBytes(bytes as u64);
        say!("memory: {} of {}", size(memory.total()), size(memory.budget));
        say!(
            "    to send {}, unread {}, beyond gaps {}, half-open {}, TIME-WAIT {}, of the device {}",
            size(memory.send),
            size(memory.receive),
            size(memory.reassembly),
            size(memory.half_open),
            size(memory.time_wait),
            size(memory.slabs),
        );
        say!(
            "    records {}, of {} connections, {} of them orphans",
            size(memory.records),
            sizes.connections,
            sizes.orphans
        );
        say!(
            "    done about it: {} windows closed, {} dropped beyond gaps, {} orphans reset, {} connections refused, {} segments dropped",
            counters.windows_closed,
            size(usize::try_from(counters.bytes_reneged).unwrap_or(usize::MAX)),
            counters.orphans_reset,
            counters.opens_refused,
            counters.promised_dropped,
        );
    }
}

/// Without a TUN device: passes what reaches a port of the kernel's on to `server`, by a stack of ropeway's and
/// the memory between that and the server's. Gives the kernel's port.
async fn relay(memory: MemoryDevice, server: SocketAddr) -> io::Result<SocketAddr> {
    let stack = Stack::builder().address(link::KERNEL.into()).device(memory).build()?;
    let listener = match KernelListener::bind((Ipv4Addr::LOCALHOST, server.port())).await {
        Ok(listener) => listener,
        Err(_) => KernelListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
    };
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut outside, _)) = listener.accept().await {
            let stack = stack.clone();
            tokio::spawn(async move {
                let mut inside = TcpStream::connect_on(&stack, server).await?;
                copy_bidirectional(&mut outside, &mut inside).await
            });
        }
    });
    Ok(address)
}
