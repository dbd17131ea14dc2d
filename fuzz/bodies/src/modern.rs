//! What an input asks for of ECN, Accurate ECN, SACK and congestion control; and boxes on the way that change it.

use bytes::Bytes;
use ropeway_core::congestion::Algorithm;
use ropeway_core::{EcnMode, EcnOption, SocketOptions};
use ropeway_packet::{
    AccurateEcn, ChecksumMode, EcnCodepoint, EcnOrder, IpParams, Payload, SackBlocks, TcpFlags, TcpHeader,
    emit_tcp, ip, parse_tcp,
};

/// The mode of ECN, when its option is sent, and the congestion control.
pub(crate) fn choose(socket: &mut SocketOptions, choice: u8) {
    socket.ecn = EcnMode::from_number(choice % 6).unwrap_or_default();
    socket.ecn_option = EcnOption::from_number(choice / 6 % 3).unwrap_or_default();
    socket.congestion = match choice / 18 % 3 {
        0 => Algorithm::Cubic,
        1 => Algorithm::NewReno,
        _ => Algorithm::Bbr,
    };
    socket.ecn_fallback = choice < 54 * 4;
}

/// Sets the flags, the field and the options of a segment by two bytes.
pub(crate) fn decorate(ip: &mut IpParams, tcp: &mut TcpHeader, how: u8, with: u8) {
    let options = &mut tcp.options;
    match how & 7 {
        0 => {}
        1 => ip.traffic_class = EcnCodepoint::Ce.within(ip.traffic_class),
        2 => ip.traffic_class = with & 3,
        3 => tcp.flags = tcp.flags & !TcpFlags::ACE | TcpFlags::from_ace(with & 7),
        4 => options.accurate_ecn = None,
        5 => {
            let order = if with & 1 == 0 { EcnOrder::Ect1First } else { EcnOrder::Ect0First };
            let counters = [u32::from(with), u32::from(with >> 4) << 20, u32::from(with) << 8];
            let count = usize::from(with >> 1 & 3);
            options.accurate_ecn = Some(AccurateEcn::new(order, counters.get(..count).unwrap_or_default()));
        }
        6 => (options.sack_permitted, options.sack) = (false, SackBlocks::EMPTY),
        _ => {
            let mut blocks = SackBlocks::EMPTY;
            for block in 0..u32::from(with & 3) + 1 {
                let start = tcp.ack + u32::from(with >> 2) + 100 * block;
                blocks.push((start, start + u32::from(how >> 3)));
            }
            options.sack = blocks;
        }
    }
    // A flag or a mark beside it.
    if how & 128 != 0 {
        tcp.flags |= TcpFlags::from_ace(how >> 4 & 7);
    }
}

/// The packet behind such a box, with right checksums; `None` if it is no TCP segment.
pub(crate) fn meddled(packet: &[u8], how: u8, with: u8) -> Option<Bytes> {
    let segment = parse_tcp(packet, ip::parse(packet).ok()?, true).ok()?;
    let mut ip = IpParams {
        src: segment.ip.src,
        dst: segment.ip.dst,
        protocol: segment.ip.protocol,
        hop_limit: segment.ip.hop_limit,
        traffic_class: segment.ip.traffic_class,
        dont_fragment: true,
        ident: 0,
        flow_label: 0,
    };
    let mut tcp = segment.tcp;
    decorate(&mut ip, &mut tcp, how, with);
    let data = packet.get(segment.payload)?;
    let payload = Payload::from(Bytes::copy_from_slice(data));
    let mut packet = emit_tcp(&ip, &tcp, &payload, ChecksumMode::Full).to_vec();
    packet.extend_from_slice(data);
    Some(packet.into())
}
