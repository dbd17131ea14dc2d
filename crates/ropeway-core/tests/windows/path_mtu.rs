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
