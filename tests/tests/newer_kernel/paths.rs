//! Transfers through the guest's queues: delay, loss, other orders, marks. What must hold is that every byte arrives; how long it
//! took stands beside what the machine's own kernel takes over the same path ([`figures`]).

use std::net::SocketAddr;
use std::time::Instant;

use ropeway::EcnMode;
use ropeway::congestion::Algorithm;
use ropeway_tests::link::Family;
use tokio::net::TcpSocket;

use crate::agent::{set_congestion, talk};
use crate::peer::{Between, Opens, Peer, Sends};

#[path = "../../../examples/dctcp.rs"]
#[allow(dead_code)]
mod dctcp;

/// What netem does to packets of each direction: half of the delay is before each end.
const PATHS: [(&str, &str); 5] = [
    ("20 ms", "delay 10ms limit 1000"),
    ("20 ms, 1 % lost", "delay 10ms loss 1% limit 1000"),
    ("20 ms, 2 ms of jitter, in order or not", "delay 10ms 2ms limit 1000"),
    ("20 ms, 5 % come early", "delay 10ms reorder 95% 25% gap 5 limit 1000"),
    ("20 ms, 20 Mbit/s, 40 packets wait", "delay 10ms rate 20mbit limit 70"),
];

async fn lay(peer: Peer, netem: &str) {
    for device in ["vec0", "veth0"] {
        peer.run(&format!("tc qdisc replace dev {device} root netem {netem}")).await;
    }
}

/// Each direction and congestion control over each path.
pub(crate) async fn bytes_arrive_over_delay_loss_and_reordering(peer: Peer, family: Family) {
    let mut between = Between::plain(peer, family);
    for (_, netem) in PATHS {
        lay(peer, netem).await;
        for (name, ours) in [("cubic", Algorithm::Cubic), ("bbr", Algorithm::Bbr)] {
            peer.set("tcp_congestion_control", name).await;
            between.congestion = ours;
            between.transfer(Opens::Kernel, Sends::Kernel, 500_000).await;
            between.transfer(Opens::Ours, Sends::Ours, 500_000).await;
        }
    }
}

/// DCTCP at either end, over a queue that marks what waits longer than a millisecond, and Accurate ECN: nothing is lost.
pub(crate) async fn dctcp_goes_by_the_marks_of_a_queue(peer: Peer, family: Family) {
    peer.set("tcp_ecn", 3).await;
    for device in ["vec0", "veth0"] {
        peer.run(&format!(
            "tc qdisc replace dev {device} root handle 1: tbf rate 50mbit burst 16kb limit 600kb"
        ))
        .await;
        peer.run(&format!("tc qdisc add dev {device} parent 1:1 fq_codel ecn ce_threshold 1ms")).await;
    }
    peer.set("tcp_congestion_control", "dctcp").await;
    let mut between = Between::plain(peer, family);
    between.ecn = EcnMode::Accurate;
    between.congestion = Algorithm::custom(dctcp::Dctcp);
    let theirs = between.transfer(Opens::Kernel, Sends::Kernel, 4 << 20).await;
    let ours = between.transfer(Opens::Ours, Sends::Ours, 4 << 20).await;
    assert!(theirs.kernel.delivered_ce() > 10, "{theirs:?}");
    assert_eq!(theirs.kernel.delivered_bytes()[2], theirs.ours.received_ce_bytes, "{theirs:?}");
    // Nothing was lost: what was sent again, a tail probe on a busy machine, had arrived before.
    assert_eq!(theirs.kernel.retransmitted(), theirs.kernel.dsack_dups(), "{theirs:?}");
    assert!(ours.ours.delivered_ce > 10, "{ours:?}");
    assert_eq!(ours.ours.delivered_ce_bytes, ours.kernel.received_bytes()[2], "{ours:?}");
    assert_eq!(ours.ours.retransmitted, ours.ours.dsack_dups, "{ours:?}");
}

const BYTES: u64 = 8_000_000;

/// How fast each end sends over each path, beside the kernel of this machine: measured by hand
/// (`.ci/uml --ignored --exact newer::paths::figures::ipv4`).
pub(crate) async fn figures(peer: Peer, family: Family) {
    println!(
        "| path | | to the guest: kernel | ropeway | sent again | from the guest: to the kernel | to ropeway | sent again |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut between = Between::plain(peer, family);
    for (path, netem) in PATHS {
        lay(peer, netem).await;
        for (name, ours) in [("cubic", Algorithm::Cubic), ("bbr", Algorithm::Bbr)] {
            peer.set("tcp_congestion_control", name).await;
            between.congestion = ours;
            let (kernel_to, _) = kernels(peer, name, Sends::Ours).await;
            let to = between.transfer(Opens::Ours, Sends::Ours, BYTES).await;
            let (kernel_from, kernel_again) = kernels(peer, name, Sends::Kernel).await;
            let from = between.transfer(Opens::Ours, Sends::Kernel, BYTES).await;
            println!(
                "| {path} | {name} | {:.1} | {:.1} | {} | {:.1} | {:.1} | {kernel_again}, {} |",
                rate(kernel_to),
                rate(to.seconds),
                to.ours.retransmitted,
                rate(kernel_from),
                rate(from.seconds),
                from.kernel.retransmitted(),
            );
        }
    }
}

/// Mbit/s
fn rate(seconds: f64) -> f64 {
    BYTES as f64 * 8e-6 / seconds
}

/// The same between both kernels: seconds, and what the guest sent again.
async fn kernels(peer: Peer, congestion: &str, sends: Sends) -> (f64, u32) {
    let to = SocketAddr::new(peer.address(Family::V4), 1000);
    let what = if sends == Sends::Kernel { "send" } else { "receive" };
    let work = peer.begin(format!("listen {to} {what} {BYTES}")).await;
    let socket = TcpSocket::new_v4().unwrap();
    set_congestion(&socket, congestion).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    let begun = Instant::now();
    let (ours, (theirs, seconds, info)) =
        tokio::join!(talk(&mut stream, sends == Sends::Ours, BYTES), work.end());
    assert_eq!(ours, theirs);
    let seconds = if sends == Sends::Ours { begun.elapsed().as_secs_f64() } else { seconds };
    (seconds, info.retransmitted())
}
