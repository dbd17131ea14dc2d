//! One run: a namespace, a stack in it, a load, and what came of it.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, Stdio, id};
use std::thread;
use std::time::{Duration, Instant};

use ropeway_bench_service::{Order, PORT};

use super::cable;
use super::clients::Clients;
use super::datagrams;
use super::gateway;
use super::idle;
use super::load::{Kind, Load, Way};
use super::stacks::{Server, Stack};
use crate::StackKind;
use crate::link::{
    self, Cpus, DEVICE, DeviceCounts, DeviceTable, KERNEL_ADDRESS, MTU, PREFIX_LEN, STACK_ADDRESS,
};
use crate::memory::{self, Bulk};
use crate::meter::Window;
use crate::report::{Figure, figure, percentile};
use crate::sys::{self, CpuTime, Tun};

/// Of a bulk transfer's connection, and of any other one.
pub(super) const BUFFER: usize = 512 * 1024;
const SMALL_BUFFER: usize = 64 * 1024;
/// A second address of the kernel's end, for more connections than there are ports.
const SECOND_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);

/// How much longer than it should a measurement takes until something is done.
const PATIENCE: Duration = Duration::from_secs(10);
/// What either stack carries in memory in a second, about, in bytes: the work is fixed, and not the time.
const IN_MEMORY: f64 = 4e9;

/// Runs `load` on `stack` in a namespace of its own, which ends with the run.
pub(super) fn run(stack: Stack, load: Load, window: Window, cpus: Cpus) -> io::Result<Vec<Figure>> {
    let run = move || match load.way {
        Way::Memory(mtu) => in_memory(stack, mtu, window, cpus),
        Way::Cable(mtu) => cable::run(stack, load.at_once, mtu, window, cpus),
        _ => in_a_namespace(stack, load, window, cpus),
    };
    let thread = thread::Builder::new().name("clients".to_owned()).spawn(run)?;
    thread.join().map_err(|_| io::Error::other("a thread panicked"))?
}

fn in_memory(stack: Stack, mtu: u16, window: Window, cpus: Cpus) -> io::Result<Vec<Figure>> {
    cpus.pin_stack()?;
    let stack = if stack == Stack::Ropeway { StackKind::Ropeway } else { StackKind::Smoltcp };
    let packets = IN_MEMORY * window.measure.as_secs_f64() / f64::from(mtu);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some millions, or saturated")]
    let packets = (packets as u64).max(1);
    memory::bulk(stack, Bulk { packets, mtu, buffer: BUFFER, timestamps: true })
}

fn in_a_namespace(stack: Stack, load: Load, window: Window, cpus: Cpus) -> io::Result<Vec<Figure>> {
    sys::unshare_network()?;
    link::silence()?;
    if let Kind::Datagrams(way, size) = load.kind {
        return datagrams::run(stack, (way, size), load.way == Way::Offloaded, window, cpus);
    }
    let order = Order {
        task: load.task(),
        buffer: if load.is_bulk() { BUFFER } else { SMALL_BUFFER },
        connections: load.at_once + load.idle,
        offload: load.way == Way::Offloaded,
        datagram: 0,
    };
    let ends = match load.way {
        Way::Relay(mtu) => gateway::start(stack, mtu, &order, cpus),
        _ => start(stack, &order, cpus),
    }?;
    let ours = [KERNEL_ADDRESS, SECOND_ADDRESS];
    let addresses = match (load.idle, stack) {
        (0, _) => &[][..],
        (_, Stack::Loopback) => &[Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)][..],
        _ => {
            ip(&format!("address add {SECOND_ADDRESS}/{PREFIX_LEN} dev {DEVICE}"))?;
            &ours[..]
        }
    };
    // One process has all of the kernel's connections.
    let descriptors = sys::descriptors()?;
    if stack.is_kernel() && load.idle as u64 >= descriptors {
        let why = format!("a process may have {descriptors} descriptors here");
        return Err(io::Error::other(why));
    }
    let before = sys::resident(ends.stack.pid())?;
    let _idle = idle::open(load.idle, ends.target, addresses)?;
    let idle_memory = sys::resident(ends.stack.pid())?.saturating_sub(before);
    let clients = Clients::new(load, ends.target);
    let mut device = DeviceTable::open()?;
    let (begin, end) = thread::scope(|scope| {
        let marks = clients.start(scope).and_then(|()| {
            thread::sleep(window.warm_up);
            clients.measure(true);
            let begin = Mark::now(&ends.stack, &clients, &mut device)?;
            let mut end = begin.after(window.measure, &ends.stack, &clients, &mut device)?;
            // On a busy machine nothing may have had its turn yet.
            while end.done <= begin.done && end.at - begin.at < PATIENCE && !clients.has_failed() {
                end = end.after(window.measure, &ends.stack, &clients, &mut device)?;
            }
            clients.measure(false);
            Ok((begin, end))
        });
        clients.stop();
        marks
    })?;
    clients.check()?;
    let mut figures = figures(load, &clients, begin, end)?;
    if load.idle > 0 {
        figures.push(figure("KiB per idle connection", idle_memory as f64 / 1024.0 / load.idle as f64));
    }
    // Those that end only now have nobody to tell it to.
    drop(ends);
    Ok(figures)
}

/// What the clients talk to. It ends with this.
pub(super) struct Ends {
    /// What is measured.
    pub(super) stack: Server,
    /// Where the clients connect to.
    pub(super) target: SocketAddrV4,
    /// Where their connections end, if that is not what is measured.
    pub(super) _beside: Option<Server>,
}

impl Ends {
    fn new(stack: Server, target: SocketAddrV4) -> Self {
        Self { stack, target, _beside: None }
    }
}

/// Makes the way between the two ends, and starts the stack.
pub(super) fn start(stack: Stack, order: &Order, cpus: Cpus) -> io::Result<Ends> {
    let target = order.address();
    match stack {
        Stack::Loopback => {
            ip("link set lo up")?;
            let server = Server::start(stack, order, Stdio::null(), cpus)?;
            Ok(Ends::new(server, SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT)))
        }
        Stack::Veth => veth(order, cpus).map(|server| Ends::new(server, target)),
        _ if stack.is_peer() && !order.offload => {
            let tun = Tun::new(DEVICE, KERNEL_ADDRESS, PREFIX_LEN, MTU, link::TX_QUEUE_LEN, false)?;
            Ok(Ends::new(Server::start(stack, order, tun.file()?.into(), cpus)?, target))
        }
        _ => Ok(Ends::new(Server::start(stack, order, Stdio::null(), cpus)?, target)),
    }
}

/// The kernel at both ends of a pair of devices, the other one in a namespace of its own.
fn veth(order: &Order, cpus: Cpus) -> io::Result<Server> {
    let ours = File::open("/proc/thread-self/ns/net")?;
    sys::unshare_network()?;
    link::silence()?;
    let theirs = File::open("/proc/thread-self/ns/net")?;
    let server = Server::start(Stack::Veth, order, Stdio::null(), cpus)?;
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
    Ok(server)
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
    /// The moment that comes so much later.
    fn after(
        &self,
        time: Duration,
        server: &Server,
        clients: &Clients,
        device: &mut DeviceTable,
    ) -> io::Result<Self> {
        thread::sleep((self.at + time).saturating_duration_since(Instant::now()));
        Self::now(server, clients, device)
    }

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
    let mut figures = match load.kind {
        Kind::Connect => vec![
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
