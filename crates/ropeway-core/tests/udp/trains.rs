//! Several datagrams with one call (UDP_SEGMENT and UDP_GRO of Linux).

use ropeway_core::packet::{ChecksumMode, EcnCodepoint};
use ropeway_core::{DatagramError, Outgoing, Received, RxChecksum};

use crate::common::*;
use crate::{FAMILIES, datagram, read};

fn train_to(to: &str, size: u16) -> Outgoing {
    Outgoing { to: Some(addr(to)), segment_size: Some(size), ..Outgoing::default() }
}

#[test]
fn a_train_is_one_packet_for_a_device_that_cuts_and_the_same_on_the_wire_for_others() {
    for (own, peer) in FAMILIES {
        let mut on_wire = Vec::new();
        for longest_train in [0, u16::MAX] {
            let mut lab = Lab::with(|config| config.longest_train = longest_train);
            let id = lab.bind(&format!("{own}:53"));
            let how = Outgoing { ecn: Some(EcnCodepoint::Ect0), ..train_to(&format!("{peer}:5"), 1200) };
            lab.stack.udp_send(lab.ts(), id, &pattern(0, 5000), &how).unwrap();
            let (mut packets, mut wire, mut scratch) = (0, Vec::new(), bytes::BytesMut::new());
            while let Some(transmit) = lab.stack.poll_transmit(lab.ts()) {
                packets += 1;
                if longest_train > 0 {
                    assert_eq!(
                        (transmit.segment_size, transmit.checksum),
                        (Some(1200), ChecksumMode::Partial)
                    );
                }
                transmit.for_each_on_wire(&mut scratch, |packet| wire.push(packet.to_vec()));
            }
            assert_eq!(packets, if longest_train == 0 { 5 } else { 1 });
            assert_eq!(lab.stack.counters().udp_sent, 5);
            let data: Vec<u8> = wire.iter().flat_map(|packet| read(packet).3).collect();
            assert_eq!(data, pattern(0, 5000));
            assert!(wire.iter().all(|packet| read(packet).0.traffic_class == 2));
            assert_eq!(
                wire.iter().map(|packet| read(packet).3.len()).collect::<Vec<_>>(),
                [1200, 1200, 1200, 1200, 200]
            );
            on_wire.push(wire);
        }
        assert_eq!(on_wire[0], on_wire[1]);
    }
}

#[test]
fn a_train_has_bounds() {
    let mut lab = Lab::new();
    let id = lab.bind("10.0.0.2:53");
    let mut send =
        |len: usize, size| lab.stack.udp_send(lab.ts(), id, &vec![7; len], &train_to("10.0.0.1:5", size));
    assert_eq!(send(3000, 1473), Err(DatagramError::TooLong));
    assert_eq!(send(129, 1), Err(DatagramError::TooManySegments));
    assert_eq!(send(65_508, 1400), Err(DatagramError::TooLong));
    send(128, 1).unwrap();
    send(65_507, 1472).unwrap();
    send(100, 1472).unwrap();
    send(100, 0).unwrap();
    send(0, 100).unwrap();
}

#[test]
fn a_train_to_ourselves_is_read_one_by_one_or_as_it_was_sent() {
    for own in ["127.0.0.1", "[::1]", "10.0.0.2", "[fd00::2]"] {
        let mut lab = Lab::new();
        let (to, from) = (lab.bind(&format!("{own}:53")), lab.bind(&format!("{own}:0")));
        let data = pattern(0, 10_000);
        for _ in 0..2 {
            lab.stack.udp_send(lab.ts(), from, &data, &train_to(&format!("{own}:53"), 1000)).unwrap();
        }
        for at in 0..10 {
            assert_eq!(lab.heard(to).payload, data[at * 1000..(at + 1) * 1000]);
        }
        let train = lab.stack.udp_recv_train(to, 65_535, 64).unwrap();
        assert_eq!((train.segment_size, train.payload.to_vec()), (1000, data));
        lab.heard_nothing(to);
    }
}

/// As a TUN device gives it: one packet whose checksum is left to be completed.
#[test]
fn what_a_device_has_merged_counts_as_its_datagrams() {
    let mut lab = Lab::new();
    let id = lab.bind("10.0.0.2:53");
    let merged = Received::alone(datagram("10.0.0.1:5", "10.0.0.2:53", &pattern(0, 2500)).into())
        .with_checksum(RxChecksum::Verified)
        .with_segment_size(Some(1000));
    let (mut scratch, mut wire) = (bytes::BytesMut::new(), Vec::new());
    merged.for_each_on_wire(&mut scratch, |packet| wire.push(read(packet).3));
    assert_eq!(wire.concat(), pattern(0, 2500));
    assert_eq!(wire.iter().map(Vec::len).collect::<Vec<_>>(), [1000, 1000, 500]);
    lab.stack.handle_packet(lab.ts(), merged);
    assert_eq!(lab.stack.udp_info(id).unwrap().unread, 3);
    assert_eq!(lab.stack.counters().udp_received, 3);
    let lens: Vec<_> = (0..3).map(|_| lab.heard(id).payload.len()).collect();
    assert_eq!(lens, [1000, 1000, 500]);
}

#[test]
fn datagrams_that_differ_in_ecn_or_destination_are_told_apart() {
    let mut lab = Lab::new();
    let id = lab.bind("0.0.0.0:53");
    let (plain, marked) = (datagram("10.0.0.1:5", "10.0.0.2:53", b"aa"), {
        let ip = ropeway_core::packet::IpParams {
            traffic_class: 3,
            ..ip_params(
                "10.0.0.1".parse().unwrap(),
                "10.0.0.2".parse().unwrap(),
                ropeway_core::packet::Protocol::UDP,
            )
        };
        ropeway_core::packet::udp::emit(&ip, 5, 53, b"aa").unwrap()
    });
    for packet in [&plain, &plain, &marked, &marked, &plain] {
        lab.inject(packet.clone());
    }
    let mut trains = Vec::new();
    while let Ok(train) = lab.stack.udp_recv_train(id, 1000, 10) {
        trains.push((train.payload.len(), train.ecn()));
    }
    assert_eq!(trains, [(4, EcnCodepoint::NotEct), (4, EcnCodepoint::Ce), (2, EcnCodepoint::NotEct)]);
}
