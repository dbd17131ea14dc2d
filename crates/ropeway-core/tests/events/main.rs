//! What a stack tells through tracing: segments and senders, field by field (`ropeway_core::events`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod causes;
#[path = "../common/mod.rs"]
mod common;
mod exact;
mod fields;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Once;

use common::{Lab, Peer};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// A peer that permits SACK.
const SACK: Peer = Peer { mss: Some(1460), ws: None, ts: false, sack: true, win: 65_535 };

/// A lab without probes of the tail: after a handshake in no time, they would go out at once.
fn lab() -> Lab {
    Lab::with(|config| config.tlp = false)
}

/// An event, as text.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    target: &'static str,
    fields: BTreeMap<&'static str, String>,
}

impl Told {
    fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }

    fn number(&self, field: &str) -> u64 {
        self.get(field).parse().unwrap_or_else(|_| panic!("{field} of {self:?}"))
    }

    fn is_sent(&self) -> bool {
        self.get("direction") == "sent"
    }
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

thread_local! {
    static WANTED: Cell<Level> = const { Cell::new(Level::ERROR) };
    static EVENTS: RefCell<Vec<Told>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what is told on each thread by itself: tests run side by side.
struct Listener;

impl Subscriber for Listener {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        tracing::subscriber::Interest::sometimes()
    }
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= WANTED.get()
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut told = Told { target: event.metadata().target(), ..Told::default() };
        event.record(&mut told);
        told.fields.remove("message");
        EVENTS.with_borrow_mut(|events| events.push(told));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What is told while `what` happens, to one who wants that level.
fn told_at(level: Level, what: impl FnOnce()) -> Vec<Told> {
    static SET: Once = Once::new();
    SET.call_once(|| tracing::subscriber::set_global_default(Listener).unwrap());
    WANTED.set(level);
    EVENTS.take();
    what();
    WANTED.set(Level::ERROR);
    EVENTS.take()
}

/// The events of one target.
fn told(target: &str, what: impl FnOnce()) -> Vec<Told> {
    told_at(Level::TRACE, what).into_iter().filter(|told| told.target == target).collect()
}
