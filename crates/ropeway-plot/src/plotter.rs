//! Listens to stacks, and gives what there is to be drawn.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io};

use ropeway_core::events::{SEGMENT, SENDER};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::draw;
use crate::event::{Ends, Told};
use crate::recording::Recording;

/// How many ends of connections a plotter keeps, unless it is told otherwise: some megabytes each at most.
const MOST: usize = 32;

/// Listens to stacks through tracing. Clones of it are one.
#[derive(Clone)]
pub struct Plotter(Arc<Mutex<Heard>>);

struct Heard {
    most: usize,
    /// Of each connection, in microseconds since its first segment.
    span: Range<u64>,
    /// In the order in which they began.
    recordings: Vec<(Ends, Recording)>,
    /// The last one of each connection.
    last: HashMap<Ends, usize>,
    left_out: u64,
}

impl Default for Plotter {
    fn default() -> Self {
        Self::with_limit(MOST)
    }
}

impl Plotter {
    /// A plotter that keeps so many ends of connections: the first ones that are heard of.
    #[must_use]
    pub fn with_limit(most: usize) -> Self {
        let span = 0..u64::MAX;
        let heard = Heard { most, span, recordings: Vec::new(), last: HashMap::new(), left_out: 0 };
        Self(Arc::new(Mutex::new(heard)))
    }

    /// Keeps of each connection only what happens in a span of time since its first segment, such as a loss to be seen
    /// closely. Holds for connections that are not heard of yet.
    #[must_use]
    pub fn within(self, span: &Range<Duration>) -> Self {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.lock().span = micros(span.start)..micros(span.end);
        self
    }

    /// What is to be added to a subscriber. It has a filter of its own, and leaves all other events to others.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let wanted =
            Targets::new().with_targets([(SEGMENT, LevelFilter::TRACE), (SENDER, LevelFilter::TRACE)]);
        Listening(self.clone()).with_filter(wanted)
    }

    /// What has been heard so far, one end of a connection each, in the order in which they began. Of connections that
    /// had ended before the span there is nothing.
    #[must_use]
    pub fn pictures(&self) -> Vec<Picture> {
        let heard = self.lock();
        let picture = |(ends, recording): &(Ends, Recording)| {
            let (local, remote) = ends.clone();
            Picture { local, remote, recording: recording.clone() }
        };
        heard.recordings.iter().filter(|(_, recording)| recording.has_begun()).map(picture).collect()
    }

    /// How many events there were of connections beyond the limit, which are not kept.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.lock().left_out
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn hear(&mut self, ends: Ends, told: &Told) {
        let known = self.last.get(&ends).copied();
        let current = known.and_then(|index| self.recordings.get_mut(index));
        if let Some((_, recording)) = current.filter(|(_, recording)| recording.is_of(told)) {
            recording.hear(told);
        } else if self.recordings.len() < self.most {
            let mut recording = Recording::of(self.span.clone());
            recording.hear(told);
            self.last.insert(ends.clone(), self.recordings.len());
            self.recordings.push((ends, recording));
        } else {
            self.left_out += 1;
        }
    }
}

/// The layer: it can be made by [`Plotter::layer`] only, with the filter that belongs to it.
struct Listening(Plotter);

impl<S: Subscriber> Layer<S> for Listening {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if let Some((ends, told)) = Told::read(event) {
            self.0.lock().hear(ends, &told);
        }
    }
}

/// One end of a connection, to be drawn.
#[derive(Clone, Debug)]
pub struct Picture {
    local: String,
    remote: String,
    recording: Recording,
}

impl Picture {
    /// This end's address and port.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The other end's.
    #[must_use]
    pub fn remote(&self) -> &str {
        &self.remote
    }

    /// How many bytes this end has sent until then, each counted once.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.recording.sent.bytes()
    }

    /// How many bytes have arrived at this end until then, each counted once.
    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        self.recording.received.bytes()
    }

    /// The picture, as an SVG document.
    #[must_use]
    pub fn svg(&self, title: &str) -> String {
        draw::picture(&self.recording, title, &format!("{} to {}", self.local, self.remote))
    }

    /// Writes the picture to a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be written: one line that names it.
    pub fn write(&self, title: &str, path: &Path) -> io::Result<()> {
        fs::write(path, self.svg(title)).map_err(|error| cannot_write(path, &error))
    }
}

/// Reads a span of time in seconds, such as `2..2.5`, for command lines.
///
/// # Errors
///
/// What such a span looks like.
pub fn parse_span(text: &str) -> Result<Range<Duration>, String> {
    let seconds = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
    let span = text.split_once("..").and_then(|(from, until)| Some(seconds(from)?..seconds(until)?));
    span.filter(|span| !span.is_empty()).ok_or_else(|| "expected a span of seconds such as 2..2.5".to_owned())
}

/// Whether a picture can be written there: for those who want to know it before they begin. The file is there then, empty.
///
/// # Errors
///
/// When the file cannot be written: one line that names it.
pub fn prepare(path: &Path) -> io::Result<()> {
    fs::File::create(path).map(drop).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let millis = Duration::from_millis;
        assert_eq!(parse_span("2..2.5"), Ok(millis(2000)..millis(2500)));
        assert_eq!(parse_span("0..1e-3"), Ok(millis(0)..millis(1)));
        for nonsense in ["", "2", "..", "2..", "3..2", "2..2", "-1..2", "nan..1", "0..inf", "a..b"] {
            assert!(parse_span(nonsense).unwrap_err().contains("2..2.5"), "{nonsense}");
        }
    }
}
