//! What boxes on the way make of segments.

use bytes::Bytes;
use ropeway_packet::{ChecksumMode, IpParams, Payload, TcpHeader, emit_tcp, ip, parse_tcp};

/// The same segment with other headers: what `change` makes of them; checksums are right again. Options that are not
/// understood, and a flow label, are not kept. A packet without a segment is as it was.
///
/// For [`Action::replace`](crate::Action::replace) and [`Fate::Replace`](crate::pair::Fate::Replace): a box that
/// clears the ECN field of all packets is
///
/// ```
/// use ropeway_sim::{Action, changed};
///
/// let bleach = Action::replace(|packet| changed(packet, |ip, _| ip.traffic_class &= 0xfc));
/// # let _ = bleach;
/// ```
#[must_use]
pub fn changed(packet: &[u8], change: impl FnOnce(&mut IpParams, &mut TcpHeader)) -> Vec<u8> {
    try_change(packet, change).unwrap_or_else(|| packet.to_vec())
}

fn try_change(packet: &[u8], change: impl FnOnce(&mut IpParams, &mut TcpHeader)) -> Option<Vec<u8>> {
    let segment = parse_tcp(packet, ip::parse(packet).ok()?, false).ok()?;
    let mut params = IpParams {
        src: segment.ip.src,
        dst: segment.ip.dst,
        protocol: segment.ip.protocol,
        hop_limit: segment.ip.hop_limit,
        traffic_class: segment.ip.traffic_class,
        dont_fragment: segment.ip.dont_fragment,
        ident: u16::try_from(segment.ip.ident).unwrap_or_default(),
        flow_label: 0,
    };
    let mut header = segment.tcp;
    change(&mut params, &mut header);
    let data = packet.get(segment.payload)?;
    let payload = Payload::from(Bytes::copy_from_slice(data));
    let mut changed = emit_tcp(&params, &header, &payload, ChecksumMode::Full).to_vec();
    changed.extend_from_slice(data);
    Some(changed)
}
