//! Congestion control decides how much may be in flight, and how fast it goes out; what is lost, the sender finds out by
//! itself.
//!
//! [`Algorithm`] chooses: [`Cubic`] by default, [`NewReno`], [`Bbr`], or any other [`ControllerFactory`], of a socket
//! ([`SocketOptions::congestion`](crate::SocketOptions::congestion)) or of a stack
//! ([`StackConfig::socket`](crate::StackConfig::socket)).

mod algorithm;
mod bbr;
mod controller;
mod cubic;
mod hystart;
#[cfg(test)]
mod properties;
mod reno;
mod unbuilt;
mod undo;
mod window;

pub use self::algorithm::{Algorithm, UnknownAlgorithm};
pub use self::bbr::Bbr;
pub use self::controller::{
    Congestion, CongestionEvent, Controller, ControllerFactory, Delivery, Departure, Phase, RateSample, Start,
};
pub use self::cubic::Cubic;
pub use self::reno::NewReno;
pub(crate) use self::unbuilt::Unbuilt;
