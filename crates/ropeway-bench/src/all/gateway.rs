//! A guest behind a gateway: two namespaces, a server in the host's, and a program that carries the guest's connections there.

use std::env;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ropeway_bench_service::{Order, PORT};

use super::run::{Ends, ip};
use super::stacks::{Server, Stack};
use crate::link::{self, Cpus, DEVICE, STACK_ADDRESS};
use crate::sys;

/// How long a gateway may take until the guest has a route.
const PATIENCE: Duration = Duration::from_secs(10);
/// The host's own address: pasta gives the guest the same one.
const HOST: &str = "10.99.0.2/24";
/// Where the guest reaches its host, by pasta and by slirp4netns.
const PASTA: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const SLIRP: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Makes the guest's namespace, which the calling thread is in from now on, and starts `stack` between it and the one
/// that the thread was in.
pub(super) fn start(stack: Stack, mtu: u16, order: &Order, cpus: Cpus) -> io::Result<Ends> {
    ip("link set lo up")?;
    // The host's server has the CPU of the guest's clients: what is measured has the other one.
    let server = Server::start_beside(Stack::Veth, order)?;
    // pasta takes its addresses from the interface that the host's default route leads to.
    ip("link add uplink0 type veth peer name uplink1")?;
    ip("link set uplink1 up")?;
    ip(&format!("address add {HOST} dev uplink0"))?;
    ip("link set uplink0 up")?;
    ip(&format!("route add default via {PASTA} dev uplink0"))?;
    let host = File::open("/proc/thread-self/ns/net")?;
    sys::unshare_network()?;
    link::silence()?;
    let guest = File::open("/proc/thread-self/ns/net")?;
    let (program, address) = if stack.is_gateway() {
        sys::enter_network(&host)?;
        let program = Server::launch(command(stack, mtu), guest.try_clone()?.into(), Some(cpus))?;
        sys::enter_network(&guest)?;
        wait_for_route()?;
        (program, if stack == Stack::Pasta { PASTA } else { SLIRP })
    } else {
        let mut command = Command::new(env::current_exe()?);
        command.args(["relay", "--mtu", &mtu.to_string()]);
        (Server::spawn(command, host.into(), Some(cpus))?, STACK_ADDRESS)
    };
    Ok(Ends { stack: program, target: SocketAddrV4::new(address, PORT), _beside: Some(server) })
}

/// A program that finds the guest's namespace on its standard input.
fn command(stack: Stack, mtu: u16) -> Command {
    const GUEST: &str = "/proc/self/fd/0";
    let mut command = Command::new(stack.name());
    let mtu = mtu.to_string();
    if stack == Stack::Pasta {
        // It makes no user namespace of its own, and forwards no ports but those that the guest asks for.
        command.args(["--foreground", "--quiet", "--ipv4-only", "--runas", "0:0", "--netns-only"]);
        command.args(["--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"]);
        command.args(["--config-net", "--mtu", &mtu, "--ns-ifname", DEVICE, "--netns", GUEST]);
    } else {
        command.args(["--configure", "--mtu", &mtu, "--netns-type", "path", GUEST, DEVICE]);
    }
    command.stderr(Stdio::null());
    command
}

/// Waits until the calling thread's namespace has a default route.
fn wait_for_route() -> io::Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let routes = fs::read_to_string("/proc/thread-self/net/route")?;
        if routes.lines().skip(1).any(|line| line.split_whitespace().nth(1) == Some("00000000")) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Err(io::Error::other("the guest has got no route"))
}
