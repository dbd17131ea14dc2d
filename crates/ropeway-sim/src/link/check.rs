//! Settings that cannot be are mistakes, and are told where they are made.

use std::time::Duration;

use super::{CoDel, Discipline, Limit, Link, Loss, Pipe};

/// A probability.
///
/// # Panics
///
/// If it is not from 0 to 1.
#[track_caller]
pub(super) fn probability(what: &str, value: f64) {
    if (0.0..=1.0).contains(&value) {
        return;
    }
    let hint = if value > 1.0 && value <= 100.0 {
        format!(": {value} % is {}", value / 100.0)
    } else {
        String::new()
    };
    #[expect(clippy::panic, reason = "as said above")]
    {
        panic!("{what} is a probability from 0 to 1, and cannot be {value}{hint}");
    }
}

impl Pipe {
    /// Checks what the fields were set to.
    #[track_caller]
    pub(crate) fn check(&self) {
        self.loss.check();
        probability("reorder", self.reorder);
        probability("duplicate", self.duplicate);
        probability("corrupt", self.corrupt);
        let limit = match self.queue.limit {
            Limit::Packets(limit) | Limit::Bytes(limit) => limit,
        };
        assert!(limit > 0, "a queue with room for nothing passes nothing: Pipe::up says that a link is down");
        if let Discipline::CoDel(CoDel { interval, .. }) = self.queue.discipline {
            assert!(interval > Duration::ZERO, "CoDel's interval cannot be 0");
        }
        // RFC 791: every module must be able to forward 68 bytes.
        assert!(self.mtu >= 68, "the MTU of a link is at least 68 bytes, and cannot be {}", self.mtu);
        if let Some(takes) = self.black_hole {
            assert!(takes >= 68, "a black hole takes packets of 68 bytes at least, and {takes} cannot be");
        }
    }
}

impl Link {
    /// Checks both directions.
    #[track_caller]
    pub(crate) fn check(&self) {
        self.forth.check();
        self.back.check();
    }
}

impl Loss {
    #[track_caller]
    fn check(&self) {
        match self {
            Self::None | Self::Every(_) => {}
            Self::Random(value) | Self::Runs { loss: value, .. } => probability("loss", *value),
            Self::Burst { to_bad, to_good, loss_in_good, loss_in_bad } => {
                probability("to_bad", *to_bad);
                probability("to_good", *to_good);
                probability("loss_in_good", *loss_in_good);
                probability("loss_in_bad", *loss_in_bad);
            }
            Self::Packets(numbers) => {
                assert!(!numbers.contains(&0), "the first packet is number 1, and none is number 0");
            }
        }
    }
}
