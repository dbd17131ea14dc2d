//! Local ports: what a call without one gets, and that it costs as little when nearly all are taken.

use std::collections::HashSet;

use ropeway_core::{ConnectError, ConnectionId, DatagramError, ListenError, SocketOptions, UdpOptions};

use crate::common::*;
use crate::sharing;

/// Linux's range, which is ours by default.
const PORTS: u32 = 28_232;

/// No search looks at more than the bitmap of its range.
const FEW_STEPS: u64 = PORTS.div_ceil(64) as u64 + 3;

/// A lab whose calls are counted on purpose.
fn busy() -> Lab {
    let mut lab = Lab::new();
    lab.most_calls = 10_000_000;
    lab
}

impl Lab {
    fn connect_to(&mut self, remote: &str) -> Result<ConnectionId, ConnectError> {
        self.stack.connect(self.ts(), None, addr(remote), SocketOptions::default())
    }

    fn local_port(&self, id: ConnectionId) -> u16 {
        self.stack.tuple(id).unwrap().local_port
    }

    /// Lets go of a connection that has not come far, and of all that it left.
    fn drop_unopened(&mut self, id: ConnectionId) {
        self.stack.close(self.ts(), id);
    }

    /// The steps of searches for a port that `act` costs.
    fn steps<R>(&mut self, act: impl FnOnce(&mut Self) -> R) -> (R, u64) {
        let before = self.stack.counters().port_search_steps;
        let result = act(self);
        (result, self.stack.counters().port_search_steps - before)
    }
}

#[test]
fn port_zero_costs_a_few_steps_beside_27_000_client_connections() {
    for (remote, locals) in [
        ("10.0.0.1:80", ["10.0.0.2:0", "0.0.0.0:0", "[::]:0", "127.0.0.1:0", "[fd00::2]:0"]),
        ("[fd00::1]:80", ["[fd00::2]:0", "[::]:0", "[::1]:0", "0.0.0.0:0", "10.0.0.2:0"]),
    ] {
        let mut lab = busy();
        let mut taken = HashSet::new();
        for _ in 0..27_000 {
            let (id, steps) = lab.steps(|lab| lab.connect_to(remote).unwrap());
            assert!(taken.insert(lab.local_port(id)) && steps <= FEW_STEPS, "{steps}");
        }
        let options = SocketOptions::default();
        for local in locals {
            let (bound, steps) = lab.steps(|lab| lab.stack.bind(addr(local), &options).unwrap().1);
            assert!(steps <= FEW_STEPS, "{local}: {steps}");
            let other_family = addr(local).is_ipv4() != addr(remote).is_ipv4() && local != "[::]:0";
            let loopback = addr(local).ip().is_loopback();
            assert!(other_family || loopback || !taken.contains(&bound.port()), "{bound}");
            let (id, steps) = lab.steps(|lab| lab.stack.listen(addr(local), 1, options.clone()).unwrap());
            assert!(steps <= FEW_STEPS, "{local}: {steps}");
            assert_ne!(lab.stack.listener_addr(id).unwrap().port(), bound.port());
        }
    }
}

#[test]
fn a_connect_that_finds_no_port_says_so_at_once_again_and_again() {
    for (remote, other) in [("10.0.0.1:80", "10.0.0.1:81"), ("[fd00::1]:80", "[fd00::9]:80")] {
        let mut lab = busy();
        let ids: Vec<_> = (0..PORTS).map(|_| lab.connect_to(remote).unwrap()).collect();
        for _ in 0..100 {
            let (result, steps) = lab.steps(|lab| lab.connect_to(remote));
            assert_eq!(result, Err(ConnectError::PortsExhausted));
            assert!(steps <= FEW_STEPS, "{steps}");
        }
        let (result, steps) = lab.steps(|lab| lab.stack.bind(lab.local, &SocketOptions::default()).map(drop));
        assert_eq!((result, steps), (Ok(()), 0), "port 80 is nobody's");
        let any = std::net::SocketAddr::new(lab.stack.tuple(ids[0]).unwrap().local_addr, 0);
        let (result, steps) =
            lab.steps(|lab| lab.stack.listen(any, 1, SocketOptions::default()).unwrap_err());
        assert_eq!(result, ListenError::PortsExhausted);
        assert!(steps <= FEW_STEPS, "{steps}");
        // Towards another end the ports are free, and the one that is given back is found among all.
        let (result, steps) = lab.steps(|lab| lab.connect_to(other));
        assert!(result.is_ok() && steps <= 2, "{steps}");
        for id in [ids[0], ids[14_000], ids[28_231]] {
            let port = lab.local_port(id);
            lab.drop_unopened(id);
            let (again, steps) = lab.steps(|lab| lab.connect_to(remote).unwrap());
            assert_eq!(lab.local_port(again), port);
            assert!(steps <= FEW_STEPS, "{steps}");
        }
    }
}

#[test]
fn the_last_port_that_is_not_bound_is_found_and_given_to_no_connection() {
    let mut lab = busy();
    let options = SocketOptions::default();
    let bound: Vec<_> = (0..PORTS).map(|_| lab.stack.bind(addr("0.0.0.0:0"), &options).unwrap()).collect();
    let ports: HashSet<u16> = bound.iter().map(|(_, local)| local.port()).collect();
    assert_eq!(ports.len(), PORTS as usize);
    for remote in ["10.0.0.1:80", "[fd00::1]:80", "127.0.0.1:80"] {
        let (result, steps) = lab.steps(|lab| lab.connect_to(remote));
        assert_eq!(result, Err(ConnectError::PortsExhausted), "as on Linux, whatever address is bound");
        assert!(steps <= FEW_STEPS, "{steps}");
    }
    for local in ["0.0.0.0:0", "[::]:0", "10.0.0.2:0", "127.0.0.1:0"] {
        let (result, steps) = lab.steps(|lab| lab.stack.bind(addr(local), &options).unwrap_err());
        assert_eq!(result, ListenError::PortsExhausted, "{local}");
        assert!(steps <= FEW_STEPS, "{steps}");
    }
    assert!(lab.stack.bind(addr("[fd00::2]:0"), &options).is_ok(), "0.0.0.0 is not in its way");
    let (binding, local) = bound[20_000];
    lab.stack.release_binding(binding);
    let id = lab.connect_to("10.0.0.1:80").unwrap();
    assert_eq!(lab.local_port(id), local.port());
    assert_eq!(lab.stack.bind(addr("0.0.0.0:0"), &options).unwrap_err(), ListenError::PortsExhausted);
    lab.drop_unopened(id);
    assert_eq!(lab.stack.bind(addr("0.0.0.0:0"), &options).unwrap().1.port(), local.port());
}

#[test]
fn udp_flows_run_out_of_ports_towards_one_end_only() {
    let mut lab = busy();
    let now = lab.ts();
    let ids: Vec<_> = (0..PORTS)
        .map(|_| lab.stack.udp_open(now, addr("10.0.0.1:53"), UdpOptions::default()).unwrap())
        .collect();
    for _ in 0..100 {
        let (result, steps) =
            lab.steps(|lab| lab.stack.udp_open(now, addr("10.0.0.1:53"), UdpOptions::default()));
        assert_eq!(result, Err(DatagramError::PortsExhausted));
        assert!(steps <= FEW_STEPS, "{steps}");
    }
    assert!(lab.stack.udp_open(now, addr("10.0.0.1:54"), UdpOptions::default()).is_ok());
    assert!(lab.connect_to("10.0.0.1:53").is_ok(), "TCP has ports of its own");
    lab.stack.udp_close(now, ids[7]);
    lab.stack.udp_close(now, ids[7]);
    assert!(lab.stack.udp_open(now, addr("10.0.0.1:53"), UdpOptions::default()).is_ok());
    assert!(lab.stack.udp_open(now, addr("10.0.0.1:53"), UdpOptions::default()).is_err());
}

/// RFC 6056 3.3.3: where the search begins depends on a secret and on the other end, and it goes on from there.
#[test]
fn which_port_is_chosen_cannot_be_told_from_outside() {
    let first = |seed: u8, remote: &str| {
        let config = Lab::new().stack.config().clone();
        let now = ropeway_core::Timestamp::START;
        let mut stack = ropeway_core::Stack::new(std::sync::Arc::new(config), [seed; 32], now);
        let id = stack.connect(now, None, addr(remote), SocketOptions::default()).unwrap();
        stack.tuple(id).unwrap().local_port
    };
    let by_seed: HashSet<u16> = (0..100).map(|seed| first(seed, "10.0.0.1:80")).collect();
    let by_remote: HashSet<u16> = (1..101).map(|port| first(1, &format!("10.0.0.1:{port}"))).collect();
    assert!(by_seed.len() > 90 && by_remote.len() > 90, "{} {}", by_seed.len(), by_remote.len());
    assert_eq!(first(3, "10.0.0.1:80"), first(3, "10.0.0.1:80"));
}

#[allow(clippy::reversed_empty_ranges, reason = "a range without a port")]
#[test]
fn ranges_without_a_port_and_of_one() {
    for (range, ports) in [
        (50_000..=49_999, vec![]),
        (0..=0, vec![]),
        (0..=1, vec![1]),
        (7..=7, vec![7]),
        (65_534..=65_535, vec![65_534, 65_535]),
    ] {
        let mut lab = Lab::with(|config| config.ephemeral_ports = range.clone());
        let mut found: Vec<u16> = ports
            .iter()
            .map(|_| lab.connect_to("10.0.0.1:80").unwrap())
            .collect::<Vec<_>>()
            .into_iter()
            .map(|id| lab.local_port(id))
            .collect();
        found.sort_unstable();
        assert_eq!(found, ports, "{range:?}");
        assert_eq!(lab.connect_to("10.0.0.1:80"), Err(ConnectError::PortsExhausted));
        let options = SocketOptions::default();
        assert_eq!(lab.stack.bind(addr("10.0.0.2:0"), &options).unwrap_err(), ListenError::PortsExhausted);
        assert_eq!(lab.stack.bind(addr("127.0.0.1:0"), &options).is_ok(), !ports.is_empty());
    }
}

/// Who may have a port beside whom, as `socket(7)` and Linux have it.
#[test]
fn what_shares_a_port_with_what() {
    let all = [(false, false), (true, false), (false, true), (true, true)];
    for (local, v6) in [("10.0.0.2:7777", false), ("[fd00::2]:7777", true)] {
        for first in all {
            for second in all {
                let (one, two) = (sharing(first.0, first.1), sharing(second.0, second.1));
                let (both_addr, both_port) = (first.0 && second.0, first.1 && second.1);
                let mut lab = Lab::new();
                lab.stack.bind(addr(local), &one).unwrap();
                let beside = lab.stack.bind(addr(local), &two).is_ok();
                assert_eq!(beside, both_addr || both_port, "two bindings: {first:?} {second:?}");
                let mut lab = Lab::new();
                lab.stack.listen(addr(local), 1, one.clone()).unwrap();
                let beside = lab.stack.bind(addr(local), &two).is_ok();
                assert_eq!(beside, both_port, "a binding beside a listener: {first:?} {second:?}");
                // A connection excludes whoever does not say otherwise.
                let mut lab = Lab::new();
                let remote = if v6 { "[fd00::1]:80" } else { "10.0.0.1:80" };
                lab.stack.connect(lab.ts(), Some(addr(local)), addr(remote), one).unwrap();
                assert_eq!(lab.stack.bind(addr(local), &two).is_ok(), second.0, "{second:?}");
            }
        }
    }
    // What a listener shares is what its options say now.
    let mut lab = Lab::new();
    let listener = lab.listen();
    assert!(lab.stack.bind(lab.local, &sharing(false, true)).is_err());
    lab.stack.update_listener_options(listener, |options| options.reuse_port = true).unwrap();
    assert!(lab.stack.bind(lab.local, &sharing(false, true)).is_ok());
    lab.stack.close_listener(lab.ts(), listener);
    assert!(lab.stack.bind(lab.local, &sharing(true, false)).is_err(), "the binding is still there");
}

/// Whatever had a port and however it ended: the port comes back, once.
#[test]
fn every_port_comes_back() {
    let mut lab = Lab::with(|config| config.ephemeral_ports = 50_000..=50_007);
    let all_are_free = |lab: &mut Lab| {
        let options = SocketOptions::default();
        let bound: Vec<_> =
            std::iter::from_fn(|| lab.stack.bind(addr("[::]:0"), &options).ok()).map(|(id, _)| id).collect();
        assert_eq!(bound.len(), 8);
        bound.into_iter().for_each(|id| lab.stack.release_binding(id));
    };
    // Refused, given up, aborted, and reset by the peer.
    for end in 0..4 {
        let id = lab.connect_to("10.0.0.1:80").unwrap();
        let tuple = lab.stack.tuple(id).unwrap();
        (lab.local, lab.remote) = (tuple.local(), tuple.remote());
        lab.flow = lab::Flow { win: 65_535, ..Default::default() };
        lab.collect();
        lab.expect(syn());
        match end {
            0 => lab.send(rst_ack().ack(1)),
            1 => lab.run_to(lab.now + secs(300)),
            2 => lab.abort(id),
            _ => {
                lab.send(syn_ack());
                lab.expect(ack());
                lab.send(rst().seq(1));
            }
        }
        lab.close(id);
        lab.drain();
        all_are_free(&mut lab);
    }
    // TIME-WAIT keeps it, until it is over or the peer comes again.
    for reopened in [false, true] {
        let id = lab.connect_to("10.0.0.1:80").unwrap();
        let tuple = lab.stack.tuple(id).unwrap();
        (lab.local, lab.remote) = (tuple.local(), tuple.remote());
        lab.flow = lab::Flow { win: 65_535, ..Default::default() };
        lab.collect();
        lab.expect(syn());
        lab.send(syn_ack());
        lab.expect(ack());
        lab.close(id);
        lab.expect(fin());
        lab.send(fin().ack(2));
        lab.expect(ack());
        assert!(lab.stack.bind(tuple.local(), &SocketOptions::default()).is_err());
        if reopened {
            let listener = lab.stack.listen(tuple.local(), 1, sharing(true, false)).unwrap();
            lab.send(syn().seq(1000));
            assert_eq!(lab.stack.sizes().half_open, 1);
            lab.stack.close_listener(lab.ts(), listener);
        } else {
            lab.run_to(lab.now + secs(61));
        }
        lab.drain();
        assert_eq!(lab.stack.sizes().time_wait, 0);
        all_are_free(&mut lab);
    }
    // Accepted connections have their listener's port, also after it.
    let listener = lab.stack.listen(addr("10.0.0.2:50003"), 4, SocketOptions::default()).unwrap();
    lab.local = addr("10.0.0.2:50003");
    lab.switch(4001);
    lab.handshake(Peer::default());
    let id = lab.accept(listener).unwrap();
    lab.stack.close_listener(lab.ts(), listener);
    assert!(lab.stack.bind(lab.local, &SocketOptions::default()).is_err());
    lab.abort(id);
    lab.close(id);
    all_are_free(&mut lab);
}
