//! Runs a scenario, and says what went wrong.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ropeway::{KeepAlive, MtuProbing, SynCookieMode};
use ropeway_sim::{Host, HostTask, Link, Net, Router, TaskError};
use tokio::time::{Instant, sleep, sleep_until};

use super::apps;
use super::oracle::Oracle;
use super::scenario::{Connection, FaultKind, HostPlan, LinkPlan, Scenario};

/// Long after all timers have given up.
const PATIENCE: Duration = Duration::from_secs(12 * 3600);

/// What a run that went well amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub virtual_millis: u64,
    pub connections: u64,
    pub packets: u64,
    pub retransmitted: u64,
    pub mtu_probes: u64,
    pub black_holes: u64,
    /// Connections that began with a SYN with data.
    pub fast_opens: u64,
    pub datagrams: u64,
    /// Of those, what came in fragments.
    pub reassembled: u64,
    /// Of all packets, if they were kept.
    pub digest: u128,
}

impl Totals {
    pub fn add(&mut self, other: Self) {
        self.virtual_millis += other.virtual_millis;
        self.connections += other.connections;
        self.packets += other.packets;
        self.retransmitted += other.retransmitted;
        self.mtu_probes += other.mtu_probes;
        self.black_holes += other.black_holes;
        self.fast_opens += other.fast_opens;
        self.datagrams += other.datagrams;
        self.reassembled += other.reassembled;
    }
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps what a panic of this thread said, for [`run`] to tell.
pub fn note_panic(info: &PanicHookInfo<'_>) {
    PANIC.set(Some(info.to_string()));
}

/// Runs a scenario. On failure, its records are written into `records`.
pub fn run(scenario: &Scenario, records: Option<&Path>, keep: usize) -> Result<Totals, String> {
    PANIC.set(None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let work = || runtime.block_on(run_inside(Arc::new(scenario.clone()), records, keep));
    let result = std::panic::catch_unwind(AssertUnwindSafe(work));
    drop(runtime);
    match (PANIC.take(), result) {
        (Some(panic), _) => Err(format!("panic: {panic}")),
        (None, Ok(result)) => result,
        (None, Err(_)) => Err("panic: without a word".to_owned()),
    }
}

async fn run_inside(scenario: Arc<Scenario>, records: Option<&Path>, keep: usize) -> Result<Totals, String> {
    let keep = if records.is_some() { 256 << 20 } else { keep };
    let world = World::build(Arc::clone(&scenario), keep);
    let mut result = world.play().await;
    if result.is_ok() {
        result = world.oracle.judge(&scenario);
    }
    if result.is_err()
        && let Some(directory) = records
    {
        world.net.save(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    result.map(|()| world.totals(keep > 0))
}

struct World {
    scenario: Arc<Scenario>,
    oracle: Arc<Oracle>,
    net: Net,
    hosts: Vec<(u32, Host)>,
    start: Instant,
}

/// Something that is to be done at a moment.
enum Step<'a> {
    Begin(&'a FaultKind),
    End(&'a FaultKind),
    Connect(&'a Connection),
}

impl World {
    fn build(scenario: Arc<Scenario>, keep: usize) -> Self {
        let net = Net::builder().seed(scenario.seed).keep(keep).build();
        let oracle = Arc::new(Oracle::default());
        let routers =
            scenario.routers().into_iter().map(|number| (number, net.router(&format!("r{number}"))));
        let routers: BTreeMap<u32, Router> = routers.collect();
        for trunk in &scenario.trunks {
            let [a, b] = trunk.ends;
            net.link(&routers[&a], &routers[&b], trunk.link.link());
        }
        let hosts = scenario.hosts.iter().map(|plan| {
            let host = build_host(&net, plan, &routers);
            let (scenario, oracle, fast) =
                (Arc::clone(&scenario), Arc::clone(&oracle), plan.config.fast_open);
            host.on_boot(move || {
                let echo = apps::echo(Arc::clone(&scenario), Arc::clone(&oracle));
                let server = apps::server(Arc::clone(&scenario), Arc::clone(&oracle), fast);
                async move { tokio::try_join!(biased; server, echo).map(|_: ((), ())| ()) }
            });
            (plan.number, host)
        });
        let hosts = hosts.collect();
        Self { scenario, oracle, net, hosts, start: Instant::now() }
    }

    fn host(&self, number: u32) -> &Host {
        let found = self.hosts.iter().find(|(other, _)| *other == number);
        &found.expect("no part of a scenario is without its hosts").1
    }

    async fn play(&self) -> Result<(), String> {
        // The servers begin to listen.
        sleep(Duration::from_millis(1)).await;
        let mut clients = Vec::new();
        for (at, step) in self.steps() {
            sleep_until(self.start + Duration::from_millis(1 + at)).await;
            match step {
                Step::Begin(kind) => self.begin(kind),
                Step::End(kind) => self.end(kind),
                Step::Connect(connection) => clients.extend(self.connect(connection)),
            }
        }
        self.wait_for_the_end(clients).await?;
        self.tables_are_empty()
    }

    /// What is to be done, in order.
    fn steps(&self) -> Vec<(u64, Step<'_>)> {
        let mut steps = Vec::new();
        for fault in &self.scenario.faults {
            steps.push((fault.at_ms, Step::Begin(&fault.kind)));
            steps.push((fault.at_ms + fault.for_ms, Step::End(&fault.kind)));
        }
        steps.extend(self.scenario.connections.iter().map(|plan| (plan.at_ms, Step::Connect(plan))));
        steps.sort_by_key(|(at, _)| *at);
        steps
    }

    fn connect(&self, connection: &Connection) -> Option<HostTask<()>> {
        let (from, to) = (self.host(connection.from), self.host(connection.to));
        let ipv4 = if let std::net::IpAddr::V4(ipv4) = to.ip() { ipv4 } else { Ipv4Addr::UNSPECIFIED };
        let to = apps::server_address(ipv4, to.ipv6()?, connection);
        let fast =
            self.scenario.hosts.iter().any(|host| host.number == connection.from && host.config.fast_open);
        let client = apps::client(connection.clone(), to, Arc::clone(&self.oracle), fast);
        from.is_up().then(|| from.spawn(client))
    }

    fn begin(&self, kind: &FaultKind) {
        match kind {
            FaultKind::LinkDown { host } => self.host(*host).link().update(|pipe| pipe.up = false),
            FaultKind::LinkChange { host, link } => self.set_link(*host, link),
            FaultKind::Partition { side } => {
                self.net.partition(self.side(side, true), self.side(side, false))
            }
            FaultKind::Cut { from, to } => self.net.cut(self.host(*from), self.host(*to)),
            FaultKind::Crash { host } => self.host(*host).crash(),
            FaultKind::Freeze { host } => self.host(*host).freeze(),
            FaultKind::ClockSpeed { host, speed } => {
                self.host(*host).set_clock_speed(f64::from(*speed) / 1000.0);
            }
        }
    }

    fn end(&self, kind: &FaultKind) {
        match kind {
            FaultKind::LinkDown { host } | FaultKind::LinkChange { host, .. } => {
                let plan = self.scenario.hosts.iter().find(|plan| plan.number == *host);
                plan.into_iter().for_each(|plan| self.set_link(*host, &plan.link));
            }
            FaultKind::Partition { side } => {
                self.net.heal_between(self.side(side, true), self.side(side, false));
            }
            FaultKind::Cut { from, to } => self.net.heal_between([self.host(*from)], [self.host(*to)]),
            FaultKind::Crash { host } => self.host(*host).restart(),
            FaultKind::Freeze { host } => self.host(*host).thaw(),
            FaultKind::ClockSpeed { host, .. } => self.host(*host).set_clock_speed(1.0),
        }
    }

    /// A host's link never becomes narrower: its stack would have to be told.
    fn set_link(&self, host: u32, plan: &LinkPlan) {
        self.host(host).link().update(|pipe| *pipe = plan.pipe().mtu(pipe.mtu));
    }

    fn side<'a>(&'a self, side: &'a [u32], within: bool) -> impl Iterator<Item = &'a Host> {
        let chosen = self.hosts.iter().filter(move |(number, _)| side.contains(number) == within);
        chosen.map(|(_, host)| host)
    }

    async fn wait_for_the_end(&self, clients: Vec<HostTask<()>>) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let mut is_over = false;
        while Instant::now() < deadline && !is_over {
            sleep(Duration::from_secs(10)).await;
            is_over = clients.iter().all(HostTask::is_finished) && self.oracle.is_quiet();
        }
        if !is_over {
            return Err(format!("hang: after {PATIENCE:?}: {}", self.oracle.open()));
        }
        for client in clients {
            match client.await {
                Ok(()) | Err(TaskError::Crashed) => {}
                Err(error) => return Err(format!("panic: {error}")),
            }
        }
        // TIME-WAIT, and what nobody holds any more.
        let mut waited = Duration::ZERO;
        while self.tables_are_empty().is_err() && waited < PATIENCE {
            sleep(Duration::from_secs(10)).await;
            waited += Duration::from_secs(10);
        }
        Ok(())
    }

    fn tables_are_empty(&self) -> Result<(), String> {
        for (_, host) in &self.hosts {
            let sizes = host.stack().sizes();
            let left = [sizes.connections, sizes.half_open, sizes.time_wait, sizes.bindings];
            if left != [0; 4] || sizes.listeners != 1 {
                return Err(format!("tables: {} has {sizes:?} in the end", host.name()));
            }
        }
        Ok(())
    }

    fn totals(&self, is_kept: bool) -> Totals {
        let mut totals = Totals {
            virtual_millis: u64::try_from(self.net.elapsed().as_millis()).unwrap_or(u64::MAX),
            digest: if is_kept { self.net.digest() } else { 0 },
            ..Totals::default()
        };
        for (_, host) in &self.hosts {
            let counters = host.stack().counters();
            totals.connections += counters.active_opens;
            totals.packets += counters.sent;
            totals.retransmitted += counters.tcp_retransmitted;
            totals.mtu_probes += counters.mtu_probes;
            totals.black_holes += counters.black_holes;
            totals.fast_opens += counters.fast_open_passive;
            totals.datagrams += counters.udp_received;
            totals.reassembled += counters.datagrams_reassembled;
        }
        totals
    }
}

fn build_host(net: &Net, plan: &HostPlan, routers: &BTreeMap<u32, Router>) -> Host {
    let link: Link = plan.link.link();
    net.add_host(&format!("h{}", plan.number))
        .link(&routers[&plan.router], link)
        .config(|config| {
            let plan = &plan.config;
            if let Some(buffer) = plan.buffer {
                (config.socket.recv_buffer, config.socket.send_buffer) = (buffer, buffer);
            }
            config.timestamps = !plan.no_timestamps;
            config.window_scaling = !plan.no_window_scaling;
            config.socket.nodelay = plan.nodelay;
            if let Some(probing) = plan.probing.and_then(MtuProbing::from_number) {
                config.mtu_probing = probing;
            }
            if plan.fast_open {
                config.socket.fast_open = 8;
            }
            if plan.always_cookies {
                config.syn_cookies = SynCookieMode::Always;
            }
            // Only a crash may end a connection: so an error is a bug, and not bad luck. All packets of a burst may
            // be retransmissions of one segment.
            (config.socket.syn_retries, config.synack_retries) = (40, 40);
            (config.retries2, config.orphan_retries) = (40, 40);
            config.max_rto = Duration::from_secs(20);
            let keep_alive =
                KeepAlive { idle: Duration::from_secs(30), interval: Duration::from_secs(10), count: 60 };
            config.socket.keep_alive = Some(keep_alive);
        })
        .build()
}
