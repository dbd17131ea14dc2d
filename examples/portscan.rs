//! Scans the ports of a host over ropeway's TCP, half-open: each SYN-ACK is answered with a RST.
//!
//! Without arguments, there are two hosts of our own to scan: the kernel, at the other end of a TUN device in a
//! network namespace of this process, and a second ropeway, which was told what its ports are to say. `--help`
//! tells the rest.

use std::error::Error;
use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use ropeway::device::memory;
use ropeway::net::TcpListener;
use ropeway::packet::Protocol;
use ropeway::scan::{probe_tcp_on, probe_udp_on};
use ropeway::{ConnectionError, IpCidr, PortPolicy, ProbeOutcome, Stack};
use ropeway_examples::link::TunCounters;
use ropeway_examples::namespace::Namespace;
use ropeway_examples::{link, namespace, report, say};
use tokio::net::{TcpListener as KernelListener, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::interval;

#[derive(Parser)]
#[command(version, about = "Ask a host which of its ports are open, closed or filtered")]
struct Options {
    /// The host to scan, over the device of --tun: one of yours, or of somebody who has agreed. Without it, two
    /// hosts of our own are scanned
    host: Option<IpAddr>,
    /// Which of its ports, such as 22,80,8000-8100
    #[arg(
        long,
        value_parser = report::parse_ports,
        value_delimiter = ',',
        default_value = "1-1024",
        requires = "host"
    )]
    ports: Vec<RangeInclusive<u16>>,
    /// UDP ports, not TCP ports
    #[arg(long, requires = "host")]
    udp: bool,
    /// Ask about so many ports a second
    #[arg(long, default_value = "500", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Ask so many times more when there is no answer
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u32).range(..=20))]
    retries: u32,
    /// Wait so many seconds for a port to answer
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = report::seconds())]
    timeout: u64,
    /// The TUN device to use, made by hand as docs/TUN.md shows
    #[arg(long, value_name = "NAME", requires = "host")]
    tun: Option<String>,
    /// Our address on it, such as 10.9.0.2/24
    #[arg(long, value_name = "ADDRESS/PREFIX", requires = "host")]
    address: Option<IpCidr>,
    /// The kernel's address on it. Needed only to make a device that is not there
    #[arg(long, value_name = "ADDRESS", requires = "host")]
    via: Option<IpAddr>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.host {
        Some(host) => scan_host(host, &options),
        // First of all: an ordinary user gets the rights only while the process has a single thread.
        None => demonstrate(namespace::enter(), &options),
    };
    report::exit_code("portscan", result)
}

/// Scans a host that can be reached over a device that was set up by hand.
#[tokio::main(flavor = "current_thread")]
async fn scan_host(host: IpAddr, options: &Options) -> Result<(), Box<dyn Error>> {
    let (Some(tun), Some(own)) = (&options.tun, options.address) else {
        return Err("a host needs --tun NAME and --address ADDRESS/PREFIX: docs/TUN.md shows how to set \
                    them up"
            .into());
    };
    let device = link::attach_or_make(tun, own, options.via)?;
    let lost = device.counters();
    let stack = link::stack(device, own, |_, _| ())?;
    let protocol = if options.udp { Protocol::UDP } else { Protocol::TCP };
    Scan { stack: &stack, lost: Some(&lost), host, protocol, options }.run(&options.ports).await
}

/// Scans two hosts of our own.
#[tokio::main(flavor = "current_thread")]
async fn demonstrate(place: Result<Namespace, String>, options: &Options) -> Result<(), Box<dyn Error>> {
    match place.and_then(|place| link::tun(&place).map_err(|error| error.to_string())) {
        Ok(device) => {
            say!("Linux, at the other end of a TUN device:");
            let _tcp = KernelListener::bind((link::KERNEL, 80)).await?;
            let _udp = UdpSocket::bind((link::KERNEL, 53)).await?;
            let lost = device.counters();
            let stack = link::own_stack(device, |_, _| ())?;
            let scan = Scan {
                stack: &stack,
                lost: Some(&lost),
                host: link::KERNEL,
                protocol: Protocol::TCP,
                options,
            };
            scan.run(&[1..=100]).await?;
            // Linux sends six ICMP errors at once, and then one a second.
            Scan { protocol: Protocol::UDP, ..scan }.run(&[51..=55]).await?;
        }
        Err(reason) => say!("No TUN device ({reason}), so Linux is left out.\n"),
    }
    say!("ropeway, which was told to refuse at ports 21 to 25, prohibit at 26 to 28, and drop at 90 to 99:");
    let (ours, theirs) = memory::pair(1500);
    let host = Stack::builder().address(IpCidr::new(link::KERNEL, 24)).device(theirs).build()?;
    let _listeners = [
        TcpListener::bind_on(&host, (link::KERNEL, 22)).await?,
        TcpListener::bind_on(&host, (link::KERNEL, 80)).await?,
    ];
    for protocol in [Protocol::TCP, Protocol::UDP] {
        host.set_port_policy(protocol, 21..=25, PortPolicy::Refuse)?;
        host.set_port_policy(protocol, 26..=28, PortPolicy::Prohibit)?;
        host.set_port_policy(protocol, 90..=99, PortPolicy::Drop)?;
    }
    let stack = link::own_stack(ours, |_, _| ())?;
    let scan = Scan { stack: &stack, lost: None, host: link::KERNEL, protocol: Protocol::TCP, options };
    scan.run(&[1..=100]).await?;
    Scan { protocol: Protocol::UDP, ..scan }.run(&[1..=100]).await
}

/// What is asked, and how.
#[derive(Clone, Copy)]
struct Scan<'a> {
    stack: &'a Stack,
    /// What the device on the way loses, if there is one that can tell.
    lost: Option<&'a TunCounters>,
    host: IpAddr,
    protocol: Protocol,
    options: &'a Options,
}

/// A port, and what it says.
type Answer = (u16, &'static str);

/// A port that says nothing.
const NO_ANSWER: &str = "filtered (no answer)";
const NO_ANSWER_UDP: &str = "open or filtered (no answer)";

/// Ports that did not answer are asked again, so many times, if answers may have been lost on this side.
const AGAIN: u32 = 4;

impl Scan<'_> {
    /// Asks about all ports, and prints a line for each run of ports that gave the same answer.
    async fn run(&self, ports: &[RangeInclusive<u16>]) -> Result<(), Box<dyn Error>> {
        let mut ports: Vec<u16> = ports.iter().cloned().flatten().collect();
        ports.sort_unstable();
        ports.dedup();
        let started = Instant::now();
        let (mut rate, mut answers, mut silent) = (self.options.rate, Vec::with_capacity(ports.len()), ports);
        for round in 0..=AGAIN {
            let before = self.overflowed();
            let told;
            (silent, told) = self.ask(&silent, rate).await?;
            answers.extend(told);
            let lost = self.overflowed() - before;
            if lost == 0 || silent.is_empty() {
                break;
            }
            // The machine is too busy for that rate: what nobody read was dropped, answers among it.
            say!(
                "  {lost} packets were dropped in the device's queue: it is too short for {rate} ports a second"
            );
            if round == AGAIN {
                say!("  so some of the ports that are called filtered may not be: try a smaller --rate");
                break;
            }
            rate = (rate / 4).max(1);
            say!("  asking {} ports again, {rate} a second", silent.len());
        }
        let silence = if self.protocol == Protocol::UDP { NO_ANSWER_UDP } else { NO_ANSWER };
        answers.extend(silent.into_iter().map(|port| (port, silence)));
        answers.sort_unstable();
        self.print(&answers, started.elapsed());
        Ok(())
    }

    /// Packets that were dropped in the device's queue so far.
    fn overflowed(&self) -> u64 {
        self.lost.map_or(0, TunCounters::overflowed)
    }

    /// Asks about ports, so many a second. Gives those that said nothing, and the answers of the others.
    async fn ask(&self, ports: &[u16], rate: u32) -> Result<(Vec<u16>, Vec<Answer>), Box<dyn Error>> {
        let bar = progress_bar(ports.len());
        let mut turns = interval(Duration::from_secs(1) / rate);
        let mut probes = JoinSet::new();
        let (mut silent, mut answers) = (Vec::new(), Vec::new());
        let mut waiting = ports.iter();
        loop {
            tokio::select! {
                _ = turns.tick(), if waiting.len() > 0 => {
                    let address = SocketAddr::new(self.host, waiting.next().copied().unwrap_or_default());
                    let patience = Duration::from_secs(self.options.timeout);
                    probes.spawn(probe(self.stack.clone(), address, self.protocol, patience, self.options.retries));
                }
                Some(answer) = probes.join_next() => {
                    match answer?? {
                        (port, NO_ANSWER | NO_ANSWER_UDP) => silent.push(port),
                        answer => answers.push(answer),
                    }
                    bar.inc(1);
                }
                else => break,
            }
        }
        bar.finish_and_clear();
        Ok((silent, answers))
    }

    fn print(&self, answers: &[Answer], time: Duration) {
        let name = if self.protocol == Protocol::UDP { "udp" } else { "tcp" };
        for run in answers.chunk_by(|(port, says), (next, also)| port + 1 == *next && says == also) {
            if let (Some((first, says)), Some((last, _))) = (run.first(), run.last()) {
                let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
                say!("  {:<16}{says}", format!("{ports}/{name}"));
            }
        }
        say!("  {} {name} ports of {} in {time:.1?}\n", answers.len(), self.host);
    }
}

/// Asks about one port, and puts the answer into words.
async fn probe(
    stack: Stack,
    address: SocketAddr,
    protocol: Protocol,
    patience: Duration,
    retries: u32,
) -> std::io::Result<Answer> {
    let outcome = match protocol {
        Protocol::UDP => probe_udp_on(&stack, address, b"", patience, retries).await?,
        _ => Some(probe_tcp_on(&stack, address, patience, retries).await?),
    };
    let says = match outcome {
        Some(ProbeOutcome::Open) => "open",
        Some(ProbeOutcome::Closed) => "closed",
        Some(ProbeOutcome::Filtered(ConnectionError::TimedOut)) => NO_ANSWER,
        Some(ProbeOutcome::Filtered(ConnectionError::Prohibited)) => "filtered (prohibited)",
        Some(_) => "filtered (unreachable)",
        None => NO_ANSWER_UDP,
    };
    Ok((address.port(), says))
}

/// A bar on a terminal.
fn progress_bar(ports: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} ports {eta}");
    ProgressBar::new(ports as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
