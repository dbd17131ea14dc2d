use super::*;
use crate::SackBlocks;
use crate::checksum::Partial;

/// One received train: which packets, and their data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Train {
    packets: Vec<usize>,
    data: Vec<u8>,
    segment_size: Option<u16>,
    push: bool,
    verified: bool,
}

fn merged(packets: &[Vec<u8>]) -> Vec<Train> {
    let mut merger = Merger::new();
    merger.begin();
    merged_by(&mut merger, packets)
}

/// What a device does with a batch.
fn merged_by(merger: &mut Merger, packets: &[Vec<u8>]) -> Vec<Train> {
    let mut trains: Vec<Option<Train>> = vec![None; packets.len()];
    for (index, packet) in packets.iter().enumerate() {
        match merger.place(index, packet, false) {
            Place::Alone { verified } => {
                let ip = crate::ip::parse(packet).ok();
                let payload =
                    ip.and_then(|ip| crate::parse_tcp(packet, ip, false).ok()).map(|tcp| tcp.payload);
                let data = packet[payload.unwrap_or(0..0)].to_vec();
                trains[index] = Some(Train { packets: vec![index], data, verified, ..Train::default() });
            }
            Place::Behind(segment) => {
                let train = trains[segment.train].as_mut().expect("it has begun");
                assert!(!train.push && train.verified);
                train.packets.push(index);
                train.data.extend_from_slice(&packet[segment.payload]);
                train.push = segment.push;
                train.segment_size = Some(segment.segment_size);
            }
        }
    }
    trains.into_iter().flatten().collect()
}

/// Which packets stand together.
fn grouped(packets: &[Vec<u8>]) -> Vec<Vec<usize>> {
    merged(packets).into_iter().map(|train| train.packets).collect()
}

fn stream(is_v4: bool, len: usize) -> Vec<Vec<u8>> {
    one_by_one(&params(is_v4), &header(), &data(len), 100)
}

/// The packet behind a hundred bytes, with whatever is different about it.
fn second(is_v4: bool, change: impl FnOnce(&mut IpParams, &mut TcpHeader)) -> Vec<u8> {
    let (mut params, mut header) = (params(is_v4), header());
    header.seq += 100;
    change(&mut params, &mut header);
    packet(&params, &header, &data(100))
}

#[test]
fn segments_of_one_stream_make_one_train() {
    for is_v4 in [true, false] {
        let trains = merged(&stream(is_v4, 1050));
        let expected = Train {
            packets: (0..11).collect(),
            data: data(1050),
            segment_size: Some(100),
            push: false,
            verified: true,
        };
        assert_eq!(trains, [expected]);
    }
}

#[test]
fn a_short_segment_and_a_push_end_a_train() {
    for is_v4 in [true, false] {
        let mut packets = stream(is_v4, 350);
        packets.extend(one_by_one(
            &params(is_v4),
            &TcpHeader { seq: header().seq + 350, ..header() },
            &data(200),
            100,
        ));
        assert_eq!(grouped(&packets), [vec![0, 1, 2, 3], vec![4, 5]]);

        let mut packets = stream(is_v4, 400);
        packets[1] = second(is_v4, |_, tcp| tcp.flags |= TcpFlags::PSH);
        assert_eq!(grouped(&packets), [vec![0, 1], vec![2, 3]]);
        assert!(merged(&packets)[0].push);
        packets[0] = packet(
            &params(is_v4),
            &TcpHeader { flags: TcpFlags::ACK | TcpFlags::PSH, ..header() },
            &data(100),
        );
        assert_eq!(grouped(&packets), [vec![0], vec![1], vec![2, 3]]);
    }
}

#[test]
fn a_longer_segment_begins_a_train() {
    let mut packets = one_by_one(&params(true), &header(), &data(50), 50);
    let next = TcpHeader { seq: header().seq + 50, ..header() };
    packets.extend(one_by_one(&params(true), &next, &data(300), 100));
    assert_eq!(grouped(&packets), [vec![0], vec![1, 2, 3]]);
}

#[test]
fn whatever_differs_in_the_headers_ends_a_train() {
    type Change = fn(&mut IpParams, &mut TcpHeader);
    let changes: [(&str, Change); 16] = [
        ("DSCP", |ip, _| ip.traffic_class ^= 4),
        ("ECN", |ip, _| ip.traffic_class |= 3),
        ("TTL", |ip, _| ip.hop_limit -= 1),
        ("address", |ip, _| ip.dst = ip.src),
        ("source port", |_, tcp| tcp.src_port += 1),
        ("destination port", |_, tcp| tcp.dst_port += 1),
        ("gap", |_, tcp| tcp.seq += 1),
        ("overlap", |_, tcp| tcp.seq = tcp.seq - 1),
        ("retransmission", |_, tcp| tcp.seq = tcp.seq - 100),
        ("acknowledgment", |_, tcp| tcp.ack += 1),
        ("window", |_, tcp| tcp.window += 1),
        ("TSval", |_, tcp| tcp.options.timestamps.as_mut().unwrap().tsval += 1),
        ("TSecr", |_, tcp| tcp.options.timestamps.as_mut().unwrap().tsecr += 1),
        ("no timestamps", |_, tcp| tcp.options.timestamps = None),
        ("SACK", |_, tcp| assert!(tcp.options.sack.push((SeqNum::new(1), SeqNum::new(2))))),
        ("urgent pointer", |_, tcp| tcp.urgent = 1),
    ];
    for is_v4 in [true, false] {
        for (what, change) in changes {
            let packets = [stream(is_v4, 100).remove(0), second(is_v4, change)];
            assert_eq!(grouped(&packets), [[0], [1]], "{what}");
        }
        let flags = [
            TcpFlags::FIN,
            TcpFlags::SYN,
            TcpFlags::RST,
            TcpFlags::URG,
            TcpFlags::ECE,
            TcpFlags::CWR,
            TcpFlags::AE,
        ];
        for flag in flags {
            let packets = [stream(is_v4, 100).remove(0), second(is_v4, |_, tcp| tcp.flags |= flag)];
            assert_eq!(grouped(&packets), [[0], [1]], "{flag:?}");
            let both = [
                packet(&params(is_v4), &TcpHeader { flags: TcpFlags::ACK | flag, ..header() }, &data(100)),
                second(is_v4, |_, tcp| tcp.flags |= flag),
            ];
            let never = TcpFlags::FIN | TcpFlags::SYN | TcpFlags::RST | TcpFlags::URG;
            assert_eq!(grouped(&both).len() == 2, never.contains(flag), "{flag:?} on both");
        }
        let no_ack = [
            packet(&params(is_v4), &TcpHeader { flags: TcpFlags::EMPTY, ..header() }, &data(100)),
            second(is_v4, |_, tcp| tcp.flags = TcpFlags::EMPTY),
        ];
        assert_eq!(grouped(&no_ack), [[0], [1]]);
    }
    let label = [stream(false, 100).remove(0), second(false, |ip, _| ip.flow_label += 1)];
    assert_eq!(grouped(&label), [[0], [1]]);
    let fragmentable = [stream(true, 100).remove(0), second(true, |ip, _| ip.dont_fragment = false)];
    assert_eq!(grouped(&fragmentable), [[0], [1]]);
}

#[test]
fn equal_options_are_no_difference() {
    let mut sack = SackBlocks::EMPTY;
    assert!(sack.push((SeqNum::new(1), SeqNum::new(2))));
    for options in [TcpOptions::default(), TcpOptions { sack, ..header().options }] {
        let packets = one_by_one(&params(true), &TcpHeader { options, ..header() }, &data(300), 100);
        assert_eq!(grouped(&packets), [[0, 1, 2]]);
    }
}

// RFC 6864 4.1
#[test]
fn identifications_count_only_where_routers_may_fragment() {
    let with = |dont_fragment, idents: [u16; 3]| -> Vec<Vec<usize>> {
        let data = data(300);
        let parts = idents.into_iter().zip(data.chunks(100)).zip(0_u32..).map(|((ident, chunk), index)| {
            let params = IpParams { ident, dont_fragment, ..params(true) };
            packet(&params, &TcpHeader { seq: header().seq + 100 * index, ..header() }, chunk)
        });
        grouped(&parts.collect::<Vec<_>>())
    };
    assert_eq!(with(true, [0, 0, 0]), [[0, 1, 2]]);
    assert_eq!(with(true, [7, 900, 8]), [[0, 1, 2]]);
    assert_eq!(with(false, [65_534, 65_535, 0]), [[0, 1, 2]]);
    assert_eq!(with(false, [7, 7, 7]), [[0], [1], [2]]);
    assert_eq!(with(false, [7, 8, 10]), [vec![0, 1], vec![2]]);
}

#[test]
fn any_changed_bit_is_noticed() {
    for is_v4 in [true, false] {
        let packets = stream(is_v4, 200);
        for at in 0..packets[1].len() * 8 {
            let mut packets = packets.clone();
            packets[1][at / 8] ^= 0x80 >> (at % 8);
            let trains = merged(&packets);
            // A hop limit, traffic class or flow label of IPv6 has no checksum, and differs.
            assert_eq!(trains.len(), 2, "bit {at}");
            assert_eq!(trains[0].packets, [0]);
        }
    }
}

/// Makes the checksums of a plain packet right again.
fn repair(packet: &mut [u8]) {
    if packet[0] >> 4 == 4 {
        packet[10..12].fill(0);
        let checksum = super::super::headers::sum_of(&packet[..20]).finish().to_be_bytes();
        packet[10..12].copy_from_slice(&checksum);
    }
    let partial = Partial::prepare(packet).expect("a plain packet");
    assert!(partial.complete(packet));
}

#[test]
fn any_changed_bit_of_the_headers_counts_but_for_three_fields() {
    for is_v4 in [true, false] {
        let packets = stream(is_v4, 200);
        let ip_len = params(is_v4).header_len();
        let headers_len = ip_len + 32;
        for bit in 0..headers_len * 8 {
            let at = bit / 8;
            let lengths = if is_v4 { 2..4 } else { 4..6 };
            let protocol = if is_v4 { 9 } else { 6 };
            let fragment = is_v4 && (at == 7 || at == 6 && bit % 8 > 1);
            if at == 0 || lengths.contains(&at) || at == protocol || fragment {
                // Not a plain packet any more, or a malformed one: others look at these.
                continue;
            }
            let mut packets = packets.clone();
            packets[1][at] ^= 0x80 >> (bit % 8);
            repair(&mut packets[1]);
            let checksum = is_v4 && (10..12).contains(&at) || (ip_len + 16..ip_len + 18).contains(&at);
            let ident = is_v4 && (4..6).contains(&at);
            let push = bit == (ip_len + 13) * 8 + 4;
            assert_eq!(merged(&packets).len() == 1, checksum || ident || push, "bit {bit}");
        }
    }
}

#[test]
fn wrong_checksums_never_merge_and_are_told_of() {
    for is_v4 in [true, false] {
        let mut packets = stream(is_v4, 300);
        *packets[1].last_mut().unwrap() ^= 1;
        let trains = merged(&packets);
        assert_eq!(trains.iter().map(|train| train.verified).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(trains[2].packets, [2]);
        // Whoever vouches for them is believed.
        let mut merger = Merger::new();
        assert_eq!(merger.place(0, &packets[0], true), Place::Alone { verified: true });
        assert!(matches!(merger.place(1, &packets[1], true), Place::Behind(_)));
    }
    // But not for the header of IPv4.
    let mut packets = stream(true, 200);
    packets[1][10] ^= 1;
    let mut merger = Merger::new();
    merger.place(0, &packets[0], true);
    assert_eq!(merger.place(1, &packets[1], true), Place::Alone { verified: true });
}

#[test]
fn connections_that_take_turns_have_a_train_each() {
    let flow = |port: u16, is_v4| {
        one_by_one(&params(is_v4), &TcpHeader { src_port: port, ..header() }, &data(300), 100)
    };
    for flows in [2_u16, 32] {
        let streams: Vec<_> = (0..flows).map(|port| flow(port, port % 3 == 0)).collect();
        let packets: Vec<_> =
            (0..3).flat_map(|at| streams.iter().map(move |stream| stream[at].clone())).collect();
        let trains = merged(&packets);
        assert_eq!(trains.len(), usize::from(flows));
        assert!(trains.iter().all(|train| train.data == data(300)));
    }
    // More of them than are kept an eye on come in bursts.
    let packets: Vec<_> = (0..100).flat_map(|port| flow(port, true)).collect();
    assert_eq!(merged(&packets).len(), 100);
    // And where they take turns, nothing is lost.
    let streams: Vec<_> = (0..100).map(|port| flow(port, true)).collect();
    let packets: Vec<_> =
        (0..3).flat_map(|at| streams.iter().map(move |stream| stream[at].clone())).collect();
    let trains = merged(&packets);
    assert_eq!(trains.iter().map(|train| train.packets.len()).sum::<usize>(), 300);
}

#[test]
fn what_cannot_be_merged_is_not_overtaken() {
    for is_v4 in [true, false] {
        let stream = stream(is_v4, 300);
        let ack = packet(&params(is_v4), &TcpHeader { seq: header().seq + 200, ..header() }, &[]);
        let same_flow = [stream[0].clone(), stream[1].clone(), ack, stream[2].clone()];
        assert_eq!(grouped(&same_flow), [vec![0, 1], vec![2], vec![3]]);
        // Of another connection, it does not matter.
        let other = packet(&params(is_v4), &TcpHeader { src_port: 9, ..header() }, &[]);
        let other_flow = [stream[0].clone(), stream[1].clone(), other, stream[2].clone()];
        assert_eq!(grouped(&other_flow), [vec![0, 1, 3], vec![2]]);
    }
}

#[test]
fn what_may_belong_to_any_connection_ends_all_trains() {
    for is_v4 in [true, false] {
        let stream = stream(is_v4, 300);
        let between = |packet: Vec<u8>| {
            grouped(&[stream[0].clone(), stream[1].clone(), packet, stream[2].clone()]).len()
        };
        let changed = |at: usize, byte| {
            let mut packet = stream[2].clone();
            packet[at] = byte;
            packet
        };
        let (protocol_at, opaque) = if is_v4 {
            (9, vec![changed(0, 0x46), changed(6, 0x20), changed(7, 1)])
        } else {
            (6, [0, 43, 44, 51, 60].into_iter().map(|next| changed(6, next)).collect())
        };
        for packet in opaque {
            assert_eq!(between(packet), 3);
        }
        let icmp = if is_v4 { 1 } else { 58 };
        for packet in [changed(protocol_at, 17), changed(protocol_at, icmp), vec![], changed(0, 0x10)] {
            assert_eq!(between(packet), 2);
        }
    }
}

#[test]
fn a_train_is_no_longer_than_a_packet() {
    for is_v4 in [true, false] {
        let headers = params(is_v4).header_len() + 32;
        let size = 1400;
        let packets = one_by_one(&params(is_v4), &header(), &data(140_000), size);
        let trains = merged(&packets);
        let most = (65_535 - headers) / size;
        let lengths: Vec<_> = trains.iter().map(|train| train.packets.len()).collect();
        assert_eq!(lengths, [most, most, 100 - 2 * most]);
        // To the byte.
        let packets = one_by_one(&params(is_v4), &header(), &data(65_535 - headers), size);
        assert_eq!(merged(&packets).len(), 1);
        let packets = one_by_one(&params(is_v4), &header(), &data(65_535 - headers + 1), size);
        assert_eq!(merged(&packets).len(), 2);
    }
}

#[test]
fn padding_of_the_link_is_no_data() {
    let mut packets = stream(true, 250);
    packets.iter_mut().for_each(|packet| packet.extend([0xaa; 6]));
    let trains = merged(&packets);
    assert_eq!((trains.len(), &trains[0].data), (1, &data(250)));
}

#[test]
fn a_batch_begins_anew() {
    let packets = stream(true, 300);
    let mut merger = Merger::default();
    merger.begin();
    assert_eq!(merged_by(&mut merger, &packets[..2]).len(), 1);
    merger.begin();
    assert_eq!(merger.place(0, &packets[2], false), Place::Alone { verified: true });
}

proptest! {
    #[test]
    fn split_and_merge_are_inverse(
        (params, mut header) in any_train(),
        data in vec(any::<u8>(), 1..2000),
        cuts in any_cuts(),
        size in 1_u16..1500,
        push: bool,
    ) {
        header.flags = header.flags & !(TcpFlags::FIN | TcpFlags::PSH);
        let payload = parts(&data, &cuts);
        let headers = headers_of(&params, &header, &payload);
        let split_by = || {
            let split = split(&headers, &payload, size).unwrap().accurate_ecn();
            if push { split.push() } else { split }
        };
        let packets: Vec<_> = split_by().map(|cut| whole(&cut)).collect();
        let trains = merged(&packets);
        prop_assert_eq!(trains.len(), 1);
        prop_assert_eq!(&trains[0].data, &data);

        // From the first packet's headers and all data, the same packets again.
        let first = Headers::read(&packets[0]).unwrap().all;
        let received = Payload::from(Bytes::from(trains[0].data.clone()));
        let segment_size = trains[0].segment_size.unwrap_or(size);
        let again = super::super::split(first, &received, segment_size).unwrap().accurate_ecn();
        let again = if trains[0].push { again.push() } else { again };
        prop_assert!(again.map(|cut| whole(&cut)).eq(packets));
    }

    #[test]
    fn any_bytes_pass(packets in vec(vec(any::<u8>(), 0..100), 0..8), first in prop::sample::select(vec![0x45_u8, 0x60])) {
        let packets: Vec<_> = packets.into_iter().map(|mut packet| {
            if let Some(byte) = packet.first_mut() { *byte = first; }
            packet
        }).collect();
        prop_assert_eq!(merged(&packets).len(), packets.len());
    }
}
