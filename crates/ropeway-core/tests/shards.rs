//! Hosts of several shards: whose a packet is, what a shard chooses, and what they share.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::wire::{header, ip_packet, syn_ack, tcp_packet};
use ropeway_core::packet::{
    FourTuple, IcmpErrorKind, Payload, Protocol, UnreachableKind, fragment, icmp, parse_tcp,
};
use ropeway_core::{ConnectError, Received, SocketOptions, Stack, StackConfig, Timestamp};

const NOW: Timestamp = Timestamp::from_micros(1_000_000);
const SHARDS: NonZeroUsize = NonZeroUsize::new(4).unwrap();

fn config() -> StackConfig {
    let mut config = StackConfig::default();
    config.addresses = vec!["10.0.0.1/24".parse().unwrap(), "fd00::1/64".parse().unwrap()];
    config
}

fn host(config: StackConfig) -> Vec<Stack> {
    Stack::shards(Arc::new(config), [7; 32], NOW, SHARDS)
}

fn remote(number: u16) -> SocketAddr {
    match number % 2 {
        0 => ([10, 0, 0, 9], 1000 + number).into(),
        _ => (IpAddr::V6("fd00::9".parse().unwrap()), 1000 + number).into(),
    }
}

/// Opens a connection in that shard; gives its tuple and its SYN.
fn open(shard: &mut Stack, remote: SocketAddr) -> (FourTuple, Vec<u8>) {
    let id = shard.connect(NOW, None, remote, SocketOptions::default()).unwrap();
    (shard.tuple(id).unwrap(), shard.poll_transmit(NOW).unwrap().to_bytes().to_vec())
}

#[test]
fn a_shard_opens_only_flows_that_are_its_own() {
    let mut shards = host(config());
    let steering = shards[0].steering().unwrap().clone();
    for number in 0..200 {
        let own = usize::from(number) % SHARDS.get();
        let (tuple, syn) = open(&mut shards[own], remote(number));
        assert_eq!(steering.shard_of(&tuple), own);
        // So it is with the packets of both directions.
        assert_eq!(steering.shard_of_packet(&syn), Some(own));
    }
}

#[test]
fn an_icmp_error_belongs_to_the_flow_that_it_quotes() {
    let mut shards = host(config());
    let steering = shards[0].steering().unwrap().clone();
    for number in 0..40 {
        let own = usize::from(number) % SHARDS.get();
        let (tuple, syn) = open(&mut shards[own], remote(number));
        let kind = IcmpErrorKind::Unreachable(UnreachableKind::Port);
        let error = icmp::emit_error(tuple.remote_addr, tuple.local_addr, kind, &syn, 64);
        assert_eq!(steering.shard_of_packet(&error), Some(own));
        shards[own].handle_packet(NOW, Received::alone(error.into()));
        assert_eq!(shards[own].counters().icmp_ignored, 0);
    }
}

/// Only the first fragment tells whose flow it is, and it may come last.
#[test]
fn fragments_meet_in_one_shard_and_what_they_make_goes_to_the_one_that_has_its_flow() {
    let mut shards = host(config());
    let steering = shards[0].steering().unwrap().clone();
    let mut elsewhere = 0;
    for number in 0..60 {
        let own = usize::from(number) % SHARDS.get();
        let (tuple, syn) = open(&mut shards[own], remote(number));
        let seq =
            parse_tcp(&syn, ropeway_core::packet::ip::parse(&syn).unwrap(), true).unwrap().tcp.seq.get();
        let answer =
            header((tuple.remote_port, tuple.local_port), &syn_ack(), 7, seq.wrapping_add(1), 1000, None);
        let answer = tcp_packet(tuple.remote_addr, tuple.local_addr, &answer, None, &[8; 100]);
        let payload = Payload::from(Bytes::from(answer));
        let pieces = fragment::split(&payload, 104, 5).unwrap();
        let pieces: Vec<_> = pieces.map(|(header, data)| [&header[..], &data.to_vec()].concat()).collect();
        let meet = steering.shard_of_packet(&pieces[0]).unwrap();
        for piece in pieces.into_iter().rev() {
            assert_eq!(steering.shard_of_packet(&piece), Some(meet));
            assert!(shards[meet].poll_passed_on().is_none());
            shards[meet].handle_packet(NOW, Received::alone(piece.into()));
        }
        if meet != own {
            elsewhere += 1;
            assert!(shards[own].poll_transmit(NOW).is_none());
            let (owner, datagram) = shards[meet].poll_passed_on().unwrap();
            assert_eq!((owner, steering.shard_of_packet(&datagram.packet)), (own, Some(own)));
            shards[owner].handle_packet(NOW, datagram);
        }
        assert!(shards[meet].poll_passed_on().is_none());
        assert!(shards[own].poll_transmit(NOW).is_some(), "the acknowledgement of the SYN-ACK");
        assert_eq!(shards[meet].memory().fragments, 0);
    }
    assert!((30..60).contains(&elsewhere), "{elsewhere} of 60");
}

#[test]
fn what_no_shard_must_have_is_left_where_it_is_and_the_rest_is_the_first_ones() {
    let shards = host(config());
    let steering = shards[0].steering().unwrap();
    let (from, to) = ("10.0.0.9".parse().unwrap(), "10.0.0.1".parse().unwrap());
    let echo = icmp::emit_echo_request(from, to, 1, 2, b"hello", 64);
    assert_eq!(steering.shard_of_packet(&echo), None);
    assert_eq!(steering.shard_of_packet(&[]), None);
    assert_eq!(steering.shard_of_packet(&echo[..10]), None);
    assert_eq!(steering.shard_of_packet(&[0x45; 40]), None);
    // A datagram has a flow as a segment has.
    let datagram = ip_packet(from, to, Protocol::UDP, &[0, 53, 0x80, 0, 0, 8, 0, 0]);
    let flow = FourTuple { local_addr: to, remote_addr: from, local_port: 0x8000, remote_port: 53 };
    assert_eq!(steering.shard_of_packet(&datagram), Some(steering.shard_of(&flow)));
    let kind = IcmpErrorKind::Unreachable(UnreachableKind::Port);
    let error = icmp::emit_error(to, from, kind, &datagram, 64);
    assert_eq!(steering.shard_of_packet(&error), Some(steering.shard_of(&flow)));
}

#[test]
fn a_connection_from_a_port_that_is_known_has_its_shard() {
    let mut shards = host(config());
    for port in 5000..5040 {
        let local = SocketAddr::from(([10, 0, 0, 1], port));
        let own = shards[0].shard_to_connect(local, remote(0)).unwrap().unwrap();
        // An address that is not chosen yet is the one that it will be.
        let unspecified = SocketAddr::from(([0, 0, 0, 0], port));
        assert_eq!(shards[3].shard_to_connect(unspecified, remote(0)).unwrap(), Some(own));
        let id = shards[own].connect(NOW, Some(local), remote(0), SocketOptions::default()).unwrap();
        let tuple = shards[own].tuple(id).unwrap();
        assert_eq!((tuple.local(), shards[0].steering().unwrap().shard_of(&tuple)), (local, own));
    }
    let anywhere = SocketAddr::from(([10, 0, 0, 1], 0));
    assert_eq!(shards[0].shard_to_connect(anywhere, remote(0)).unwrap(), None);
    let elsewhere = SocketAddr::from(([10, 9, 9, 9], 80));
    let error = shards[0].shard_to_connect(elsewhere, remote(0));
    assert_eq!(error, Err(ConnectError::AddressNotAvailable));
}

#[test]
fn the_limits_of_a_host_are_divided_and_its_memory_is_shared() {
    let mut config = config();
    config.max_connections = 10;
    config.memory_budget = Some(64 << 20);
    let mut shards = host(config);
    for shard in &mut shards {
        assert_eq!(shard.config().max_connections, 10);
        for number in 0..3 {
            open(shard, remote(number));
        }
        let another = shard.connect(NOW, None, remote(9), SocketOptions::default());
        assert_eq!(another, Err(ConnectError::TooManyConnections));
    }
    let one = Stack::shards(Arc::new(StackConfig::default()), [7; 32], NOW, NonZeroUsize::MIN);
    assert!(one.len() == 1 && one[0].steering().is_none());
}

#[test]
fn what_one_shard_holds_is_scarce_for_all() {
    let mut config = config();
    config.memory_budget = Some(1 << 20);
    let mut shards = host(config);
    let mut held = Vec::new();
    // Writers whose peer never answers, in the first shard alone, until it refuses them.
    for number in 0..20_000 {
        match shards[0].connect(NOW, None, remote(number), SocketOptions::default()) {
            Ok(id) => held.push(id),
            Err(error) => {
                assert_eq!(error, ConnectError::OutOfMemory);
                break;
            }
        }
    }
    let leased: usize = shards.iter().map(|shard| shard.memory().leased).sum();
    assert!(leased <= 1 << 20, "{leased}");
    let refused = shards[1].connect(NOW, None, remote(0), SocketOptions::default());
    assert_eq!(refused, Err(ConnectError::OutOfMemory), "the budget is spent, whoever spent it");
    for id in held {
        shards[0].close(NOW, id);
    }
    while shards[0].poll_timeout().is_some_and(|due| due <= NOW + Duration::from_secs(1)) {
        shards[0].handle_timeout(NOW + Duration::from_secs(1));
    }
    assert!(shards[1].connect(NOW, None, remote(0), SocketOptions::default()).is_ok());
}
