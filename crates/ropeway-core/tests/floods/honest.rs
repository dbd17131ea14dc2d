//! Honest clients during a flood: all of them get through.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ropeway_core::{ConnectionId, Received, SocketOptions, Stack, StackConfig, State, Timestamp};

use crate::common::*;
use crate::{host, syn_packet, verified};

const CLIENTS: usize = 1000;
/// Spoofed SYNs in each millisecond.
const RATE: u32 = if cfg!(debug_assertions) { 20 } else { 200 };
const DELAY: u64 = ms(5);

fn stack(own: &str, seed: u8) -> Stack {
    let mut config = StackConfig::default();
    config.addresses = vec![own.parse().unwrap()];
    Stack::new(Arc::new(config), [seed; 32], Timestamp::from_micros(1))
}

/// A way that takes 5 ms.
#[derive(Default)]
struct Way(VecDeque<(u64, Bytes)>);

impl Way {
    fn move_packets(&mut self, now: u64, from: &mut Stack, to: &mut Stack) {
        let at = Timestamp::from_micros(now);
        while let Some(transmit) = from.poll_transmit(at) {
            self.0.push_back((now + DELAY, transmit.to_bytes()));
        }
        while self.0.front().is_some_and(|(due, _)| *due <= now) {
            let (_, packet) = self.0.pop_front().unwrap();
            to.handle_packet(at, Received::alone(packet));
        }
    }
}

#[test]
fn a_thousand_clients_get_through_a_flood() {
    let mut server = stack("10.0.0.2/24", 1);
    let mut client = stack("10.0.0.1/24", 2);
    let to = addr("10.0.0.2:80");
    let listener = server.listen(to, 127, SocketOptions::default()).unwrap();
    let mut clients: Vec<ConnectionId> = Vec::new();
    let (mut there, mut back) = (Way::default(), Way::default());
    let (mut spoofed, mut accepted, mut now) = (0, 0, ms(1000));
    let established =
        |client: &Stack, now, id| client.info(now, id).is_ok_and(|info| info.state == State::Established);
    while now < secs(6) {
        now += ms(1);
        let at = Timestamp::from_micros(now);
        for stack in [&mut server, &mut client] {
            stack.handle_timeout(at);
        }
        if now < secs(4) {
            for _ in 0..RATE {
                spoofed += 1;
                server.handle_packet(at, verified(syn_packet((host(spoofed), 999).into(), to, spoofed)));
            }
        }
        if clients.len() < CLIENTS {
            clients.push(client.connect(at, None, to, SocketOptions::default()).unwrap());
        }
        there.move_packets(now, &mut client, &mut server);
        back.move_packets(now, &mut server, &mut client);
        while let Some((id, _)) = server.accept(at, listener).unwrap() {
            server.send(at, id, b"welcome", Default::default()).unwrap();
            accepted += 1;
        }
    }
    let at = Timestamp::from_micros(now);
    assert_eq!(accepted, CLIENTS);
    let counters = server.counters();
    assert!(counters.cookies_accepted > CLIENTS as u64 / 2, "most of them by cookies: {counters:?}");
    for id in clients {
        assert!(established(&client, at, id));
        assert!(client.info(at, id).unwrap().retransmitted <= 1);
        assert_eq!(client.recv(at, id, 100).unwrap().to_vec(), b"welcome");
    }
    assert!(server.sizes().half_open <= 128);
}
