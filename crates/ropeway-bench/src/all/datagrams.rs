//! The other end of UDP: one thread sends or receives on the kernel's socket, whatever the stack.

use std::io::{self, ErrorKind};
use std::net::{SocketAddrV4, UdpSocket};
use std::process::id;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use ropeway_bench_service::{Order, Task};

use super::run::{BUFFER as STACK_BUFFER, Ends, start};
use super::stacks::Stack;
use crate::link::{Cpus, DeviceCounts, DeviceTable};
use crate::meter::Window;
use crate::report::{Figure, figure};
use crate::sys::{self, CpuTime};

/// How often a thread that waits looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long it may take until the first datagram has come.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of each buffer of the other end, in bytes. It is not to be what is measured.
const BUFFER: usize = 4 << 20;

/// Which way datagrams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the kernel to the stack.
    Down,
    /// From the stack to the kernel.
    Up,
}

/// Runs datagrams of so many bytes one way, in the calling thread's namespace. What counts is what the receiving application gets.
pub(super) fn run(
    stack: Stack,
    (way, size): (Way, u16),
    offload: bool,
    window: Window,
    cpus: Cpus,
) -> io::Result<Vec<Figure>> {
    let task = if way == Way::Down { Task::UdpSink } else { Task::UdpSource };
    let order = Order { task, buffer: STACK_BUFFER, connections: 1, offload, datagram: size };
    let ends = start(stack, &order, cpus)?;
    let other = Datagrams::new(&order, ends.target, way == Way::Down)?;
    let mut device = DeviceTable::open()?;
    let mut mark = |ends: &Ends| -> io::Result<_> {
        let (stack, all) = (CpuTime::of_process(ends.stack.pid()), CpuTime::of_process(id()));
        Ok((Instant::now(), other.done(), stack, stack + all, device.read()?))
    };
    let (begin, end) = thread::scope(|scope| {
        other.start(scope);
        let begin = Instant::now();
        let wait_for_more = |than: u64, since: Instant| {
            while other.done() <= than && since.elapsed() < PATIENCE {
                thread::sleep(LOOK_EVERY);
            }
        };
        // A pair of devices resolves addresses first, which may take the kernel a second.
        wait_for_more(0, begin);
        thread::sleep(window.warm_up);
        let marks = mark(&ends).and_then(|begin| {
            thread::sleep(window.measure);
            // A moment may be too short for the receiver to tell of anything: then the window ends when it does.
            wait_for_more(begin.1, begin.0);
            Ok((begin, mark(&ends)?))
        });
        other.stop();
        marks
    })?;
    let done = (end.1 - begin.1) as f64;
    if done == 0.0 {
        return Err(io::Error::other("nothing has arrived"));
    }
    let wall = (end.0 - begin.0).as_secs_f64();
    let micros = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() * 1e6 / done;
    let packets = |counts: DeviceCounts| (counts.to_stack + counts.from_stack) as f64;
    Ok(vec![
        figure("k datagrams/s", done / 1e3 / wall),
        figure("Gbit/s", done * f64::from(size) * 8.0 / 1e9 / wall),
        figure("CPU us each", micros(begin.2, end.2)),
        figure("CPU us each of both ends", micros(begin.3, end.3)),
        figure("k packets/s", (packets(end.4) - packets(begin.4)) / 1e3 / wall),
        figure("drops", (end.4.dropped - begin.4.dropped) as f64),
    ])
}

/// What the threads of the other end share.
struct Datagrams {
    sends: bool,
    data: Vec<u8>,
    size: u16,
    socket: UdpSocket,
    stop: AtomicBool,
    /// Datagrams that the other end's application has got.
    done: AtomicU64,
}

impl Datagrams {
    fn new(order: &Order, target: SocketAddrV4, sends: bool) -> io::Result<Self> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        sys::force_buffers(&socket, BUFFER)?;
        if order.offload {
            sys::use_trains(&socket, order.datagram)?;
        }
        socket.set_read_timeout(Some(LOOK_EVERY))?;
        socket.connect(target)?;
        let data = vec![0x5a; order.sent_at_once()];
        let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Self { sends, data, size: order.datagram, socket, stop, done })
    }

    /// Starts the threads.
    fn start<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        if self.sends {
            scope.spawn(|| self.send());
            scope.spawn(|| self.hear());
        } else {
            scope.spawn(|| self.receive());
        }
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Datagrams that the receiving application has got.
    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn send(&self) {
        while !self.stopped() {
            // What the device has no room for is lost, and shows as what has not arrived.
            let _ = self.socket.send(&self.data);
        }
    }

    /// Hears how many have arrived.
    fn hear(&self) {
        let mut report = [0; 8];
        while !self.stopped() {
            if self.socket.recv(&mut report).is_ok_and(|length| length == report.len()) {
                self.done.fetch_max(u64::from_be_bytes(report), Ordering::Relaxed);
            }
        }
    }

    /// Asks for datagrams, and counts them.
    fn receive(&self) {
        let mut buffer = vec![0; usize::from(u16::MAX)];
        let mut any = false;
        while !self.stopped() {
            if !any {
                let _ = self.socket.send(&[0]);
            }
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    any = true;
                    let datagrams = length.div_ceil(self.size.into()) as u64;
                    self.done.fetch_add(datagrams, Ordering::Relaxed);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // It is not there yet.
                Err(_) => thread::yield_now(),
            }
        }
    }
}
