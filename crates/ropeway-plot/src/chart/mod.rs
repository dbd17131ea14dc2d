//! Values of several contenders beside each other: rows below each other, an axis of its own for each quantity.

use svg::node::element::{Circle, Group, Line, Rectangle, Title};

use crate::scale::{Scale, Unit};
use crate::sheet::{label, line, page, pixels};

/// Of the names of the rows, of an axis, and between two.
const NAMES: f64 = 390.0;
const AXIS: f64 = 380.0;
const GAP: f64 = 24.0;
/// Above the rows, and below them.
const HEAD: f64 = 104.0;
const FOOT: f64 = 36.0;
/// Of a heading, and what a row has beside its lanes.
const HEADING: f64 = 24.0;
const BETWEEN: f64 = 6.0;
/// Of a name in the legend.
const ENTRY: f64 = 130.0;

/// How values are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A dot at the median, with a line from the least to the greatest.
    Dots,
    /// A bar as long as the median, with such a line, and the value.
    Bars,
}

/// The runs of one contender.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The value in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

impl Spread {
    /// Of these values; nothing, if there are none. The median of an even number is the mean of the two in the middle.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        let upper = *values.get(values.len() / 2)?;
        let is_even = values.len().is_multiple_of(2);
        let median = if is_even { f64::midpoint(*values.get(values.len() / 2 - 1)?, upper) } else { upper };
        Some(Self { median, least, greatest })
    }
}

/// A quantity.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it is, with its unit.
    pub heading: String,
    /// Where it ends. What is beyond is drawn at the edge.
    pub most: f64,
    /// A value that divides good ones from bad ones.
    pub limit: Option<f64>,
    /// Where contenders are even, when values are ratios.
    pub even: Option<f64>,
}

/// What stands below each other.
#[derive(Clone, Debug)]
pub enum Row {
    /// The heading of the rows below it.
    Heading(String),
    /// A name, and for each axis the value of each contender, in the order of the chart's; a gap where there is none.
    Values(String, Vec<Vec<Option<Spread>>>),
}

/// A chart. It is drawn from the fields as they are.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub note: String,
    /// The names of the contenders.
    pub contenders: Vec<String>,
    /// The quantities, beside each other.
    pub axes: Vec<Axis>,
    /// The rows, below each other.
    pub rows: Vec<Row>,
    /// How values are drawn.
    pub look: Look,
}

impl Chart {
    /// The chart, as an SVG document.
    #[must_use]
    pub fn svg(&self) -> String {
        let (places, bottom) = self.places();
        let width = NAMES + (AXIS + GAP) * self.axes.len().max(1) as f64;
        let mut document = page(&self.title, include_str!("style.css"), width, bottom + FOOT)
            .add(label(12.0, 26.0, "title", &self.title))
            .add(self.legend())
            .add(label(12.0, 70.0, "note", &self.note));
        for (number, axis) in self.axes.iter().enumerate() {
            document = document.add(axis.frame(number, bottom));
        }
        for (row, top) in self.rows.iter().zip(places) {
            document = match row {
                Row::Heading(text) => document.add(label(12.0, top + 17.0, "heading", text)),
                Row::Values(name, values) => document.add(self.row(name, values, top)),
            };
        }
        format!("{document}\n")
    }

    /// Where each row begins, and where the last one ends.
    fn places(&self) -> (Vec<f64>, f64) {
        let (mut places, mut top) = (Vec::new(), HEAD);
        for row in &self.rows {
            places.push(top);
            top += match row {
                Row::Heading(_) => HEADING,
                Row::Values(_, values) => BETWEEN + self.look.lane() * self.lanes(values).len().max(2) as f64,
            };
        }
        (places, top + BETWEEN)
    }

    /// Which contenders have a value in a row.
    fn lanes(&self, values: &[Vec<Option<Spread>>]) -> Vec<usize> {
        let has = |contender: &usize| values.iter().any(|axis| matches!(axis.get(*contender), Some(Some(_))));
        (0..self.contenders.len()).filter(has).collect()
    }

    fn legend(&self) -> Group {
        let mut group = Group::new().set("class", "legend");
        for (number, name) in self.contenders.iter().enumerate() {
            let x = 18.0 + ENTRY * number as f64;
            group = group.add(dot(x, 46.0, number)).add(label(x + 9.0, 50.0, "note", name));
        }
        group
    }

    fn row(&self, name: &str, values: &[Vec<Option<Spread>>], top: f64) -> Group {
        let mut group = Group::new().add(label(24.0, top + 16.0, "name", name));
        for (lane, contender) in self.lanes(values).into_iter().enumerate() {
            let y = top + BETWEEN + self.look.lane() * lane as f64;
            let called = self.contenders.get(contender).map(String::as_str).unwrap_or_default();
            for (number, (axis, values)) in self.axes.iter().zip(values).enumerate() {
                let Some(Some(spread)) = values.get(contender) else { continue };
                let place = Place { scale: axis.scale(number), y, contender, called };
                group = group.add(place.mark(self.look, *spread, axis.most));
            }
        }
        group
    }
}

impl Look {
    /// How high a contender's lane is.
    fn lane(self) -> f64 {
        match self {
            Self::Dots => 7.0,
            Self::Bars => 11.0,
        }
    }
}

impl Axis {
    fn scale(&self, number: usize) -> Scale {
        let left = NAMES + (AXIS + GAP) * number as f64;
        Scale::new((0.0, self.most), (left, left + AXIS))
    }

    /// An axis without its values.
    fn frame(&self, number: usize, bottom: f64) -> Group {
        let scale = self.scale(number);
        let upright = |value, class: &'static str| {
            let x = scale.place(value);
            line((x, HEAD), (x, bottom)).set("class", class)
        };
        let left = scale.place(0.0);
        let mut group = Group::new().add(label(left, HEAD - 12.0, "heading", &self.heading));
        for (value, text) in scale.ticks(8.0, &[Unit::NONE]).0 {
            let text = label(scale.place(value), bottom + 16.0, "tick", &text);
            group = group.add(upright(value, "grid")).add(text.set("text-anchor", "middle"));
        }
        for (value, class) in [(self.even, "even"), (self.limit, "limit")] {
            if let Some(value) = value {
                group = group.add(upright(value, class));
            }
        }
        let frame = Rectangle::new().set("class", "frame").set("x", left).set("y", HEAD);
        group.add(frame.set("width", AXIS).set("height", bottom - HEAD))
    }
}

/// Where a contender's value is drawn.
struct Place<'a> {
    scale: Scale,
    y: f64,
    contender: usize,
    called: &'a str,
}

impl Place<'_> {
    fn mark(&self, look: Look, spread: Spread, most: f64) -> Group {
        let Spread { median, least, greatest } = spread;
        let x = |value: f64| self.scale.place(value.clamp(0.0, most));
        let text = format!("{}: {} ({}..{})", self.called, number(median), number(least), number(greatest));
        let group = Group::new().add(Title::new(text));
        let class = format!("spread contender-{}", self.contender);
        let whisker = |y| line((x(least), y), (x(greatest), y));
        if look == Look::Dots {
            let whisker: Line = whisker(self.y).set("class", class);
            return group.add(whisker).add(dot(x(median), self.y, self.contender));
        }
        let bar = Rectangle::new().set("class", format!("bar contender-{}", self.contender));
        let bar = bar.set("x", pixels(x(0.0))).set("y", pixels(self.y)).set("height", 8);
        let bar = bar.set("width", pixels((x(median) - x(0.0)).max(0.5)));
        let value = format!("{}{}", number(median), if median > most { " (beyond)" } else { "" });
        // Beside its end, or within the bar where there is no room.
        let end = x(median.max(greatest)) + 3.0;
        let (at, anchor) = if end > x(most) - 60.0 { (x(most) - 3.0, "end") } else { (end, "start") };
        group
            .add(bar)
            .add(whisker(self.y + 4.0).set("class", "whisker"))
            .add(label(at, self.y + 7.5, "value", &value).set("text-anchor", anchor))
    }
}

fn dot(x: f64, y: f64, contender: usize) -> Circle {
    let class = format!("contender-{contender}");
    Circle::new().set("class", class).set("cx", pixels(x)).set("cy", pixels(y)).set("r", 3)
}

/// Three digits that count, or all before the point.
fn number(value: f64) -> String {
    match value.abs() {
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
