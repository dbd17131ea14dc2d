//! From values to places on the picture, and what stands at an axis.

/// A straight scale.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    least: f64,
    most: f64,
    /// Where these two are on the picture.
    from: f64,
    to: f64,
}

impl Scale {
    /// From `least` to `most`, which is drawn from `from` to `to`. There is always something between the two.
    pub(crate) fn new((least, most): (f64, f64), (from, to): (f64, f64)) -> Self {
        Self { least, most: if most > least { most } else { least + 1.0 }, from, to }
    }

    pub(crate) fn place(&self, value: f64) -> f64 {
        self.from + (value - self.least) / (self.most - self.least) * (self.to - self.from)
    }

    pub(crate) fn most(&self) -> f64 {
        self.most
    }

    /// About so many round values, and the unit that they are written in.
    pub(crate) fn ticks(&self, about: f64, units: &[Unit]) -> (Vec<(f64, String)>, &'static str) {
        let unit = Unit::of(self.most, units);
        let step = round_step((self.most - self.least) / about / unit.size);
        let decimals = decimals_of(step);
        let first = (self.least / unit.size / step).ceil();
        let values = (0..100).map(|number| (first + f64::from(number)) * step);
        let last = self.most / unit.size * (1.0 + 1e-9);
        let labels = values.take_while(|value| *value <= last);
        (labels.map(|value| (value * unit.size, format!("{value:.decimals$}"))).collect(), unit.name)
    }
}

/// 1, 2 or 5 times a power of ten, and no less than `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.max(1e-12).log10().floor());
    let fits = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9));
    fits.unwrap_or(10.0) * power
}

/// How many decimals tell such steps apart.
fn decimals_of(step: f64) -> usize {
    (0..9)
        .find(|decimals| step * 10_f64.powi(*decimals) >= 1.0 - 1e-9)
        .map_or(0, |decimals| decimals.unsigned_abs() as usize)
}

/// A unit of an axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    pub(crate) name: &'static str,
    pub(crate) size: f64,
}

const fn unit(name: &'static str, size: f64) -> Unit {
    Unit { name, size }
}

/// Of microseconds.
pub(crate) const TIME: [Unit; 3] = [unit("s", 1e6), unit("ms", 1e3), unit("µs", 1.0)];
pub(crate) const BYTES: [Unit; 4] = [unit("GB", 1e9), unit("MB", 1e6), unit("kB", 1e3), unit("B", 1.0)];
/// Of bytes a second.
pub(crate) const RATE: [Unit; 4] =
    [unit("Gbit/s", 1.25e8), unit("Mbit/s", 1.25e5), unit("kbit/s", 1.25e2), unit("bit/s", 0.125)];

impl Unit {
    /// Of values that have theirs in a heading.
    pub(crate) const NONE: Self = unit("", 1.0);

    /// The largest one of which `value` is more than one.
    fn of(value: f64, units: &[Self]) -> Self {
        let fits = units.iter().find(|unit| value >= unit.size);
        fits.or(units.last()).copied().unwrap_or(Self::NONE)
    }

    /// A value as it stands in a text: three digits, and the unit.
    pub(crate) fn text(value: f64, units: &[Self]) -> String {
        let unit = Self::of(value, units);
        let value = value / unit.size;
        let decimals = match value {
            _ if value < 9.995 => 2,
            _ if value < 99.95 => 1,
            _ => 0,
        };
        let whole = unit.name == "B" || value == value.trunc();
        format!("{value:.*} {}", if whole { 0 } else { decimals }, unit.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(least: f64, most: f64, units: &[Unit]) -> (Vec<String>, &'static str) {
        let (ticks, unit) = Scale::new((least, most), (0.0, 100.0)).ticks(5.0, units);
        (ticks.into_iter().map(|(_, label)| label).collect(), unit)
    }

    #[test]
    fn ticks_are_round_and_their_unit_fits() {
        assert_eq!(labels(0.0, 10_400.0, &TIME).0, ["0", "5", "10"]);
        assert_eq!(labels(0.0, 1_300_000.0, &TIME), (["0.0", "0.5", "1.0"].map(str::to_owned).to_vec(), "s"));
        assert_eq!(
            labels(0.0, 47.0, &TIME),
            (["0", "10", "20", "30", "40"].map(str::to_owned).to_vec(), "µs")
        );
        assert_eq!(
            labels(0.0, 1e9, &BYTES),
            (["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"].map(str::to_owned).to_vec(), "GB")
        );
        assert_eq!(labels(0.0, 2.5e6, &RATE).1, "Mbit/s");
    }

    #[test]
    fn a_scale_of_nothing_divides_by_nothing() {
        let scale = Scale::new((5.0, 5.0), (0.0, 100.0));
        assert!(scale.place(5.0).is_finite() && scale.ticks(5.0, &TIME).0.len() < 100);
    }

    #[test]
    fn values_in_texts_have_three_digits() {
        let text = |value| Unit::text(value, &BYTES);
        assert_eq!(
            [text(0.0), text(999.0), text(1500.0), text(10_485_760.0)],
            ["0 B", "999 B", "1.50 kB", "10.5 MB"]
        );
    }
}
