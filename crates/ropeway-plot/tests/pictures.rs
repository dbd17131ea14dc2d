//! What the pictures of scripted transfers have on them. Times are virtual, so each mark is known.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use ropeway_core::StackConfig;
use ropeway_plot::{Picture, Plotter};
use ropeway_sim::pair::{Crossing, Fate, Op, Pair, secs};
use svg::node::element::tag::Type;
use svg::parser::Event;
use tracing_subscriber::layer::SubscriberExt;

const MILLI: Duration = Duration::from_millis(1);

/// A path of 20 Mbit/s with round trips of 40 ms.
fn path(change: impl Fn(&mut StackConfig)) -> Pair {
    let mut pair = Pair::with(|_, config| change(config));
    pair.delay = [20 * MILLI; 2];
    pair.rate = Some(2_500_000);
    pair
}

/// What A and B see of a transfer from A to B.
fn transfer(plotter: &Plotter, mut pair: Pair, bytes: usize) -> Vec<Picture> {
    pair.watch = None;
    let subscriber = tracing_subscriber::registry().with(plotter.layer());
    tracing::subscriber::with_default(subscriber, || {
        pair.converse(
            &[Op::Send(bytes), Op::ShutdownWrite, Op::RecvEof, Op::Close],
            &[Op::Recv(bytes), Op::RecvEof, Op::Close],
        );
        pair.live(secs(600));
    });
    plotter.pictures()
}

/// The sender's picture, read back.
fn of_sender(pair: Pair, bytes: usize) -> Drawing {
    Drawing::of(&transfer(&Plotter::default(), pair, bytes)[0])
}

/// Drops the data segments of A with these numbers, counted from 0.
fn without(numbers: Range<usize>) -> impl FnMut(&Crossing<'_>) -> Fate {
    let mut data = 0;
    move |crossing| {
        if crossing.from == 1 || crossing.packet.len() < 500 {
            return Fate::Deliver;
        }
        data += 1;
        if numbers.contains(&(data - 1)) { Fate::Drop } else { Fate::Deliver }
    }
}

/// What is on a picture.
#[derive(Debug, Default)]
struct Drawing {
    /// The pieces of each path that is not of a legend: class, outlines, and how much it stands for.
    paths: BTreeMap<String, (usize, Option<u64>)>,
    texts: Vec<String>,
    size: usize,
}

impl Drawing {
    fn of(picture: &Picture) -> Self {
        let svg = picture.svg("a <title> & more");
        let mut drawing = Self { size: svg.len(), ..Self::default() };
        let mut depth_of_legend = 0;
        for event in svg::read(&svg).unwrap() {
            match event {
                Event::Error(error) => panic!("{error} in {svg}"),
                Event::Tag("g", Type::Start, attributes) => {
                    let legend = attributes.get("class").is_some_and(|class| &**class == "legend");
                    depth_of_legend += usize::from(legend || depth_of_legend > 0);
                }
                Event::Tag("g", Type::End, _) => depth_of_legend = depth_of_legend.saturating_sub(1),
                Event::Tag("path", _, attributes) if depth_of_legend == 0 => {
                    let class = attributes.get("class").map_or(String::new(), |class| class.to_string());
                    let pieces = attributes.get("d").map_or(0, |data| data.matches('M').count());
                    let count = attributes.get("data-count").and_then(|count| count.parse().ok());
                    assert!(!attributes.get("d").is_some_and(|data| data.contains("NaN")), "{class}");
                    // Each panel has a grid.
                    let known = drawing.paths.insert(class.clone(), (pieces, count)).is_some();
                    assert!(!known || class == "grid", "{class}");
                }
                Event::Text(text) if !text.contains('{') => drawing.texts.push(text.trim().to_owned()),
                _ => {}
            }
        }
        drawing
    }

    fn count(&self, class: &str) -> Option<u64> {
        self.paths.get(class)?.1
    }

    fn has(&self, class: &str) -> bool {
        self.paths.get(class).is_some_and(|(pieces, _)| *pieces > 0)
    }

    fn says(&self, text: &str) -> bool {
        self.texts.iter().any(|own| own == text)
    }

    /// The classes of retransmissions, and how many there were.
    fn again(&self) -> Vec<(&str, u64)> {
        let again = |(class, (_, count)): &(&'_ String, &(usize, Option<u64>))| {
            class.strip_prefix("again ").zip(*count).is_some()
        };
        let again = self.paths.iter().filter(again);
        again.map(|(class, (_, count))| (class.strip_prefix("again ").unwrap(), count.unwrap())).collect()
    }
}

#[test]
fn a_transfer_without_losses_has_each_line_and_no_mark_of_trouble() {
    let drawing = of_sender(path(|_| {}), 100_000);
    let lines = ["edge", "ack", "cwnd", "in_flight", "srtt", "min_rtt", "pacing_rate", "delivery_rate"];
    for line in lines {
        assert!(drawing.has(&format!("line {line}")), "{line} in {drawing:?}");
    }
    // 69 segments of data, the SYN, and perhaps a FIN of its own.
    assert!(matches!(drawing.count("marks data"), Some(70..=71)), "{drawing:?}");
    let trouble = ["marks sack", "marks dsack", "line timeout", "line undone", "Recovery", "Loss"];
    assert!(drawing.again().is_empty() && !trouble.iter().any(|class| drawing.has(class)), "{drawing:?}");
    assert!(drawing.says("SYN") && drawing.says("FIN"));
    assert!(drawing.texts.iter().any(|text| text.contains("100 kB sent and 0 B received")), "{drawing:?}");
}

#[test]
fn both_ends_are_drawn_as_they_see_it() {
    let pictures = transfer(&Plotter::default(), path(|_| {}).fate(without(20..21)), 100_000);
    let ends: Vec<_> =
        pictures.iter().map(|picture| (picture.bytes_sent(), picture.bytes_received())).collect();
    assert_eq!(ends, [(100_000, 0), (0, 100_000)]);
    assert_eq!((pictures[0].local(), pictures[0].remote()), (pictures[1].remote(), pictures[1].local()));
    let receiver = Drawing::of(&pictures[1]);
    assert_eq!((receiver.count("marks late"), receiver.again()), (Some(1), vec![]), "{receiver:?}");
    assert!(receiver.has("marks sack") && receiver.says("out of order: 1"));
}

#[test]
fn a_loss_is_marked_with_what_found_it() {
    let drawing = of_sender(path(|_| {}).fate(without(20..23)), 200_000);
    assert_eq!(drawing.again(), [("rack", 3)]);
    assert!(drawing.says("again: RACK: 3") && drawing.has("marks sack") && drawing.has("Recovery"));

    let drawing = of_sender(path(|config| config.rack = false).fate(without(20..21)), 200_000);
    assert_eq!(drawing.again(), [("sack-lost", 1)]);

    let drawing = of_sender(path(|config| config.sack = false).fate(without(20..22)), 200_000);
    assert_eq!(drawing.again(), [("dupack", 1), ("partial_ack", 1)]);
    assert!(!drawing.has("marks sack"));
}

#[test]
fn a_lost_tail_has_a_probe_and_a_long_silence_a_timeout() {
    // The last segment, and the FIN behind it.
    let drop_tail = |crossing: &Crossing<'_>| {
        let is_tail = crossing.from == 0 && (70..72).contains(&crossing.number_this_way);
        if is_tail { Fate::Drop } else { Fate::Deliver }
    };
    let tail = of_sender(path(|_| {}).fate(drop_tail), 100_000);
    assert!(tail.again().contains(&("tlp", 1)) && tail.says("tail loss probe: 1"), "{tail:?}");

    let silence = of_sender(path(|_| {}).fate(without(30..80)), 200_000);
    assert!(silence.again().iter().any(|(cause, count)| *cause == "rto" && *count > 0), "{silence:?}");
    assert!(silence.has("line timeout") && silence.has("Loss"), "{silence:?}");
}

#[test]
fn what_was_only_late_is_undone() {
    let mut data = 0;
    let late = path(|_| {}).fate(move |crossing| {
        data += usize::from(crossing.from == 0 && crossing.packet.len() > 500);
        if data == 25 { Fate::Late(30 * MILLI) } else { Fate::Deliver }
    });
    let drawing = of_sender(late, 200_000);
    assert!(drawing.has("line undone") && drawing.has("marks dsack"), "{drawing:?}");
}

#[test]
fn of_a_span_only_what_happens_in_it_is_drawn() {
    let span = |from: u32, until: u32| {
        let plotter = Plotter::default().within(&(from * MILLI..until * MILLI));
        let pictures = transfer(&plotter, path(|_| {}).fate(without(20..23)), 200_000);
        pictures.first().map(Drawing::of)
    };
    let start = span(0, 50).unwrap();
    assert!(start.says("SYN") && !start.says("FIN") && start.again().is_empty(), "{start:?}");
    let rest = span(50, 10_000).unwrap();
    assert!(!rest.says("SYN") && rest.says("FIN"), "{rest:?}");
    assert_eq!(rest.again(), [("rack", 3)]);
    assert!(
        rest.texts.iter().any(|text| text.ends_with("from 50 ms on, 3 sent again or as probes")),
        "{rest:?}"
    );
    assert!(span(1_000_000, 1_000_001).is_none());
}

#[test]
fn much_data_makes_no_large_picture() {
    let mut lossy = path(|_| {});
    lossy.rate = Some(125_000_000);
    let drawing = of_sender(
        lossy.fate(|crossing| if crossing.number % 97 == 50 { Fate::Drop } else { Fate::Deliver }),
        20_000_000,
    );
    assert!(drawing.count("marks data").unwrap() > 13_000, "{:?}", drawing.paths);
    assert!(drawing.size < 400_000, "{} bytes", drawing.size);
}

#[test]
fn beyond_the_limit_events_are_counted_only() {
    let plotter = Plotter::with_limit(1);
    assert_eq!(transfer(&plotter, path(|_| {}), 1000).len(), 1);
    assert!(plotter.left_out() > 0);
}
