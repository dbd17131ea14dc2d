//! What the log says.

use std::cell::RefCell;
use std::fmt::{Debug, Write as _};
use std::sync::Once;

use ropeway_core::State;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::common::*;

thread_local! {
    /// What was logged on this thread.
    static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps what is logged at DEBUG and above, for each thread: tests run side by side.
struct Log;

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::DEBUG
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        TEXT.with_borrow_mut(|text| event.record(&mut Line(text)));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn logged(what: impl FnOnce()) -> String {
    // For the whole process: what was found to be of no interest to one thread's own would not be asked again.
    static SET: Once = Once::new();
    SET.call_once(|| tracing::subscriber::set_global_default(Log).unwrap());
    TEXT.take();
    what();
    TEXT.take()
}

// RFC 9293 3.1 MUST-7: "and log the error cause"
#[test]
fn an_illegal_option_length_is_logged() {
    let text = logged(|| {
        let (mut lab, id) = established();
        lab.send(data(b"evil").options(&[253, 0, 1, 1]));
        lab.assert_state(id, State::Closed);
    });
    assert!(text.contains("malformed TCP options: resetting the connection"), "{text}");
    assert!(text.contains("10.0.0.2:80"), "{text}");
}

// RFC 7323 2.3-3
#[test]
fn a_window_scale_above_14_is_logged() {
    for shift in [14, 15, 255] {
        let text = logged(|| {
            let mut lab = Lab::new();
            lab.listen();
            lab.send(syn().ws(shift));
            lab.expect(syn_ack());
        });
        assert_eq!(text.contains(&format!("shift={shift} ")), shift > 14, "{text}");
    }
}
