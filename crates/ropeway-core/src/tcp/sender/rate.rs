//! How fast data arrives (draft-ietf-ccwg-bbr, 4.1): each segment remembers what had been delivered when it was sent.

use std::time::Duration;

use super::flight::{Marks, Sent};
use crate::congestion::RateSample;
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
}

/// The connection's side of it, as long as something is out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Course {
    /// `C.delivered_time`
    pub(crate) delivered_at: Timestamp,
    /// `C.first_send_time`
    first_sent_at: Timestamp,
    /// `C.app_limited`: until so much is delivered, the application limits the samples.
    app_limited: u64,
}

impl Course {
    pub(crate) const NONE: Self =
        Self { delivered_at: Timestamp::START, first_sent_at: Timestamp::START, app_limited: 0 };
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
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Newest(Option<(Stamp, Timestamp, Marks)>);

impl Newest {
    pub(crate) fn see(&mut self, sent: &Sent) {
        if self.0.is_none_or(|(stamp, at, _)| (sent.stamp.delivered, sent.at) > (stamp.delivered, at)) {
            self.0 = Some((sent.stamp, sent.at, sent.marks));
        }
    }

    /// `P.delivered`
    pub(crate) fn delivered(&self) -> Option<u64> {
        self.0.map(|(stamp, _, _)| stamp.delivered)
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

    /// A segment is about to be sent; `idle`: nothing is in flight, so the application had nothing to send.
    pub(crate) fn stamp(&self, course: &mut Course, now: Timestamp, idle: bool) -> (Stamp, Marks) {
        if idle {
            course.first_sent_at = now;
            course.delivered_at = now;
            self.note_app_limited(course, 0);
        }
        let stamp = Stamp {
            delivered: self.delivered,
            delivered_at: course.delivered_at,
            first_sent_at: course.first_sent_at,
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
        newest: Newest,
        min_rtt: Option<Duration>,
    ) -> Option<RateSample> {
        if course.app_limited > 0 && self.delivered > course.app_limited {
            course.app_limited = 0;
        }
        let (stamp, sent_at, marks) = newest.0?;
        course.first_sent_at = sent_at;
        let send_elapsed = sent_at.since(stamp.first_sent_at);
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
