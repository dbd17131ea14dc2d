//! When and where something is logged: simulated time, and the host.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use crate::engine::{Micros, Time, millis};
use crate::net::current_time;
use crate::tasks::LifeToken;

thread_local! {
    /// The hosts on behalf of which this thread runs something, the innermost last.
    static PLACES: RefCell<Vec<(Arc<Time>, Arc<LifeToken>)>> = const { RefCell::new(Vec::new()) };
}

/// The simulated time at this moment, and the host that the running task belongs to: for the lines of a log.
///
/// Its `Display` has 12 columns for the milliseconds, and then the host's name: `      20.153 server`. There is `-` for what
/// is not known: the host of code that belongs to none, and the time outside of a simulation.
///
/// With tracing-subscriber, `SimTime` puts it into each line (feature `tracing-subscriber`). For other loggers, print it
/// in front of the line.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use std::time::Duration;
/// use ropeway_sim::{Net, Stamp};
///
/// let net = Net::new();
/// let server = net.add_host("server").build();
/// tokio::time::sleep(Duration::from_millis(20)).await;
/// let said = server.run(async { Stamp::now().to_string() }).await;
/// assert_eq!(said, "      20.000 server");
/// assert_eq!(Stamp::now().to_string(), "      20.000 -");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Stamp {
    at: Option<Micros>,
    host: Option<Arc<LifeToken>>,
}

impl Stamp {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        let innermost = PLACES.try_with(|places| places.try_borrow().ok()?.last().cloned());
        match innermost.ok().flatten() {
            Some((time, life)) => Self { at: Some(time.now()), host: Some(life) },
            None => {
                let (at, host) = current_time().unzip();
                Self { at, host: host.flatten() }
            }
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.map_or_else(|| "-".to_owned(), millis);
        write!(f, "{at:>12} {}", self.host.as_ref().map_or("-", |life| &life.host))
    }
}

/// For `tracing_subscriber::fmt`: each line begins with a [`Stamp`] instead of the wall clock.
///
/// # Examples
///
/// ```
/// # fn init() {
/// tracing_subscriber::fmt().with_timer(ropeway_sim::SimTime).with_test_writer().init();
/// # }
/// ```
#[cfg(feature = "tracing-subscriber")]
#[derive(Clone, Copy, Debug, Default)]
pub struct SimTime;

#[cfg(feature = "tracing-subscriber")]
impl tracing_subscriber::fmt::time::FormatTime for SimTime {
    fn format_time(&self, writer: &mut tracing_subscriber::fmt::format::Writer<'_>) -> fmt::Result {
        write!(writer, "{}", Stamp::now())
    }
}

/// Until the guard is dropped, this thread runs something on behalf of a host.
pub(crate) fn enter(time: &Arc<Time>, life: &Arc<LifeToken>) -> Guard {
    PLACES.with_borrow_mut(|places| places.push((Arc::clone(time), Arc::clone(life))));
    Guard
}

pub(crate) struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        let place = PLACES.try_with(|places| places.borrow_mut().pop());
        drop(place);
    }
}
