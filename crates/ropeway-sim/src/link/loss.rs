//! Which packets a link loses.

use super::check::probability;

/// Which packets a [direction](crate::Pipe) of a link loses.
///
/// A number converts to it: `0.3` loses each packet with a probability of 30 %. One that is not from 0 to 1 panics.
///
/// ```
/// use ropeway_sim::{Link, Loss};
/// let random = Link::new().loss(0.3);
/// let bursts = Link::new().loss(Loss::burst(0.01, 8.0));
/// let third = Link::new().loss(Loss::Packets(vec![3]));
/// # let _ = (random, bursts, third);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each packet, independently, with this probability from 0 to 1.
    Random(f64),
    /// In bursts, after Gilbert and Elliott: the link is in a good or in a bad state, and before each packet it may
    /// change.
    Burst {
        /// How likely it is that a good link turns bad.
        to_bad: f64,
        /// How likely it is that a bad link turns good.
        to_good: f64,
        /// How likely it is that a packet is lost while the link is good.
        loss_in_good: f64,
        /// How likely it is that a packet is lost while the link is bad.
        loss_in_bad: f64,
    },
    /// Each packet with this probability, but never more than so many in a row.
    Runs {
        /// How likely it is that a packet is lost, from 0 to 1.
        loss: f64,
        /// After so many lost packets, one gets through.
        most: u32,
    },
    /// The packets with these numbers: the first one that enters the direction after this was set is number 1.
    Packets(Vec<u64>),
    /// Every so-many-th packet, counted from the first one that enters the direction after this was set. 0: none.
    Every(u64),
}

impl Loss {
    /// Bursts of `length` packets in the mean, in which all are lost, so far apart that the fraction `loss` of all
    /// packets is lost.
    ///
    /// # Panics
    ///
    /// If `loss` is not from 0 to 1 or `length` is less than 1; and if bursts of this length cannot lose that much,
    /// because at least one packet lies between two of them.
    #[must_use]
    #[track_caller]
    pub fn burst(loss: f64, length: f64) -> Self {
        probability("loss", loss);
        assert!(length >= 1.0 && length.is_finite(), "a burst is 1 packet or longer, and cannot be {length}");
        if loss == 1.0 {
            return Self::Random(1.0);
        }
        let to_good = 1.0 / length;
        // In the steady state the link is bad for to_bad / (to_bad + to_good) of all packets.
        let to_bad = to_good * loss / (1.0 - loss);
        let most = length / (length + 1.0);
        assert!(
            to_bad <= 1.0,
            "bursts of {length} packets cannot lose more than {most:.3} of all, such as {loss}"
        );
        Self::Burst { to_bad, to_good, loss_in_good: 0.0, loss_in_bad: 1.0 }
    }
}

/// # Panics
///
/// If it is not from 0 to 1.
impl From<f64> for Loss {
    #[track_caller]
    fn from(value: f64) -> Self {
        probability("loss", value);
        if value > 0.0 { Self::Random(value) } else { Self::None }
    }
}
