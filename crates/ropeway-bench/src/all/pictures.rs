//! The pictures: bars for each kind of load, and for each figure that matters of it.

use std::io;
use std::path::Path;
use std::{fs, iter};

use ropeway_plot::{Axis, Chart, Look, Row, Spread};

use super::load::{Load, Picture};
use crate::report::Report;

/// An axis ends at so many times the greatest value of the stack that counts: one that is far behind must not press the others
/// flat.
const BEYOND: f64 = 4.0;

/// Writes the pictures of what `report` has of these loads to `NAME-PICTURE.svg` in `folder`.
pub(super) fn write(report: &Report, loads: &[Load], folder: &Path, name: &str) -> io::Result<()> {
    let mut pictures: Vec<Picture> = Vec::new();
    for load in loads {
        if !pictures.contains(&load.picture()) {
            pictures.push(load.picture());
        }
    }
    for picture in pictures {
        let loads: Vec<Load> = loads.iter().copied().filter(|load| load.picture() == picture).collect();
        if let Some(chart) = chart(report, picture, &loads) {
            fs::write(folder.join(format!("{name}-{}.svg", picture.name)), chart.svg())?;
        }
    }
    Ok(())
}

/// Bars of these loads; nothing, if none of them has been run.
fn chart(report: &Report, picture: Picture, loads: &[Load]) -> Option<Chart> {
    let figures = picture.figures;
    let stacks: Vec<&str> = report.stacks_of(|scenario| loads.iter().any(|load| load.name() == scenario));
    let spread =
        |load: &Load, figure: &str, stack: &str| Spread::of(report.values(&load.name(), figure, stack));
    let most = |figure: &str| {
        let of = |stack: &str| -> f64 {
            let spreads = loads.iter().filter_map(|load| spread(load, figure, stack));
            spreads.map(|spread| spread.greatest).fold(0.0, f64::max)
        };
        let all = stacks.iter().map(|stack| of(stack)).fold(0.0, f64::max);
        let first = stacks.first().map_or(0.0, |stack| of(stack));
        all.min(if first > 0.0 { BEYOND * first } else { all })
    };
    let axis = |figure: &&str| Axis {
        heading: (*figure).to_owned(),
        most: 1.02 * most(figure),
        limit: None,
        even: None,
    };
    let row = |load: &Load| {
        let values = |figure: &&str| stacks.iter().map(|stack| spread(load, figure, stack)).collect();
        Row::Values(load.name(), figures.iter().map(values).collect())
    };
    let rows = iter::once(Row::Heading(picture.heading.to_owned())).chain(loads.iter().map(row));
    (!stacks.is_empty()).then(|| Chart {
        title: format!("{}: every stack beside every other one", picture.heading),
        note: "bar: the median of the rounds; line: the least and the greatest; beyond the axis: cut, with its value".to_owned(),
        contenders: stacks.iter().map(|stack| (*stack).to_owned()).collect(),
        axes: figures.iter().map(axis).collect(),
        rows: rows.collect(),
        look: Look::Bars,
    })
}
