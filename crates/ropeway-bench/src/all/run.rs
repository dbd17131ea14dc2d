//! One run: a namespace, a stack in it, a load, and what came of it.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, Stdio, id};
use std::thread;
use std::time::{Duration, Instant};

use ropeway_bench_service::{Order, PORT};

use super::clients::Clients;
use super::load::{Load, Workload};
use super::stacks::{Server, Stack};
use crate::link::{
    self, Cpus, DEVICE, DeviceCounts, DeviceTable, KERNEL_ADDRESS, MTU, PREFIX_LEN, STACK_ADDRESS,
};
use crate::meter::Window;
use crate::report::{Figure, figure, percentile};
use crate::sys::{self, CpuTime, Tun};

/// Of a bulk transfer's connection, and of any other one.
const BUFFER: usize = 512 * 1024;
const SMALL_BUFFER: usize = 64 * 1024;
/// A second address of the kernel's end, for more connections than there are ports.
const SECOND_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);

/// Runs `load` on `stack` in a namespace of its own, which ends with the run.
pub(super) fn run(stack: Stack, load: Load, window: Window, cpus: Cpus) -> io::Result<Vec<Figure>> {
    let run = move || in_a_namespace(stack, load, window, cpus);
    let thread = thread::Builder::new().name("clients".to_owned()).spawn(run)?;
    thread.join().map_err(|_| io::Error::other("a thread panicked"))?
}

fn in_a_namespace(stack: Stack, load: Load, window: Window, cpus: Cpus) -> io::Result<Vec<Figure>> {
    sys::unshare_network()?;
    link::silence()?;
    let order = Order {
        task: load.task(),
        buffer: if load.is_bulk() { BUFFER } else { SMALL_BUFFER },
        connections: load.at_once + load.idle,
        offload: load.offload,
    };
    let (server, target) = start(stack, &order, cpus)?;
    let idle = [KERNEL_ADDRESS, SECOND_ADDRESS];
    let idle = match (load.idle, stack) {
        (0, _) => &[][..],
        (_, Stack::Loopback) => &[Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)][..],
        _ => {
            ip(&format!("address add {SECOND_ADDRESS}/{PREFIX_LEN} dev {DEVICE}"))?;
            &idle[..]
        }
    };
    let clients = Clients::new(load, target);
    let mut device = DeviceTable::open()?;
    let (begin, end) = thread::scope(|scope| {
        let marks = clients.start(scope, idle).and_then(|()| {
            thread::sleep(window.warm_up);
            clients.measure(true);
            let begin = Mark::now(&server, &clients, &mut device)?;
            thread::sleep(window.measure);
            let end = Mark::now(&server, &clients, &mut device)?;
            clients.measure(false);
            Ok((begin, end))
        });
        clients.stop();
        marks
    })?;
    clients.check()?;
    figures(load, &clients, begin, end)
}

/// Makes the way between the two ends, and starts the stack. Answers where it listens.
fn start(stack: Stack, order: &Order, cpus: Cpus) -> io::Result<(Server, SocketAddrV4)> {
    let target = order.address();
    match stack {
        Stack::Loopback => {
            ip("link set lo up")?;
            let server = Server::start(stack, order, Stdio::null(), cpus)?;
            Ok((server, SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT)))
        }
        Stack::Veth => {
            let ours = File::open("/proc/thread-self/ns/net")?;
            sys::unshare_network()?;
            link::silence()?;
            let theirs = File::open("/proc/thread-self/ns/net")?;
            let server = Server::start(stack, order, Stdio::null(), cpus)?;
            sys::enter_network(&ours)?;
            let pid = server.pid();
            ip(&format!("link add {DEVICE} mtu {MTU} type veth peer name {DEVICE} mtu {MTU} netns {pid}"))?;
            let up = |address: Ipv4Addr| {
                ip(&format!("address add {address}/{PREFIX_LEN} dev {DEVICE}"))?;
                // Without offload, the kernel gives the device one segment at a time.
                let segments = if order.offload { "" } else { " gso_max_segs 1" };
                ip(&format!("link set {DEVICE}{segments} up"))
            };
            up(KERNEL_ADDRESS)?;
            sys::enter_network(&theirs)?;
            up(STACK_ADDRESS)?;
            sys::enter_network(&ours)?;
            Ok((server, target))
        }
        _ if stack.is_peer() && !order.offload => {
            let tun = Tun::new(DEVICE, KERNEL_ADDRESS, PREFIX_LEN, MTU, link::TX_QUEUE_LEN, false)?;
            Ok((Server::start(stack, order, tun.file()?.into(), cpus)?, target))
        }
        _ => Ok((Server::start(stack, order, Stdio::null(), cpus)?, target)),
    }
}

/// Runs `ip` in the calling thread's namespace.
pub(super) fn ip(arguments: &str) -> io::Result<()> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("ip {arguments}: {}", said.trim())))
}

/// A moment.
struct Mark {
    at: Instant,
    done: u64,
    failed: u64,
    stack: Duration,
    clients: Duration,
    device: DeviceCounts,
}

impl Mark {
    fn now(server: &Server, clients: &Clients, device: &mut DeviceTable) -> io::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            done: clients.done(),
            failed: clients.failed(),
            stack: CpuTime::of_process(server.pid()),
            clients: CpuTime::of_process(id()),
            device: device.read()?,
        })
    }
}

fn figures(load: Load, clients: &Clients, begin: Mark, end: Mark) -> io::Result<Vec<Figure>> {
    let wall = (end.at - begin.at).as_secs_f64();
    let done = (end.done.saturating_sub(begin.done)) as f64;
    if done == 0.0 {
        return Err(io::Error::other("nothing was done"));
    }
    let stack = end.stack.saturating_sub(begin.stack).as_secs_f64();
    let both = stack + end.clients.saturating_sub(begin.clients).as_secs_f64();
    let packets = |counts: DeviceCounts| counts.to_stack + counts.from_stack;
    let packets = packets(end.device).saturating_sub(packets(begin.device)) as f64;
    if load.is_bulk() {
        return Ok(vec![
            figure("Gbit/s", done * 8.0 / 1e9 / wall),
            figure("CPU s/GB", stack * 1e9 / done),
            figure("CPU s/GB of both ends", both * 1e9 / done),
            figure("k packets/s", packets / 1e3 / wall),
            figure("drops", end.device.dropped.saturating_sub(begin.device.dropped) as f64),
        ]);
    }
    let mut figures = match load.workload {
        Workload::Connect => vec![
            figure("connections/s", done / wall),
            figure("failed/s", (end.failed.saturating_sub(begin.failed)) as f64 / wall),
        ],
        _ => {
            let times = clients.times();
            let micros =
                |percent| percentile(&times, percent).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6);
            vec![
                figure("exchanges/s", done / wall),
                figure("p50 us", micros(50)),
                figure("p99 us", micros(99)),
            ]
        }
    };
    figures.push(figure("CPU us each", stack * 1e6 / done));
    figures.push(figure("k packets/s", packets / 1e3 / wall));
    Ok(figures)
}
