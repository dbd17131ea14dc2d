//! The maximum segment size: what is announced, and what is sent (RFC 9293 3.7.1).

use crate::common::*;

// MUST-14, SHLD-5, MUST-67; RFC 9293 3.7.1 MAY-3
#[test]
fn the_announced_mss_is_the_mtus() {
    for (mtu, v4, v6) in
        [(1500, 1460, 1440), (9000, 8960, 8940), (1280, 1240, 1220), (576, 536, 516), (65535, 65495, 65475)]
    {
        for (v6_too, mss) in [(false, v4), (true, v6)] {
            let mut lab = Lab::with(|config| config.mtu = mtu).v6_if(v6_too);
            lab.listen();
            lab.send(syn());
            lab.expect(syn_ack().mss(mss));
            let mut lab = Lab::with(|config| config.mtu = mtu).v6_if(v6_too);
            lab.connect();
            lab.expect(syn().mss(mss));
        }
    }
}

// MUST-15
#[test]
fn without_the_option_the_mss_is_536_or_1220() {
    for (v6, mss) in [(false, 536), (true, 1220)] {
        let peer = Peer { mss: None, ..Peer::default() };
        let mut lab = Lab::new().v6_if(v6);
        let id = lab.accepted(peer);
        lab.write(id, &pattern(0, 10_000));
        lab.expect(some(mss));
        let mut lab = Lab::new().v6_if(v6);
        let id = lab.connected(peer);
        lab.write(id, &pattern(0, 10_000));
        lab.expect(some(mss));
    }
}

// MUST-16; RFC 9293 3.7.1 MUST-14
#[test]
fn the_segment_size_is_the_smaller_of_both_less_the_options() {
    for (offered, mtu, ts, len) in [
        (1460, 1500, false, 1460),
        (1460, 1500, true, 1448),
        (65535, 1500, false, 1460),
        (65535, 1500, true, 1448),
        (1000, 1500, true, 988),
        (1460, 1000, false, 960),
        (48, 1500, false, 48),
        (48, 1500, true, 36),
    ] {
        let mut lab = Lab::with(|config| config.mtu = mtu);
        let id = lab.accepted_with(Peer { mss: Some(offered), ts, ..Peer::default() }, roomy);
        lab.write(id, &pattern(0, 20_000));
        assert_eq!(lab.next_tcp().payload.len(), len, "offered {offered}, MTU {mtu}, timestamps {ts}");
        assert_eq!(usize::from(lab.info(id).snd_mss), len);
    }
}

// A peer that says it can take nothing, or next to nothing
#[test]
fn a_silly_mss_makes_neither_a_stall_nor_a_flood() {
    for offered in [0, 1, 47] {
        let mut lab = Lab::new();
        let id = lab.accepted(Peer { mss: Some(offered), ..Peer::default() });
        lab.write(id, &pattern(0, 1000));
        let first = lab.next_tcp().payload.len();
        // Linux takes 0 for no option at all, and has the same floor.
        assert!(first == 48 || (offered == 0 && first == 536), "offered {offered}: {first}");
    }
}

#[test]
fn max_segment_bounds_both_directions() {
    let mut lab = Lab::new();
    let id = lab.connect_with(|options| options.max_segment = Some(700)).unwrap();
    lab.expect(syn().mss(700));
    lab.send(syn_ack().mss(1460));
    lab.expect(ack());
    lab.write(id, &pattern(0, 5000));
    lab.expect(some(700));
    lab.drain();
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.max_segment = Some(700));
    lab.write(id, &pattern(0, 5000));
    lab.expect(some(700));
}
