//! Links that are usual enough to have names.

use std::time::Duration;

use super::{Link, Loss, Pipe, Queue, Rate};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Link {
    /// A wire of a local network: 1 Gbit/s, 50 µs, no loss.
    #[must_use]
    pub fn lan() -> Self {
        Self::new().rate(Rate::gbit(1)).delay(Duration::from_micros(50))
    }

    /// A path through the internet: 100 Mbit/s, 25 ms each way with up to 1 ms more, and one packet in 10,000 is
    /// lost.
    #[must_use]
    pub fn wan() -> Self {
        Self::new().rate(Rate::mbit(100)).delay(ms(25)).jitter(ms(1)).loss(0.0001)
    }

    /// A mobile phone of the third generation: 2 Mbit/s to it (forth) and 0.5 Mbit/s from it (back), 75 ms each way
    /// with up to 30 ms more, deep queues, no loss: such networks repeat what the radio lost.
    #[must_use]
    pub fn mobile_3g() -> Self {
        let pipe = Pipe::new().delay(ms(75)).jitter(ms(30)).queue(Queue::bytes(250_000));
        Self::asymmetric(pipe.clone().rate(Rate::mbit(2)), pipe.rate(Rate::kbit(500)))
    }

    /// A geostationary satellite: 20 Mbit/s to the dish (forth) and 2 Mbit/s from it (back), 270 ms each way, and
    /// one packet in 1,000 is lost.
    #[must_use]
    pub fn satellite() -> Self {
        let pipe = Pipe::new().delay(ms(270)).loss(0.001).queue(Queue::bytes(1_000_000));
        Self::asymmetric(pipe.clone().rate(Rate::mbit(20)), pipe.rate(Rate::mbit(2)))
    }

    /// A wireless network with a wall too many: 20 Mbit/s, 2 ms with up to 8 ms more, and bursts of 4 packets in
    /// which 3 % of all are lost.
    #[must_use]
    pub fn lossy_wifi() -> Self {
        Self::new().rate(Rate::mbit(20)).delay(ms(2)).jitter(ms(8)).loss(Loss::burst(0.03, 4.0))
    }
}
