//! The path-MTU cache (RFC 1191, RFC 8201): what routers have said, for ten minutes each.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::time::Timestamp;

/// RFC 8201 5.3 and RFC 1191 6.3: how long a lowered MTU is kept before a larger one is tried again.
const LIFETIME: Duration = Duration::from_secs(600);

/// Enough for every path with a tunnel in it; an attacker cannot make it grow.
const MAX_ENTRIES: usize = 1024;

/// No path that matters has less (Linux's `min_pmtu`); below it, a message is taken for a lie.
const MIN_V4: u16 = 552;
/// RFC 8200 5
const MIN_V6: u16 = 1280;

/// Common MTUs (RFC 1191 7.1), for routers that do not say theirs.
const PLATEAUS: [u16; 7] = [32000, 17914, 8166, 4352, 2002, 1492, 1006];

/// The least that is believed of a path to `remote`.
pub(crate) fn least(remote: IpAddr) -> u16 {
    if remote.is_ipv4() { MIN_V4 } else { MIN_V6 }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct PathMtuCache {
    entries: VecDeque<(IpAddr, u16, Timestamp)>,
}

impl PathMtuCache {
    /// The MTU towards `remote` if it is known to be below the device's.
    pub(crate) fn get(&self, remote: IpAddr, now: Timestamp) -> Option<u16> {
        let (_, mtu, _) = self
            .entries
            .iter()
            .find(|(known, _, learned)| *known == remote && now.since(*learned) < LIFETIME)?;
        Some(*mtu)
    }

    /// A router says that `mtu` bytes pass towards `remote`, or does not say (0) but refused a packet of
    /// `refused` bytes. Gives the MTU that is believed from now on, if the message is to be believed at all.
    pub(crate) fn learn(&mut self, remote: IpAddr, mtu: u32, refused: u32, now: Timestamp) -> Option<u16> {
        let said = u16::try_from(mtu).unwrap_or(u16::MAX);
        let mtu = match (said, remote) {
            // RFC 8201 4: less than IPv6's minimum is discarded.
            (..MIN_V6, IpAddr::V6(_)) => return None,
            (0, _) => PLATEAUS.into_iter().find(|plateau| u32::from(*plateau) < refused).unwrap_or(MIN_V4),
            (said, _) => said,
        };
        // Such a message never raises the estimate (RFC 1191 3, RFC 8201 4).
        let known = self.get(remote, now).unwrap_or(u16::MAX);
        let mtu = mtu.max(MIN_V4);
        if mtu >= known {
            return None;
        }
        self.entries.retain(|(known, ..)| *known != remote);
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back((remote, mtu, now));
        Some(mtu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_for_ten_minutes_and_never_believes_too_little() {
        let mut cache = PathMtuCache::default();
        let remote: IpAddr = "192.0.2.1".parse().unwrap();
        let now = Timestamp::from_micros(1);
        assert_eq!(cache.learn(remote, 1400, 1500, now), Some(1400));
        assert_eq!(cache.get(remote, now), Some(1400));
        assert_eq!(cache.get(remote, now + LIFETIME), None);
        assert_eq!(cache.learn(remote, 1450, 1500, now), None, "a message never raises it");
        assert_eq!(cache.learn(remote, 68, 1500, now), Some(552));
        let other: IpAddr = "192.0.2.2".parse().unwrap();
        assert_eq!(cache.learn(other, 0, 1500, now), Some(1492));
        assert_eq!(cache.learn("2001:db8::1".parse().unwrap(), 500, 1500, now), None);
    }

    #[test]
    fn a_flood_of_paths_does_not_make_it_grow() {
        let mut cache = PathMtuCache::default();
        for i in 0..5000u32 {
            cache.learn(std::net::Ipv4Addr::from_bits(0x0a00_0000 + i).into(), 1400, 1500, Timestamp::START);
        }
        assert_eq!(cache.entries.len(), MAX_ENTRIES);
    }
}
