//! Pictures of connections, as tcptrace and xplot draw them, from what ropeway's stacks tell through tracing
//! (`ropeway_core::events`).
//!
//! A [`Plotter`] listens; [`Picture`]s are what it has heard, as SVG. Whatever a connection carries, and for however long,
//! memory and pictures are bounded: what lies closer than a pixel is drawn as one.
//!
//! ```
//! use ropeway_plot::Plotter;
//! use tracing_subscriber::layer::SubscriberExt;
//!
//! let plotter = Plotter::default();
//! let subscriber = tracing_subscriber::registry().with(plotter.layer());
//! tracing::subscriber::with_default(subscriber, || {
//!     // ... what is to be seen happens here ...
//! });
//! for picture in plotter.pictures() {
//!     let svg = picture.svg("a title");
//! }
//! ```

mod chart;
mod draw;
mod event;
mod marks;
mod plotter;
mod recording;
mod scale;
mod series;
mod sheet;

pub use chart::{Axis, Chart, Look, Row, Spread};
pub use plotter::{Picture, Plotter, parse_span, prepare};
