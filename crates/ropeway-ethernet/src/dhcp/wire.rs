//! DHCP messages (RFC 2131 2, RFC 2132).
//!
//! They are read and written here: `dhcproto` would bring the tables of a DNS library along (70 packages), and serves as the oracle
//! of the tests instead.

use std::net::Ipv4Addr;

use bytes::{BufMut, BytesMut};

use crate::MacAddr;

pub(crate) const SERVER_PORT: u16 = 67;
pub(crate) const CLIENT_PORT: u16 = 68;

const COOKIE: [u8; 4] = [99, 130, 83, 99];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const ETHERNET: [u8; 2] = [1, 6];
const BROADCAST: u16 = 0x8000;
/// What BOOTP has as the least length of a message (RFC 951, RFC 1542 2.1).
const LEAST: usize = 300;

/// The longest client identifier that is remembered.
const LONGEST_ID: usize = 64;

mod option {
    pub(super) const PAD: u8 = 0;
    pub(super) const SUBNET_MASK: u8 = 1;
    pub(super) const ROUTER: u8 = 3;
    pub(super) const DNS: u8 = 6;
    pub(super) const MTU: u8 = 26;
    pub(super) const BROADCAST: u8 = 28;
    pub(super) const REQUESTED: u8 = 50;
    pub(super) const LEASE_TIME: u8 = 51;
    pub(super) const OVERLOAD: u8 = 52;
    pub(super) const KIND: u8 = 53;
    pub(super) const SERVER: u8 = 54;
    pub(super) const RENEWAL: u8 = 58;
    pub(super) const REBINDING: u8 = 59;
    pub(super) const CLIENT_ID: u8 = 61;
    pub(super) const END: u8 = 255;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Decline = 4,
    Ack = 5,
    Nak = 6,
    Release = 7,
    Inform = 8,
}

impl Kind {
    fn of_client(byte: u8) -> Option<Self> {
        [Self::Discover, Self::Request, Self::Decline, Self::Release, Self::Inform]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// Who a client is: its identifier if it tells one, or its hardware address (RFC 2131 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Id(Box<[u8]>),
    Mac(MacAddr),
}

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) xid: u32,
    pub(crate) broadcast: bool,
    pub(crate) ciaddr: Ipv4Addr,
    pub(crate) mac: MacAddr,
    pub(crate) client: Client,
    pub(crate) requested: Option<Ipv4Addr>,
    pub(crate) server: Option<Ipv4Addr>,
}

impl Message {
    /// Reads what a client on Ethernet has sent. `None` if it is malformed, or comes through a relay.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[op, htype, hlen, _], rest) = bytes.split_first_chunk::<4>()?;
        let (xid, rest) = rest.split_first_chunk::<4>()?;
        let (&[_, _, flags_hi, flags_lo], rest) = rest.split_first_chunk::<4>()?;
        let (ciaddr, rest) = rest.split_first_chunk::<4>()?;
        let (_yiaddr, rest) = rest.split_first_chunk::<4>()?;
        let (_siaddr, rest) = rest.split_first_chunk::<4>()?;
        let (giaddr, rest) = rest.split_first_chunk::<4>()?;
        let (chaddr, rest) = rest.split_first_chunk::<16>()?;
        let (sname, rest) = rest.split_first_chunk::<64>()?;
        let (file, rest) = rest.split_first_chunk::<128>()?;
        let options = rest.strip_prefix(&COOKIE)?;
        if op != REQUEST || [htype, hlen] != ETHERNET || *giaddr != [0; 4] {
            return None;
        }
        let mac = MacAddr::new(*chaddr.first_chunk::<6>()?);
        let mut read = Options::default();
        read.take(options)?;
        // RFC 2131 4.1: first the file field, then that of the server's name.
        let overload = read.overload;
        if overload & 1 != 0 {
            read.take(file)?;
        }
        if overload & 2 != 0 {
            read.take(sname)?;
        }
        let client = match read.client_id {
            Some(id) if (2..=LONGEST_ID).contains(&id.len()) => Client::Id(id.into()),
            Some(_) => return None,
            None => Client::Mac(mac),
        };
        Some(Self {
            kind: read.kind?,
            xid: u32::from_be_bytes(*xid),
            broadcast: u16::from_be_bytes([flags_hi, flags_lo]) & BROADCAST != 0,
            ciaddr: Ipv4Addr::from(*ciaddr),
            mac,
            client,
            requested: read.requested,
            server: read.server,
        })
    }
}

/// What of the options is of interest. Of one that comes several times the first is taken.
#[derive(Default)]
struct Options<'a> {
    kind: Option<Kind>,
    client_id: Option<&'a [u8]>,
    requested: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
    overload: u8,
}

impl<'a> Options<'a> {
    /// Reads a field of options. `None` if one of them ends behind it, or has a length that it cannot have.
    fn take(&mut self, mut field: &'a [u8]) -> Option<()> {
        while let Some((&code, rest)) = field.split_first() {
            field = rest;
            match code {
                option::PAD => continue,
                option::END => break,
                _ => {}
            }
            let (&len, rest) = field.split_first()?;
            let (data, rest) = rest.split_at_checked(len.into())?;
            field = rest;
            let address = || <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from);
            match code {
                option::KIND if self.kind.is_none() => {
                    let &[byte] = data else { return None };
                    self.kind = Some(Kind::of_client(byte)?);
                }
                option::CLIENT_ID => self.client_id = self.client_id.or(Some(data)),
                option::REQUESTED => self.requested = self.requested.or(Some(address()?)),
                option::SERVER => self.server = self.server.or(Some(address()?)),
                option::OVERLOAD if self.overload == 0 => {
                    let &[which] = data else { return None };
                    self.overload = which & 3;
                }
                _ => {}
            }
        }
        Some(())
    }
}

/// A message of the server.
pub(crate) struct Reply<'a> {
    pub(crate) kind: Kind,
    pub(crate) server: Ipv4Addr,
    /// What the client gets; unspecified if nothing.
    pub(crate) yiaddr: Ipv4Addr,
    /// In seconds.
    pub(crate) lease_time: Option<u32>,
    /// What it is to know of the network.
    pub(crate) network: Option<Network<'a>>,
}

/// What clients are told of the network.
#[derive(Clone, Copy)]
pub(crate) struct Network<'a> {
    pub(crate) mask: Ipv4Addr,
    pub(crate) broadcast: Ipv4Addr,
    pub(crate) router: Option<Ipv4Addr>,
    pub(crate) dns: &'a [Ipv4Addr],
    pub(crate) mtu: u16,
}

impl Reply<'_> {
    /// The answer to `to`.
    pub(crate) fn emit(&self, to: &Message) -> BytesMut {
        let mut bytes = BytesMut::with_capacity(LEAST + 64);
        let [htype, hlen] = ETHERNET;
        bytes.put_slice(&[REPLY, htype, hlen, 0]);
        bytes.put_u32(to.xid);
        bytes.put_u16(0);
        bytes.put_u16(if to.broadcast { BROADCAST } else { 0 });
        // RFC 2131 table 3: in an offer and a refusal it is zero.
        let ciaddr = if self.kind == Kind::Ack { to.ciaddr } else { Ipv4Addr::UNSPECIFIED };
        bytes.put_slice(&ciaddr.octets());
        bytes.put_slice(&self.yiaddr.octets());
        // No next server, no relay.
        bytes.put_u64(0);
        bytes.put_slice(&to.mac.octets());
        bytes.put_bytes(0, 10 + 64 + 128);
        bytes.put_slice(&COOKIE);
        bytes.put_slice(&[option::KIND, 1, self.kind as u8]);
        address(&mut bytes, option::SERVER, self.server);
        // RFC 6842 3: the client's identifier comes back.
        if let Client::Id(id) = &to.client
            && let Ok(len) = u8::try_from(id.len())
        {
            bytes.put_slice(&[option::CLIENT_ID, len]);
            bytes.put_slice(id);
        }
        if let Some(time) = self.lease_time {
            seconds(&mut bytes, option::LEASE_TIME, time);
            seconds(&mut bytes, option::RENEWAL, time / 2);
            seconds(&mut bytes, option::REBINDING, time - time / 8);
        }
        if let Some(network) = &self.network {
            network.emit(&mut bytes);
        }
        bytes.put_u8(option::END);
        bytes.resize(bytes.len().max(LEAST), option::PAD);
        bytes
    }
}

impl Network<'_> {
    fn emit(&self, bytes: &mut BytesMut) {
        address(bytes, option::SUBNET_MASK, self.mask);
        if let Some(router) = self.router {
            address(bytes, option::ROUTER, router);
        }
        if let Ok(len) = u8::try_from(self.dns.len() * 4)
            && len > 0
        {
            bytes.put_slice(&[option::DNS, len]);
            self.dns.iter().for_each(|server| bytes.put_slice(&server.octets()));
        }
        bytes.put_slice(&[option::MTU, 2]);
        bytes.put_u16(self.mtu);
        address(bytes, option::BROADCAST, self.broadcast);
    }
}

fn address(bytes: &mut BytesMut, code: u8, address: Ipv4Addr) {
    bytes.put_slice(&[code, 4]);
    bytes.put_slice(&address.octets());
}

fn seconds(bytes: &mut BytesMut, code: u8, seconds: u32) {
    bytes.put_slice(&[code, 4]);
    bytes.put_u32(seconds);
}

#[cfg(test)]
mod tests {
    use dhcproto::v4::{self, DhcpOption, OptionCode};
    use dhcproto::{Decodable, Decoder, Encodable};

    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

    fn discover() -> v4::Message {
        let mut message = v4::Message::default();
        message.set_xid(0xdead_beef).set_chaddr(&MAC).set_flags(v4::Flags::default().set_broadcast());
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(v4::MessageType::Discover));
        options.insert(DhcpOption::ClientIdentifier(vec![1, 2, 3]));
        options.insert(DhcpOption::RequestedIpAddress(Ipv4Addr::new(10, 0, 2, 15)));
        options.insert(DhcpOption::Hostname("guest".into()));
        message
    }

    #[test]
    fn a_client_is_understood_as_another_implementation_writes_it() {
        let message = Message::parse(&discover().to_vec().unwrap()).unwrap();
        let expected = Message {
            kind: Kind::Discover,
            xid: 0xdead_beef,
            broadcast: true,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            mac: MacAddr::new(MAC),
            client: Client::Id([1, 2, 3].into()),
            requested: Some(Ipv4Addr::new(10, 0, 2, 15)),
            server: None,
        };
        assert_eq!(message, expected);
    }

    #[test]
    fn another_implementation_understands_a_reply() {
        let message = Message::parse(&discover().to_vec().unwrap()).unwrap();
        let dns = [Ipv4Addr::new(10, 0, 2, 3), Ipv4Addr::new(10, 0, 2, 4)];
        let network = Network {
            mask: Ipv4Addr::new(255, 255, 255, 0),
            broadcast: Ipv4Addr::new(10, 0, 2, 255),
            router: Some(Ipv4Addr::new(10, 0, 2, 2)),
            dns: &dns,
            mtu: 1400,
        };
        let reply = Reply {
            kind: Kind::Offer,
            server: Ipv4Addr::new(10, 0, 2, 2),
            yiaddr: Ipv4Addr::new(10, 0, 2, 15),
            lease_time: Some(3600),
            network: Some(network),
        };
        let bytes = reply.emit(&message);
        assert!(bytes.len() >= LEAST);
        let read = v4::Message::decode(&mut Decoder::new(&bytes)).unwrap();
        assert_eq!((read.opcode(), read.xid()), (v4::Opcode::BootReply, 0xdead_beef));
        assert_eq!((read.yiaddr(), read.chaddr()), (reply.yiaddr, &MAC[..]));
        assert!(read.flags().broadcast());
        let option = |code| read.opts().get(code).cloned();
        let is = |code, expected| assert_eq!(option(code), Some(expected));
        is(OptionCode::MessageType, DhcpOption::MessageType(v4::MessageType::Offer));
        is(OptionCode::ServerIdentifier, DhcpOption::ServerIdentifier(reply.server));
        is(OptionCode::ClientIdentifier, DhcpOption::ClientIdentifier(vec![1, 2, 3]));
        is(OptionCode::AddressLeaseTime, DhcpOption::AddressLeaseTime(3600));
        is(OptionCode::Renewal, DhcpOption::Renewal(1800));
        is(OptionCode::Rebinding, DhcpOption::Rebinding(3150));
        is(OptionCode::SubnetMask, DhcpOption::SubnetMask(network.mask));
        is(OptionCode::BroadcastAddr, DhcpOption::BroadcastAddr(network.broadcast));
        is(OptionCode::Router, DhcpOption::Router(vec![reply.server]));
        is(OptionCode::DomainNameServer, DhcpOption::DomainNameServer(dns.to_vec()));
        is(OptionCode::InterfaceMtu, DhcpOption::InterfaceMtu(1400));
    }

    #[test]
    fn options_may_stand_in_the_fields_of_names() {
        let mut bytes = discover().to_vec().unwrap();
        bytes.truncate(240);
        bytes.extend_from_slice(&[option::OVERLOAD, 1, 3, option::END]);
        // The file field, and that of the server's name.
        bytes[108..114].copy_from_slice(&[option::PAD, option::KIND, 1, 3, option::END, 99]);
        bytes[44..51].copy_from_slice(&[option::SERVER, 4, 10, 0, 2, 2, option::END]);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.kind, message.server), (Kind::Request, Some(Ipv4Addr::new(10, 0, 2, 2))));
        assert_eq!(message.client, Client::Mac(MacAddr::new(MAC)));
    }

    #[test]
    fn what_is_malformed_or_relayed_is_not_read() {
        let good = discover().to_vec().unwrap();
        assert!(Message::parse(&good).is_some());
        // A reply, another kind of hardware, a relay, no DHCP.
        for (at, byte) in [(0, 2), (1, 6), (2, 16), (24, 10), (236, 0)] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            assert_eq!(Message::parse(&bytes), None, "byte {at}");
        }
        // No option of a message's kind is left after a cut, or one that ends behind the message.
        for len in 0..good.len() {
            let _ = Message::parse(&good[..len]);
        }
        assert_eq!(Message::parse(&good[..240]), None);
        let with = |options: &[u8]| Message::parse(&[&good[..240], options].concat());
        assert!(with(&[53, 1, 1]).is_some());
        assert_eq!(with(&[53, 1]), None);
        assert_eq!(with(&[53, 2, 1, 1]), None);
        assert_eq!(with(&[53, 1, 2]), None, "an offer is no client's");
        assert_eq!(with(&[53, 1, 1, 50, 3, 10, 0, 2]), None);
        assert_eq!(with(&[53, 1, 1, 61, 1, 7]), None);
        assert_eq!(with(&[&[53, 1, 1, 61, 65][..], &[7; 65]].concat()), None);
    }
}
