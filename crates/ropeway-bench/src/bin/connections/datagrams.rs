//! What UDP sockets hold: in the core, flooded, and as sockets that tasks wait for.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use ropeway::net::UdpSocket;
use ropeway_core::packet::{IpParams, Protocol, udp};
use ropeway_core::{Outgoing, Received, Stack, Timestamp, UdpId, UdpOptions};

use crate::allocated::allocated;
use crate::{SERVER, client, drain, fail, per_entry, stack};

/// What a question and its answer have, about.
const DATA: &[u8] = &[7; 100];
/// For all of them, when they are flooded.
const BUDGET: usize = 64 << 20;
const FLOOD: u32 = 200;

/// Measures so many flows.
pub(crate) fn measure(count: u32) {
    let now = Timestamp::START;
    let mut stack = stack(SERVER, |config| config.ephemeral_ports = 1024..=u16::MAX);
    let before = allocated();
    let flows = open(&mut stack, now, count);
    println!("connected       {:7.1} bytes each, of {count}", per_entry(before, count));
    let ask = |stack: &mut Stack, id: UdpId, n: u32| {
        stack.udp_send(now, id, DATA, &Outgoing::default()).unwrap_or_else(|error| fail(&error.to_string()));
        drain(stack, now);
        stack.handle_packet(now, answer(stack, id, n, DATA));
        drain(stack, now);
    };
    for (id, n) in flows.iter().zip(0..) {
        ask(&mut stack, *id, n);
        let _read = stack.udp_recv(*id);
    }
    println!("                {:7.1} when they have sent and read a datagram", per_entry(before, count));
    for (id, n) in flows.iter().zip(0..) {
        ask(&mut stack, *id, n);
    }
    let counted = stack.memory().datagrams as f64 / f64::from(count);
    println!(
        "                {:7.1} with an answer of {} bytes that is not read; {counted:.1} are counted",
        per_entry(before, count),
        DATA.len()
    );
    drop(stack);
    flooded(count);
    waited_for(count);
}

/// Sockets that are connected to a peer each.
fn open(stack: &mut Stack, now: Timestamp, count: u32) -> Vec<UdpId> {
    let mut flows = Vec::with_capacity(count as usize);
    for n in 0..count {
        let local = SocketAddr::from((SERVER, 0));
        let Ok((id, _)) = stack.udp_bind(local, UdpOptions::default()) else { fail("bind") };
        stack.udp_connect(now, id, client(n).into()).unwrap_or_else(|error| fail(&error.to_string()));
        flows.push(id);
    }
    flows
}

/// A datagram from the peer of the n-th flow.
fn answer(stack: &Stack, id: UdpId, n: u32, data: &[u8]) -> Received {
    let (address, port) = client(n);
    let local = stack.udp_local_addr(id).unwrap_or_else(|_| fail("no such socket"));
    let ip = IpParams {
        src: address.into(),
        dst: local.ip(),
        protocol: Protocol::UDP,
        hop_limit: 64,
        traffic_class: 0,
        dont_fragment: true,
        ident: 0,
        flow_label: 0,
    };
    let packet = udp::emit(&ip, port, local.port(), data).unwrap_or_else(|error| fail(&error.to_string()));
    Received::new(Bytes::from(packet))
}

/// All of them get more than they read, within a budget.
fn flooded(count: u32) {
    let now = Timestamp::START;
    let change = |config: &mut ropeway_core::StackConfig| {
        config.ephemeral_ports = 1024..=u16::MAX;
        config.memory_budget = Some(BUDGET);
    };
    let mut stack = stack(SERVER, change);
    let before = allocated();
    let flows = open(&mut stack, now, count);
    for round in 0..FLOOD {
        for (id, n) in flows.iter().zip(0..) {
            let packet = answer(&stack, *id, n, &vec![7; 1200 - (round % 7) as usize]);
            stack.handle_packet(now, packet);
            drain(&mut stack, now);
        }
    }
    println!(
        "flooded         {:7.1} MiB for all, {:.1} counted, of a budget of {}; {} of {} datagrams were dropped",
        (allocated() - before) as f64 / f64::from(1 << 20),
        stack.memory().datagrams as f64 / f64::from(1 << 20),
        BUDGET >> 20,
        stack.counters().udp_queue_full + stack.counters().udp_memory_dropped,
        u64::from(FLOOD) * u64::from(count),
    );
}

/// As sockets on the loopback of the process, each with a task that waits for a datagram.
fn waited_for(count: u32) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        fail("no runtime")
    };
    runtime.block_on(async {
        let Ok(peer) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await else { fail("bind") };
        let Ok(to) = peer.local_addr() else { fail("address") };
        let before = allocated();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..count {
            let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await else { fail("bind") };
            if socket.connect(to).await.is_err() {
                fail("connect");
            }
            tasks.spawn(async move { socket.recv(&mut [0; 64]).await });
        }
        tokio::task::yield_now().await;
        println!("waited for      {:7.1} bytes each, as sockets in tasks", per_entry(before, count));
    });
}
