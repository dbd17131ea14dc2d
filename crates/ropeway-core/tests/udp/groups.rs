//! Multicast and broadcast.

use ropeway_core::{GroupError, UdpOptions};

use crate::common::*;
use crate::{datagram, read};

const GROUPS: [(&str, &str, &str); 2] =
    [("10.0.0.1", "224.0.0.251", "0.0.0.0"), ("[fd00::1]", "[ff02::fb]", "[::]")];

// RFC 1122 4.1.3.6, RFC 1112 7
#[test]
fn what_goes_to_a_group_comes_to_each_socket_on_its_port_once_the_host_has_joined() {
    for (peer, group, any) in GROUPS {
        let mut lab = Lab::new();
        let share = |options: &mut UdpOptions| options.reuse_addr = true;
        let ids = [
            lab.bind_with(&format!("{any}:5353"), share),
            lab.bind_with(&format!("{any}:5353"), share),
            lab.bind_with(&format!("{group}:5353"), share),
        ];
        let elsewhere = lab.bind(&format!("{any}:5354"));
        let packet = datagram(&format!("{peer}:5353"), &format!("{group}:5353"), b"who is there?");
        lab.send_packet(packet.clone());
        ids.iter().for_each(|id| lab.heard_nothing(*id));
        let ip = addr(&format!("{group}:1")).ip();
        lab.stack.udp_join(ids[0], ip).unwrap();
        lab.send_packet(packet.clone());
        for id in ids {
            let heard = lab.heard(id);
            assert_eq!((heard.local, heard.payload.len()), (addr(&format!("{group}:5353")), 13));
        }
        lab.heard_nothing(elsewhere);
        lab.stack.udp_leave(ids[0], ip).unwrap();
        lab.send_packet(packet.clone());
        lab.heard_nothing(ids[0]);
        // With the socket goes its membership.
        lab.stack.udp_join(ids[0], ip).unwrap();
        lab.stack.udp_close(lab.ts(), ids[0]);
        lab.send_packet(packet);
        lab.heard_nothing(ids[1]);
        lab.quiet();
    }
}

// RFC 1122 3.2.2, RFC 4443 2.4 e
#[test]
fn nobody_is_told_that_nobody_takes_what_was_for_many() {
    let mut lab = Lab::new();
    for (src, dst) in [
        ("10.0.0.1:5", "224.0.0.1:99"),
        ("[fd00::1]:5", "[ff02::1]:99"),
        ("10.0.0.1:5", "10.0.0.255:99"),
        ("10.0.0.1:5", "255.255.255.255:99"),
    ] {
        lab.send_packet(datagram(src, dst, b"anybody?"));
    }
    lab.quiet();
    assert_eq!(lab.stack.counters().udp_no_port, 4);
    // All hosts are in these groups.
    let id = lab.bind("[::]:99");
    lab.send_packet(datagram("10.0.0.1:5", "224.0.0.1:99", b"all"));
    lab.send_packet(datagram("[fd00::1]:5", "[ff02::1]:99", b"all"));
    assert_eq!([lab.heard(id).local.port(), lab.heard(id).local.port()], [99, 99]);
}

#[test]
fn memberships_are_the_sockets_own_and_have_a_bound() {
    let mut lab = Lab::new();
    let id = lab.bind("0.0.0.0:5353");
    let group = |n: u8| [224, 1, 1, n].into();
    assert_eq!(lab.stack.udp_join(id, [10, 0, 0, 1].into()), Err(GroupError::NotAGroup));
    assert_eq!(lab.stack.udp_leave(id, group(1)), Err(GroupError::NotJoined));
    lab.stack.udp_join(id, group(1)).unwrap();
    assert_eq!(lab.stack.udp_join(id, group(1)), Err(GroupError::AlreadyJoined));
    for n in 2..=64 {
        lab.stack.udp_join(id, group(n)).unwrap();
    }
    assert_eq!(lab.stack.udp_join(id, group(65)), Err(GroupError::TooMany));
    lab.stack.udp_leave(id, group(1)).unwrap();
    lab.stack.udp_join(id, group(65)).unwrap();
}

#[test]
fn what_is_sent_to_a_group_goes_one_hop_and_comes_back_to_who_has_joined() {
    for (_, group, any) in GROUPS {
        let mut lab = Lab::new();
        let id = lab.bind(&format!("{any}:5353"));
        let to = format!("{group}:5353");
        lab.stack.udp_join(id, addr(&to).ip()).unwrap();
        lab.say_to(id, &to, b"here").unwrap();
        let (ip, _, dst, data) = read(&lab.next_packet());
        assert_eq!((ip.hop_limit, dst, &data[..]), (1, to.clone(), &b"here"[..]));
        assert_eq!(lab.heard(id).payload, b"here"[..]);
        lab.stack
            .udp_update_options(id, |options| {
                options.multicast_ttl = 9;
                (options.multicast_loop_v4, options.multicast_loop_v6) = (false, false);
            })
            .unwrap();
        lab.say_to(id, &to, b"here").unwrap();
        assert_eq!(read(&lab.next_packet()).0.hop_limit, 9);
        lab.heard_nothing(id);
    }
}

#[test]
fn a_broadcast_goes_out_and_comes_to_ourselves_once_it_is_allowed() {
    for to in ["10.0.0.255:99", "255.255.255.255:99"] {
        let mut lab = Lab::new();
        let id = lab.bind_with("0.0.0.0:99", |options| options.broadcast = true);
        let of_one = lab.bind_with("10.0.0.2:98", |options| options.broadcast = true);
        lab.say_to(id, to, b"all").unwrap();
        assert_eq!(read(&lab.next_packet()).2, to);
        assert_eq!(lab.heard(id).local, addr(to));
        lab.send_packet(datagram("10.0.0.1:5", to, b"all"));
        lab.heard(id);
        lab.heard_nothing(of_one);
        lab.quiet();
    }
}
