//! Scenarios from seeds.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::scenario::{App, ConfigPlan, Connection, Fault, FaultKind, HostPlan, LinkPlan, Scenario, Trunk};

struct Random(Xoshiro256PlusPlus);

impl Random {
    /// True once in `times`.
    fn once_in(&mut self, times: u32) -> bool {
        self.0.random_range(0..times) == 0
    }

    /// Small numbers are as likely as large ones: equally distributed are their logarithms.
    fn size(&mut self, most: u32) -> u32 {
        let bits = self.0.random_range(0..=most.ilog2());
        self.0.random_range(0..1_u32 << bits.min(30)).saturating_add(1 << bits).min(most)
    }

    fn range(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.0.random_range(range)
    }

    fn number(&mut self, range: std::ops::Range<u32>) -> u32 {
        self.0.random_range(range)
    }
}

impl Scenario {
    /// The scenario of a seed.
    pub fn random(seed: u64) -> Self {
        let mut random = Random(Xoshiro256PlusPlus::seed_from_u64(seed));
        let routers = random.number(1..5);
        // A tree, now and then with another link that makes a ring.
        let mut trunks: Vec<Trunk> = (1..routers)
            .map(|router| Trunk { ends: [random.number(0..router), router], link: link(&mut random, true) })
            .collect();
        if routers > 2 && random.once_in(3) {
            trunks.push(Trunk { ends: [0, routers - 1], link: link(&mut random, true) });
        }
        let count = random.number(2..7);
        let hosts: Vec<HostPlan> = (0..count)
            .map(|number| HostPlan {
                number,
                router: random.number(0..routers),
                link: link(&mut random, false),
                config: config(&mut random),
            })
            .collect();
        let connections = (0..random.number(1..13)).map(|number| connection(&mut random, number, count));
        let connections = connections.collect();
        let faults = (0..random.number(0..5)).map(|_| fault(&mut random, count)).collect();
        let mut scenario = Self { seed, hosts, trunks, connections, faults };
        scenario.widen(&mut Random(Xoshiro256PlusPlus::seed_from_u64(!seed)));
        scenario
    }

    /// Adds what has a generator of its own: Fast Open, probes, datagrams.
    fn widen(&mut self, random: &mut Random) {
        let is_fast = random.once_in(2);
        for host in &mut self.hosts {
            host.config.fast_open = is_fast && !random.once_in(4);
            host.config.probing = random.once_in(2).then(|| random.number(0..3) as u8 & 2);
        }
        // Without probes, only routers that say so can tell that large packets do not pass.
        let has_black_holes = self.trunks.iter().map(|trunk| &trunk.link).chain(self.links());
        if has_black_holes.into_iter().any(|link| link.black_hole.is_some()) {
            self.hosts
                .iter_mut()
                .for_each(|host| host.config.probing = host.config.probing.filter(|it| *it > 0));
        }
        let (hosts, first) = (self.hosts.len() as u32, self.connections.len() as u32);
        for number in first..first + random.number(0..4) {
            let mut connection = connection(random, number, hosts);
            connection.app = App::Datagrams {
                count: random.number(1..40),
                len: random.size(9_000),
                pause_ms: random.size(500),
            };
            self.connections.push(connection);
        }
    }

    /// Those of hosts, as they are and as they may become.
    fn links(&self) -> impl Iterator<Item = &LinkPlan> {
        let later = self.faults.iter().filter_map(|fault| match &fault.kind {
            FaultKind::LinkChange { link, .. } => Some(link),
            _ => None,
        });
        self.hosts.iter().map(|host| &host.link).chain(later)
    }
}

fn config(random: &mut Random) -> ConfigPlan {
    ConfigPlan {
        buffer: random.once_in(3).then(|| random.size(1 << 18).max(1000) as usize),
        no_timestamps: random.once_in(4),
        no_window_scaling: random.once_in(5),
        nodelay: random.once_in(2),
        always_cookies: random.once_in(6),
        ..ConfigPlan::default()
    }
}

fn link(random: &mut Random, is_trunk: bool) -> LinkPlan {
    let mut link = LinkPlan {
        delay_us: random.size(if is_trunk { 60_000 } else { 20_000 }).into(),
        ..LinkPlan::default()
    };
    if random.once_in(2) {
        link.kbit = Some(random.size(1_000_000).max(200).into());
        link.queue = random.once_in(2).then(|| random.number(4..200) as usize);
        link.codel = random.once_in(4);
    }
    if random.once_in(3) {
        link.jitter_us = random.size(20_000).into();
    }
    // The narrowest links are a trunk's, so that the hosts have to find out.
    if random.once_in(if is_trunk { 2 } else { 6 }) {
        link.mtu = Some([1280, 1300, 1400, 1499][random.number(0..4) as usize]);
    }
    if random.once_in(8) {
        link.black_hole = Some([1280, 1300, 1400, 1499][random.number(0..4) as usize]);
    }
    match random.number(0..6) {
        0 | 1 => link.loss = random.number(1..50),
        2 => (link.loss, link.burst) = (random.number(1..30), Some(random.number(2..4))),
        3 => link.lost_packets = (0..random.number(1..4)).map(|_| random.size(64).into()).collect(),
        _ => {}
    }
    if random.once_in(3) {
        link.reorder = random.number(1..150);
    }
    if random.once_in(4) {
        link.duplicate = random.number(1..80);
    }
    if random.once_in(5) {
        link.corrupt = random.number(1..20);
    }
    link
}

fn connection(random: &mut Random, number: u32, hosts: u32) -> Connection {
    let from = random.number(0..hosts);
    let to = (from + random.number(1..hosts)) % hosts;
    let at_ms = if random.once_in(2) { random.range(0..3) } else { random.range(0..20_000) };
    Connection { number, from, to, at_ms, ipv6: random.once_in(3), app: app(random) }
}

fn app(random: &mut Random) -> App {
    match random.number(0..7) {
        0 => App::Bulk { up: random.size(400_000), down: random.size(400_000) },
        1 => App::HalfClose { up: random.size(200_000), down: random.size(200_000) },
        2 => App::Requests {
            count: random.number(1..30),
            up: random.size(20_000),
            down: random.size(20_000),
            pause_ms: if random.once_in(2) { 0 } else { random.size(3_000) },
        },
        3 => App::Abort {
            by_client: random.once_in(2),
            after: random.size(100_000),
            down: random.size(100_000),
        },
        4 => App::Idle { secs: random.number(1..400) },
        5 => App::Slow {
            up: random.size(100_000),
            chunk: random.size(20_000).max(500),
            pause_ms: random.size(500),
        },
        _ => App::Short { count: random.number(1..20), up: random.size(3_000), down: random.size(3_000) },
    }
}

fn fault(random: &mut Random, hosts: u32) -> Fault {
    let host = random.number(0..hosts);
    let kind = match random.number(0..8) {
        0 => FaultKind::LinkDown { host },
        1 => FaultKind::LinkChange { host, link: link(random, false) },
        2 => FaultKind::Partition {
            side: (0..hosts).filter(|other| *other == host || random.once_in(2)).collect(),
        },
        3 => FaultKind::Cut { from: host, to: (host + random.number(1..hosts)) % hosts },
        4 | 5 => FaultKind::Crash { host },
        6 => FaultKind::Freeze { host },
        _ => FaultKind::ClockSpeed { host, speed: random.number(800..1250) },
    };
    Fault { at_ms: random.range(1..15_000), for_ms: u64::from(random.size(12_000)), kind }
}
