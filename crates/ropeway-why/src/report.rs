//! Reports as text, as JSON and as a page.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serializer;

use crate::connection::Side;
use crate::explain::{ConnectionReport, Direction, Report, rate, time};
use crate::grade::Verdict;

pub(crate) fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[allow(clippy::ref_option)] // as serde calls it
pub(crate) fn maybe_seconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_some(&duration.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}

impl Report {
    /// The report for a terminal. With `all`, each retransmission has a line.
    #[must_use]
    pub fn text(&self, all: bool) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut out, all);
        out
    }

    /// The report as one JSON document.
    ///
    /// # Errors
    ///
    /// Those of `serde_json`; there are none to expect.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    fn write(&self, out: &mut String, all: bool) -> fmt::Result {
        let connections = self.connections.len();
        writeln!(
            out,
            "{} frames, {} with TCP, {connections} connections",
            self.totals.frames, self.totals.tcp
        )?;
        for verdict in &self.quality {
            line(out, "", verdict)?;
        }
        for (index, connection) in self.connections.iter().enumerate() {
            connection.write(out, index + 1, all)?;
        }
        Ok(())
    }
}

impl ConnectionReport {
    /// The lines of one connection.
    pub(crate) fn lines(&self, number: usize) -> String {
        let mut out = String::new();
        let _ = self.write(&mut out, number, true);
        out
    }

    fn write(&self, out: &mut String, number: usize, all: bool) -> fmt::Result {
        writeln!(out)?;
        write!(out, "{number}. {} > {}", self.client, self.server)?;
        write!(out, ", from {} on for {}", time(self.begin), time(self.duration))?;
        match self.rtt {
            Some(rtt) => writeln!(out, ", round trip {}", time(rtt))?,
            None => writeln!(out)?,
        }
        line(out, "place", &self.place_verdict)?;
        for verdict in &self.quality {
            line(out, "quality", verdict)?;
        }
        for verdict in &self.opening {
            line(out, "opening", verdict)?;
        }
        for direction in &self.directions {
            direction.write(out, all)?;
        }
        for verdict in &self.ending {
            line(out, "end", verdict)?;
        }
        Ok(())
    }
}

impl Direction {
    fn write(&self, out: &mut String, all: bool) -> fmt::Result {
        if self.bytes == 0 {
            return Ok(());
        }
        let name = if self.from == Side::Client { "client" } else { "server" };
        write!(out, "   data of the {name}: {} bytes in {}", self.bytes, time(self.duration))?;
        if self.duration >= Duration::from_millis(1) {
            write!(out, ", {}", rate(self.bytes, self.duration))?;
        }
        writeln!(out)?;
        for verdict in &self.verdicts {
            line(out, name, verdict)?;
        }
        if all {
            for record in &self.retransmissions {
                let needed = match record.needed {
                    crate::connection::Needed::Yes => "needed",
                    crate::connection::Needed::No => "not needed",
                    crate::connection::Needed::Unknown => "needed?",
                };
                writeln!(
                    out,
                    "      frame {} at {}: {}..{} again, {} ({}), {needed} ({})",
                    record.frame,
                    time(record.at),
                    record.seq,
                    record.seq + record.len,
                    record.cause,
                    record.cause_grade,
                    record.needed_grade,
                )?;
            }
        }
        Ok(())
    }
}

fn line(out: &mut String, room: &str, verdict: &Verdict) -> fmt::Result {
    write!(out, "   {room:8}{:8}{}", verdict.grade, verdict.text)?;
    if verdict.frames.is_empty() {
        return writeln!(out);
    }
    let frames: Vec<_> = verdict.frames.iter().map(ToString::to_string).collect();
    writeln!(out, " [{}]", frames.join(" "))
}
