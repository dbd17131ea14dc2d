//! How long each call took, and how many instructions.

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A call of the stack, and what it has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    SynIn,
    HandshakeIn,
    Accept,
    Connect,
    DataIn,
    Recv,
    Send,
    PacketOut,
    NothingOut,
    Local,
    Event,
    NextTimeout,
    KeepAlive,
    Retransmit,
    CloseListener,
    ListenersRest,
    Close,
    FinIn,
    TimeWaitOver,
    ShutDown,
    ShutDownRest,
}

impl Kind {
    const ALL: [(Self, &'static str); 21] = [
        (Self::SynIn, "handle_packet: a SYN"),
        (Self::HandshakeIn, "handle_packet: the end of the handshake"),
        (Self::Accept, "accept"),
        (Self::Connect, "connect"),
        (Self::DataIn, "handle_packet: data"),
        (Self::Recv, "recv"),
        (Self::Send, "send"),
        (Self::PacketOut, "poll_transmit"),
        (Self::NothingOut, "poll_transmit: none of all has anything"),
        (Self::Local, "poll_transmit: between our own addresses"),
        (Self::Event, "poll_event"),
        (Self::NextTimeout, "poll_timeout"),
        (Self::KeepAlive, "handle_timeout: keep-alive of all"),
        (Self::Retransmit, "handle_timeout: retransmission"),
        (Self::CloseListener, "close_listener, with waiting ones"),
        (Self::ListenersRest, "handle_timeout: what it has left"),
        (Self::Close, "close"),
        (Self::FinIn, "handle_packet: a FIN, to TIME-WAIT"),
        (Self::TimeWaitOver, "handle_timeout: TIME-WAIT"),
        (Self::ShutDown, "shut_down"),
        (Self::ShutDownRest, "handle_timeout: what it has left"),
    ];
}

/// What is known of the calls of one kind.
#[derive(Clone, Debug, Default)]
struct Record {
    nanos: Vec<u32>,
    /// Calls counted under callgrind so far.
    counted: usize,
    /// The longest of these, as it took under callgrind.
    longest: Duration,
    instructions: u64,
}

#[derive(Debug)]
pub(super) struct Gauge {
    records: Vec<Record>,
    sample: usize,
    /// Instructions are counted now.
    watching: bool,
    profile: Option<PathBuf>,
    dumps: u32,
}

impl Gauge {
    pub(super) fn new(sample: usize, profile: Option<PathBuf>) -> Self {
        let records = vec![Record::default(); Kind::ALL.len()];
        Self { records, sample, watching: true, profile, dumps: 0 }
    }

    /// Whether the calls from now on are those that are to be counted.
    pub(super) fn watch(&mut self, watching: bool) {
        self.watching = watching;
    }

    /// How many calls of a kind are counted.
    pub(super) fn sample(&self) -> usize {
        self.sample
    }

    /// Makes a call.
    pub(super) fn time<R>(&mut self, kind: Kind, call: impl FnOnce() -> R) -> R {
        let counts = self.profile.is_some() && self.watching;
        let place = Kind::ALL.iter().position(|(known, _)| *known == kind).unwrap_or(0);
        let counts = counts && self.records.get(place).is_some_and(|record| record.counted < self.sample);
        if counts {
            count_begins();
        }
        let begin = Instant::now();
        let result = call();
        let took = begin.elapsed();
        if let Some(record) = self.records.get_mut(place).filter(|_| counts) {
            record.counted += 1;
            // Reading a count costs a file, so only those that may be the greatest are read.
            if took * 2 > record.longest {
                record.longest = record.longest.max(took);
                count_ends();
                self.read_count(place);
            }
        }
        if let Some(record) = self.records.get_mut(place) {
            record.nanos.push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
        }
        result
    }

    /// Reads what callgrind has written at `count_ends`.
    fn read_count(&mut self, place: usize) {
        self.dumps += 1;
        let Some(profile) = &self.profile else { return };
        let mut path = profile.clone().into_os_string();
        path.push(format!(".{}", self.dumps));
        let text = fs::read_to_string(&path).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("summary:"));
        let count = count.and_then(|count| count.trim().parse().ok()).unwrap_or(0);
        let _gone = fs::remove_file(path);
        if let Some(record) = self.records.get_mut(place) {
            record.instructions = record.instructions.max(count);
        }
    }

    pub(super) fn print(&mut self) {
        println!(
            "| call | calls | p50 ns | p99.9 ns | longest ns | most instructions |\n|---|---|---|---|---|---|"
        );
        for ((_, name), record) in Kind::ALL.iter().zip(&mut self.records) {
            let nanos = &mut record.nanos;
            nanos.sort_unstable();
            let last = nanos.len().saturating_sub(1);
            let at = |permille: usize| nanos.get(last * permille / 1000).copied().unwrap_or(0);
            let instructions = match record.instructions {
                0 => String::new(),
                count => count.to_string(),
            };
            let (calls, p50, p999, longest) = (nanos.len(), at(500), at(999), at(1000));
            println!("| {name} | {calls} | {p50} | {p999} | {longest} | {instructions} |");
        }
    }
}

/// Callgrind sets its counts to zero here, by `--zero-before`.
#[inline(never)]
fn count_begins() {
    black_box("begins");
}

/// Callgrind writes its counts here, by `--dump-before`.
#[inline(never)]
fn count_ends() {
    black_box("ends");
}
