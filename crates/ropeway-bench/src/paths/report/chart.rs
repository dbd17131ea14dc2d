//! The picture: each cell's goodput beside Linux's, with its spread, an axis for each congestion control.

use ropeway_plot::{Axis, Chart, Look, Row};

use super::super::results::Results;
use super::{COMPARED, CONGESTION, LEAST};
use crate::grid::cell::Cell;

/// The highest ratio that is shown as it is.
const MOST: f64 = 1.6;

/// The picture as an SVG document.
pub(super) fn chart(cells: &[Cell], results: &Results) -> String {
    let axis = |congestion: super::Congestion| Axis {
        heading: congestion.name().to_owned(),
        most: MOST,
        limit: Some(LEAST),
        even: Some(1.0),
    };
    let chart = Chart {
        title: "Goodput over emulated paths, beside Linux's".to_owned(),
        note: format!(
            "dot: the median of the runs; line: the least and the greatest; beyond {MOST}: at the edge"
        ),
        contenders: COMPARED.map(|stack| stack.title().to_owned()).to_vec(),
        axes: CONGESTION.map(axis).to_vec(),
        rows: rows(cells, results),
        look: Look::Dots,
    };
    chart.svg()
}

fn rows(cells: &[Cell], results: &Results) -> Vec<Row> {
    let (mut rows, mut group) = (Vec::new(), "");
    for cell in cells {
        if cell.group != group {
            group = cell.group;
            rows.push(Row::Heading(group.to_owned()));
        }
        let ratios = |congestion| COMPARED.map(|stack| results.ratio(&cell.name, congestion, stack)).to_vec();
        rows.push(Row::Values(cell.name.clone(), CONGESTION.map(ratios).to_vec()));
    }
    rows
}
