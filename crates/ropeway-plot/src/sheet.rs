//! What all pictures have: a page with a title and the colours of day and night, and what is written on it.

use svg::Document;
use svg::node::element::{Line, Rectangle, Style, Text, Title};

/// A page of this size, with `style` beside what all pages share.
pub(crate) fn page(title: &str, style: &str, width: f64, height: f64) -> Document {
    Document::new()
        .set("viewBox", (0, 0, width, height))
        .set("width", width)
        .set("height", height)
        .set("role", "img")
        .add(Title::new(title))
        .add(Style::new(format!("{}{style}", include_str!("sheet.css"))))
        .add(Rectangle::new().set("class", "page").set("width", width).set("height", height))
}

/// A text with its class.
pub(crate) fn label(x: f64, y: f64, class: &str, text: &str) -> Text {
    Text::new(text).set("x", pixels(x)).set("y", pixels(y)).set("class", class)
}

pub(crate) fn line(from: (f64, f64), to: (f64, f64)) -> Line {
    Line::new()
        .set("x1", pixels(from.0))
        .set("y1", pixels(from.1))
        .set("x2", pixels(to.0))
        .set("y2", pixels(to.1))
}

/// To a tenth of a pixel.
pub(crate) fn pixels(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
