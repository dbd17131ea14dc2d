//! One panel: a frame with axes, lines and marks in it, and its legend.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use svg::node::element::{ClipPath, Group, Path, Rectangle, Text};

use super::glyph::Glyph;
use super::{LEFT, PLOT};
use crate::marks::{Mark, Marks};
use crate::scale::{Scale, TIME, Unit};
use crate::series::Series;
use crate::sheet::label;

/// What is lower than this cannot be seen.
const LOWEST: f64 = 2.0;

pub(super) struct Panel {
    heading: &'static str,
    class: &'static str,
    /// Where its frame begins, and how high that is.
    top: f64,
    height: f64,
    pub(super) time: Scale,
    pub(super) value: Scale,
    /// What is drawn within the frame.
    inside: Group,
    /// Samples and labels.
    legend: Vec<(Path, String)>,
    texts: Vec<Text>,
}

impl Panel {
    /// A panel for time and values between the ends of their scales.
    pub(super) fn new(
        heading: &'static str,
        class: &'static str,
        (top, height): (f64, f64),
        time: Scale,
        values: (f64, f64),
    ) -> Self {
        let value = Scale::new(values, (top + height, top));
        Self {
            heading,
            class,
            top,
            height,
            time,
            value,
            inside: Group::new(),
            legend: Vec::new(),
            texts: Vec::new(),
        }
    }

    /// A value over time: it stays as it is until the next point.
    pub(super) fn line(&mut self, series: &Series, class: &str, label: &str, end: f64) {
        if series.is_empty() {
            return;
        }
        let data = self.steps(series, end);
        self.inside = std::mem::take(&mut self.inside)
            .add(Path::new().set("class", format!("line {class}")).set("d", data));
        let beyond = series.points().iter().all(|point| point.least as f64 > self.value.most());
        let label = if beyond { format!("{label} (beyond)") } else { label.to_owned() };
        self.sample(&format!("line {class}"), "m-9 0h18", &label);
    }

    fn steps(&self, series: &Series, end: f64) -> String {
        let mut data = String::new();
        let mut column: Option<(f64, f64, f64, f64)> = None;
        // What is written may fail only for want of memory.
        let mut flush = |column: Option<(f64, f64, f64, f64)>, next: f64| {
            let Some((x, least, most, last)) = column else { return };
            let begins = data.is_empty();
            let _ = if begins { write!(data, "M{x:.1} {least:.1}") } else { write!(data, "V{least:.1}") };
            if (most - least).abs() >= 0.1 {
                let _ = write!(data, "V{most:.1}");
            }
            if (last - most).abs() >= 0.1 {
                let _ = write!(data, "V{last:.1}");
            }
            let _ = write!(data, "H{next:.1}");
        };
        for point in series.points() {
            let x = half(self.time.place(point.at as f64));
            let [least, most, last] =
                [point.least, point.most, point.last].map(|value| self.value.place(value as f64));
            column = match column {
                Some((at, low, high, _)) if at >= x => Some((at, low.max(least), high.min(most), last)),
                before => {
                    flush(before, x);
                    Some((x, least, most, last))
                }
            };
        }
        flush(column, self.time.place(end));
        data
    }

    /// Pieces of the sequence space, as upright lines.
    pub(super) fn marks(&mut self, marks: &Marks, class: &str, label: &str) {
        if marks.is_empty() {
            return;
        }
        let mut data = String::new();
        for (x, top, bottom) in self.columns(marks) {
            let _ = write!(data, "M{x:.1} {top:.1}V{bottom:.1}");
        }
        let class = format!("marks {class}");
        let path = Path::new().set("class", class.as_str()).set("data-count", marks.count()).set("d", data);
        self.inside = std::mem::take(&mut self.inside).add(path);
        self.sample(&class, "m0-5v10", label);
    }

    /// What was sent again: upright lines with a mark for the cause.
    pub(super) fn again(&mut self, marks: &Marks, cause: &str) {
        let Glyph { class, label, outline } = Glyph::of(cause);
        let mut data = String::new();
        let mut last = None;
        for (x, top, bottom) in self.columns(marks) {
            let middle = f64::midpoint(top, bottom);
            let _ = write!(data, "M{x:.1} {top:.1}V{bottom:.1}");
            // Marks that would lie on one another are one.
            let cell = (pixel(x / 4.0), pixel(middle / 4.0));
            if last != Some(cell) {
                let _ = write!(data, "M{x:.1} {middle:.1}{outline}");
            }
            last = Some(cell);
        }
        let class = format!("again {class}");
        let path = Path::new().set("class", class.as_str()).set("data-count", marks.count()).set("d", data);
        self.inside = std::mem::take(&mut self.inside).add(path);
        self.sample(&class, outline, &format!("{label}: {}", marks.count()));
    }

    /// Moments, as lines through the whole panel.
    pub(super) fn moments(&mut self, marks: &Marks, class: &str, label: &str) {
        if marks.is_empty() {
            return;
        }
        let mut data = String::new();
        let mut last = f64::MIN;
        for mark in marks.iter() {
            let x = half(self.time.place(mark.at as f64));
            if x > last {
                let _ = write!(data, "M{x:.1} {:.1}v{:.1}", self.top, self.height);
            }
            last = x;
        }
        let class = format!("line {class}");
        let path = Path::new().set("class", class.as_str()).set("data-count", marks.count()).set("d", data);
        self.inside = std::mem::take(&mut self.inside).add(path);
        self.sample(&class, "m0-6v12", &format!("{label}: {}", marks.count()));
    }

    /// Colours the time in which a series has a value, by the value's name; behind everything else.
    pub(super) fn shade(&mut self, series: &Series, names: &[&'static str], end: f64) {
        let mut pieces: BTreeMap<&str, String> = BTreeMap::new();
        let ends = series.points().iter().skip(1).map(|point| point.at as f64).chain([end]);
        for (point, until) in series.points().iter().zip(ends) {
            // A point that stands for many shows the worst of them.
            for (value, from, to) in [(point.most, 0.0, 1.0), (point.last, 0.0, f64::MAX)] {
                let Some(name) =
                    usize::try_from(value).ok().and_then(|value| names.get(value)).filter(|_| value > 0)
                else {
                    continue;
                };
                let x = self.time.place(point.at as f64) + from;
                let width = (self.time.place(until) - x).min(to).max(0.5);
                let _ = write!(
                    pieces.entry(name).or_default(),
                    "M{x:.1} {:.1}h{width:.1}v{:.1}h-{width:.1}z",
                    self.top,
                    self.height
                );
            }
        }
        for (name, data) in pieces {
            self.inside = std::mem::take(&mut self.inside).add(Path::new().set("class", name).set("d", data));
            self.sample(name, "m-9-5h18v10h-18z", name);
        }
    }

    /// A short text at a moment and a value.
    pub(super) fn sign(&mut self, at: u64, value: f64, text: &str) {
        let x = self.time.place(at as f64);
        let y = (self.value.place(value) - 5.0).clamp(self.top + 10.0, self.top + self.height - 3.0);
        let (x, anchor) = if x > LEFT + PLOT - 30.0 { (x - 3.0, "end") } else { (x + 3.0, "start") };
        self.texts.push(label(x, y, "sign", text).set("text-anchor", anchor));
    }

    /// Where marks lie: in columns of a pixel, what touches as one.
    fn columns(&self, marks: &Marks) -> Vec<(f64, f64, f64)> {
        let mut columns: BTreeMap<i64, Vec<(f64, f64)>> = BTreeMap::new();
        for Mark { at, start, end } in marks.iter() {
            let x = pixel(self.time.place(at as f64));
            let (bottom, top) = (self.value.place(start as f64), self.value.place(end as f64));
            let short = ((LOWEST - (bottom - top)) / 2.0).max(0.0);
            columns.entry(x).or_default().push((top - short, bottom + short));
        }
        let mut pieces = Vec::new();
        for (x, mut column) in columns {
            column.sort_by(|one, other| one.0.total_cmp(&other.0));
            let mut current: Option<(f64, f64)> = None;
            for (top, bottom) in column {
                current = match current {
                    Some((first, last)) if top <= last + 0.5 => Some((first, last.max(bottom))),
                    before => {
                        pieces.extend(before.map(|(top, bottom)| (x as f64, top, bottom)));
                        Some((top, bottom))
                    }
                };
            }
            pieces.extend(current.map(|(top, bottom)| (x as f64, top, bottom)));
        }
        pieces
    }

    fn sample(&mut self, class: &str, outline: &str, label: &str) {
        let x = LEFT + PLOT + 22.0;
        let y = self.top + 9.0 + 17.0 * self.legend.len() as f64;
        let path = Path::new().set("class", class).set("d", format!("M{x:.1} {y:.1}{outline}"));
        self.legend.push((path, label.to_owned()));
    }

    /// The whole of it. `units`: of its values; `number`: among the panels. The last one has the time under it.
    pub(super) fn finish(self, units: &[Unit], number: usize, is_last: bool) -> Group {
        let (top, bottom) = (self.top, self.top + self.height);
        let mut group = Group::new().set("class", format!("panel {}", self.class));
        let mut grid = String::new();
        let (ticks, unit) = self.value.ticks((self.height / 32.0).clamp(2.0, 8.0), units);
        for (value, text) in ticks {
            let y = self.value.place(value);
            let _ = write!(grid, "M{LEFT} {y:.1}h{PLOT}");
            group = group.add(label(LEFT - 8.0, y + 4.0, "tick", &text).set("text-anchor", "end"));
        }
        let (ticks, time_unit) = self.time.ticks(10.0, &TIME);
        for (value, text) in ticks {
            let x = self.time.place(value);
            let _ = write!(grid, "M{x:.1} {top}V{bottom}");
            if is_last {
                group = group.add(label(x, bottom + 16.0, "tick", &text).set("text-anchor", "middle"));
            }
        }
        if is_last {
            let text = format!("time since the first segment, {time_unit}");
            group = group
                .add(label(LEFT + PLOT / 2.0, bottom + 34.0, "note", &text).set("text-anchor", "middle"));
        }
        let clip = format!("panel-{number}");
        let frame =
            || Rectangle::new().set("x", LEFT).set("y", top).set("width", PLOT).set("height", self.height);
        group = group
            .add(label(LEFT, top - 8.0, "heading", self.heading))
            .add(label(LEFT - 8.0, top - 8.0, "note", unit).set("text-anchor", "end"))
            .add(ClipPath::new().set("id", clip.as_str()).add(frame()))
            .add(Path::new().set("class", "grid").set("d", grid))
            .add(self.inside.set("clip-path", format!("url(#{clip})")))
            .add(frame().set("class", "frame"));
        for text in self.texts {
            group = group.add(text);
        }
        let mut legend = Group::new().set("class", "legend");
        for (number, (path, text)) in self.legend.into_iter().enumerate() {
            let y = top + 13.0 + 17.0 * number as f64;
            legend = legend.add(path).add(label(LEFT + PLOT + 38.0, y, "note", &text));
        }
        group.add(legend)
    }
}

/// Rounded to half a pixel.
fn half(x: f64) -> f64 {
    (2.0 * x).round() / 2.0
}

/// The pixel that a place is in.
#[allow(clippy::cast_possible_truncation, reason = "places lie on the picture, or saturate")]
fn pixel(x: f64) -> i64 {
    x.round() as i64
}
