//! A transfer over a simulated network, and its captures at three places.

use std::io::Cursor;
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use ropeway_sim::{Host, Link, Net};

use crate::truth::{Listener, Sent};

/// A packet of a simulation: where it was seen, and when.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) from_client: bool,
    /// When its sender sent it, when it was between the ends, and when it arrived, in microseconds.
    pub(crate) seen: [Option<u64>; 3],
}

/// A simulation that has run.
pub(crate) struct World {
    pub(crate) packets: Vec<Packet>,
    /// Retransmissions, as the stacks tell of them.
    pub(crate) told: Vec<Sent>,
}

/// Runs a scenario between a client and a server, each with a link of its own to a router.
pub(crate) fn run<F>(
    seed: u64,
    client: Link,
    server: Link,
    scenario: impl FnOnce(Net, Host, Host) -> F,
) -> World
where
    F: Future<Output = ()>,
{
    let listener = Listener::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let pcap = listener.listen(|| {
        runtime.block_on(async {
            let net = Net::builder().seed(seed).keep(usize::MAX).build();
            let router = net.router("router");
            let host = |name, link| net.add_host(name).link(&router, link).build();
            let (client, server) = (host("client", client), host("server", server));
            scenario(net.clone(), client, server).await;
            net.pcap()
        })
    });
    World { packets: packets(&pcap), told: listener.told() }
}

fn packets(pcap: &[u8]) -> Vec<Packet> {
    let mut reader = PcapNgReader::new(Cursor::new(pcap)).expect("a capture");
    let mut packets = Vec::new();
    while let Some(block) = reader.next_block() {
        let Block::EnhancedPacket(block) = block.expect("a block") else { continue };
        let comment = block.options.iter().find_map(|option| match option {
            EnhancedPacketOption::Comment(comment) => Some(comment.to_string()),
            _ => None,
        });
        packets.extend(along(&comment.expect("a path"), block.data.to_vec()));
    }
    packets
}

/// Reads a path such as `client 0.000 > router 5.000 > lost at random (router to server) 5.000`. A packet that was doubled on
/// the way is several.
fn along(path: &str, bytes: Vec<u8>) -> Vec<Packet> {
    let time = |stage: &str| {
        let millis = stage.split_whitespace().find_map(|word| word.parse::<f64>().ok()).expect("a time");
        Some((millis * 1e3).round() as u64)
    };
    let from_client = path.starts_with("client");
    let target = if from_client { "server" } else { "client" };
    let mut packets: Vec<Packet> = Vec::new();
    let fresh = |sent| Packet { bytes: bytes.clone(), from_client, seen: [sent, None, None] };
    for stage in path.split(" > ") {
        let place = match stage.split_whitespace().next() {
            Some("client" | "server") if packets.is_empty() => {
                packets.push(fresh(time(stage)));
                continue;
            }
            Some("router") => 1,
            Some(name) if name == target => 2,
            _ => continue,
        };
        let free = packets.iter_mut().find(|packet| packet.seen[place].is_none());
        match free {
            Some(packet) => packet.seen[place] = time(stage),
            None => {
                let mut doubled = fresh(None);
                doubled.seen[place] = time(stage);
                packets.push(doubled);
            }
        }
    }
    packets
}

/// A place of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Client,
    Middle,
    Server,
}

pub(crate) const PLACES: [Place; 3] = [Place::Client, Place::Middle, Place::Server];

impl World {
    /// The capture made at a place, and the packets of its frames: `frames[0]` is that of frame 1.
    pub(crate) fn capture(&self, place: Place) -> (Vec<u8>, Vec<&Packet>) {
        let seen = |packet: &Packet| match (place, packet.from_client) {
            (Place::Client, true) | (Place::Server, false) => packet.seen[0],
            (Place::Middle, _) => packet.seen[1],
            _ => packet.seen[2],
        };
        let mut frames: Vec<(u64, &Packet)> =
            self.packets.iter().filter_map(|packet| Some((seen(packet)?, packet))).collect();
        frames.sort_by_key(|(at, _)| *at);
        let mut file = Vec::from(0xa1b2_c3d4_u32.to_le_bytes());
        file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0]);
        file.extend(101_u32.to_le_bytes());
        for (at, packet) in &frames {
            let len = packet.bytes.len() as u32;
            for field in [(at / 1_000_000) as u32, (at % 1_000_000) as u32, len, len] {
                file.extend(field.to_le_bytes());
            }
            file.extend(&packet.bytes);
        }
        (file, frames.into_iter().map(|(_, packet)| packet).collect())
    }

    /// What is said of the capture at a place.
    pub(crate) fn why(&self, place: Place) -> ropeway_why::Report {
        let report = ropeway_why::why(&self.capture(place).0[..], &ropeway_why::Options::default())
            .expect("a capture");
        if let Ok(directory) = std::env::var("ROPEWAY_WHY_DIR") {
            let path = std::path::Path::new(&directory).join(format!("{place:?}.pcap"));
            std::fs::write(path, self.capture(place).0).expect("a directory");
        }
        report
    }
}

pub(crate) fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}
