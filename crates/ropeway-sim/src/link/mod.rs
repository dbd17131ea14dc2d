//! What links do to packets: the description that a test writes.

mod check;
mod loss;
mod presets;
mod queue;
mod rate;

use std::time::Duration;

pub use self::loss::Loss;
pub use self::queue::{CoDel, Discipline, Limit, Queue};
pub use self::rate::Rate;

/// One direction of a [link](Link): what happens to packets on their way through it.
///
/// A packet first waits in the queue, leaves it at the rate, and then is on its way for the delay. Whether it is
/// lost, corrupted, duplicated or overtaken is decided after it has left the queue: so it has used its share of
/// the rate, as on a radio link.
///
/// Settings that cannot be, such as a probability of 20, panic where they are used: in the methods, and where a link gets
/// what was written into the fields.
///
/// # Examples
///
/// ```
/// use ropeway_sim::{Pipe, Rate};
/// use std::time::Duration;
///
/// let uplink = Pipe::new().rate(Rate::mbit(5)).delay(Duration::from_millis(20)).loss(0.01);
/// assert_eq!(uplink.delay, Duration::from_millis(20));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Pipe {
    /// How fast packets leave the queue. `None`: at once.
    pub rate: Option<Rate>,
    /// How long each packet is on its way. None by default. In microseconds; what is finer is cut off.
    pub delay: Duration,
    /// How much longer a packet may take, equally distributed from nothing to this. Packets stay in their order:
    /// one that would overtake waits, unless they may be [`overtaking`](Self::overtaking). None by default.
    pub jitter: Duration,
    /// Whether a packet with less [`jitter`](Self::jitter) overtakes one with more. `false` by default.
    pub overtaking: bool,
    /// Packets arrive only at multiples of this: those between are held, and come all at once, as from a radio that
    /// gets its turn now and then. Where they are acknowledgements, that is ACK compression. 0 by default: none are held.
    pub bunch: Duration,
    /// Which packets are lost. None by default.
    pub loss: Loss,
    /// How likely it is, from 0 to 1, that a packet takes [`reorder_by`](Self::reorder_by) longer than others,
    /// which overtake it. 0 by default.
    pub reorder: f64,
    /// How much longer a reordered packet takes. 1 ms by default.
    pub reorder_by: Duration,
    /// How likely it is, from 0 to 1, that a packet arrives twice. 0 by default.
    pub duplicate: f64,
    /// How likely it is, from 0 to 1, that one bit of a packet is inverted. 0 by default.
    pub corrupt: f64,
    /// The largest packet in bytes, IP header included. 1500 by default. A router that would have to send a larger
    /// one into this link tells its sender so (RFC 1191, RFC 8201).
    pub mtu: u16,
    /// Packets with more bytes than this are lost, and nobody is told: a black hole, as a router makes whose ICMP messages
    /// are filtered. They take nothing of the rate. `None` by default.
    pub black_hole: Option<u16>,
    /// Where packets wait for their turn, and which are dropped. Without a [`rate`](Self::rate) none wait.
    pub queue: Queue,
    /// Whether packets get through at all. `true` by default.
    pub up: bool,
}

impl Default for Pipe {
    fn default() -> Self {
        Self {
            rate: None,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            overtaking: false,
            bunch: Duration::ZERO,
            loss: Loss::None,
            reorder: 0.0,
            reorder_by: Duration::from_millis(1),
            duplicate: 0.0,
            corrupt: 0.0,
            mtu: 1500,
            black_hole: None,
            queue: Queue::default(),
            up: true,
        }
    }
}

/// Each setting of a pipe as a method: for a [`Pipe`], and for both directions of a [`Link`].
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty => |$value:ident| $expr:expr;)*) => {
        impl Pipe {
            $($(#[$doc])*
            #[must_use]
            #[track_caller]
            pub fn $name(mut self, $value: $type) -> Self {
                self.$name = $expr;
                self.check();
                self
            })*
        }

        impl Link {
            $($(#[$doc])*
            #[must_use]
            #[track_caller]
            pub fn $name(mut self, $value: $type) -> Self {
                self.forth.$name = $expr;
                self.back.$name = self.forth.$name.clone();
                self.check();
                self
            })*
        }
    };
}

settings! {
    /// Sets how fast packets leave the queue.
    rate: Rate => |rate| Some(rate);
    /// Sets how long each packet is on its way.
    delay: Duration => |delay| delay;
    /// Sets how much longer a packet may take.
    jitter: Duration => |jitter| jitter;
    /// Sets whether jitter changes the order of packets.
    overtaking: bool => |overtaking| overtaking;
    /// Lets packets arrive only at multiples of this.
    bunch: Duration => |every| every;
    /// Loses each packet with the probability `loss`, from 0 to 1, or as a [`Loss`] says.
    loss: impl Into<Loss> => |loss| loss.into();
    /// Lets others overtake a packet with this probability, from 0 to 1.
    reorder: f64 => |probability| probability;
    /// Sets how much longer a reordered packet takes.
    reorder_by: Duration => |delay| delay;
    /// Lets a packet arrive twice with this probability, from 0 to 1.
    duplicate: f64 => |probability| probability;
    /// Inverts a bit of a packet with this probability, from 0 to 1.
    corrupt: f64 => |probability| probability;
    /// Sets the largest packet, in bytes.
    mtu: u16 => |mtu| mtu;
    /// Loses packets with more bytes than this, without a word.
    black_hole: u16 => |takes| Some(takes);
    /// Sets the queue.
    queue: Queue => |queue| queue;
    /// Sets whether packets get through at all.
    up: bool => |up| up;
}

impl Pipe {
    /// A direction that carries packets of up to 1500 bytes at once, and does nothing else to them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// A link between two nodes: what happens to packets in each direction.
///
/// The methods set both directions; [`forth`](Self::forth) and [`back`](Self::back) are there for links that
/// differ. [`Net::link`](crate::Net::link) says between which nodes it runs. There are links ready made, such as
/// [`lan`](Self::lan) and [`satellite`](Self::satellite).
///
/// # Examples
///
/// ```
/// use ropeway_sim::{Link, Rate};
/// use std::time::Duration;
///
/// let mut dsl = Link::new().delay(Duration::from_millis(10)).rate(Rate::mbit(50));
/// dsl.forth.rate = Some(Rate::mbit(10));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Link {
    /// From the node that was named first to the other.
    pub forth: Pipe,
    /// The other direction.
    pub back: Pipe,
}

impl Link {
    /// A link that carries packets of up to 1500 bytes at once, and does nothing else to them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A link whose directions differ.
    #[must_use]
    pub fn asymmetric(forth: Pipe, back: Pipe) -> Self {
        Self { forth, back }
    }
}
