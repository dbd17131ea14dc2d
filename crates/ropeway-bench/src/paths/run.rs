//! Runs that go on at the same time, each over a path of its own.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::busy::CpuTicks;
use super::emulator::{Course, Path, PathCounts, Port, Seen, micros};
use super::ends::{self, End, Sent, Stage};
use super::net::{Lane, Net};
use super::{Congestion, Contender};
use crate::grid::cell::Cell;
use crate::sys::{self, Tun};

/// The CPU of the emulated paths. The ends share the other one, on which the calling thread is.
const PATH_CPU: usize = 1;
const ENDS_CPU: usize = 0;
/// How long the ends may take to get ready.
const PATIENCE: Duration = Duration::from_secs(10);

/// One run: a cell with a stack and a congestion control.
#[derive(Clone, Debug)]
pub(crate) struct Task<'a> {
    pub(crate) cell: &'a Cell,
    pub(crate) contender: Contender,
    pub(crate) congestion: Congestion,
    /// Its number among those of its kind.
    pub(crate) run: usize,
    /// Of all chance on the path.
    pub(crate) seed: u64,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// From the sender's `connect` until the receiver has read the last byte, or why there is no such time.
    pub(crate) time: Result<Duration, String>,
    /// Segments that were sent again, if the stack tells.
    pub(crate) again: Option<u64>,
    /// How busy the CPU of the ends was, in percent.
    pub(crate) busy: u64,
    pub(crate) path: PathCounts,
    pub(crate) seen: Option<Vec<Seen>>,
}

impl Port for Tun {
    fn recv(&mut self, packet: &mut [u8]) -> io::Result<Option<usize>> {
        Self::recv(self, packet)
    }

    fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        Self::send(self, packet)
    }
}

/// What an end tells, and of which run.
enum Told {
    Sent(usize, io::Result<Sent>),
    Received(usize, io::Result<Instant>),
}

/// Does all these runs at the same time. Those that are not done by `until` are given up.
pub(crate) fn together(
    net: &Net,
    tasks: &[Task<'_>],
    until: Duration,
    keep_packets: bool,
) -> io::Result<Vec<Outcome>> {
    let mut paths = Vec::new();
    for (task, lane) in tasks.iter().zip(0..) {
        let (near, far) = net.devices(Lane(lane))?;
        let ports = if task.contender.sends_from_near() { (near, far) } else { (far, near) };
        let mut path = Path::new(task.course(), ports.0, ports.1);
        if keep_packets {
            path.keep_packets();
        }
        paths.push(path);
    }
    let (stage, reached) = watch::channel(Stage::Prepares);
    let (ready, is_ready) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut run = || {
            for ((number, task), lane) in tasks.iter().enumerate().zip(0..) {
                let end = task.end(Lane(lane), &reached, &ready);
                task.start(scope, net, number, &end, &tell)?;
            }
            for _ in 0..2 * tasks.len() {
                is_ready.recv_timeout(PATIENCE).map_err(|_| not_ready(&told))?;
            }
            let paths = std::mem::take(&mut paths);
            let stop = &stop;
            let began = Instant::now();
            let emulation = thread::Builder::new().name("paths".to_owned());
            let emulation = emulation.spawn_scoped(scope, move || emulate(paths, began, stop))?;
            let ticks = CpuTicks::read(ENDS_CPU)?;
            stage.send_replace(Stage::Goes);
            let mut results = Results::new(tasks.len());
            results.wait(&told, until);
            let busy = CpuTicks::read(ENDS_CPU)?.busy_since(ticks);
            stage.send_replace(Stage::IsOver);
            results.wait_for_senders(&told);
            stop.store(true, Ordering::Relaxed);
            let paths = emulation.join().map_err(|_| io::Error::other("the paths' thread panicked"))??;
            io::Result::Ok(results.outcomes(&paths, busy))
        };
        let outcomes = run();
        // Whatever went wrong: the other threads end.
        stage.send_replace(Stage::IsOver);
        stop.store(true, Ordering::Relaxed);
        outcomes
    })
}

/// Why an end was not ready, if it told.
fn not_ready(told: &Receiver<Told>) -> io::Error {
    let errors = told.try_iter().find_map(|told| match told {
        Told::Sent(_, result) => result.err(),
        Told::Received(_, result) => result.err(),
    });
    errors.unwrap_or_else(|| io::Error::other("an end was not ready in time"))
}

/// Lets time pass on all paths, and does nothing else on this CPU.
fn emulate(mut paths: Vec<Path<Tun>>, began: Instant, stop: &AtomicBool) -> io::Result<Vec<Path<Tun>>> {
    sys::pin_to(Some(PATH_CPU))?;
    sys::raise_priority();
    while !stop.load(Ordering::Relaxed) {
        for path in &mut paths {
            path.turn(|| u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX))?;
        }
    }
    Ok(paths)
}

impl Task<'_> {
    fn course(&self) -> Course {
        let changes = self.cell.changes.iter().map(|(at, change)| (micros(*at), *change));
        Course {
            seed: self.seed,
            forth: self.cell.forth.clone(),
            back: self.cell.back.clone(),
            changes: changes.collect(),
        }
    }

    fn end(&self, lane: Lane, stage: &watch::Receiver<Stage>, ready: &Sender<()>) -> End {
        End {
            lane,
            congestion: self.congestion,
            buffer: self.cell.buffer_bytes(),
            flows: self.cell.flows.iter().filter_map(|flow| flow.work.total()).collect(),
            stage: stage.clone(),
            ready: ready.clone(),
        }
    }

    /// Starts both ends, each on a thread of its own.
    fn start<'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        net: &'scope Net,
        number: usize,
        end: &End,
        tell: &Sender<Told>,
    ) -> io::Result<()> {
        let contender = self.contender;
        let far_sends = !contender.sends_from_near();
        let (sender, receiver) = (end.clone(), end.clone());
        let (tell_sent, tell_received) = (tell.clone(), tell.clone());
        let send = move || {
            let sent = in_place(net, far_sends).and_then(|()| send(contender, &sender));
            let _ = tell_sent.send(Told::Sent(number, sent));
        };
        let receive = move || {
            let tell = |received| {
                let _ = tell_received.send(Told::Received(number, received));
            };
            if let Err(error) = in_place(net, !far_sends).and_then(|()| receive(contender, receiver, &tell)) {
                tell(Err(error));
            }
        };
        thread::Builder::new().name("sender".to_owned()).spawn_scoped(scope, send)?;
        thread::Builder::new().name("receiver".to_owned()).spawn_scoped(scope, receive)?;
        Ok(())
    }
}

fn in_place(net: &Net, is_far: bool) -> io::Result<()> {
    if is_far { net.enter_far() } else { Ok(()) }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn send(contender: Contender, end: &End) -> io::Result<Sent> {
    let far = end.lane.far();
    // As a task, like a server's: what `block_on` itself runs is polled after all tasks.
    match contender {
        Contender::Linux => block_on(ends::kernel::send(end.clone(), far)),
        Contender::RopewaySends => block_on(ends::ropeway::send(end.clone(), far)),
        Contender::RopewayReceives => block_on(ends::kernel::send(end.clone(), end.lane.stack())),
        Contender::SmoltcpSends => ends::smoltcp::send(end, far),
    }
}

fn block_on<T: Send + 'static>(work: impl Future<Output = io::Result<T>> + Send + 'static) -> io::Result<T> {
    runtime()?.block_on(async { tokio::spawn(work).await.map_err(io::Error::other)? })
}

fn receive(contender: Contender, end: End, tell: &dyn Fn(io::Result<Instant>)) -> io::Result<()> {
    let far: Ipv4Addr = end.lane.far();
    let mut stage = end.stage.clone();
    runtime()?.block_on(async {
        let received = match contender {
            Contender::RopewayReceives => tokio::spawn(ends::ropeway::receive(end)).await,
            _ => tokio::spawn(ends::kernel::receive(end, far)).await,
        };
        tell(received.map_err(io::Error::other)?);
        // The connection has to live for as long as the sender looks at its own end of it.
        let _ = stage.wait_for(|stage| *stage == Stage::IsOver).await;
        Ok(())
    })
}

/// What the ends have told so far.
struct Results {
    sent: Vec<Option<io::Result<Sent>>>,
    received: Vec<Option<io::Result<Instant>>>,
}

impl Results {
    fn new(count: usize) -> Self {
        Self { sent: (0..count).map(|_| None).collect(), received: (0..count).map(|_| None).collect() }
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Sent(number, result) => {
                if let Some(slot) = self.sent.get_mut(number) {
                    slot.get_or_insert(result);
                }
            }
            Told::Received(number, result) => {
                if let Some(slot) = self.received.get_mut(number) {
                    slot.get_or_insert(result);
                }
            }
        }
    }

    /// Until each run has arrived or failed, or time is up. A sender tells nothing before the end, unless it fails.
    fn wait(&mut self, told: &Receiver<Told>, until: Duration) {
        let end = Instant::now() + until;
        while self
            .sent
            .iter()
            .zip(&self.received)
            .any(|(sent, received)| sent.is_none() && received.is_none())
        {
            match told.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(told) => self.take(told),
                Err(_) => return,
            }
        }
    }

    fn wait_for_senders(&mut self, told: &Receiver<Told>) {
        while self.sent.iter().any(Option::is_none) {
            match told.recv_timeout(PATIENCE) {
                Ok(told) => self.take(told),
                Err(_) => return,
            }
        }
    }

    fn outcomes(self, paths: &[Path<Tun>], busy: u64) -> Vec<Outcome> {
        let ends = self.sent.into_iter().zip(self.received);
        let outcomes = ends.zip(paths).map(|((sent, received), path)| Outcome {
            again: sent.as_ref().and_then(|sent| sent.as_ref().ok()?.again),
            time: time(sent, received),
            busy,
            path: path.counts(),
            seen: path.seen().map(<[_]>::to_vec),
        });
        outcomes.collect()
    }
}

fn time(sent: Option<io::Result<Sent>>, received: Option<io::Result<Instant>>) -> Result<Duration, String> {
    match (sent, received) {
        (Some(Ok(sent)), Some(Ok(done))) => Ok(done - sent.began),
        (Some(Err(error)), _) => Err(format!("sender: {error}")),
        (_, Some(Err(error))) => Err(format!("receiver: {error}")),
        _ => Err("not done in time".to_owned()),
    }
}
