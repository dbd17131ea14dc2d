//! How fast data arrives (draft-ietf-ccwg-bbr, 4.1): each segment remembers what had been delivered when it was sent.

use std::time::Duration;

use super::flight::{Marks, Sent};
use crate::congestion::{Departure, RateSample};
use crate::time::Timestamp;

/// What a segment remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// `P.delivered`, in bytes.
    pub(crate) delivered: u64,
    /// `P.delivered_time`
    pub(crate) delivered_at: Timestamp,
    /// `P.first_send_time`
    pub(crate) first_sent_at: Timestamp,
    /// `P.tx_in_flight`, with all of the entry that bears it.
    pub(crate) in_flight: u32,
    /// `P.lost`
    pub(crate) lost: u32,
}

impl Stamp {
    /// Whether what bears this one left together with what bears the other, right behind it or before it.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        Self { in_flight: other.in_flight, ..*self } == *other
    }
}

/// The connection's side of it, as long as something is out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Course {
    /// `C.delivered`, as it was when something last was delivered or sent.
    delivered: u64,
    /// `C.delivered_time`
    delivered_at: Timestamp,
    /// `C.first_send_time`
    first_sent_at: Timestamp,
    /// `C.app_limited`: until so much is delivered, the application limits the samples.
    app_limited: u64,
    /// `C.lost`, since something was out; it wraps.
    lost: u32,
}

impl Course {
    pub(crate) const NONE: Self = Self {
        delivered: 0,
        delivered_at: Timestamp::START,
        first_sent_at: Timestamp::START,
        app_limited: 0,
        lost: 0,
    };

    /// Something has arrived, and so much has in all.
    pub(crate) fn deliver(&mut self, delivered: u64, now: Timestamp) {
        (self.delivered, self.delivered_at) = (delivered, now);
    }

    /// So many bytes are taken for lost.
    pub(crate) fn lose(&mut self, len: u32) {
        self.lost = self.lost.wrapping_add(len);
    }

    /// How things stood when this left.
    pub(crate) fn departure(&self, sent: &Sent) -> Departure {
        let mut departure = Departure::new(sent.start, sent.len());
        departure.delivered = sent.stamp.delivered;
        departure.delivered_since = self.delivered.saturating_sub(sent.stamp.delivered);
        departure.in_flight = sent.stamp.in_flight;
        departure.lost_since = self.lost.wrapping_sub(sent.stamp.lost);
        departure.app_limited = sent.marks.has(Marks::APP_LIMITED);
        departure
    }
}

impl Default for Course {
    fn default() -> Self {
        Self::NONE
    }
}

/// What is known of it when nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeliveryRate {
    /// `C.delivered`, in bytes.
    delivered: u64,
    /// The last sample, in bytes a second, and whether the application limited it: what `TCP_INFO` tells.
    last_sample: (u64, bool),
}

/// The newest that one acknowledgement has shown to have arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Newest(Option<Sent>);

impl Newest {
    pub(crate) fn see(&mut self, sent: &Sent) {
        let moment = |sent: &Sent| (sent.stamp.delivered, sent.at);
        if self.0.as_ref().is_none_or(|newest| moment(sent) > moment(newest)) {
            self.0 = Some(sent.clone());
        }
    }

    /// `P.delivered`
    pub(crate) fn delivered(&self) -> Option<u64> {
        self.0.as_ref().map(|newest| newest.stamp.delivered)
    }

    /// How things stood when it left.
    pub(crate) fn departure(&self, course: &Course) -> Option<Departure> {
        self.0.as_ref().map(|newest| course.departure(newest))
    }
}

impl DeliveryRate {
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The last sample, in bytes a second, and whether the application limited it.
    pub(crate) fn last(&self) -> Option<(u64, bool)> {
        Some(self.last_sample).filter(|(rate, _)| *rate > 0)
    }

    /// `len` bytes are about to be sent, while `pipe` are in flight; `idle`: nothing is out, so the application had nothing
    /// to send.
    pub(crate) fn stamp(
        &self,
        course: &mut Course,
        now: Timestamp,
        (pipe, len): (u32, u32),
        idle: bool,
    ) -> (Stamp, Marks) {
        if pipe == 0 {
            course.first_sent_at = now;
            course.deliver(self.delivered, now);
        }
        if idle {
            self.note_app_limited(course, 0);
        }
        let stamp = Stamp {
            delivered: self.delivered,
            delivered_at: course.delivered_at,
            first_sent_at: course.first_sent_at,
            in_flight: pipe.saturating_add(len),
            lost: course.lost,
        };
        (stamp, if course.app_limited > 0 { Marks::APP_LIMITED } else { Marks::NONE })
    }

    /// There is nothing to send although the window would let it go.
    pub(crate) fn note_app_limited(&self, course: &mut Course, in_flight: u32) {
        course.app_limited = self.delivered.saturating_add(u64::from(in_flight)).max(1);
    }

    /// Bytes have arrived.
    pub(crate) fn count(&mut self, len: u32) {
        self.delivered += u64::from(len);
    }

    /// The acknowledgement has been read.
    pub(crate) fn sample(
        &mut self,
        course: &mut Course,
        newest: &Newest,
        min_rtt: Option<Duration>,
    ) -> Option<RateSample> {
        if course.app_limited > 0 && self.delivered > course.app_limited {
            course.app_limited = 0;
        }
        let Sent { stamp, at, marks, .. } = newest.0.as_ref()?;
        course.first_sent_at = *at;
        let send_elapsed = at.since(stamp.first_sent_at);
        let ack_elapsed = course.delivered_at.since(stamp.delivered_at);
        let interval = send_elapsed.max(ack_elapsed);
        // More than the path can have delivered: acknowledgements were compressed.
        if interval.is_zero() || min_rtt.is_some_and(|min| interval < min) {
            return None;
        }
        let mut sample = RateSample::new(self.delivered.saturating_sub(stamp.delivered), interval);
        sample.app_limited = marks.has(Marks::APP_LIMITED);
        sample.prior_delivered = stamp.delivered;
        let rate = sample.bytes_per_second();
        if !sample.app_limited || rate >= self.last_sample.0 {
            self.last_sample = (rate, sample.app_limited);
        }
        Some(sample)
    }
}
