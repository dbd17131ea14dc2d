//! How fast a cell could be at best: the handshake, doubling from IW10 until the path is full, and from then on the wire,
//! headers included. Nothing is lost, nothing waits.

use ropeway_sim::pipe::Micros;

use super::cell::{Cell, micros};
use super::engine::{Change, REQUEST, Work};

/// RFC 6928.
const INITIAL_WINDOW: u64 = 10;

const NANOS: u128 = 1_000_000_000;

/// How long a cell takes at least, in microseconds: from the first flow's start to the last flow's last byte.
pub(crate) fn floor(cell: &Cell) -> Micros {
    let first = cell.flows.iter().map(|flow| micros(flow.start)).min().unwrap_or_default();
    let alone = cell.flows.iter().filter_map(|flow| {
        let mut ideal = Ideal::new(cell, micros(flow.start), 1);
        ideal.work(flow.work)?;
        Some(ideal.micros() - first)
    });
    let bytes: u64 = cell.flows.iter().filter_map(|flow| flow.work.total()).sum();
    let mut together = Ideal::new(cell, first, cell.flows.len() as u64);
    let is_sequence = cell.flows.iter().any(|flow| flow.work.is_asked_for());
    let together = (!is_sequence).then(|| {
        together.bulk(bytes);
        together.micros() - first
    });
    alone.chain(together).max().unwrap_or_default()
}

/// How long so many bytes of one flow take at least, in microseconds.
pub(crate) fn floor_of(cell: &Cell, bytes: u64) -> Micros {
    let mut ideal = Ideal::new(cell, 0, cell.flows.len() as u64);
    ideal.bulk(bytes);
    ideal.micros()
}

/// The ideal sender's clock, in nanoseconds, and its window, in segments.
struct Ideal<'a> {
    cell: &'a Cell,
    now: u128,
    window: u64,
    initial_window: u64,
}

impl<'a> Ideal<'a> {
    fn new(cell: &'a Cell, start: Micros, flows: u64) -> Self {
        let initial_window = INITIAL_WINDOW * flows;
        Self { cell, now: u128::from(start) * 1000, window: initial_window, initial_window }
    }

    fn micros(&self) -> Micros {
        u64::try_from(self.now / 1000).unwrap_or(u64::MAX)
    }

    fn forth(&self) -> u128 {
        self.cell.forth.delay.as_nanos()
    }

    fn rtt(&self) -> u128 {
        self.cell.rtt().as_nanos()
    }

    fn work(&mut self, work: Work) -> Option<()> {
        match work {
            Work::Endless => return None,
            Work::Bulk(bytes) => self.bulk(bytes),
            Work::Turns { times, bytes } => {
                self.now += self.rtt();
                (0..times).for_each(|_| self.answer(bytes));
            }
            Work::Connections { times, bytes } => {
                for _ in 0..times {
                    self.now += self.rtt();
                    self.window = self.initial_window;
                    self.answer(bytes);
                }
            }
        }
        Some(())
    }

    fn bulk(&mut self, bytes: u64) {
        self.now += self.rtt();
        self.send(bytes);
        self.now += self.forth();
    }

    /// A request, and so many bytes in return.
    fn answer(&mut self, bytes: u64) {
        let request = u128::from(self.cell.wire_bytes(REQUEST)) * 8 * NANOS;
        let wire = self.cell.back.rate.map_or(0, |rate| request / u128::from(rate.as_bits()));
        self.now += wire + self.cell.back.delay.as_nanos();
        self.send(bytes);
        self.now += self.forth();
    }

    /// Puts so many bytes on the wire: a window each round trip, the next one twice as large, until one takes as long.
    fn send(&mut self, mut bytes: u64) {
        loop {
            let end = self.wire_end(bytes);
            let window = self.window.saturating_mul(self.cell.mss());
            if bytes <= window || self.wire_end(window) >= self.now + self.rtt() {
                self.now = end;
                return;
            }
            bytes -= window;
            self.window *= 2;
            self.now += self.rtt();
        }
    }

    /// When so many bytes have left that begin to leave now.
    fn wire_end(&self, bytes: u64) -> u128 {
        let mut now = self.now;
        let mut bits = u128::from(self.cell.wire_bytes(bytes)) * 8 * NANOS;
        let (mut rate, mut up) = (self.cell.forth.rate, self.cell.forth.up);
        for (at, change) in &self.cell.changes {
            let at = at.as_nanos();
            if at > now && up {
                let Some(rate) = rate else { return now };
                let passed = (at - now) * u128::from(rate.as_bits());
                if passed >= bits {
                    return now + bits / u128::from(rate.as_bits());
                }
                bits -= passed;
            }
            now = now.max(at);
            match change {
                Change::Rate(new) => rate = Some(*new),
                Change::Up(new) => up = *new,
                Change::Delay(_) | Change::BlackHole(_) => {}
            }
        }
        rate.map_or(now, |rate| now + bits / u128::from(rate.as_bits()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ropeway_sim::{Pipe, Rate};

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn path(mbit: u64, rtt: u64) -> Cell {
        Cell::path("", Rate::mbit(mbit), MS(rtt), 10)
    }

    #[test]
    fn a_flight_that_fits_into_the_initial_window_takes_two_round_trips_less_the_last_way_back() {
        // Ten packets of 1500 bytes at 100 Mbit/s: 1.2 ms.
        assert_eq!(floor(&path(100, 40).bulk(14_480)), 40_000 + 1_200 + 20_000);
    }

    #[test]
    fn the_window_doubles_until_the_path_is_full() {
        // 10, 20 and 40 packets take a round trip each; 80 would take longer.
        let cell = path(1, 600).bulk(1448 * 310);
        assert_eq!(floor(&cell), 600_000 + 3 * 600_000 + 240 * 12_000 + 300_000);
    }

    #[test]
    fn what_was_published_as_ideal_is_the_floor() {
        let forth = Pipe::new().rate(Rate::mbit(250)).delay(MS(300));
        let seconds = floor(&Cell::link("", forth).bulk(100_000_000)) as f64 / 1e6;
        assert!((9.7..9.9).contains(&seconds), "{seconds}");
        let cell = path(1, 10).bulk(10_000_000);
        let seconds = floor(&cell) as f64 / 1e6;
        assert!((82.8..83.2).contains(&seconds), "{seconds}");
    }

    #[test]
    fn nothing_passes_while_the_link_is_down_and_less_while_it_is_slow() {
        let plain = floor(&path(10, 80).bulk(4_000_000));
        let dark =
            path(10, 80).at(MS(2000), Change::Up(false)).at(MS(4000), Change::Up(true)).bulk(4_000_000);
        assert_eq!(floor(&dark), plain + 2_000_000);
        let slow = path(10, 80)
            .at(MS(1500), Change::Rate(Rate::mbit(1)))
            .at(MS(3500), Change::Rate(Rate::mbit(10)))
            .bulk(4_000_000);
        assert_eq!(floor(&slow), plain + 1_800_000);
    }
}
