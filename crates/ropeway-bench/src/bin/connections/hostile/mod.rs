//! Slow and hostile applications and peers: what a stack holds for them, beside what it counts and what it may, and what a
//! well-behaved connection beside them gets.
//!
//! Attackers are packets made by hand. Time is virtual, so what anybody gets does not depend on the machine. Each case has
//! a process of its own, so that what is resident is its own.

mod attackers;
mod cases;
mod honest;
mod table;
mod world;

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs};

use serde::{Deserialize, Serialize};

use self::cases::Case;
use self::honest::{Honest, Service};
use self::world::{Setup, World};
use crate::allocated::allocated;

/// So many seconds the well-behaved connection has. Alone, it needs three.
const PATIENCE: u32 = 10;

/// What is held may be less than what is counted by so much, and more. Of what is allocated we see what was asked for; the
/// allocator rounds it up, and is resident with that. What is counted may have it in or not.
const LEAST: f64 = 0.87;
const MOST: f64 = 1.15;

/// The well-behaved connection has its share if it gets so much of what it gets alone.
const SHARE: f64 = 0.9;

/// What `hostile` takes.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// What they do, each in a process of its own.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "one-byte,never-read,zero-window,trickle,gaps,slow-readers"
    )]
    cases: Vec<Case>,
    /// How many connections they open; slow readers are a tenth of it.
    #[arg(long, default_value_t = 100_000)]
    connections: u32,
    /// In how many networks (/24) they are. The well-behaved connection comes from another one.
    #[arg(long, default_value_t = 1000)]
    networks: u32,
    /// What the stack may take, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    budget: usize,
    /// Writes all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Prints the figures of the one case as JSON, for the process that has started this one.
    #[arg(long, hide = true)]
    raw: bool,
}

/// What a case comes to. Memory is in bytes, and what there was before does not count.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Outcome {
    case: Case,
    /// Connections that were tried to open, and those that are.
    tried: u32,
    opened: usize,
    budget: usize,
    /// When they had done their worst: what is counted, by kind, and what is held.
    send: usize,
    receive: usize,
    reassembly: usize,
    records: usize,
    others: usize,
    counted: usize,
    allocated: usize,
    resident: Option<usize>,
    /// The most that was counted at any moment.
    peak: usize,
    /// What is still allocated when all of them have gone.
    left: usize,
    /// Real time for a packet of theirs, and what follows, in microseconds.
    cost: f64,
    /// What the well-behaved connection got meanwhile, and what it gets alone.
    service: Service,
    alone: Service,
}

/// Measures what `settings` ask for.
pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    if let (true, [case]) = (settings.raw, &*settings.cases) {
        println!("{}", serde_json::to_string(&measure(*case, settings)?)?);
        return Ok(());
    }
    let outcomes: Vec<Outcome> =
        settings.cases.iter().map(|case| measure_apart(*case, settings)).collect::<io::Result<_>>()?;
    table::print(&outcomes);
    if let Some(path) = &settings.json {
        fs::write(path, format!("{:#}\n", serde_json::to_value(&outcomes)?))?;
    }
    let faults: Vec<String> = outcomes.iter().flat_map(Outcome::faults).collect();
    if faults.is_empty() { Ok(()) } else { Err(io::Error::other(faults.join("; "))) }
}

/// Measures it in a process of its own.
fn measure_apart(case: Case, settings: &Settings) -> io::Result<Outcome> {
    eprintln!("{} ...", case.name());
    let numbers = [
        ("connections", u64::from(settings.connections)),
        ("networks", settings.networks.into()),
        ("budget", settings.budget as u64),
    ];
    let mut command = Command::new(env::current_exe()?);
    command.args(["hostile", "--raw", "--cases", &case.name()]);
    command.args(numbers.map(|(name, value)| format!("--{name}={value}")));
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{}: {}", case.name(), output.status)));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn measure(case: Case, settings: &Settings) -> io::Result<Outcome> {
    let setup = Setup {
        attackers: case.attackers(settings.connections),
        networks: settings.networks.max(1),
        window: case.window(),
        budget: settings.budget << 20,
        options: case.options(),
    };
    let alone = {
        let mut quiet = World::new(&Setup { attackers: 0, ..setup.clone() })?;
        serve(&mut quiet, case)?
    };
    let mut world = World::new(&setup)?;
    let (before, allocated_before, resident_before) = (world.memory(), allocated(), resident());
    world.open()?;
    for _ in 0..case.seconds() {
        world.second(|world, number| case.act(world, number))?;
    }
    let (used, held) = (world.memory(), allocated());
    let resident = resident().zip(resident_before).map(|(now, before)| now.saturating_sub(before));
    let (opened, cost) = (world.opened(), world.spent.as_secs_f64() * 1e6 / world.packets.max(1) as f64);
    let service = serve(&mut world, case)?;
    world.reset()?;
    Ok(Outcome {
        case,
        tried: setup.attackers,
        opened,
        budget: used.budget,
        send: used.send,
        receive: used.receive,
        reassembly: used.reassembly,
        records: used.records,
        others: used.half_open + used.time_wait + used.slabs,
        counted: used.total() - before.total(),
        allocated: held.saturating_sub(allocated_before),
        resident,
        peak: world.peak,
        left: allocated().saturating_sub(allocated_before),
        cost,
        service,
        alone,
    })
}

/// A well-behaved connection comes, while the attackers go on.
fn serve(world: &mut World, case: Case) -> io::Result<Service> {
    world.admit()?;
    for _ in 0..PATIENCE {
        world.second(|world, number| case.go_on(world, number))?;
        if world.honest().is_some_and(Honest::is_done) {
            break;
        }
    }
    let service = world.honest().map(|honest| honest.service(world.now)).unwrap_or_default();
    world.dismiss()?;
    Ok(service)
}

impl Outcome {
    /// What is held, beside what is counted.
    fn ratio(&self) -> f64 {
        self.allocated as f64 / self.counted.max(1) as f64
    }

    fn is_counted_well(&self) -> bool {
        let resident = self.resident.map_or(0.0, |resident| resident as f64 / self.counted.max(1) as f64);
        self.ratio() <= MOST && self.ratio().max(resident) >= LEAST
    }

    /// What is not as it must be.
    fn faults(&self) -> Vec<String> {
        let (service, alone) = (&self.service, &self.alone);
        let rate = |with: Option<f64>, alone: Option<f64>| with.unwrap_or(0.0) / alone.unwrap_or(0.0);
        let time = |with: Option<f64>, alone: Option<f64>| rate(with.map(f64::recip), alone.map(f64::recip));
        let shares = [
            ("opens", time(service.connect, alone.connect)),
            ("answers", time(service.slowest, alone.slowest)),
            ("upload", rate(service.upload, alone.upload)),
            ("download", rate(service.download, alone.download)),
        ];
        let slower = shares.into_iter().filter(|(_, share)| *share < SHARE);
        let slower =
            slower.map(|(what, share)| format!("the well-behaved connection has {share:.2} of its {what}"));
        let memory = [
            (!self.is_counted_well()).then(|| format!("{:.2} of what is counted is held", self.ratio())),
            (self.peak > self.budget).then(|| format!("{} bytes of a budget of {}", self.peak, self.budget)),
        ];
        let all = memory.into_iter().flatten().chain(slower);
        all.map(|fault| format!("{}: {fault}", self.case.name())).collect()
    }
}

/// Memory of this process that is resident, where the system tells.
fn resident() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? * 1024)
}
