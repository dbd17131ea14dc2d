//! The picture: each cell's goodput beside Linux's, with its spread, a panel for each congestion control.

use svg::Document;
use svg::node::element::{Circle, Group, Line, Rectangle, Style, Text, Title};

use super::super::results::{Results, Spread};
use super::super::{Congestion, Contender};
use super::{COMPARED, CONGESTION, LEAST};
use crate::grid::cell::Cell;

/// Of the names of the cells, of a panel, and between two.
const NAMES: f64 = 390.0;
const PANEL: f64 = 380.0;
const GAP: f64 = 24.0;
const WIDTH: f64 = NAMES + 2.0 * (PANEL + GAP);
/// Above the panels, and below them.
const HEAD: f64 = 84.0;
const FOOT: f64 = 36.0;
/// Of a cell, and of a heading.
const ROW: f64 = 26.0;
const HEADING: f64 = 24.0;
/// The highest ratio that is shown as it is, and the steps of the grid.
const MOST: f64 = 1.6;
const STEP: f64 = 0.2;
const STEPS: u32 = 8;

/// The picture as an SVG document.
pub(super) fn chart(cells: &[Cell], results: &Results) -> String {
    let (rows, bottom) = rows(cells);
    let mut document = Document::new()
        .set("viewBox", (0, 0, WIDTH, bottom + FOOT))
        .set("width", WIDTH)
        .set("height", bottom + FOOT)
        .set("role", "img")
        .add(Title::new("Goodput over emulated paths, beside Linux's"))
        .add(Style::new(include_str!("style.css")))
        .add(Rectangle::new().set("class", "page").set("width", WIDTH).set("height", bottom + FOOT))
        .add(label(12.0, 26.0, "title", "Goodput over emulated paths, beside Linux's"))
        .add(legend());
    for (place, congestion) in CONGESTION.into_iter().enumerate() {
        let left = NAMES + place as f64 * (PANEL + GAP);
        document = document.add(frame(left, bottom, congestion));
    }
    for row in rows {
        document = match row {
            Row::Heading(heading, y) => document.add(label(12.0, y + 17.0, "heading", heading)),
            Row::Cell(cell, y) => document.add(marks(cell, y, results)),
        };
    }
    format!("{document}\n")
}

/// What stands below what, and where.
enum Row<'a> {
    Heading(&'static str, f64),
    Cell(&'a Cell, f64),
}

fn rows(cells: &[Cell]) -> (Vec<Row<'_>>, f64) {
    let (mut rows, mut y, mut group) = (Vec::new(), HEAD, "");
    for cell in cells {
        if cell.group != group {
            group = cell.group;
            rows.push(Row::Heading(group, y));
            y += HEADING;
        }
        rows.push(Row::Cell(cell, y));
        y += ROW;
    }
    (rows, y + 6.0)
}

fn legend() -> Group {
    let mut group = Group::new();
    for (place, stack) in COMPARED.into_iter().enumerate() {
        let x = 18.0 + place as f64 * 130.0;
        group = group.add(dot(x, 46.0, stack)).add(label(x + 9.0, 50.0, "note", stack.title()));
    }
    group.add(label(
        18.0 + 3.0 * 130.0,
        50.0,
        "note",
        "dot: the median of the runs; bar: the least and the greatest; beyond 1.6: at the edge",
    ))
}

/// A panel without its marks.
fn frame(left: f64, bottom: f64, congestion: Congestion) -> Group {
    let mut group = Group::new().add(label(left, HEAD - 12.0, "heading", congestion.name()));
    for step in 0..=STEPS {
        let ratio = f64::from(step) * STEP;
        group = group.add(upright(left, ratio, bottom, "grid")).add(
            label(left + across(ratio), bottom + 16.0, "note", &format!("{ratio:.1}"))
                .set("text-anchor", "middle"),
        );
    }
    let frame = Rectangle::new().set("class", "frame").set("x", left).set("y", HEAD);
    group
        .add(upright(left, 1.0, bottom, "even"))
        .add(upright(left, LEAST, bottom, "least"))
        .add(frame.set("width", PANEL).set("height", bottom - HEAD))
}

/// The marks of a cell in both panels, with its name.
fn marks(cell: &Cell, y: f64, results: &Results) -> Group {
    let mut group = Group::new().add(label(24.0, y + 16.0, "name", &cell.name));
    for (place, congestion) in CONGESTION.into_iter().enumerate() {
        let left = NAMES + place as f64 * (PANEL + GAP);
        for (line, stack) in COMPARED.into_iter().enumerate() {
            let Some(ratio) = results.ratio(&cell.name, congestion, stack) else { continue };
            group = group.add(mark(left, y + 6.0 + line as f64 * 7.0, ratio, stack));
        }
    }
    group
}

fn mark(left: f64, y: f64, ratio: Spread, stack: Contender) -> Group {
    let bar = line((left + across(ratio.least), y), (left + across(ratio.greatest), y));
    let text = format!("{}: {:.3} ({:.3}..{:.3})", stack.title(), ratio.median, ratio.least, ratio.greatest);
    Group::new().add(Title::new(text)).add(bar.set("class", format!("spread {}", stack.name()))).add(dot(
        left + across(ratio.median),
        y,
        stack,
    ))
}

fn dot(x: f64, y: f64, stack: Contender) -> Circle {
    Circle::new().set("class", stack.name()).set("cx", pixels(x)).set("cy", pixels(y)).set("r", 3)
}

fn upright(left: f64, ratio: f64, bottom: f64, class: &'static str) -> Line {
    let x = left + across(ratio);
    line((x, HEAD), (x, bottom)).set("class", class)
}

fn line(from: (f64, f64), to: (f64, f64)) -> Line {
    Line::new()
        .set("x1", pixels(from.0))
        .set("y1", pixels(from.1))
        .set("x2", pixels(to.0))
        .set("y2", pixels(to.1))
}

fn label(x: f64, y: f64, class: &'static str, text: &str) -> Text {
    Text::new(text).set("class", class).set("x", pixels(x)).set("y", pixels(y))
}

/// How far from the left a ratio stands.
fn across(ratio: f64) -> f64 {
    ratio.clamp(0.0, MOST) / MOST * PANEL
}

/// To a tenth of a pixel.
fn pixels(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
