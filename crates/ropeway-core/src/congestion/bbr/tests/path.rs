//! A bottleneck with a queue, and a sender with the least that a controller needs.

use std::collections::VecDeque;
use std::time::Duration;

use ropeway_packet::SeqNum;

use super::super::*;
use crate::congestion::RateSample;
use crate::time::micros;

pub(super) const MSS: u32 = 1000;

/// What three later ones overtake is lost.
const DUP_THRESH: u64 = 3;

#[derive(Clone, Copy, Debug)]
struct Packet {
    number: u64,
    sent: Timestamp,
    /// When its acknowledgement comes; never if it was dropped.
    comes: Option<Timestamp>,
    delivered: u64,
    delivered_time: Timestamp,
    first_send_time: Timestamp,
    tx_in_flight: u32,
    lost: u32,
    app_limited: bool,
    marked: bool,
}

pub(super) struct Path {
    pub(super) control: Control,
    pub(super) now: Timestamp,
    /// Bytes a second.
    pub(super) rate: u64,
    rtt: Duration,
    /// Bytes.
    queue: u64,
    /// Acknowledgements come at multiples of this.
    pub(super) bunch: Duration,
    /// How fast the application writes, in bytes a second.
    pub(super) app_rate: Option<u64>,
    pub(super) drop_every: u32,
    pub(super) drop_next: u32,
    pub(super) mark_next: u32,
    pub(super) sack: bool,
    pub(super) phase: Phase,
    pub(super) delivered: u64,
    pub(super) dropped: u32,
    pub(super) least_window: u32,
    start: Timestamp,
    busy_until: Timestamp,
    next_send: Timestamp,
    next_write: Timestamp,
    flight: VecDeque<Packet>,
    next: u64,
    recovery_point: u64,
    lost: u32,
    delivered_time: Timestamp,
    first_send_time: Timestamp,
    app_limited: u64,
    limited_until: u64,
    srtt: Option<Duration>,
}

/// How long so many bytes take at this rate.
fn time(bytes: u64, rate: u64) -> Duration {
    Duration::from_micros((bytes * 1_000_000).div_ceil(rate.max(1)))
}

impl Path {
    pub(super) fn new(rate: u64, rtt: Duration, queue: u64) -> Self {
        Self::with_seed(rate, rtt, queue, 1)
    }

    pub(super) fn with_seed(rate: u64, rtt: Duration, queue: u64, seed: u64) -> Self {
        let now = Timestamp::from_micros(1_000_000);
        let control = Control::new(&Start::new(now, MSS).with_seed(seed), false);
        Self {
            control,
            now,
            rate,
            rtt,
            queue,
            bunch: Duration::ZERO,
            app_rate: None,
            drop_every: 0,
            drop_next: 0,
            mark_next: 0,
            sack: true,
            phase: Phase::Open,
            delivered: 0,
            dropped: 0,
            least_window: u32::MAX,
            start: now,
            busy_until: now,
            next_send: now,
            next_write: now,
            flight: VecDeque::new(),
            next: 0,
            recovery_point: 0,
            lost: 0,
            delivered_time: now,
            first_send_time: now,
            app_limited: 0,
            limited_until: 0,
            srtt: None,
        }
    }

    pub(super) fn since_start(&self) -> Duration {
        self.now.since(self.start)
    }

    fn in_flight(&self) -> u32 {
        u32::try_from(self.flight.len()).unwrap() * MSS
    }

    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.step();
        }
    }

    pub(super) fn run_to(&mut self, is_there: impl Fn(&Control) -> bool) {
        for _ in 0..400_000 {
            if is_there(&self.control) {
                return;
            }
            self.step();
        }
        panic!("not within {:?}: {:?}", self.since_start(), self.control);
    }

    /// The application writes nothing for so long.
    pub(super) fn pause(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.next_ack() {
            self.acknowledge(next);
        }
        self.flight.clear();
        self.now = self.now.max(until);
        self.next_send = self.now;
        self.next_write = self.now;
    }

    fn next_ack(&self) -> Option<Timestamp> {
        // None overtakes another.
        self.flight.iter().find_map(|packet| packet.comes)
    }

    /// A segment is sent, or acknowledgements come.
    pub(super) fn step(&mut self) {
        self.least_window = self.least_window.min(self.control.window());
        let fits = self.flight.is_empty() || self.in_flight() + MSS <= self.control.window();
        let sends = fits.then(|| self.next_send.max(self.next_write).max(self.now));
        match (self.next_ack(), sends) {
            (Some(ack), Some(send)) if ack <= send => self.acknowledge(ack),
            (_, Some(send)) => {
                if self.next_write > self.next_send.max(self.now) {
                    self.app_limited = (self.delivered + u64::from(self.in_flight())).max(1);
                }
                self.now = send;
                self.send();
            }
            (Some(ack), None) => self.acknowledge(ack),
            // All of it was dropped: a timeout.
            (None, None) => {
                self.now += self.rtt * 2 + Duration::from_millis(200);
                self.time_out();
            }
        }
        if !fits {
            self.limited_until = self.next;
        }
    }

    fn time_out(&mut self) {
        while let Some(packet) = self.flight.pop_front() {
            self.lose(&packet);
        }
        self.phase = Phase::Loss;
        self.recovery_point = self.next;
        let cause = Congestion::Timeout { again: false };
        self.control.on_congestion(&CongestionEvent::new(self.now, cause, 0, self.number(self.next)));
    }

    fn number(&self, packet: u64) -> SeqNum {
        SeqNum::new(u32::try_from(packet * u64::from(MSS) % (1 << 32)).unwrap())
    }

    fn send(&mut self) {
        if self.flight.is_empty() {
            (self.first_send_time, self.delivered_time) = (self.now, self.now);
        }
        let packet = Packet {
            number: self.next,
            sent: self.now,
            comes: None,
            delivered: self.delivered,
            delivered_time: self.delivered_time,
            first_send_time: self.first_send_time,
            tx_in_flight: self.in_flight() + MSS,
            lost: self.lost,
            app_limited: self.app_limited > 0,
            marked: false,
        };
        self.next += 1;
        let packet = self.pass(packet);
        self.flight.push_back(packet);
        self.control.on_sent(self.now, MSS, self.in_flight());
        let pace = self.control.pacing_rate().map_or(Duration::ZERO, |rate| time(u64::from(MSS), rate));
        self.next_send = self.now + pace;
        if let Some(rate) = self.app_rate {
            self.next_write = self.next_write.max(self.now) + time(u64::from(MSS), rate);
        }
    }

    /// Through the bottleneck, if there is room in its queue.
    fn pass(&mut self, mut packet: Packet) -> Packet {
        let waits = micros(self.busy_until.since(self.now)) * self.rate / 1_000_000;
        let every = self.drop_every > 0 && packet.number % u64::from(self.drop_every) == 1;
        if waits > self.queue || every || self.drop_next > 0 {
            self.drop_next = self.drop_next.saturating_sub(1);
            self.dropped += 1;
            return packet;
        }
        packet.marked = self.mark_next > 0;
        self.mark_next = self.mark_next.saturating_sub(1);
        self.busy_until = self.busy_until.max(self.now) + time(u64::from(MSS), self.rate);
        let comes = self.busy_until + self.rtt;
        let bunch = micros(self.bunch).max(1);
        packet.comes = Some(Timestamp::from_micros(comes.as_micros().next_multiple_of(bunch)));
        packet
    }

    fn departure(&self, packet: &Packet) -> Departure {
        let mut departure = Departure::new(self.number(packet.number), MSS);
        departure.delivered = packet.delivered;
        departure.delivered_since = self.delivered - packet.delivered;
        departure.in_flight = packet.tx_in_flight;
        departure.lost_since = self.lost - packet.lost;
        departure.app_limited = packet.app_limited;
        departure
    }

    fn lose(&mut self, packet: &Packet) -> bool {
        self.lost += MSS;
        let departure = self.departure(packet);
        self.control.on_lost(self.now, &departure);
        true
    }

    /// All that comes at this moment is acknowledged at once.
    fn acknowledge(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
        let prior_in_flight = self.in_flight();
        let first = self.flight.iter().take_while(|packet| packet.comes.is_none()).count();
        let last =
            self.flight.iter().skip(first).take_while(|packet| packet.comes.is_none_or(|comes| comes == at));
        let range = first..first + last.count();
        let mut came: Vec<Packet> = self.flight.drain(range).collect();
        let dropped = came.iter().position(|packet| packet.comes.is_none()).unwrap_or(came.len());
        for packet in came.drain(dropped..).rev() {
            self.flight.insert(first, packet);
        }
        let Some(newest) = came.last().copied() else { return };
        let bytes = u32::try_from(came.len()).unwrap() * MSS;
        self.delivered += u64::from(bytes);
        self.delivered_time = self.now;
        if self.app_limited > 0 && self.delivered > self.app_limited {
            self.app_limited = 0;
        }
        self.first_send_time = newest.sent;
        let before = self.lost;
        self.find_losses(newest.number);
        if newest.number >= self.recovery_point && self.lost == before {
            self.phase = Phase::Open;
        }
        let rtt = self.now.since(newest.sent);
        self.srtt = Some(self.srtt.map_or(rtt, |srtt| (srtt * 7 + rtt) / 8));
        let interval = newest.sent.since(newest.first_send_time).max(self.now.since(newest.delivered_time));
        let mut delivery = Delivery::new(self.now);
        let rate = RateSample::new(self.delivered - newest.delivered, interval);
        delivery.rate = (interval >= self.rtt).then_some(rate);
        delivery.newest = Some(self.departure(&newest));
        (delivery.acked, delivery.delivered, delivery.lost) = (bytes, bytes, self.lost - before);
        (delivery.rtt, delivery.srtt) = (Some(rtt), self.srtt);
        (delivery.prior_in_flight, delivery.in_flight) = (prior_in_flight, self.in_flight());
        delivery.marked = u32::try_from(came.iter().filter(|packet| packet.marked).count()).unwrap() * MSS;
        delivery.window_limited = came.iter().any(|packet| packet.number < self.limited_until);
        (delivery.phase, delivery.sack) = (self.phase, self.sack);
        self.control.on_ack(&delivery);
    }

    /// What is lost, by order; what was late is not known here.
    fn find_losses(&mut self, newest: u64) {
        let before = self.lost;
        while let Some(first) =
            self.flight.front().copied().filter(|first| first.number + DUP_THRESH <= newest)
            && first.comes.is_none()
        {
            self.flight.pop_front();
            self.lose(&first);
        }
        if self.lost > before && matches!(self.phase, Phase::Open) {
            self.phase = Phase::Recovery;
            self.recovery_point = self.next;
            let event =
                CongestionEvent::new(self.now, Congestion::Loss, self.in_flight(), self.number(self.next));
            self.control.on_congestion(&event);
        }
    }
}
