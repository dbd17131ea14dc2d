//! A cell of the grid: a path, what crosses it, and what is asked of it.

use std::ops::RangeInclusive;
use std::time::Duration;

use ropeway_core::{AckThinning, Algorithm, StackConfig};
use ropeway_sim::pipe::Micros;
use ropeway_sim::{Limit as QueueLimit, Pipe, Queue, Rate};

use super::engine::{Change, FlowSetup, Run, Timing, Work};

/// See the [module](self).
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// Unique: the table is looked up by it.
    pub(crate) name: String,
    /// Under which heading it stands.
    pub(crate) group: &'static str,
    /// It is one of those that every change has to pass.
    pub(crate) in_ci: bool,
    pub(crate) forth: Pipe,
    pub(crate) back: Pipe,
    pub(crate) changes: Vec<(Duration, Change)>,
    pub(crate) flows: Vec<Flow>,
    pub(crate) config: StackConfig,
    pub(crate) turn_delay: Duration,
    /// How many seeds it runs with.
    pub(crate) seeds: u64,
    /// When it is given up.
    pub(crate) until: Duration,
    /// How much longer it may take than the table says, in percent.
    pub(crate) tolerance: u64,
    pub(crate) limits: Vec<Limit>,
    pub(crate) look_every: Duration,
    /// How large the buffers at both ends are.
    pub(crate) buffers: Buffers,
}

/// How large the buffers at both ends are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buffers {
    /// Large enough to be in nobody's way: min(2 * (BDP + queue), 1 GiB).
    Ample,
    /// As large as that.
    Fixed(usize),
    /// As they are by default: they tune themselves.
    Automatic,
}

/// A flow of a cell.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) work: Work,
    pub(crate) start: Duration,
    /// Another congestion control than the cell's.
    pub(crate) congestion: Option<Algorithm>,
    /// At which sending host.
    pub(crate) sender: usize,
}

/// What is asked of a cell, by whoever published it or by the project.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Limit {
    /// The median run is done by then.
    Within(Duration),
    /// Every run is.
    EachWithin(Duration),
    /// The median run takes so many percent of the floor at most.
    OfFloor(u64),
    /// The window of the first flow, in segments, while so much time has passed.
    Window { from: Duration, to: Duration, segments: RangeInclusive<u64> },
    /// Its mean, in segments, from then on, is this but for so many percent.
    MeanWindow { from: Duration, segments: u64, percent: u64 },
    /// The first flow's share when the first one is done, in percent.
    Share(RangeInclusive<u64>),
    /// So many percent of the goodput of another cell at least.
    GoodputOf { cell: String, percent: u64 },
    /// So many connections failed, all runs together.
    Failures(RangeInclusive<u64>),
}

const MTU: u64 = 1500;
/// The least that a buffer holds.
const LEAST_BUFFER: u64 = 64 * 1024;
/// The most: no window is larger.
const MOST_BUFFER: u64 = 1 << 30;

impl Cell {
    /// A path of this rate, round-trip time, and queue in tenths of their product.
    pub(crate) fn path(name: impl Into<String>, rate: Rate, rtt: Duration, tenths: u64) -> Self {
        let queue = (product(rate, rtt) * tenths / 10).max(2 * MTU);
        Self::link(name, Pipe::new().rate(rate).delay(rtt / 2).queue(Queue::bytes(usize_of(queue))))
    }

    /// A path whose way back is as fast, and has room for all acknowledgements.
    pub(crate) fn link(name: impl Into<String>, forth: Pipe) -> Self {
        let mut back = Pipe::new().delay(forth.delay).queue(Queue::packets(100_000));
        back.rate = forth.rate;
        Self {
            name: name.into(),
            group: "",
            in_ci: false,
            forth,
            back,
            changes: Vec::new(),
            flows: Vec::new(),
            config: StackConfig::default(),
            turn_delay: Duration::ZERO,
            seeds: 1,
            until: Duration::from_secs(3600),
            tolerance: 3,
            limits: Vec::new(),
            look_every: Duration::ZERO,
            buffers: Buffers::Ample,
        }
    }

    /// It is one of those that every change has to pass.
    pub(crate) fn ci(mut self) -> Self {
        self.in_ci = true;
        self
    }

    /// One more flow, from the start on, from a host of its own.
    pub(crate) fn flow(self, work: Work) -> Self {
        self.flow_with(work, Duration::ZERO, None)
    }

    /// So many bytes in one direction.
    pub(crate) fn bulk(self, bytes: u64) -> Self {
        self.flow(Work::Bulk(bytes))
    }

    /// One more flow, from a host of its own.
    pub(crate) fn flow_with(mut self, work: Work, start: Duration, congestion: Option<Algorithm>) -> Self {
        let sender = self.flows.len();
        self.flows.push(Flow { work, start, congestion, sender });
        self
    }

    /// All flows start at the same host.
    pub(crate) fn one_host(mut self) -> Self {
        self.flows.iter_mut().for_each(|flow| flow.sender = 0);
        self
    }

    pub(crate) fn forth(mut self, change: impl FnOnce(Pipe) -> Pipe) -> Self {
        self.forth = change(self.forth);
        self
    }

    pub(crate) fn back(mut self, change: impl FnOnce(Pipe) -> Pipe) -> Self {
        self.back = change(self.back);
        self
    }

    /// Something changes.
    pub(crate) fn at(mut self, at: Duration, change: Change) -> Self {
        self.changes.push((at, change));
        self
    }

    /// Changes the settings of all hosts.
    pub(crate) fn config(mut self, change: impl FnOnce(&mut StackConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// The same path with acknowledgements thinned in bulk.
    pub(crate) fn thinned(&self) -> Self {
        let name = format!("{}, acknowledgements thinned", self.name);
        let cell = Self { name, limits: Vec::new(), ..self.clone() };
        cell.config(|config| config.socket.ack_thinning = Some(AckThinning::default()))
    }

    /// The congestion control of all flows that have none of their own.
    pub(crate) fn congestion(self, algorithm: Algorithm) -> Self {
        self.config(|config| config.socket.congestion = algorithm)
    }

    /// Chance decides: it runs with so many seeds, and may be so many percent slower than the table says.
    pub(crate) fn seeds(mut self, seeds: u64, tolerance: u64) -> Self {
        (self.seeds, self.tolerance) = (seeds, tolerance);
        self
    }

    pub(crate) fn until(mut self, until: Duration) -> Self {
        self.until = until;
        self
    }

    pub(crate) fn limit(mut self, limit: Limit) -> Self {
        self.limits.push(limit);
        self
    }

    pub(crate) fn look_every(mut self, every: Duration) -> Self {
        self.look_every = every;
        self
    }

    pub(crate) fn buffers(mut self, buffers: Buffers) -> Self {
        self.buffers = buffers;
        self
    }

    pub(crate) fn turn_delay(mut self, delay: Duration) -> Self {
        self.turn_delay = delay;
        self
    }

    /// Of both ways, packets themselves not counted.
    pub(crate) fn rtt(&self) -> Duration {
        self.forth.delay + self.back.delay
    }

    /// What the segments of a flow carry.
    pub(crate) fn mss(&self) -> u64 {
        MTU - 40 - if self.config.timestamps { 12 } else { 0 }
    }

    /// The bytes on the wire of so many bytes of payload.
    pub(crate) fn wire_bytes(&self, payload: u64) -> u64 {
        payload + payload.div_ceil(self.mss()) * (MTU - self.mss())
    }

    /// The highest rate that the way to the receivers ever has, if it has one.
    pub(crate) fn fastest(&self) -> Option<Rate> {
        let rates = self.changes.iter().filter_map(|(_, change)| match change {
            Change::Rate(rate) => Some(*rate),
            Change::Up(_) | Change::Delay(_) | Change::BlackHole(_) => None,
        });
        rates.chain(self.forth.rate).max()
    }

    /// The size of the buffers at both ends, unless they tune themselves.
    pub(crate) fn buffer_bytes(&self) -> Option<usize> {
        match self.buffers {
            Buffers::Ample => Some(self.ample()),
            Buffers::Fixed(bytes) => Some(bytes),
            Buffers::Automatic => None,
        }
    }

    /// min(2 * (BDP + queue), 1 GiB)
    fn ample(&self) -> usize {
        let rtt = self.rtt() + self.forth.jitter + self.back.jitter + self.back.bunch;
        let bdp = self.fastest().map_or(MOST_BUFFER, |rate| product(rate, rtt));
        let queue = match self.forth.queue.limit {
            QueueLimit::Bytes(bytes) => bytes as u64,
            QueueLimit::Packets(packets) => packets as u64 * MTU,
            _ => 0,
        };
        usize_of((2 * (bdp + queue)).clamp(LEAST_BUFFER, MOST_BUFFER))
    }

    /// The run of this cell with this seed, on hosts whose timers tick so.
    pub(crate) fn run(&self, seed: u64, granularity: Micros) -> Run {
        let mut config = self.config.clone();
        if let Some(buffer) = self.buffer_bytes() {
            config.max_window = u32::try_from(buffer).unwrap_or(u32::MAX);
            (config.socket.send_buffer, config.socket.recv_buffer) = (buffer, buffer);
        }
        let flows = self.flows.iter().map(|flow| {
            let mut options = config.socket.clone();
            if let Some(congestion) = &flow.congestion {
                options.congestion = congestion.clone();
            }
            FlowSetup { work: flow.work, start: micros(flow.start), options, sender: flow.sender }
        });
        Run {
            seed,
            forth: self.forth.clone(),
            back: self.back.clone(),
            changes: self.changes.iter().map(|(at, change)| (micros(*at), *change)).collect(),
            flows: flows.collect(),
            config,
            timing: Timing { granularity, turn_delay: micros(self.turn_delay) },
            until: micros(self.until),
            look_every: micros(self.look_every),
        }
    }

    /// How much work a run is: for the order of the runs.
    pub(crate) fn weight(&self) -> u64 {
        let bytes = self.flows.iter().map(|flow| flow.work.total());
        let endless = self.forth.rate.map_or(1 << 30, |rate| product(rate, self.until));
        bytes.map(|bytes| bytes.unwrap_or(endless)).sum()
    }
}

/// How many bytes pass at this rate in that time.
pub(crate) fn product(rate: Rate, time: Duration) -> u64 {
    let bits = u128::from(rate.as_bits()) * time.as_micros() / 1_000_000;
    u64::try_from(bits / 8).unwrap_or(u64::MAX >> 4)
}

pub(crate) fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX >> 8)
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
