//! What charts have on them, for values that are known.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says what is wrong by failing")]

use ropeway_plot::{Axis, Chart, Look, Row, Spread};
use svg::node::element::tag::Type;
use svg::parser::Event;

fn spread(median: f64) -> Option<Spread> {
    Some(Spread { median, least: 0.9 * median, greatest: 1.1 * median })
}

fn chart(look: Look) -> Chart {
    Chart {
        title: "a title".to_owned(),
        note: "a note".to_owned(),
        contenders: ["ours", "theirs", "another"].map(str::to_owned).to_vec(),
        axes: vec![Axis { heading: "Gbit/s".to_owned(), most: 10.0, limit: None, even: None }],
        rows: vec![
            Row::Heading("plain".to_owned()),
            Row::Values("down".to_owned(), vec![vec![spread(4.0), None, spread(2.0)]]),
            Row::Values("up".to_owned(), vec![vec![spread(40.0)]]),
        ],
        look,
    }
}

/// The attribute of each element whose class begins with `class`.
fn attributes(svg: &str, class: &str, name: &str) -> Vec<f64> {
    let mut found = Vec::new();
    for event in svg::read(svg).unwrap() {
        let Event::Tag(_, Type::Empty | Type::Start, attributes) = event else { continue };
        if attributes.get("class").is_some_and(|value| value.starts_with(class)) {
            found.extend(attributes.get(name).map(|value| value.parse::<f64>().unwrap()));
        }
    }
    found
}

#[test]
fn bars_are_as_long_as_their_values_and_end_at_the_edge() {
    let svg = chart(Look::Bars).svg();
    let widths = attributes(&svg, "bar", "width");
    let [ours, another, beyond] = widths.try_into().unwrap();
    assert!((ours - 2.0 * another).abs() < 0.2, "{ours} {another}");
    assert!((beyond - 2.5 * ours).abs() < 0.2, "10 of 10, and not 40: {beyond} {ours}");
    for text in ["a title", "a note", "Gbit/s", "plain", "4.00", "2.00", "40.0 (beyond)", "theirs"] {
        assert!(svg.contains(text), "{text}");
    }
}

#[test]
fn rows_are_as_high_as_the_contenders_they_have_and_a_gap_takes_no_room() {
    let svg = chart(Look::Bars).svg();
    let places = attributes(&svg, "bar", "y");
    assert_eq!(places.len(), 3);
    assert!(places.windows(2).all(|pair| pair[1] >= pair[0] + 8.0), "bars lie on each other: {places:?}");
    assert!((places[1] - places[0] - 11.0).abs() < 0.1, "the gap has a lane: {places:?}");
}

#[test]
fn dots_stand_at_the_medians() {
    let places = attributes(&chart(Look::Dots).svg(), "contender", "cx");
    // Three of the legend come first.
    let [ours, another, beyond] = places[3..].try_into().unwrap();
    assert!((beyond - ours - 3.0 * (ours - another)).abs() < 0.3, "{ours} {another} {beyond}");
}

#[test]
fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
    assert_eq!(Spread::of(vec![]), None);
    let of = Spread::of(vec![4.0, 1.0, 2.0, 3.0]).unwrap();
    assert_eq!((of.median, of.least, of.greatest), (2.5, 1.0, 4.0));
}
