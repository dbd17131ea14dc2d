//! What a client remembers of servers, and for how long.

use ropeway_core::packet::FastOpen;

use crate::common::*;
use crate::cookie;

// RFC 7413 4.2.2-11
#[test]
fn a_new_cookie_takes_the_place_of_the_old_one() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    let new = FastOpen::new(&[7; 8]).unwrap();
    lab.connect_fast(5000, b"request");
    lab.drain();
    lab.send(syn_ack().mss(1460).ack(1).fast_open(new));
    lab.drain();
    lab.connect_fast(5001, b"request");
    lab.expect(syn().fast_open(new).bytes(b"request"));
}

// RFC 7413 4.1.3-1
#[test]
fn cookies_are_kept_for_each_pair_of_addresses() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    let (local, remote) = (lab.local.ip(), lab.remote.ip());
    lab.switch_ips(local, "10.0.0.9".parse().unwrap());
    lab.connect_fast(5000, b"request");
    lab.expect(syn().fast_open(FastOpen::REQUEST).len(0));
    lab.stack.add_address("10.0.0.3/24".parse().unwrap());
    lab.switch_ips("10.0.0.3".parse().unwrap(), remote);
    lab.connect_fast(5001, b"request");
    lab.expect(syn().fast_open(FastOpen::REQUEST).len(0));
    lab.switch_ips(local, remote);
    lab.connect_fast(5002, b"request");
    lab.expect(syn().fast_open(cookie()).bytes(b"request"));
}

#[test]
fn the_memory_of_cookies_is_bounded_and_counted() {
    let mut lab = Lab::with(|config| config.max_fast_open_cookies = 10);
    let (local, first) = (lab.local.ip(), lab.remote.ip());
    let mut most = 0;
    for host in 1..=30_u8 {
        lab.switch_ips(local, [10, 0, 0, 100 + host].into());
        lab.learn_cookie();
        let memory = lab.stack.memory();
        assert!(memory.cookies > 0 && memory.total() >= memory.cookies);
        if host == 10 {
            most = memory.cookies;
        }
    }
    assert_eq!(lab.stack.memory().cookies, most);
    for (host, known) in [(120_u8, false), (121, true), (130, true)] {
        lab.switch_ips(local, [10, 0, 0, host].into());
        assert_eq!(lab.connect_fast(5000, b"request").1 > 0, known, "{host}");
        lab.drain();
    }
    lab.stack.forget_fast_open_cookies();
    assert_eq!(lab.stack.memory().cookies, 0);
    lab.switch_ips(local, first);
}

#[test]
fn a_cookie_is_good_for_a_day() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    let day = secs(24 * 3600);
    lab.run_to(day - 1);
    assert_eq!(lab.connect_fast(5000, b"request").1, 7);
    lab.drain();
    lab.run_to(day + 1);
    lab.drain();
    assert_eq!(lab.connect_fast(5001, b"request").1, 0);
}
