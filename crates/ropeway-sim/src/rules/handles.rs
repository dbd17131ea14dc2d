//! What a test holds of its rules.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{Action, Segments};
use crate::net::{Handle, Net};

impl Net {
    /// Does something with the TCP segments that hosts send: to each that matches, before it enters a link. Of several
    /// rules that match a segment, the oldest that does something is applied. It stays when the handle is dropped.
    ///
    /// # Examples
    ///
    /// The first SYN-ACK is lost, so the connection takes a second longer:
    ///
    /// ```
    /// use ropeway::net::{TcpListener, TcpStream};
    /// use ropeway_sim::{Action, Net, Segments, TcpFlags};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> std::io::Result<()> {
    /// let net = Net::new();
    /// let [a, b] = net.add_hosts(["a", "b"]);
    /// let lost = net.rule(Segments::new().from(&b).flags(TcpFlags::SYN | TcpFlags::ACK).nth(1), Action::Drop);
    ///
    /// let _listener = b.run(TcpListener::bind("0.0.0.0:80")).await?;
    /// a.run(TcpStream::connect("b:80")).await?;
    /// assert_eq!(lost.matched(), 1);
    /// assert!(net.elapsed() > Duration::from_secs(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn rule(&self, segments: Segments, action: Action) -> Rule {
        let id = self.handle.shared.world().rules.add(segments, action, None);
        Rule { handle: Arc::clone(&self.handle), id }
    }

    /// Expects that hosts send such segments, once or more often unless [`times`](Expectation::times) says otherwise.
    /// When the network ends and it has not been so, the test fails, and shows the connections.
    ///
    /// # Examples
    ///
    /// ```
    /// use ropeway::net::TcpStream;
    /// use ropeway_sim::{Net, Segments, TcpFlags};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let net = Net::new();
    /// let [a, b] = net.add_hosts(["a", "b"]);
    /// // One for each address of `b`, which are tried in turn.
    /// net.expect(Segments::new().from(&b).flags(TcpFlags::RST)).times(2..=2);
    /// net.expect(Segments::new().with_data()).never();
    /// assert!(a.run(TcpStream::connect("b:80")).await.is_err());
    /// # }
    /// ```
    pub fn expect(&self, segments: Segments) -> Expectation {
        let id = self.handle.shared.world().rules.add(segments, Action::Pass, Some(1..=u64::MAX));
        Expectation { handle: Arc::clone(&self.handle), id }
    }
}

/// A rule that a test has made, by [`Net::rule`].
///
/// # Examples
///
/// A segment is held until the test lets it go:
///
/// ```
/// use ropeway::net::{TcpListener, TcpStream};
/// use ropeway_sim::{Action, Net, Segments, TcpFlags};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> std::io::Result<()> {
/// let net = Net::new();
/// let [a, b] = net.add_hosts(["a", "b"]);
/// let held = net.rule(Segments::new().from(&a).flags(TcpFlags::SYN), Action::Hold);
/// let _listener = b.run(TcpListener::bind("0.0.0.0:80")).await?;
/// let connecting = a.spawn(TcpStream::connect((b.ip(), 80)));
/// tokio::time::sleep(Duration::from_millis(500)).await;
/// assert_eq!(held.matched(), 1);
/// held.release();
/// connecting.await.unwrap()?;
/// assert!(net.elapsed() < Duration::from_secs(1));
/// # Ok(())
/// # }
/// ```
pub struct Rule {
    handle: Arc<Handle>,
    id: u64,
}

impl Rule {
    /// How many segments it has matched.
    #[must_use]
    pub fn matched(&self) -> u64 {
        self.handle.shared.world().rules.matched(self.id)
    }

    /// Sends what an [`Action::Hold`] has kept so far, in its order. Later ones are kept again.
    pub fn release(&self) {
        let mut world = self.handle.shared.world();
        let held = world.rules.release(self.id);
        world.send_held(held);
        drop(world);
        self.handle.shared.wake_engine();
    }

    /// Ends the rule. What it has kept is lost.
    pub fn remove(self) {
        let mut world = self.handle.shared.world();
        let held = world.rules.remove(self.id);
        world.drop_held(held);
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("matched", &self.matched()).finish_non_exhaustive()
    }
}

/// Something that a test expects, by [`Net::expect`].
pub struct Expectation {
    handle: Arc<Handle>,
    id: u64,
}

impl Expectation {
    /// Sets how often it is expected, such as `3..=3`.
    ///
    /// # Panics
    ///
    /// If the range is empty, so that it could not be met.
    #[track_caller]
    #[allow(clippy::return_self_not_must_use, reason = "it counts whether it is kept or not")]
    pub fn times(self, times: RangeInclusive<u64>) -> Self {
        assert!(!times.is_empty(), "nothing can happen {times:?} times");
        self.handle.shared.world().rules.expect(self.id, times);
        self
    }

    /// Expects that it never happens.
    #[allow(clippy::return_self_not_must_use, reason = "it counts whether it is kept or not")]
    pub fn never(self) -> Self {
        self.times(0..=0)
    }

    /// How often it has happened.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.handle.shared.world().rules.matched(self.id)
    }

    /// Checks it now, rather than when the network ends, and forgets it.
    ///
    /// # Panics
    ///
    /// If it has not happened, or too often; with a drawing of the connections.
    pub fn check(self) {
        let world = self.handle.shared.world();
        let disappointment = world.rules.disappointment(self.id);
        let shown = disappointment.map(|text| format!("{text}\n{}", crate::net::ladders(&world)));
        drop(world);
        let _passed = self.handle.shared.world().rules.remove(self.id);
        #[expect(clippy::panic, reason = "as said above")]
        if let Some(shown) = shown {
            panic!("{shown}");
        }
    }
}

impl fmt::Debug for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expectation").field("seen", &self.seen()).finish_non_exhaustive()
    }
}
