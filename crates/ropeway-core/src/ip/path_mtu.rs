//! The path-MTU cache: what routers have said (RFC 1191, RFC 8201) and what probes have found out (RFC 4821), for ten
//! minutes each.

use std::collections::{BTreeMap, VecDeque};
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
pub(crate) const MIN_V6: u16 = 1280;

/// Common MTUs (RFC 1191 7.1), for routers that do not say theirs.
const PLATEAUS: [u16; 7] = [32000, 17914, 8166, 4352, 2002, 1492, 1006];

/// The least that is believed of a path to `remote`.
pub(crate) fn least(remote: IpAddr) -> u16 {
    if remote.is_ipv4() { MIN_V4 } else { MIN_V6 }
}

/// What is known of a path. Packet sizes have the IP header in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathMtu {
    /// What packets may have.
    pub(crate) mtu: u16,
    /// More than this does not pass; between the two, nothing is known.
    pub(crate) most: u16,
    /// Since when that is so.
    pub(crate) since: Timestamp,
}

#[derive(Clone, Debug)]
struct Entry {
    path: PathMtu,
    /// Packets of that size have arrived: it is what connections begin with, too, while more is tried again.
    proved: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct PathMtuCache {
    /// A datagram asks for its path, among a thousand of others.
    entries: BTreeMap<IpAddr, Entry>,
    /// In which order they came.
    order: VecDeque<IpAddr>,
}

impl PathMtuCache {
    // RFC 4821 5.2-2
    /// What is known of the path to `remote` besides the device's MTU.
    pub(crate) fn get(&self, remote: IpAddr, now: Timestamp) -> Option<PathMtu> {
        let entry = self.entries.get(&remote)?;
        let age = now.since(entry.path.since);
        if age < LIFETIME {
            Some(entry.path)
        } else {
            (entry.proved && age < 2 * LIFETIME).then_some(PathMtu { most: u16::MAX, ..entry.path })
        }
    }

    /// A router says that `mtu` bytes pass towards `remote`, or does not say (0) but refused a packet of
    /// `refused` bytes. Gives the most that is believed to pass from now on, if the message is to be believed at all.
    pub(crate) fn learn(&mut self, remote: IpAddr, mtu: u32, refused: u32, now: Timestamp) -> Option<u16> {
        let said = u16::try_from(mtu).unwrap_or(u16::MAX);
        let most = match (said, remote) {
            // RFC 8201 4: less than IPv6's minimum is discarded.
            (..MIN_V6, IpAddr::V6(_)) => return None,
            (0, _) => PLATEAUS.into_iter().find(|plateau| u32::from(*plateau) < refused).unwrap_or(MIN_V4),
            (said, _) => said,
        };
        let most = most.max(MIN_V4);
        // Such a message never raises the estimate (RFC 1191 3, RFC 8201 4).
        let known = self.get(remote, now);
        if known.is_some_and(|known| most >= known.most) {
            return None;
        }
        let mtu = known.map_or(most, |known| known.mtu.min(most));
        let proved = known.is_some_and(|known| known.mtu < most);
        self.put(remote, Entry { path: PathMtu { mtu, most, since: now }, proved });
        Some(most)
    }

    /// Packets of `mtu` bytes have arrived at `remote`, and none with more than `most`. What is less than any path has is not
    /// kept for others: it may be the peer that makes us believe it.
    pub(crate) fn prove(&mut self, remote: IpAddr, mtu: u16, most: u16, now: Timestamp) {
        let mtu = mtu.max(least(remote));
        self.put(remote, Entry { path: PathMtu { mtu, most: most.max(mtu), since: now }, proved: true });
    }

    /// Nothing is known any more.
    pub(crate) fn forget(&mut self, remote: IpAddr) {
        if self.entries.remove(&remote).is_some() {
            self.order.retain(|known| *known != remote);
        }
    }

    fn put(&mut self, remote: IpAddr, entry: Entry) {
        self.forget(remote);
        if self.entries.len() >= MAX_ENTRIES
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
        self.order.push_back(remote);
        self.entries.insert(remote, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mtu(cache: &PathMtuCache, remote: IpAddr, now: Timestamp) -> Option<u16> {
        cache.get(remote, now).map(|path| path.mtu)
    }

    #[test]
    fn remembers_for_ten_minutes_and_never_believes_too_little() {
        let mut cache = PathMtuCache::default();
        let remote: IpAddr = "192.0.2.1".parse().unwrap();
        let now = Timestamp::from_micros(1);
        assert_eq!(cache.learn(remote, 1400, 1500, now), Some(1400));
        assert_eq!(mtu(&cache, remote, now), Some(1400));
        assert_eq!(mtu(&cache, remote, now + LIFETIME), None);
        assert_eq!(cache.learn(remote, 1450, 1500, now), None, "a message never raises it");
        assert_eq!(cache.learn(remote, 68, 1500, now), Some(552));
        let other: IpAddr = "192.0.2.2".parse().unwrap();
        assert_eq!(cache.learn(other, 0, 1500, now), Some(1492));
        assert_eq!(cache.learn("2001:db8::1".parse().unwrap(), 500, 1500, now), None);
    }

    #[test]
    fn what_was_proved_is_what_to_begin_with_when_more_may_be_tried() {
        let mut cache = PathMtuCache::default();
        let remote: IpAddr = "192.0.2.1".parse().unwrap();
        let now = Timestamp::from_micros(1);
        cache.prove(remote, 1064, 1500, now);
        assert_eq!(cache.get(remote, now), Some(PathMtu { mtu: 1064, most: 1500, since: now }));
        // A router says more than was found to pass: no more is to be tried.
        assert_eq!(cache.learn(remote, 1400, 1500, now), Some(1400));
        assert_eq!(cache.get(remote, now), Some(PathMtu { mtu: 1064, most: 1400, since: now }));
        let later = now + LIFETIME;
        assert_eq!(cache.get(remote, later), Some(PathMtu { mtu: 1064, most: u16::MAX, since: now }));
        assert_eq!(cache.get(remote, later + LIFETIME), None);
        cache.prove(remote, 100, 100, now);
        assert_eq!(mtu(&cache, remote, now), Some(552), "others find out for themselves");
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
