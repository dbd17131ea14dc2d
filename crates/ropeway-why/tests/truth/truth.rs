//! What the simulated stacks tell of their own retransmissions.

use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// A segment that was sent again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) local: String,
    pub(crate) seq: u32,
    pub(crate) len: u64,
    pub(crate) cause: String,
    is_sent: bool,
    is_again: bool,
}

#[derive(Clone, Default)]
pub(crate) struct Listener(Arc<Mutex<Vec<Sent>>>);

impl Listener {
    pub(crate) fn listen<T>(&self, during: impl FnOnce() -> T) -> T {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(self.clone()), during)
    }

    pub(crate) fn told(&self) -> Vec<Sent> {
        self.0.lock().expect("nobody panicked").clone()
    }
}

impl<S: Subscriber> Layer<S> for Listener {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == ropeway::events::SEGMENT
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut sent = Sent::default();
        event.record(&mut sent);
        if sent.is_sent && sent.is_again {
            self.0.lock().expect("nobody panicked").push(sent);
        }
    }
}

impl Visit for Sent {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "seq" => self.seq = value as u32,
            "len" => self.len = value,
            _ => {}
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.is_again |= field.name() == "retransmission" && value;
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let value = format!("{value:?}");
        match field.name() {
            "local" => self.local = value,
            "cause" => self.cause = value,
            "direction" => self.is_sent = value == "sent",
            _ => {}
        }
    }
}
