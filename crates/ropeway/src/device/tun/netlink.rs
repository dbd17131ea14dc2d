//! Gives an interface its settings, by `rtnetlink(7)`.
//!
//! The ioctls of `netdevice(7)` would do for the settings, but know one IPv4 address per interface, and
//! nothing of IPv6 addresses that can be used at once.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::IpAddr;

use ropeway_core::IpCidr;

use super::sys;

/// `NLMSG_HDRLEN`
const HEADER: usize = 16;
/// A request that changes something, and is acknowledged.
const SET: libc::c_int = libc::NLM_F_REQUEST | libc::NLM_F_ACK;

/// `rtnl_link_stats64.tx_dropped`, in bytes from its start.
const TX_DROPPED: usize = 7 * 8;

// What `IFLA_INFO_DATA` of a TUN device consists of (`linux/if_link.h`).
const IFLA_TUN_VNET_HDR: u16 = 5;
const IFLA_TUN_MULTI_QUEUE: u16 = 7;
const IFLA_TUN_NUM_QUEUES: u16 = 8;
const IFLA_TUN_NUM_DISABLED_QUEUES: u16 = 9;

/// What the kernel tells of an interface that is a TUN device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    /// Its `IFF_*` flags.
    pub(super) flags: u32,
    pub(super) mtu: u16,
    /// It has a header before each packet that says what is left to do: so the last program that was attached wanted it, or
    /// whoever made the device.
    pub(super) vnet_header: bool,
    /// Several programs, or queues of one, may be attached.
    pub(super) multi_queue: bool,
    /// So many are.
    pub(super) queues: u32,
}

/// A connection to the kernel's configuration of one interface.
#[derive(Debug)]
pub(super) struct Interface {
    socket: File,
    index: u32,
}

impl Interface {
    /// The interface `index` of the network namespace of this thread.
    pub(super) fn open(index: u32) -> io::Result<Self> {
        Ok(Self { socket: sys::netlink_route_socket()?, index })
    }

    pub(super) fn set_mtu(&mut self, mtu: u16) -> io::Result<()> {
        self.set_link_attribute(libc::IFLA_MTU, u32::from(mtu))
    }

    pub(super) fn set_tx_queue_len(&mut self, packets: u32) -> io::Result<()> {
        self.set_link_attribute(libc::IFLA_TXQLEN, packets)
    }

    pub(super) fn set_up(&mut self) -> io::Result<()> {
        let up = libc::IFF_UP.cast_unsigned();
        let message = self.link_message(up, up);
        self.request(message)
    }

    pub(super) fn add_address(&mut self, address: IpCidr) -> io::Result<()> {
        let (family, bytes) = family_and_bytes(address.address());
        let mut message = Message::new(libc::RTM_NEWADDR, SET | libc::NLM_F_CREATE | libc::NLM_F_EXCL);
        // struct ifaddrmsg: family, prefix length, flags, scope, index. Nobody else is on the link, so an
        // IPv6 address need not wait until duplicate address detection has found that out.
        let flags = u8::try_from(libc::IFA_F_NODAD).unwrap_or_default();
        message.push(&[family, address.prefix_len(), flags, libc::RT_SCOPE_UNIVERSE]);
        message.push(&self.index.to_ne_bytes());
        message.attribute(libc::IFA_LOCAL, &bytes);
        message.attribute(libc::IFA_ADDRESS, &bytes);
        self.request(message)
    }

    fn set_link_attribute(&mut self, kind: u16, value: u32) -> io::Result<()> {
        let mut message = self.link_message(0, 0);
        message.attribute(kind, &value.to_ne_bytes());
        self.request(message)
    }

    fn link_message(&self, flags: u32, change: u32) -> Message {
        let mut message = Message::new(libc::RTM_NEWLINK, SET);
        // struct ifinfomsg: family, padding, type, index, flags, which of the flags to change.
        message.push(&[0; 4]);
        message.push(&self.index.to_ne_bytes());
        message.push(&flags.to_ne_bytes());
        message.push(&change.to_ne_bytes());
        message
    }

    /// What it is. Kernels before 4.16 tell nothing of TUN devices beyond what all interfaces have.
    pub(super) fn link(&mut self) -> io::Result<Link> {
        let answer = self.link_answer()?;
        parse_link(&answer).ok_or_else(|| nonsense("no interface"))
    }

    /// Packets that the kernel has dropped instead of sending them out of the interface.
    pub(super) fn tx_dropped(&mut self) -> io::Result<u64> {
        let answer = self.link_answer()?;
        link_attributes(&answer)
            .and_then(|attributes| attribute(attributes, libc::IFLA_STATS64))
            .and_then(|stats| stats.get(TX_DROPPED..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes)))
            .ok_or_else(|| nonsense("no statistics"))
    }

    /// What the kernel answers when it is asked for the interface.
    fn link_answer(&mut self) -> io::Result<Vec<u8>> {
        let mut message = Message::new(libc::RTM_GETLINK, libc::NLM_F_REQUEST);
        // struct ifinfomsg, as in `link_message`.
        message.push(&[0; 4]);
        message.push(&self.index.to_ne_bytes());
        message.push(&[0; 8]);
        self.exchange(message)
    }

    /// Whether the kernel takes packets to `address` for its own already.
    pub(super) fn is_local(&mut self, address: IpAddr) -> io::Result<bool> {
        let (family, bytes) = family_and_bytes(address);
        let mut message = Message::new(libc::RTM_GETROUTE, libc::NLM_F_REQUEST);
        // struct rtmsg: family, destination's prefix length, and ten bytes that a question leaves at zero.
        let bits = u8::try_from(bytes.len() * 8).unwrap_or_default();
        message.push(&[family, bits]);
        message.push(&[0; 10]);
        message.attribute(libc::RTA_DST, &bytes);
        let answer = self.exchange(message)?;
        // The eighth byte of the `rtmsg` is the route's type.
        let kind = answer.get(HEADER + 7).copied();
        Ok(message_type(&answer) == Some(libc::RTM_NEWROUTE) && kind == Some(libc::RTN_LOCAL))
    }

    /// Makes a request that the kernel acknowledges.
    fn request(&mut self, message: Message) -> io::Result<()> {
        parse_acknowledgement(&self.exchange(message)?)
    }

    /// Sends a message and reads the answer, which the kernel has ready at once.
    fn exchange(&mut self, message: Message) -> io::Result<Vec<u8>> {
        let message = message.finish();
        let sent = self.socket.write(&message)?;
        if sent != message.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let mut answer = vec![0; 16 * 1024];
        let len = self.socket.read(&mut answer)?;
        answer.truncate(len);
        Ok(answer)
    }
}

/// A request that is being written.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: libc::c_int) -> Self {
        // struct nlmsghdr: length (filled in at the end), type, flags, sequence number, port.
        let mut message = Self(Vec::with_capacity(64));
        message.push(&[0; 4]);
        message.push(&kind.to_ne_bytes());
        message.push(&u16::try_from(flags).unwrap_or_default().to_ne_bytes());
        message.push(&[0; 8]);
        message
    }

    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Appends a `struct rtattr`. What we send has a multiple of four bytes, so that no padding is due.
    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let len = u16::try_from(value.len() + 4).unwrap_or_default();
        self.push(&len.to_ne_bytes());
        self.push(&kind.to_ne_bytes());
        self.push(value);
    }

    fn finish(mut self) -> Vec<u8> {
        let len = u32::try_from(self.0.len()).unwrap_or_default();
        if let Some(field) = self.0.first_chunk_mut() {
            *field = len.to_ne_bytes();
        }
        self.0
    }
}

fn nonsense(missing: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the kernel's answer has {missing}"))
}

/// The attributes behind the `ifinfomsg` of an answer that tells of an interface.
fn link_attributes(answer: &[u8]) -> Option<&[u8]> {
    answer.get(HEADER + 16..).filter(|_| message_type(answer) == Some(libc::RTM_NEWLINK))
}

fn parse_link(answer: &[u8]) -> Option<Link> {
    let attributes = link_attributes(answer)?;
    let word = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    let flags = word(answer.get(HEADER + 8..)?)?;
    let mtu = word(attribute(attributes, libc::IFLA_MTU)?)?;
    let data =
        attribute(attributes, libc::IFLA_LINKINFO).and_then(|info| attribute(info, libc::IFLA_INFO_DATA));
    let of_tun = |kind| data.and_then(|data| attribute(data, kind));
    let is_set = |kind| of_tun(kind).is_some_and(|value| value.first().is_some_and(|byte| *byte != 0));
    let count = |kind| of_tun(kind).and_then(word).unwrap_or_default();
    Some(Link {
        flags,
        // The kernel's limit is the most there can be.
        mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
        vnet_header: is_set(IFLA_TUN_VNET_HDR),
        multi_queue: is_set(IFLA_TUN_MULTI_QUEUE),
        queues: count(IFLA_TUN_NUM_QUEUES).saturating_add(count(IFLA_TUN_NUM_DISABLED_QUEUES)),
    })
}

/// The value of the first attribute of a kind. Each begins on a multiple of four bytes.
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let [a, b, c, d, ..] = *attributes else { return None };
        let len = usize::from(u16::from_ne_bytes([a, b]));
        if u16::from_ne_bytes([c, d]) == kind {
            return attributes.get(4..len);
        }
        attributes = attributes.get(len.max(4).next_multiple_of(4)..)?;
    }
}

/// The address family's number, and the address as it is sent.
fn family_and_bytes(address: IpAddr) -> (u8, Vec<u8>) {
    let (family, bytes) = match address {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    (u8::try_from(family).unwrap_or_default(), bytes)
}

fn message_type(answer: &[u8]) -> Option<u16> {
    answer.get(4..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

/// Reads an `NLMSG_ERROR` message, which with error number 0 is an acknowledgement.
fn parse_acknowledgement(answer: &[u8]) -> io::Result<()> {
    let kind = message_type(answer).map(libc::c_int::from);
    let error = answer.get(HEADER..).and_then(<[u8]>::first_chunk).map(|bytes| i32::from_ne_bytes(*bytes));
    match (kind, error) {
        (Some(libc::NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(libc::NLMSG_ERROR), Some(error)) => Err(io::Error::from_raw_os_error(error.saturating_neg())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is not an acknowledgement")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_laid_out_as_the_kernel_reads_it() {
        let interface = Interface { socket: File::open("/dev/null").unwrap(), index: 7 };
        let mut message = interface.link_message(1, 1);
        message.attribute(libc::IFLA_MTU, &1400_u32.to_ne_bytes());
        let bytes = message.finish();
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(bytes.len(), 40);
        assert_eq!(word(0), 40, "length");
        assert_eq!(bytes[4..6], libc::RTM_NEWLINK.to_ne_bytes());
        assert_eq!(bytes[6..8], 5_u16.to_ne_bytes(), "REQUEST and ACK");
        assert_eq!((word(20), word(24), word(28)), (7, 1, 1), "index, flags, change");
        assert_eq!(word(36), 1400);
    }

    #[test]
    fn an_attribute_is_found_behind_others_and_not_beyond_the_end() {
        let mut message = Message(Vec::new());
        message.attribute(1, &[1, 2, 3, 4]);
        message.push(&[5, 0, 2, 0, 9, 0, 0, 0]);
        message.attribute(3, &[7; 8]);
        assert_eq!(attribute(&message.0, 1), Some(&[1, 2, 3, 4][..]));
        assert_eq!(attribute(&message.0, 2), Some(&[9][..]));
        assert_eq!(attribute(&message.0, 3), Some(&[7; 8][..]));
        assert_eq!(attribute(&message.0, 4), None);
        assert_eq!(attribute(&message.0[..22], 3), None);
        assert_eq!(attribute(&[0; 64], 3), None);
    }

    #[test]
    fn what_a_link_is_is_read_from_nested_attributes() {
        let nested = |kind: u16, inner: Message| {
            let mut outer = Message(Vec::new());
            outer.attribute(kind, &inner.0);
            outer
        };
        let mut data = Message(Vec::new());
        data.push(&[5, 0, 5, 0, 1, 0, 0, 0]); // VNET_HDR
        data.push(&[5, 0, 7, 0, 1, 0, 0, 0]); // MULTI_QUEUE
        data.attribute(IFLA_TUN_NUM_QUEUES, &2_u32.to_ne_bytes());
        data.attribute(IFLA_TUN_NUM_DISABLED_QUEUES, &u32::MAX.to_ne_bytes());
        let mut answer = Message::new(libc::RTM_NEWLINK, 0);
        answer.push(&[0; 8]);
        answer.push(&3_u32.to_ne_bytes());
        answer.push(&[0; 4]);
        assert_eq!(parse_link(&answer.0), None, "it has an MTU");
        answer.attribute(libc::IFLA_MTU, &70_000_u32.to_ne_bytes());
        let unknown = Link { flags: 3, mtu: u16::MAX, ..Link::default() };
        assert_eq!(parse_link(&answer.0), Some(unknown));
        answer.push(&nested(libc::IFLA_LINKINFO, nested(libc::IFLA_INFO_DATA, data)).0);
        let link = Link { vnet_header: true, multi_queue: true, queues: u32::MAX, ..unknown };
        assert_eq!(parse_link(&answer.0), Some(link));
        for cut in 0..answer.0.len() {
            assert_ne!(parse_link(&answer.0[..cut]), Some(link), "{cut} bytes");
        }
    }

    #[test]
    fn acknowledgements_errors_and_nonsense_are_told_apart() {
        let answer = |kind: u16, error: i32| {
            let mut bytes = vec![0; 4];
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(error.to_ne_bytes());
            parse_acknowledgement(&bytes)
        };
        assert!(answer(2, 0).is_ok());
        assert_eq!(answer(2, -libc::EEXIST).unwrap_err().raw_os_error(), Some(libc::EEXIST));
        assert!(answer(2, i32::MIN).is_err());
        assert!(answer(3, 0).is_err());
        assert!(parse_acknowledgement(&[]).is_err());
        assert!(parse_acknowledgement(&[0; 17]).is_err());
    }
}
