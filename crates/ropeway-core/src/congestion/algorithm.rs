//! Which congestion control a socket uses.

use std::fmt;
use std::ptr;
use std::str::FromStr;
use std::sync::Arc;

use super::{Bbr, Controller, ControllerFactory, Cubic, NewReno, Start};

/// Which congestion control a socket uses (`TCP_CONGESTION`).
///
/// Those that are built in go by the names that Linux has for them; any other is a [`ControllerFactory`].
///
/// ```
/// use ropeway_core::SocketOptions;
/// use ropeway_core::congestion::{Algorithm, Cubic};
///
/// let mut options = SocketOptions::default();
/// assert_eq!(options.congestion.to_string(), "cubic");
/// options.congestion = "reno".parse()?;
/// options.congestion = Algorithm::custom(Cubic::without_hystart());
/// # Ok::<(), ropeway_core::UnknownAlgorithm>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Algorithm {
    /// `reno`: RFC 5681 with RFC 6582, and the initial window of RFC 6928.
    NewReno,
    /// `cubic`: RFC 9438, with the slow start of RFC 9406.
    #[default]
    Cubic,
    /// `bbr`: version 3, draft-ietf-ccwg-bbr-06.
    Bbr,
    /// One of the user's. Two of these are equal if they are the same factory.
    Custom(Arc<dyn ControllerFactory>),
}

impl Algorithm {
    /// A congestion control of the user's, or one that is built in with settings that are not the usual ones.
    #[must_use]
    pub fn custom(factory: impl ControllerFactory + 'static) -> Self {
        Self::Custom(Arc::new(factory))
    }

    /// The name under which it is known.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.factory().name()
    }

    /// A controller for a connection.
    #[must_use]
    pub fn build(&self, start: &Start) -> Box<dyn Controller> {
        self.factory().build(start)
    }

    /// Whether it wants its packets marked with ECT(1).
    pub(crate) fn wants_ect1(&self) -> bool {
        self.factory().wants_ect1()
    }

    fn factory(&self) -> &dyn ControllerFactory {
        match self {
            Self::NewReno => &NewReno,
            Self::Cubic => &Cubic::DEFAULT,
            Self::Bbr => &Bbr::DEFAULT,
            Self::Custom(factory) => factory.as_ref(),
        }
    }
}

impl PartialEq for Algorithm {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::NewReno, Self::NewReno) | (Self::Cubic, Self::Cubic) | (Self::Bbr, Self::Bbr) => true,
            (Self::Custom(one), Self::Custom(another)) => {
                ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(another))
            }
            _ => false,
        }
    }
}

impl Eq for Algorithm {}

impl From<Arc<dyn ControllerFactory>> for Algorithm {
    fn from(factory: Arc<dyn ControllerFactory>) -> Self {
        Self::Custom(factory)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no congestion control of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownAlgorithm;

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown congestion control; there are: reno, cubic, bbr")
    }
}

impl std::error::Error for UnknownAlgorithm {}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "reno" | "newreno" => Ok(Self::NewReno),
            "cubic" => Ok(Self::Cubic),
            "bbr" => Ok(Self::Bbr),
            _ => Err(UnknownAlgorithm),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn each_name_finds_the_one_that_bears_it() {
        for name in ["reno", "cubic", "bbr"] {
            assert_eq!(name.parse::<Algorithm>().unwrap().to_string(), name);
        }
        assert_eq!("newreno".parse(), Ok(Algorithm::NewReno));
        for name in ["", "Reno", "cubic\0", "bbr2"] {
            assert_eq!(name.parse::<Algorithm>(), Err(UnknownAlgorithm));
        }
        assert_eq!(UnknownAlgorithm.to_string(), "unknown congestion control; there are: reno, cubic, bbr");
    }

    #[test]
    fn a_factory_is_equal_to_itself_only() {
        let one = Algorithm::custom(NewReno);
        assert_eq!(one, one.clone());
        assert_ne!(one, Algorithm::custom(NewReno));
        assert_ne!(one, Algorithm::NewReno);
        assert_ne!(Algorithm::Cubic, Algorithm::NewReno);
        let shared: Arc<dyn ControllerFactory> = Arc::new(NewReno);
        assert_eq!(Algorithm::from(shared.clone()), Algorithm::from(shared));
    }

    #[test]
    fn a_controller_that_takes_over_keeps_window_and_threshold() {
        let start = Start::new(Timestamp::START, 1000).with_window(77_000, 55_000);
        for algorithm in [Algorithm::NewReno, Algorithm::Cubic, Algorithm::custom(Cubic::without_hystart())] {
            let controller = algorithm.build(&start);
            assert_eq!((controller.window(), controller.ssthresh()), (77_000, 55_000), "{algorithm}");
        }
    }
}
