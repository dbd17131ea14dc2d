//! A fingerprint of a whole stack: 128 bits of what its derived `Debug` says.
//!
//! `Debug` is derived, so that no field can be forgotten; the few types that write theirs by hand are listed in a test
//! with the reason why nothing is lost. What is left out on purpose stands in `UNSEEN`.

use std::fmt::{self, Write};

use ropeway_core::Stack;
use ropeway_core::congestion::Algorithm;

/// Fields that count or configure, and that nothing a stack does depends on: there is memory enough here.
const UNSEEN: [&str; 25] = [
    "spares",
    "ledger",
    "charged",
    "config",
    "counters",
    "handed",
    "segments_in",
    "segments_out",
    "retransmitted",
    "bytes_retransmitted",
    "delivered",
    "bytes_acked",
    "bytes_sent",
    "bytes_received",
    "last_data_received",
    "rwnd_limited",
    "busy_since",
    "busy",
    "sndbuf_limited",
    "data_segments_in",
    "data_segments_out",
    "out_of_order",
    "rto_events",
    "last_sample",
    "why",
];

/// Of these, what BBR's model of the path is made of.
const SEEN_BY_BBR: [&str; 1] = ["delivered"];

/// The fingerprint of a stack.
pub fn print_of(stack: &Stack) -> u128 {
    let models = stack.config().socket.congestion == Algorithm::Bbr;
    let mut sink = Sink { seen: String::with_capacity(8192), models, ..Sink::default() };
    write!(sink, "{stack:?}").unwrap();
    let mut mix = Mix::default();
    mix.bytes(sink.seen.as_bytes());
    mix.finish()
}

/// 128 bits out of many: multiply and fold, sixteen bytes at a time.
#[derive(Clone, Default)]
pub struct Mix {
    state: u128,
    len: u64,
    rest: [u8; 16],
    held: usize,
}

impl Mix {
    const FACTOR: u128 = 0x2d35_8dcc_aa6c_78a5_8bb8_4b93_962e_acc9;

    fn word(&mut self, word: u128) {
        let mixed = (self.state ^ word).wrapping_mul(Self::FACTOR);
        self.state = mixed ^ mixed.rotate_right(67);
    }

    pub fn bytes(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len() as u64;
        if self.held > 0 {
            let n = bytes.len().min(16 - self.held);
            self.rest[self.held..self.held + n].copy_from_slice(&bytes[..n]);
            self.held += n;
            bytes = &bytes[n..];
            if self.held < 16 {
                return;
            }
            self.word(u128::from_le_bytes(self.rest));
            self.held = 0;
        }
        let (words, rest) = bytes.as_chunks::<16>();
        for word in words {
            self.word(u128::from_le_bytes(*word));
        }
        self.rest[..rest.len()].copy_from_slice(rest);
        self.held = rest.len();
    }

    pub fn number(&mut self, number: u128) {
        self.bytes(&number.to_le_bytes());
    }

    pub fn finish(mut self) -> u128 {
        self.rest[self.held..].fill(0);
        self.word(u128::from_le_bytes(self.rest));
        self.word(u128::from(self.len));
        self.word(self.state >> 64);
        self.state
    }
}

/// Takes a derived `Debug` apart as it comes, and keeps what is to be seen.
#[derive(Default)]
struct Sink {
    seen: String,
    depth: usize,
    /// A congestion control depends on what was delivered.
    models: bool,
    /// A field name comes next.
    name_comes: bool,
    /// The depth of the field that is not to be seen.
    unseen: Option<usize>,
}

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match text {
            " { " => {
                self.depth += 1;
                self.name_comes = true;
            }
            ", " => {
                self.name_comes = true;
                if self.unseen == Some(self.depth) {
                    self.unseen = None;
                }
            }
            " }" | ", .. }" => {
                if self.unseen == Some(self.depth) {
                    self.unseen = None;
                }
                self.depth -= 1;
            }
            name => {
                let hidden = UNSEEN.contains(&name) && !(self.models && SEEN_BY_BBR.contains(&name));
                if std::mem::take(&mut self.name_comes) && self.unseen.is_none() && hidden {
                    self.unseen = Some(self.depth);
                }
            }
        }
        if self.unseen.is_none() {
            self.seen.push_str(text);
        }
        Ok(())
    }
}

/// Who writes `Debug` by hand, and why a fingerprint misses nothing.
const BY_HAND: [(&str, &str); 12] = [
    (
        "PartsMap",
        "an index: it follows from connections, listeners, bindings, TIME-WAIT, the SYN queue and probes",
    ),
    ("PacketPolicy", "the scenarios have none"),
    ("SynCookies", "keys: they are the same all along, and what follows from them and the clock"),
    ("FastOpenKeys", "keys: the same all along"),
    ("PortSelector", "the scenarios name their ports"),
    ("IsnGenerator", "keys: the same all along"),
    (
        "Identifications",
        "a key: the same all along; of its counters the sum, and nothing in the scenarios counts",
    ),
    ("Steering", "the scenarios have one shard"),
    ("Demux", "it follows from the rooms"),
    ("Pages", "says which slots are taken, and all that is in them"),
    ("Readiness", "says all of it"),
    ("Timestamp", "says all of it"),
];

#[test]
fn nothing_hides_from_the_fingerprint() {
    let mut found = Vec::new();
    let mut directories = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let by_hand = text.lines().filter(|line| line.starts_with("impl") && line.contains("Debug for "));
            found.extend(by_hand.map(|line| {
                let name = line.split("Debug for ").nth(1).unwrap();
                name.split(['<', ' ']).next().unwrap().to_string()
            }));
        }
    }
    found.sort();
    let mut known = BY_HAND.map(|(name, _)| name.to_string()).to_vec();
    known.sort();
    assert_eq!(found, known, "a Debug written by hand: does it hide something from the model check?");
}

#[test]
fn what_is_unseen_ends_where_it_should() {
    #[derive(Debug)]
    #[allow(dead_code, reason = "read by Debug")]
    struct Inner {
        busy: u32,
        kept: u32,
        list: Vec<u32>,
    }
    #[derive(Debug)]
    #[allow(dead_code, reason = "read by Debug")]
    struct Outer {
        counters: Inner,
        inner: Inner,
        last: Option<u32>,
    }
    let print = |counted: u32, busy: u32, kept: u32, item: u32, last: Option<u32>| {
        let inner = |busy, kept| Inner { busy, kept, list: vec![item, 9] };
        let outer = Outer { counters: inner(counted, counted), inner: inner(busy, kept), last };
        let mut sink = Sink::default();
        write!(sink, "{outer:?}").unwrap();
        assert_eq!((sink.depth, sink.unseen), (0, None));
        sink.seen
    };
    let one = print(1, 2, 3, 4, None);
    assert_eq!(print(8, 8, 3, 4, None), one);
    for other in [print(1, 2, 4, 4, None), print(1, 2, 3, 5, None), print(1, 2, 3, 4, Some(1))] {
        assert_ne!(other, one);
    }
}
