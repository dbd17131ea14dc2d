//! How a retransmission looks, by its cause.

/// A cause, its class, what the legend says, and the outline of its mark, which begins at its middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glyph {
    pub(super) class: &'static str,
    pub(super) label: &'static str,
    pub(super) outline: &'static str,
}

const fn glyph(class: &'static str, label: &'static str, outline: &'static str) -> Glyph {
    Glyph { class, label, outline }
}

const DIAMOND: &str = "m0-4l4 4l-4 4l-4-4z";
const UP: &str = "m0-4l4 7h-8z";
const DOWN: &str = "m0 4l4-7h-8z";
const CROSS: &str = "m-4-4l8 8m0-8l-8 8";
const SQUARE: &str = "m-3-3h6v6h-6z";
const CIRCLE: &str = "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0";
const PLUS: &str = "m-4 0h8m-4-4v8";

impl Glyph {
    /// The mark of a cause, as the stack names it.
    pub(super) fn of(cause: &str) -> Self {
        match cause {
            "rack" => glyph("rack", "again: RACK", DIAMOND),
            "sack" => glyph("sack-lost", "again: SACK blocks", DIAMOND),
            "dupack" => glyph("dupack", "again: duplicate ACKs", UP),
            "partial_ack" => glyph("partial_ack", "again: partial ACK", DOWN),
            "rto" => glyph("rto", "again: timeout", CROSS),
            "reneging" => glyph("reneging", "again: reneging", PLUS),
            "pmtu" => glyph("pmtu", "again: path MTU", SQUARE),
            "fast_open" => glyph("fast_open", "again: not taken with the SYN", SQUARE),
            "tlp" => glyph("tlp", "tail loss probe", CIRCLE),
            "window_probe" => glyph("window_probe", "window probe", CIRCLE),
            "keep_alive" => glyph("keep_alive", "keep-alive probe", PLUS),
            _ => glyph("other", "again", SQUARE),
        }
    }
}
