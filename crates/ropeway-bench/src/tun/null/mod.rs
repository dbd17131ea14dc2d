//! The least that keeps the kernel's TCP busy: what a stack would reach over this device that costs nothing itself.
//!
//! It takes what arrives in order and forgets it, and sends from one buffer as far as the window goes. There is no congestion
//! control, no timer but one that starts over when nothing is answered, and no socket.

mod datagrams;
mod flow;
mod wire;

use std::io;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

pub(crate) use self::datagrams::serve as serve_datagrams;
use self::flow::Flow;
pub(crate) use self::flow::Task;
use self::wire::{MSS, SYN, Sink, Source};
use super::{Job, Scenario, StackReport};
use crate::link::{DEVICE, DeviceTable, KERNEL_ADDRESS, MTU, PREFIX_LEN, TX_QUEUE_LEN};
use crate::meter::Meter;
use crate::sys::{self, CpuTime, Tun};

/// How long to sleep at most, so that the end of the run is noticed. If nothing came in all that time, what is out is sent
/// again.
const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// Packets that are read before anything else is done.
const BATCH: usize = 64;
/// Payload bytes that a connection sends before the next has its turn.
const BURST: usize = 64 * 1024;

/// What the stack does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// With every connection.
    pub(crate) task: Task,
    /// Where it listens.
    pub(crate) port: u16,
    /// Bytes that a connection has out at most, and offers to take.
    pub(crate) buffer: usize,
    /// Connections that will be open at once.
    pub(crate) connections: usize,
    /// Whether the device has a virtio-net header.
    pub(crate) offload: bool,
}

impl Plan {
    fn of(job: &Job) -> Self {
        let task = match job.scenario {
            Scenario::Download => Task::Bulk { sends: false },
            Scenario::Upload => Task::Bulk { sends: true },
            Scenario::Connect | Scenario::Connect16 | Scenario::Ping => Task::Echo,
        };
        Self { task, port: job.port, buffer: job.buffer, connections: 1, offload: job.offload }
    }

    /// Makes the device.
    pub(crate) fn tun(&self) -> io::Result<Tun> {
        Tun::new(DEVICE, KERNEL_ADDRESS, PREFIX_LEN, MTU, TX_QUEUE_LEN, self.offload)
    }

    /// What each connection may have on its way to us. Without offload, all of them no more than waits in the device's queue:
    /// what is lost there would only be sent again.
    fn window(&self) -> usize {
        let queue = if self.offload { usize::MAX } else { usize::from(TX_QUEUE_LEN) * MSS };
        self.buffer.min(queue / self.connections.max(1))
    }
}

/// Does what `plan` says until the process is killed.
pub(crate) fn serve(plan: Plan, tun: &Tun) -> io::Result<()> {
    let mut source = Source::new(tun, plan.offload);
    let mut stack = Stack::new(plan, None, Sink::new(tun, plan.port, plan.offload));
    loop {
        let received = stack.receive(&mut source)?;
        if stack.send()? || received {
            continue;
        }
        let begin = Instant::now();
        sys::wait_readable(tun.fd(), Some(LONGEST_WAIT))?;
        if begin.elapsed() >= LONGEST_WAIT {
            stack.start_over();
        }
    }
}

/// Runs the stack's side of `job` to its end.
pub(crate) fn run(job: &Job, ready: Sender<()>) -> io::Result<StackReport> {
    let plan = Plan::of(job);
    let tun = plan.tun()?;
    let mut source = Source::new(&tun, plan.offload);
    let mut stack = Stack::new(plan, Some(job), Sink::new(&tun, plan.port, plan.offload));
    ready.send(()).map_err(io::Error::other)?;

    let cpu = CpuTime::of_this_thread();
    while !stack.is_done() {
        let received = stack.receive(&mut source)?;
        let sent = stack.send()?;
        if received || sent {
            continue;
        }
        let begin = Instant::now();
        sys::wait_readable(tun.fd(), Some(LONGEST_WAIT))?;
        if begin.elapsed() >= LONGEST_WAIT {
            stack.start_over();
            if Instant::now() > job.deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
    let meter = stack.meter.as_ref();
    Ok(StackReport {
        measured: meter.and_then(Meter::measured),
        bytes: meter.map_or(0, Meter::total),
        cpu: CpuTime::of_this_thread().since(cpu),
        device: DeviceTable::open()?.read()?,
    })
}

struct Stack<'a> {
    plan: Plan,
    /// The run that it is a part of; without one it serves for ever.
    job: Option<&'a Job>,
    meter: Option<Meter>,
    sink: Sink<'a>,
    /// The connections by the peer's port.
    flows: Vec<Option<Flow>>,
    /// The ports of those of a bulk transfer.
    bulk: Vec<u16>,
    /// How many of these are over.
    over: usize,
    /// The ports of those that have something to acknowledge.
    owing: Vec<u16>,
}

impl<'a> Stack<'a> {
    fn new(plan: Plan, job: Option<&'a Job>, sink: Sink<'a>) -> Self {
        Self {
            plan,
            job,
            meter: job.map(|job| Meter::new(job.window)),
            sink,
            flows: (0..=u16::MAX).map(|_| None).collect(),
            bulk: Vec::new(),
            over: 0,
            owing: Vec::new(),
        }
    }

    fn is_done(&self) -> bool {
        match self.plan.task {
            Task::Bulk { .. } => self.over >= self.plan.connections,
            Task::Echo => self.stopped(),
        }
    }

    fn stopped(&self) -> bool {
        self.job.is_some_and(Job::stopped)
    }

    /// Takes a batch in, and acknowledges it if nothing more is there. Answers whether there was one.
    fn receive(&mut self, source: &mut Source<'_>) -> io::Result<bool> {
        for number in 0..BATCH {
            let Some(segment) = source.next()? else {
                self.acknowledge()?;
                return Ok(number > 0);
            };
            let port = segment.port;
            let Some(slot) = self.flows.get_mut(usize::from(port)) else { continue };
            if segment.has(SYN) {
                let Plan { task, buffer, .. } = self.plan;
                if slot.is_none() && task != Task::Echo {
                    self.bulk.push(port);
                }
                *slot = Some(Flow::open(&segment, task, buffer, self.plan.window(), &mut self.sink)?);
                continue;
            }
            let Some(flow) = slot else { continue };
            let owed = flow.owes();
            let progress = flow.receive(&segment, &mut self.sink)?;
            if flow.owes() && !owed {
                self.owing.push(port);
            }
            let is_over = progress.is_none() || flow.is_over();
            let progress = progress.unwrap_or_default();
            if is_over {
                *slot = None;
                self.over += 1;
            }
            self.count((progress.received + progress.acknowledged) as usize);
        }
        Ok(true)
    }

    /// Counts bytes, and ends a bulk transfer when its time has come.
    fn count(&mut self, bytes: usize) {
        let (Some(meter), Some(job)) = (&mut self.meter, self.job) else { return };
        if meter.add(bytes) && self.plan.task != Task::Echo {
            job.stop();
        }
    }

    fn acknowledge(&mut self) -> io::Result<()> {
        for port in self.owing.drain(..) {
            let flow = self.flows.get_mut(usize::from(port)).and_then(Option::as_mut);
            if let Some(flow) = flow.filter(|flow| flow.owes()) {
                flow.acknowledge(&mut self.sink)?;
            }
        }
        Ok(())
    }

    /// Lets each connection of a bulk transfer send a little. Answers whether anything was sent.
    fn send(&mut self) -> io::Result<bool> {
        let mut any = false;
        let (sends, stopped) = (self.plan.task == Task::Bulk { sends: true }, self.stopped());
        for port in self.bulk.iter().filter(|_| sends) {
            let Some(flow) = self.flows.get_mut(usize::from(*port)).and_then(Option::as_mut) else {
                continue;
            };
            if stopped {
                flow.finish();
            }
            any |= flow.send(&mut self.sink, BURST)?;
        }
        Ok(any)
    }

    fn start_over(&mut self) {
        for port in &self.bulk {
            if let Some(flow) = self.flows.get_mut(usize::from(*port)).and_then(Option::as_mut) {
                flow.start_over();
            }
        }
    }
}
