//! How busy a CPU was.

use std::fs;
use std::io;

/// The time of a CPU so far, in the kernel's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTicks {
    idle: u64,
    total: u64,
}

impl CpuTicks {
    pub(crate) fn read(cpu: usize) -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/stat")?, cpu))
    }

    /// From the lines of `/proc/stat`, in which times out of work are the fourth and the fifth (proc_stat(5)).
    fn parse(stat: &str, cpu: usize) -> Self {
        let name = format!("cpu{cpu}");
        let line = stat.lines().map(str::split_whitespace).find_map(|mut words| {
            (words.next() == Some(name.as_str())).then(|| words.map(|word| word.parse().unwrap_or_default()))
        });
        let ticks: Vec<u64> = line.into_iter().flatten().take(8).collect();
        Self { idle: ticks.iter().skip(3).take(2).sum(), total: ticks.iter().sum() }
    }

    /// The percentage that was not idle since `earlier`.
    pub(crate) fn busy_since(self, earlier: Self) -> u64 {
        let total = self.total.saturating_sub(earlier.total);
        let idle = self.idle.saturating_sub(earlier.idle).min(total);
        ((total - idle) * 100).checked_div(total).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_idle_is_busy() {
        let before = CpuTicks::parse("cpu  9 9 9 9\ncpu0 10 0 10 100 0 0 0 0 0 0\ncpu1 0 0 0 7 7\n", 0);
        assert_eq!(before, CpuTicks { idle: 100, total: 120 });
        let after = CpuTicks::parse("cpu0 30 0 20 155 5 0 10 0 50 0\n", 0);
        assert_eq!(after.busy_since(before), 40);
        assert_eq!(after.busy_since(after), 0);
        assert_eq!(CpuTicks::parse("intr 1 2 3\n", 0), CpuTicks::default());
    }
}
