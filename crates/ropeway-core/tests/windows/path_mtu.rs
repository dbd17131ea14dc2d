//! Path MTU discovery: what is learnt from ICMP, and what is not believed (RFC 1191, RFC 8201, RFC 5927).

use bytes::Bytes;
use ropeway_core::ConnectionId;
use ropeway_core::packet::IcmpErrorKind;
use ropeway_core::packet::icmp::emit_error;

use crate::common::*;

/// What a router says about a packet that is too big.
fn too_big(lab: &mut Lab, mtu: u32, packet: &[u8]) {
    let (router, us) = if lab.local.is_ipv4() { ("10.9.9.9", "10.0.0.2") } else { ("fd00:9::9", "fd00::2") };
    let message = emit_error(
        router.parse().unwrap(),
        us.parse().unwrap(),
        IcmpErrorKind::PacketTooBig { mtu },
        packet,
        64,
    );
    lab.send_packet(message);
}

fn in_flight(v6: bool) -> (Lab, ConnectionId, Vec<Bytes>) {
    let mut lab = Lab::new().v6_if(v6);
    let id = lab.accepted(Peer::default());
    lab.write(id, &pattern(0, 6000));
    let packets = lab.drain().into_iter().map(|sent| sent.packet).collect();
    (lab, id, packets)
}

// RFC 7323 5.7-1
#[test]
fn a_smaller_path_mtu_cuts_what_is_in_flight_anew() {
    for (v6, mtu, mss) in [(false, 1000, 960), (true, 1300, 1240)] {
        let (mut lab, id, packets) = in_flight(v6);
        let cwnd = lab.info(id).cwnd;
        lab.at(10);
        too_big(&mut lab, mtu, &packets[0]);
        lab.expect(data(pattern(0, mss)).seq(1));
        lab.expect(data(pattern(mss, mss)).seq(1 + mss as u32));
        let mut got = pattern(0, 2 * mss);
        loop {
            for sent in lab.drain() {
                let tcp = sent.tcp.unwrap();
                assert!(sent.packet.len() <= mtu as usize);
                got.extend_from_slice(&sent.packet[tcp.payload]);
            }
            if got.len() >= 6000 {
                break;
            }
            lab.send(ack().ack(1 + got.len() as u32));
        }
        assert_eq!(got, pattern(0, 6000));
        assert!(lab.info(id).cwnd >= cwnd, "RFC 1191 6.5: not a sign of congestion");
        assert_eq!(lab.stack.path_mtu(lab.remote.ip()), mtu as u16);
        assert_eq!(lab.info(id).pmtu, mtu as u16);
    }
}

// RFC 4821 5.2-2
#[test]
fn a_path_mtu_is_for_all_connections_to_that_host_and_lasts_ten_minutes() {
    let (mut lab, _, packets) = in_flight(false);
    too_big(&mut lab, 1000, &packets[0]);
    lab.drain();
    assert_eq!(lab.stack.path_mtu("10.0.0.77".parse().unwrap()), 1500);
    lab.local.set_port(81);
    lab.switch(4001);
    let id = lab.accepted(Peer::default());
    assert_eq!(lab.info(id).snd_mss, 960);
    lab.send(rst());
    lab.run_to(secs(601));
    lab.drain();
    assert_eq!(lab.stack.path_mtu("10.0.0.1".parse().unwrap()), 1500);
}

/// Two connections have packets in flight that are too big. The router's word on the second one's says nothing new of
/// the path, and all to that connection.
#[test]
fn a_known_path_mtu_still_reaches_a_connection_whose_packets_are_refused() {
    let (mut lab, first, packets) = in_flight(false);
    lab.local.set_port(81);
    lab.switch(4001);
    let second = lab.accepted(Peer::default());
    lab.write(second, &pattern(0, 3000));
    let refused = lab.drain().remove(0).packet;
    too_big(&mut lab, 1000, &packets[0]);
    assert_eq!(lab.info(first).pmtu, 1000);
    lab.drain();
    // A router further on allows more: the least of all counts.
    too_big(&mut lab, 1300, &refused);
    assert_eq!(lab.info(second).pmtu, 1000);
    lab.expect(data(pattern(0, 960)).seq(1));
}

// RFC 5927 4.1, 7.2
#[test]
fn stale_and_forged_messages_about_the_path_are_ignored() {
    for v6 in [false, true] {
        let mtu = 1300;
        let (mut lab, id, packets) = in_flight(v6);
        let ip_len = if v6 { 40 } else { 20 };
        // The second segment is acknowledged by now: its quote is stale.
        lab.send(ack().ack(2921));
        let quiet = |lab: &mut Lab, packet: &[u8]| {
            lab.drain();
            too_big(lab, mtu, packet);
            lab.quiet();
            assert_eq!(lab.info(id).pmtu, 1500);
            assert_eq!(lab.stack.path_mtu(lab.remote.ip()), 1500);
        };
        quiet(&mut lab, &packets[0]);
        quiet(&mut lab, &packets[1]);
        // A sequence number beyond what was sent, another port, another address, another protocol.
        let forged = |at: usize, with: u8| {
            let mut packet = packets[3].to_vec();
            packet[at] ^= with;
            packet
        };
        quiet(&mut lab, &forged(ip_len + 5, 0x40));
        quiet(&mut lab, &forged(ip_len + 1, 1));
        quiet(&mut lab, &forged(ip_len + 3, 1));
        quiet(&mut lab, &forged(if v6 { 39 } else { 19 }, 1));
        quiet(&mut lab, &forged(if v6 { 23 } else { 15 }, 1));
        quiet(&mut lab, &forged(if v6 { 6 } else { 9 }, 17 ^ 6));
        // Cut off before the sequence number.
        quiet(&mut lab, &packets[3][..ip_len + 4]);
        quiet(&mut lab, &packets[3][..ip_len]);
        quiet(&mut lab, &[]);
        assert!(lab.stack.counters().icmp_ignored >= 8);
        // The truth is believed.
        too_big(&mut lab, mtu, &packets[3]);
        assert_eq!(lab.info(id).pmtu, mtu as u16);
    }
}

// RFC 1191 5, 7: an old router does not say; and no path has less than 68, nor do we go below 552.
#[test]
fn small_and_unknown_ipv4_path_mtus() {
    for (said, believed) in [(0, 1492), (68, 552), (551, 552), (552, 552), (1499, 1499)] {
        let (mut lab, id, packets) = in_flight(false);
        too_big(&mut lab, said, &packets[0]);
        assert_eq!(lab.info(id).pmtu, believed, "said {said}");
    }
}

// RFC 8201 4: a message that says less than 1280 must be discarded.
#[test]
fn an_ipv6_path_mtu_below_1280_is_discarded() {
    for said in [0, 68, 1279] {
        let (mut lab, id, packets) = in_flight(true);
        too_big(&mut lab, said, &packets[0]);
        lab.quiet();
        assert_eq!(lab.info(id).pmtu, 1500, "said {said}");
    }
    let (mut lab, id, packets) = in_flight(true);
    too_big(&mut lab, 1280, &packets[0]);
    assert_eq!(lab.info(id).pmtu, 1280);
}

// RFC 1191 3, RFC 8201 4: such a message never raises the estimate.
#[test]
fn a_message_never_raises_the_path_mtu() {
    for v6 in [false, true] {
        let (mut lab, id, packets) = in_flight(v6);
        too_big(&mut lab, 1300, &packets[0]);
        lab.drain();
        for larger in [1400, 1500, 9000, 65535] {
            too_big(&mut lab, larger, &packets[0]);
            lab.drain();
            assert_eq!(lab.info(id).pmtu, 1300);
            assert_eq!(lab.stack.path_mtu(lab.remote.ip()), 1300);
        }
    }
}

/// A download with a large window in flight: the connection, and the packets.
fn download(v6: bool, segments: usize) -> (Lab, ConnectionId, Vec<Bytes>) {
    // What is sent at once is counted.
    let mut lab = Lab::with(|config| config.pacing = false).v6_if(v6);
    lab.silent = true;
    let peer = Peer { win: 65535, ws: Some(7), ..Peer::default() };
    let id = lab.accepted_with(peer, |options| options.send_buffer = 8 << 20);
    lab.write(id, &pattern(0, 4 << 20));
    while lab.info(id).unacked as usize <= segments * 1440 {
        lab.drain();
        let acked = lab.flow.seen;
        lab.at_us(lab.now + ms(20));
        lab.send(ack().ack(acked));
    }
    let packets: Vec<_> = lab.drain().into_iter().map(|sent| sent.packet).collect();
    (lab, id, packets)
}

fn bytes_sent(lab: &mut Lab) -> usize {
    lab.drain().iter().map(|sent| sent.packet.len()).sum()
}

/// What a forger says, who has seen one packet or has guessed its numbers: each time one byte less, about a packet that
/// is just a byte too long.
fn forge(lab: &mut Lab, mtu: u32, seen: &Bytes) {
    let mut packet = seen.to_vec();
    let len = (mtu + 1) as u16;
    if lab.local.is_ipv4() {
        packet[2..4].copy_from_slice(&len.to_be_bytes());
    } else {
        packet[4..6].copy_from_slice(&(len - 40).to_be_bytes());
    }
    too_big(lab, mtu, &packet);
}

// RFC 5927 7.2
#[test]
fn nine_hundred_forged_messages_bring_one_flight_and_not_one_each() {
    for (v6, floor) in [(false, 552), (true, 1280)] {
        for honest_length in [false, true] {
            let (mut lab, id, packets) = download(v6, 200);
            let flight = lab.info(id).unacked as usize;
            let mut sent = 0;
            let first = packets.last().unwrap();
            for mtu in (floor..1500).rev() {
                if honest_length {
                    too_big(&mut lab, mtu, first)
                } else {
                    forge(&mut lab, mtu, first)
                }
                sent += bytes_sent(&mut lab);
            }
            assert!(sent <= flight * 3 / 2, "{sent} bytes with headers, {flight} in flight");
            if !honest_length {
                assert_eq!(lab.info(id).pmtu, floor as u16, "what was said last counts");
            }
        }
    }
}

/// Whatever the forger says, a connection sends no more in a round trip than its window, twice.
#[test]
fn forged_messages_at_leisure_cost_a_flight_a_round_trip() {
    let (mut lab, id, packets) = download(false, 100);
    let (flight, srtt, start) = (lab.info(id).unacked as usize, lab.info(id).srtt, lab.now);
    let mut sent = 0;
    for mtu in (600..1500).rev() {
        let next = lab.now + 400;
        lab.run_to(next);
        sent += bytes_sent(&mut lab);
        forge(&mut lab, mtu, packets.last().unwrap());
        sent += bytes_sent(&mut lab);
    }
    let round_trips = (u128::from(lab.now - start) / srtt.as_micros()) as usize;
    assert!(sent <= (round_trips + 1) * flight * 11 / 10, "{sent} in {round_trips} round trips of {flight}");
}

/// Two narrower hops, one behind the other, with different words for the same flight: both are believed, and the
/// transfer goes on after a round trip without a timeout.
#[test]
fn two_narrower_hops_in_one_flight() {
    for (v6, first, second) in [(false, 1400, 1300), (true, 1400, 1300)] {
        let (mut lab, id, packets) = download(v6, 20);
        let before = lab.info(id);
        let acked = lab.flow.seen - before.unacked;
        let mut resent = Vec::new();
        for packet in &packets {
            too_big(&mut lab, first, packet);
            resent.extend(lab.drain());
        }
        assert!(resent.iter().all(|sent| sent.packet.len() <= first as usize));
        let round_trip = before.srtt.as_micros() as u64;
        lab.at_us(lab.now + round_trip / 2);
        for sent in resent {
            if sent.packet.len() > second as usize {
                too_big(&mut lab, second, &sent.packet);
            }
        }
        lab.quiet();
        assert_eq!(lab.info(id).pmtu, second as u16);
        lab.at_us(lab.now + round_trip - round_trip / 2);
        let again = lab.drain();
        assert_eq!(lab.relative(again[0].tcp.as_ref().unwrap().tcp.seq), acked);
        assert!(again.iter().all(|sent| sent.packet.len() <= second as usize));
        lab.send(ack());
        let after = lab.info(id);
        assert!(after.cwnd >= before.cwnd, "not a sign of congestion");
        assert_eq!(lab.stack.counters().retransmission_timeouts, 0);
    }
}

/// SND.UNA moves before the round trip is over: packets do pass, and nothing is sent again.
#[test]
fn progress_outranks_a_second_message() {
    let (mut lab, id, packets) = download(false, 20);
    let acked = lab.flow.seen - lab.info(id).unacked;
    too_big(&mut lab, 1400, packets.last().unwrap());
    lab.drain();
    forge(&mut lab, 1300, packets.last().unwrap());
    lab.send(ack().ack(acked + 1400));
    let new = lab.drain();
    assert!(new.iter().all(|sent| lab.relative(sent.tcp.as_ref().unwrap().tcp.seq) > acked + 1400));
    lab.at_us(lab.now + ms(30));
    lab.quiet();
}

/// A packet that is shorter than the least MTU there is was not refused for its length, whatever MTU is claimed.
#[test]
fn a_short_packet_is_never_too_big() {
    for v6 in [false, true] {
        for claimed in [0, 1, 40, 68, 500, 1280] {
            let mut lab = Lab::new().v6_if(v6);
            let id = lab.accepted(Peer::default());
            lab.write(id, &pattern(0, 400));
            let short = lab.next_packet();
            too_big(&mut lab, claimed, &short);
            lab.quiet();
            assert_eq!(lab.info(id).pmtu, 1500, "{claimed}");
            assert_eq!(lab.stack.path_mtu(lab.remote.ip()), 1500, "{claimed}");
        }
    }
}

// RFC 5927 7.2: the packet must have been too long for that, and no longer than what we send.
#[test]
fn a_quote_that_is_not_too_long_or_longer_than_what_we_send_is_not_believed() {
    for v6 in [false, true] {
        for len in [61u16, 1300, 1501, 9000, 65535] {
            let (mut lab, id, packets) = in_flight(v6);
            let mut packet = packets[0].to_vec();
            match v6 {
                false => packet[2..4].copy_from_slice(&len.to_be_bytes()),
                true => packet[4..6].copy_from_slice(&(len - 40).to_be_bytes()),
            }
            too_big(&mut lab, 1300, &packet);
            lab.quiet();
            assert_eq!(lab.info(id).pmtu, 1500, "{len}");
            assert_eq!(lab.stack.path_mtu(lab.remote.ip()), 1500, "{len}");
        }
    }
}
