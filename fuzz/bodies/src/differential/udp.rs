//! UDP.

use ropeway_packet::{IpPacket, udp};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire;

use super::addresses;
use super::checksum::{is_right_with_pseudo_header, is_same};

pub(super) fn datagram(bytes: &[u8], ip: &IpPacket, datagram: &[u8]) {
    let ours = udp::parse(bytes, ip, true);
    let (src, dst) = addresses(ip);
    let Ok(smoltcp) = wire::UdpPacket::new_checked(datagram) else {
        assert!(ours.is_err(), "smoltcp refuses {bytes:02x?}: {ours:?}");
        return;
    };
    // Without a checksum it is taken over IPv4 only (RFC 8200 8.1).
    let missing = smoltcp.checksum() == 0;
    let right = is_right_with_pseudo_header(ip, &datagram[..usize::from(smoltcp.len())]);
    is_same(right || missing, smoltcp.verify_checksum(&src, &dst) || missing);
    let good = if missing { ip.src.is_ipv4() } else { right };
    assert_eq!(ours.is_ok(), good, "{bytes:02x?}: {ours:?}");
    let repr = wire::UdpRepr::parse(&smoltcp, &src, &dst, &ChecksumCapabilities::ignored());
    // smoltcp refuses port 0 as a destination: here that is for who looks for a socket.
    assert_eq!(repr.is_ok(), smoltcp.dst_port() != 0, "{bytes:02x?}");
    let Ok(ours) = ours else { return };
    let pnet = pnet_packet::udp::UdpPacket::new(datagram).expect("8 bytes");
    let header = (ours.header.src_port, ours.header.dst_port, ours.header.len);
    assert_eq!(header, (pnet.get_source(), pnet.get_destination(), pnet.get_length()));
    assert_eq!(header, (smoltcp.src_port(), smoltcp.dst_port(), smoltcp.len()));
    assert_eq!(&bytes[ours.payload], smoltcp.payload());
}
