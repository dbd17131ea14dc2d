//! The report as one page: verdicts, ladders, and graphs that can be zoomed. It needs neither a network nor a library.

use std::fmt::Write as _;

use serde::Serialize;

use crate::connection::{Connection, Graph, Row, Side};
use crate::explain::{ConnectionReport, Report};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Connections with graphs; the others have their verdicts only, so that the page stays one that a browser opens.
const MOST_DRAWN: usize = 40;

/// What is drawn of a connection.
#[derive(Debug, Default)]
pub(crate) struct Drawing {
    graphs: [Graph; 2],
    origins: [u64; 2],
    rows: Vec<Row>,
}

impl Drawing {
    pub(crate) fn take(connection: &mut Connection) -> Self {
        let origins = Side::BOTH.map(|side| connection.way(side).origin);
        let graphs = Side::BOTH.map(|side| connection.take_graph(side));
        Self { graphs, origins, rows: std::mem::take(&mut connection.rows) }
    }
}

/// The data of one end, for the script. Times are seconds.
#[derive(Serialize)]
struct Series {
    from: Side,
    /// When, the first byte, the one behind the last, whether it was sent again.
    data: Vec<(f64, i64, i64, bool)>,
    /// When, the acknowledged byte, the right edge of the window.
    acks: Vec<(f64, i64, Option<i64>)>,
    rtt: Vec<(f64, f64)>,
    flight: Vec<(f64, u64)>,
    limits: Vec<(f64, f64, String)>,
    thinned: bool,
}

impl Report {
    /// The report as a page: one file, which needs no network. It shows data, acknowledgements and windows over time, round-trip
    /// times, what is out, what limited the sender, and the first segments as a ladder.
    #[must_use]
    pub fn html(&self) -> String {
        let mut page = String::new();
        // Writing to a string does not fail.
        let _ = self.page(&mut page);
        page
    }

    fn page(&self, out: &mut String) -> std::fmt::Result {
        write!(
            out,
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        )?;
        write!(
            out,
            "<title>ropeway why</title><style>{STYLE}</style><h1>Why</h1><pre>{}</pre>",
            escape(&self.summary())
        )?;
        for (index, connection) in self.connections.iter().enumerate() {
            connection.section(out, index + 1)?;
        }
        write!(out, "<script>{SCRIPT}</script></html>")
    }

    /// The lines before the connections.
    fn summary(&self) -> String {
        self.text(false).lines().take_while(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect()
    }
}

impl ConnectionReport {
    fn section(&self, out: &mut String, number: usize) -> std::fmt::Result {
        let open = if number == 1 { " open" } else { "" };
        write!(out, "<details{open}><summary>{number}. {} &rarr; {}</summary>", self.client, self.server)?;
        write!(out, "<pre>{}</pre>", escape(&self.lines(number)))?;
        if number > MOST_DRAWN {
            return write!(
                out,
                "<p>Graphs are drawn of the first {MOST_DRAWN} connections: see --filter.</p></details>"
            );
        }
        for (index, side) in Side::BOTH.into_iter().enumerate() {
            if let Some(series) = self.series(index, side) {
                let json = serde_json::to_string(&series).unwrap_or_default().replace("</", "<\\/");
                write!(out, "<h2>Data of the {}</h2><div class=graph tabindex=0></div>", side.name())?;
                write!(out, "<script type='application/json' class=series>{json}</script>")?;
            }
        }
        write!(out, "<details><summary>The first {} segments</summary><pre>", self.drawing.rows.len())?;
        writeln!(out, "{:>8} {:>12}  {:80}server", "frame", "s", "client")?;
        for row in &self.drawing.rows {
            ladder(out, row)?;
        }
        write!(out, "</pre></details></details>")
    }

    fn series(&self, index: usize, from: Side) -> Option<Series> {
        let graph = self.drawing.graphs.get(index).filter(|graph| graph.data.points.len() > 1)?;
        let origin = self.drawing.origins.get(index).copied()?;
        let relative = |offset: u64| offset.cast_signed() - origin.cast_signed();
        let spans = self.directions.get(index).map(|direction| &direction.spans);
        Some(Series {
            from,
            data: (graph.data.points.iter())
                .map(|(at, (start, end, again))| (at.as_secs_f64(), relative(*start), relative(*end), *again))
                .collect(),
            acks: (graph.acks.points.iter())
                .map(|(at, (ack, edge))| (at.as_secs_f64(), relative(*ack), edge.map(relative)))
                .collect(),
            rtt: graph.rtt.points.iter().map(|(at, rtt)| (at.as_secs_f64(), rtt.as_secs_f64())).collect(),
            flight: graph.flight.points.iter().map(|(at, flight)| (at.as_secs_f64(), *flight)).collect(),
            limits: (spans.into_iter().flatten())
                .map(|span| (span.from.as_secs_f64(), span.to.as_secs_f64(), span.limit.to_string()))
                .collect(),
            thinned: graph.data.is_thinned() || graph.acks.is_thinned(),
        })
    }
}

/// A segment as a row of the ladder.
fn ladder(out: &mut String, row: &Row) -> std::fmt::Result {
    let segment = &row.segment;
    let mut label = format!("{:?} seq {}", segment.flags, segment.seq);
    if let Some(ack) = segment.ack {
        let _ = write!(label, " ack {ack}");
    }
    if segment.len > 0 {
        let _ = write!(label, " len {}", segment.len);
    }
    let _ = write!(label, " win {}", segment.window);
    let (left, right) = if row.from == Side::Client { ("--", "->") } else { ("<-", "--") };
    let line = format!("{:>8} {:>12.6}  |{left} {label:<60} {right}|", row.frame, row.at.as_secs_f64());
    writeln!(out, "{}", escape(&line))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
