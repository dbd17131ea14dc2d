//! A connect that takes a tuple over from TIME-WAIT, as with Linux's `tcp_tw_reuse`: when, and that no old segment enters
//! the new connection (RFC 9293 3.6.1, RFC 6191, RFC 7323 5).

use ropeway_core::packet::SeqNum;
use ropeway_core::{ConnectError, ConnectionId, ListenerId, SocketOptions, State, TimeWaitReuse};

use crate::common::*;

const TIMESTAMPS: Peer = Peer { mss: Some(1460), ws: None, ts: true, sack: false, win: 65_535 };

/// The timestamp of a segment that was sent half a second before the old connection ended, as it is a second later.
const OLD: u32 = 0u32.wrapping_sub(500);

impl Lab {
    /// One port, so that a connect must take it over.
    fn one_port(v6: bool, reuse: TimeWaitReuse) -> Self {
        Self::with(|config| {
            config.ephemeral_ports = 50_000..=50_000;
            config.time_wait_reuse = reuse;
        })
        .v6_if(v6)
    }

    /// A connect to port 80, without a local port.
    fn open(&mut self) -> Result<ConnectionId, ConnectError> {
        self.remote.set_port(80);
        self.local.set_port(50_000);
        let id = self.stack.connect(self.ts(), None, self.remote, SocketOptions::default())?;
        self.begin_anew();
        Ok(id)
    }

    /// What is sent from now on is a new connection's.
    fn begin_anew(&mut self) {
        self.flow =
            lab::Flow { win: 65_535, isn: self.flow.isn.wrapping_add(9_000_000), ..Default::default() };
        self.collect();
    }

    /// A connection that was opened from here, and is in TIME-WAIT.
    fn closed_here(&mut self, peer: Peer) {
        let id = self.open().unwrap();
        self.answer(peer);
        self.close(id);
        self.expect(fin().seq(1));
        self.send(fin().ack(2));
        self.expect(ack().seq(2).ack(2));
        assert_eq!(self.stack.sizes().time_wait, 1);
    }

    /// The peer takes the connection.
    fn answer(&mut self, peer: Peer) {
        self.expect(syn().seq(0));
        self.flow.ts = peer.ts.then_some(1000);
        self.flow.nxt = 0;
        self.send(Seg { mss: peer.mss, ..syn_ack() });
        self.expect(ack().seq(1).ack(1));
    }
}

#[test]
fn a_connect_takes_over_what_has_been_in_time_wait_for_a_second() {
    for v6 in [false, true] {
        let mut lab = Lab::one_port(v6, TimeWaitReuse::Always);
        lab.closed_here(TIMESTAMPS);
        let (iss, end, tsval) = (lab.flow.iss, lab.flow.iss.wrapping_add(2), lab.flow.tsval);
        lab.at_us(secs(1) - 1);
        assert_eq!(lab.open(), Err(ConnectError::PortsExhausted), "not before a second has passed");
        lab.at_us(secs(1));
        let id = lab.open().unwrap();
        assert_eq!((lab.stack.sizes().time_wait, lab.stack.counters().time_wait_reused), (0, 1));
        let first = lab.expect(syn().seq(0));
        assert_ne!(lab.flow.iss, iss);
        assert!(SeqNum::new(lab.flow.iss).since(SeqNum::new(end)) >= 65_537, "beyond all that was sent");
        assert!(lab.flow.iss.wrapping_sub(end) < u32::MAX / 2);
        let timestamps = first.tcp.options.timestamps.unwrap();
        assert!(timestamps.tsval.wrapping_sub(tsval) >= 999 && timestamps.tsecr == 0);
        lab.flow.ts = Some(5000);
        lab.send(Seg { mss: Some(1460), ..syn_ack() });
        lab.expect(ack().seq(1).ack(1));
        lab.assert_state(id, State::Established);
        assert_eq!(lab.open(), Err(ConnectError::PortsExhausted), "it is in use");
    }
}

#[test]
fn a_new_connection_begins_beyond_an_old_one_that_sent_more_than_the_clock_allows() {
    let mut lab = Lab::one_port(false, TimeWaitReuse::Always);
    let id = lab.open().unwrap();
    lab.answer(TIMESTAMPS);
    let mut sent = 0u32;
    while sent < 900_000 {
        let taken = lab.stack.send(lab.ts(), id, &[0; 10_000], Default::default()).unwrap_or(0);
        lab.collect();
        lab.drain();
        sent += taken as u32;
        lab.send(ack().ack(1 + sent));
    }
    lab.close(id);
    lab.expect(fin().seq(1 + sent));
    lab.send(fin().ack(2 + sent));
    lab.expect(ack());
    let end = SeqNum::new(lab.flow.iss.wrapping_add(2 + sent));
    lab.at_us(secs(1));
    lab.open().unwrap();
    lab.expect(syn().seq(0));
    assert_eq!(SeqNum::new(lab.flow.iss).since(end), 65_537);
}

#[test]
fn who_may_take_a_tuple_over_is_configured() {
    let outcome = |reuse, peer, remote: &str| {
        let mut lab = Lab::one_port(false, reuse);
        lab.remote = addr(remote);
        if remote == "10.0.0.1:80" {
            lab.closed_here(peer);
        } else {
            let listener = lab.stack.listen(addr(remote), 1, SocketOptions::default()).unwrap();
            let (client, server) = within(&mut lab, listener, remote);
            lab.close(client);
            lab.close(server);
        }
        lab.run_to(lab.now + secs(2));
        lab.drain();
        lab.open().is_ok()
    };
    let without = Peer { ts: false, ..TIMESTAMPS };
    for (reuse, away, at_home) in [
        (TimeWaitReuse::Never, false, false),
        (TimeWaitReuse::Local, false, true),
        (TimeWaitReuse::Always, true, true),
    ] {
        assert_eq!(outcome(reuse, TIMESTAMPS, "10.0.0.1:80"), away, "{reuse:?}");
        assert!(!outcome(reuse, without, "10.0.0.1:80"), "{reuse:?}: without timestamps it is not safe");
        for local in ["127.0.0.1:80", "10.0.0.2:80", "[::1]:80", "[fd00::2]:80"] {
            assert_eq!(outcome(reuse, TIMESTAMPS, local), at_home, "{reuse:?} {local}");
        }
    }
    assert_eq!(Lab::new().stack.config().time_wait_reuse, TimeWaitReuse::Local);
}

/// Both ends of a connection within the stack.
fn within(lab: &mut Lab, listener: ListenerId, to: &str) -> (ConnectionId, ConnectionId) {
    let client = lab.stack.connect(lab.ts(), None, addr(to), SocketOptions::default()).unwrap();
    lab.collect();
    (client, lab.accept(listener).expect("it was accepted"))
}

/// Linux does not ask `tcp_tw_reuse` then, and neither how old the entry is.
#[test]
fn who_names_the_local_port_takes_its_tuple_over_at_once() {
    for (timestamps, reuse) in [
        (true, TimeWaitReuse::Never),
        (true, TimeWaitReuse::Always),
        (false, TimeWaitReuse::Never),
        (false, TimeWaitReuse::Always),
    ] {
        let mut lab = Lab::one_port(false, reuse);
        lab.closed_here(Peer { ts: timestamps, ..TIMESTAMPS });
        let local = Some(lab.local);
        let again = lab.stack.connect(lab.ts(), local, lab.remote, SocketOptions::default());
        match timestamps {
            true => assert!(again.is_ok(), "{reuse:?}"),
            false => assert_eq!(again, Err(ConnectError::AddressInUse), "{reuse:?}"),
        }
        assert_eq!(lab.stack.sizes().time_wait, usize::from(!timestamps));
        if timestamps {
            let end = SeqNum::new(lab.flow.iss.wrapping_add(2));
            lab.begin_anew();
            lab.expect(syn().seq(0));
            assert!(SeqNum::new(lab.flow.iss).since(end) >= 65_537);
        }
    }
}

/// Our last ACK was lost: the peer is in LAST-ACK. It answers our SYN with an ACK of the old connection, and our RST ends
/// that (RFC 9293 3.5.1); the SYN comes again.
#[test]
fn a_peer_in_last_ack_is_told_and_then_accepts() {
    let mut lab = Lab::one_port(false, TimeWaitReuse::Always);
    lab.closed_here(TIMESTAMPS);
    let old = lab.flow.clone();
    lab.at_us(secs(1));
    let id = lab.open().unwrap();
    lab.expect(syn().seq(0));
    let behind = old.iss.wrapping_add(2).wrapping_sub(lab.flow.iss);
    let new = lab.flow.clone();
    lab.flow = lab::Flow { isn: old.isn, ts: old.ts, ..new.clone() };
    lab.send(ack().seq(1).ack(behind));
    lab.expect(rst().seq(behind));
    lab.flow = new;
    lab.assert_state(id, State::SynSent);
    lab.at_us(secs(2));
    lab.answer(TIMESTAMPS);
    lab.assert_state(id, State::Established);
}

/// Whatever of the old connection comes late, at whatever moment of the new one, with the peer's old timestamps: nothing of
/// it is taken.
#[test]
fn old_duplicates_do_not_enter_the_new_connection() {
    // While our SYN is out.
    let stray = [
        syn().seq(0).mss(1460),
        syn_ack().seq(0).mss(1460),
        data(b"old").seq(1),
        fin().seq(1),
        rst().seq(1),
        rst().seq(2),
    ];
    for old_segment in stray {
        let mut lab = Lab::one_port(false, TimeWaitReuse::Always);
        lab.closed_here(TIMESTAMPS);
        let old = lab.flow.clone();
        lab.at_us(secs(1));
        let id = lab.open().unwrap();
        lab.expect(syn().seq(0));
        let behind = old.iss.wrapping_add(1).wrapping_sub(lab.flow.iss);
        let new = lab.flow.clone();
        lab.flow = lab::Flow { isn: old.isn, ts: Some(OLD), ..new.clone() };
        let has_ack = !matches!(old_segment.flags, f if f == syn().flags || f == rst().flags);
        lab.input(if has_ack { old_segment.clone().ack(behind) } else { old_segment.clone() });
        lab.collect();
        lab.drain();
        lab.assert_state(id, State::SynSent);
        lab.flow = new;
        lab.flow.ts = Some(3000);
        lab.flow.nxt = 0;
        lab.send(Seg { mss: Some(1460), ..syn_ack() });
        lab.expect(ack().seq(1).ack(1));
        lab.assert_state(id, State::Established);
        // And later, where its sequence numbers fall into the window.
        let now_open = lab.flow.clone();
        lab.flow.ts = Some(OLD);
        for late in [data(b"old").seq(1), fin().seq(1), ack().seq(1), syn().seq(1)] {
            lab.input(late);
            lab.collect();
            lab.drain();
        }
        lab.flow = now_open;
        lab.send(data(b"new").seq(1));
        lab.drain();
        assert_eq!(lab.read(id, 100), b"new");
        lab.assert_state(id, State::Established);
    }
}

#[test]
fn a_port_that_was_bound_meanwhile_is_not_taken_over() {
    let mut lab = Lab::one_port(false, TimeWaitReuse::Always);
    lab.closed_here(TIMESTAMPS);
    lab.at_us(secs(2));
    let reuse = crate::sharing(true, false);
    let (binding, _) = lab.stack.bind(lab.local, &reuse).unwrap();
    assert_eq!(lab.open(), Err(ConnectError::PortsExhausted));
    lab.stack.release_binding(binding);
    assert!(lab.open().is_ok());
}

/// The oldest is taken first, and one whose peer's FIN came again counts from then.
#[test]
fn the_oldest_is_taken_over_first() {
    let mut lab = Lab::with(|config| {
        config.ephemeral_ports = 50_000..=50_003;
        config.time_wait_reuse = TimeWaitReuse::Always;
    });
    let mut ports = Vec::new();
    for n in 0..4 {
        lab.at(n * 300);
        lab.remote.set_port(80);
        let id = lab.stack.connect(lab.ts(), None, lab.remote, SocketOptions::default()).unwrap();
        lab.local = lab.stack.tuple(id).unwrap().local();
        ports.push(lab.local.port());
        lab.begin_anew();
        lab.answer(TIMESTAMPS);
        lab.close(id);
        lab.expect(fin().seq(1));
        lab.send(fin().ack(2));
        lab.expect(ack());
    }
    // At 900 ms they are 900, 600, 300 and 0 ms old.
    let mut taken = Vec::new();
    for at in [999, 1000, 1299, 1300, 1600, 1899, 1900] {
        lab.at(at);
        if let Ok(id) = lab.stack.connect(lab.ts(), None, lab.remote, SocketOptions::default()) {
            taken.push((at, lab.stack.tuple(id).unwrap().local_port));
            lab.collect();
            lab.drain();
        }
    }
    let expected: Vec<_> = [1000, 1300, 1600, 1900].into_iter().zip(ports).collect();
    assert_eq!(taken, expected);
}

/// How the ends of a short connection part.
#[derive(Clone, Copy, Debug)]
enum First {
    Client,
    Server,
    Both,
}

/// What is measured on Linux: 60,000 short connections in a minute over the loopback, none of which fails.
#[test]
fn sixty_thousand_short_connections_in_a_minute_over_the_loopback() {
    let (many, ports) = if cfg!(debug_assertions) { (6000, 2800) } else { (60_000, 28_232) };
    for to in ["127.0.0.1:80", "[::1]:80", "10.0.0.2:80"] {
        for first in [First::Client, First::Server, First::Both] {
            let mut lab = Lab::with(|config| config.ephemeral_ports = 32_768..=32_767 + ports);
            lab.silent = true;
            lab.most_calls = u32::MAX;
            let listener = lab.stack.listen(addr(to), 16, SocketOptions::default()).unwrap();
            for n in 0..many {
                lab.run_to(n * secs(60) / many);
                let (client, server) = within(&mut lab, listener, to);
                lab.write(client, b"request");
                assert_eq!(lab.read(server, 100), b"request", "{to} {first:?}, the {n}th");
                lab.write(server, b"response");
                assert_eq!(lab.read(client, 100), b"response");
                let (one, two) = match first {
                    First::Server => (server, client),
                    First::Client | First::Both => (client, server),
                };
                lab.stack.close(lab.ts(), one);
                if !matches!(first, First::Both) {
                    lab.collect();
                }
                lab.close(two);
                lab.events.clear();
            }
            let sizes = lab.stack.sizes();
            assert_eq!((sizes.connections, lab.stack.counters().failed_opens), (0, 0));
            assert_eq!(lab.stack.counters().retransmission_timeouts, 0);
            lab.run_to(lab.now + secs(61));
            lab.assert_empty();
        }
    }
}
