//! A server's cookies (RFC 7413 4.1.2): a hash of both addresses under a key that nobody else knows.
//!
//! It is Linux's: SipHash-2-4 of the client's and the server's address, eight bytes. So servers that share an address and
//! a key take each other's cookies, whether they are ropeway or Linux.

use std::fmt;
use std::hash::Hasher;
use std::net::IpAddr;

use ropeway_packet::{FastOpen as Cookie, FourTuple};
use siphasher::sip::SipHasher24;

/// The keys of the cookies that a server gives its clients for Fast Open (RFC 7413 4.1.2; `TCP_FASTOPEN_KEY`).
///
/// New cookies are made with the first key. Those of the second one are still good, and are replaced by new ones. Several
/// servers behind one address must have equal keys, in Linux too.
///
/// # Examples
///
/// ```
/// use ropeway_core::FastOpenKeys;
///
/// let keys = FastOpenKeys::new(*b"sixteen bytes...");
/// let next = keys.rotate(*b"sixteen others..");
/// assert_ne!(keys, next);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FastOpenKeys {
    primary: [u8; 16],
    backup: Option<[u8; 16]>,
}

/// What a cookie is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    Nothing,
    /// It was made with the first key.
    Good,
    /// It was made with the second key.
    Aging,
}

impl FastOpenKeys {
    /// One key.
    #[must_use]
    pub const fn new(primary: [u8; 16]) -> Self {
        Self { primary, backup: None }
    }

    /// A key, and the one that was in use before, whose cookies are still good.
    #[must_use]
    pub const fn with_backup(primary: [u8; 16], backup: [u8; 16]) -> Self {
        Self { primary, backup: Some(backup) }
    }

    /// A new key; the one that was the first becomes the second.
    #[must_use]
    pub const fn rotate(self, primary: [u8; 16]) -> Self {
        Self::with_backup(primary, self.primary)
    }

    /// The cookie that a server at `server` gives to a client at `client`.
    #[must_use]
    pub fn cookie(&self, client: IpAddr, server: IpAddr) -> [u8; 8] {
        cookie_with(&self.primary, client, server)
    }

    /// The cookie of the client at the remote end.
    pub(crate) fn cookie_for(&self, tuple: &FourTuple) -> Option<Cookie> {
        Cookie::new(&self.cookie(tuple.remote_addr, tuple.local_addr))
    }

    /// RFC 7413 4.1.2-2
    pub(crate) fn check(&self, tuple: &FourTuple, cookie: &[u8]) -> Worth {
        let made_with = |key: &[u8; 16]| cookie_with(key, tuple.remote_addr, tuple.local_addr) == cookie;
        match self.backup {
            _ if made_with(&self.primary) => Worth::Good,
            Some(backup) if made_with(&backup) => Worth::Aging,
            _ => Worth::Nothing,
        }
    }
}

impl fmt::Debug for FastOpenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FastOpenKeys { .. }")
    }
}

/// RFC 7413 4.1.2-1
fn cookie_with(key: &[u8; 16], client: IpAddr, server: IpAddr) -> [u8; 8] {
    let mut hash = SipHasher24::new_with_key(key);
    for address in [client, server] {
        match address {
            IpAddr::V4(address) => hash.write(&address.octets()),
            IpAddr::V6(address) => hash.write(&address.octets()),
        }
    }
    hash.finish().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(remote: &str, local: &str) -> FourTuple {
        FourTuple {
            remote_addr: remote.parse().unwrap(),
            local_addr: local.parse().unwrap(),
            remote_port: 1,
            local_port: 2,
        }
    }

    /// As in `net.ipv4.tcp_fastopen_key`: four words, the least significant byte first.
    fn key(words: [u32; 4]) -> [u8; 16] {
        let mut key = [0; 16];
        for (to, word) in key.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        key
    }

    #[test]
    fn cookies_are_those_that_linux_makes_with_the_same_key() {
        let keys = FastOpenKeys::new(key([0xa0bf_63f7, 0xed80_3d81, 0xcd64_1d30, 0xcebc_4a90]));
        for (remote, local, expected) in [
            ("10.248.0.2", "192.168.0.2", 0x00ab_aaab_e8e9_54c2_u64),
            ("10.248.0.3", "192.168.0.2", 0x1313_a2da_994a_0951),
            ("10.248.0.3", "192.168.0.3", 0x76d2_c1c5_30f5_1f79),
        ] {
            let cookie = keys.cookie(remote.parse().unwrap(), local.parse().unwrap());
            assert_eq!(cookie, expected.to_be_bytes(), "{remote} {local}");
        }
        let zero = FastOpenKeys::new([0; 16]);
        let cookie = zero.cookie("10.248.0.2".parse().unwrap(), "192.168.0.2".parse().unwrap());
        assert_eq!(cookie, 0x93b7_aa4f_550f_8a1a_u64.to_be_bytes());
    }

    #[test]
    fn a_cookie_outlives_one_change_of_the_key_and_no_more() {
        let (tuple, old) = (tuple("fd00::2", "fd00::1"), FastOpenKeys::new([1; 16]));
        let cookie = old.cookie_for(&tuple).unwrap();
        assert_eq!(old.check(&tuple, cookie.cookie()), Worth::Good);
        let rotated = old.rotate([2; 16]);
        assert_eq!(rotated.check(&tuple, cookie.cookie()), Worth::Aging);
        assert_eq!(rotated.rotate([3; 16]).check(&tuple, cookie.cookie()), Worth::Nothing);
        assert_eq!(old.check(&tuple, &cookie.cookie()[..4]), Worth::Nothing);
    }
}
