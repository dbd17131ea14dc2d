//! Records what happens: the packets that cross a device, and the changes of state that the stack reports.

use std::fmt::Debug;
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ropeway::State;
use ropeway::events::STATE;
use ropeway_packet::{Protocol, ip, parse_tcp};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::capture::Capture;
use ropeway_sim::ladder::{Change, Crossing, Crossings};

/// A shared recording.
#[derive(Clone)]
pub struct Recorder(Arc<Mutex<Recording>>);

struct Recording {
    crossings: Crossings,
    changes: Vec<Change>,
    capture: Capture,
}

impl Recorder {
    /// Starts a recording; whole packets also go to `capture`.
    #[must_use]
    pub fn start(capture: Capture) -> Self {
        let (crossings, changes) = (Crossings::default(), Vec::new());
        Self(Arc::new(Mutex::new(Recording { crossings, changes, capture })))
    }

    /// What listens to the stack. It has a filter of its own, and leaves all other events to others.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        Listening(self.clone()).with_filter(Targets::new().with_target(STATE, LevelFilter::DEBUG))
    }

    /// What is to see each packet that crosses.
    pub fn hook(&self) -> impl FnMut(SystemTime, &[u8]) + Send + use<> {
        let recorder = self.clone();
        move |time, packet| recorder.packet(time, packet)
    }

    /// Records a packet that crossed at `time`.
    fn packet(&self, time: SystemTime, packet: &[u8]) {
        let mut recording = self.lock();
        recording.capture.write(time, packet);
        if let Some(crossing) = parse(time, packet) {
            recording.crossings.push(crossing);
        }
    }

    /// Gives what has been recorded.
    #[must_use]
    pub fn finish(&self) -> (Crossings, Vec<Change>) {
        let mut recording = self.lock();
        (mem::take(&mut recording.crossings), mem::take(&mut recording.changes))
    }

    /// Whether an end at `local` has reported `state`.
    #[must_use]
    pub fn has_seen(&self, local: SocketAddr, state: State) -> bool {
        self.lock().changes.iter().any(|change| change.local == local && change.to == state)
    }

    fn lock(&self) -> MutexGuard<'_, Recording> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(at: SystemTime, packet: &[u8]) -> Option<Crossing> {
    let ip = ip::parse(packet).ok()?;
    if ip.protocol != Protocol::TCP || ip.fragment.is_some() {
        return None;
    }
    let (src, dst) = (ip.src, ip.dst);
    let segment = parse_tcp(packet, ip, false).ok()?;
    let header = segment.tcp;
    Some(Crossing {
        at,
        from: SocketAddr::new(src, header.src_port),
        to: SocketAddr::new(dst, header.dst_port),
        len: segment.payload.len(),
        start: Crossing::start(packet.get(segment.payload).unwrap_or_default()),
        header,
    })
}

/// The layer: it can be made by [`Recorder::layer`] only, with the filter that belongs to it.
struct Listening(Recorder);

impl<S: Subscriber> Layer<S> for Listening {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (Some(local), Some(remote), Some(to)) = (fields.local, fields.remote, fields.to) else {
            return;
        };
        let mut recording = self.0.lock();
        let after = recording.crossings.len();
        recording.changes.push(Change { local, remote, to, after });
    }
}

/// The fields of a change of state.
#[derive(Default)]
struct Fields {
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    to: Option<State>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "local" => self.local = text.parse().ok(),
            "remote" => self.remote = text.parse().ok(),
            "to" => self.to = State::ALL.into_iter().find(|state| state.to_string() == text),
            _ => {}
        }
    }
}
