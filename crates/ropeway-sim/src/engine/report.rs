//! What there is to say about a simulation that cannot go on: why, who waits for what, and what stands in the way.

use std::fmt::Write as _;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use ropeway::manual::WaitingTask;

use super::Why;
use super::stillness::Still;
use super::time::{Micros, Time, millis};
use crate::shared::Shared;
use crate::tasks::Job;
use crate::world::{Kind, World};

/// Lines about tasks that wait.
const MOST: usize = 100;

/// Nothing can happen any more.
fn still(still: Still, at: Micros, patience: Duration) -> String {
    let at = millis(at);
    match still {
        Still::Deadlock => format!(
            "a deadlock at {at} ms of simulated time: all tasks wait, no packet is on its way, and no timer runs. What \
             could still wake a task is another thread, and none has for {patience:?} of real time (NetBuilder::patience)"
        ),
        Still::Blocked => format!(
            "stuck at {at} ms of simulated time: all tasks wait, and Tokio's clock stands while a thread of \
             spawn_blocking runs. It has not woken a task for {:?} of real time, six times NetBuilder::patience",
            patience.saturating_mul(super::stillness::BLOCKING)
        ),
    }
}

/// It has gone on for too long.
pub(crate) fn over(time: &Time) -> String {
    format!(
        "the simulation has gone on for longer than {:?}, its limit (NetBuilder::time_limit): {} ms",
        time.limit(),
        millis(time.now())
    )
}

/// The whole text of a failure.
pub(super) fn failure(shared: &Shared, why: &Why, patience: Duration) -> String {
    let why = match *why {
        Why::Still(what, at) => still(what, at, patience),
        Why::Over => over(&shared.time),
        Why::Restless(restless) => restless.to_string(),
    };
    let mut world = shared.world();
    world.log(why.split(':').next().unwrap_or(&why).to_owned());
    let mut text = format!("{why}\n{}", waiting(&world));
    let hindrances = hindrances(&world);
    if !hindrances.is_empty() {
        let _ = writeln!(text, "\nWhat is in the way, perhaps: {}.", hindrances.join("; "));
    }
    let ladders = crate::net::ladders(&world);
    if !ladders.is_empty() {
        let _ = write!(text, "\n{ladders}");
    }
    text
}

/// A host, what runs on it, and who waits for its sockets.
struct Place {
    host: String,
    jobs: Vec<Arc<Job>>,
    sockets: Vec<WaitingTask>,
}

/// Who waits for what, a line each.
fn waiting(world: &World) -> String {
    let places: Vec<Place> = world
        .nodes
        .iter()
        .filter_map(|node| {
            let Kind::Host(host) = &node.kind else { return None };
            let life = host.life.as_ref()?;
            Some(Place { host: node.name.clone(), jobs: life.token.jobs(), sockets: life.manual.waiting() })
        })
        .collect();
    let mut lines = Vec::new();
    for place in &places {
        for socket in &place.sockets {
            let who = who(&places, &place.host, &socket.waker);
            lines.push(format!("{who} waits {}", socket.what));
        }
        for job in &place.jobs {
            if let Some(joiner) = job.joiner() {
                let who = who(&places, &place.host, &joiner);
                lines.push(format!("{who} waits for the end of {}: {job}", place.host));
            }
        }
    }
    // What is left waits for something that cannot be seen from here.
    let is_explained = |waker: &Waker| {
        let sockets =
            places.iter().flat_map(|place| &place.sockets).any(|socket| socket.waker.will_wake(waker));
        let joins = || places.iter().flat_map(|place| &place.jobs).filter_map(|job| job.joiner());
        sockets || joins().any(|joiner| joiner.will_wake(waker))
    };
    for place in &places {
        for job in &place.jobs {
            let what = match job.waker() {
                Some(waker) if is_explained(&waker) => continue,
                Some(_) => {
                    "waits for something that is not the network's: a channel, a lock, the end of a task"
                }
                None => "has not begun: nobody has polled it",
            };
            lines.push(format!("{}: {job} {what}", place.host));
        }
    }
    lines.push(
        "The test itself, and tasks that belong to no host, can be seen only where they wait for a socket or for a \
         HostTask."
            .to_owned(),
    );
    let left_out = lines.len().saturating_sub(MOST);
    let mut text = String::new();
    for line in lines.iter().skip(left_out) {
        let _ = writeln!(text, "  {line}");
    }
    if left_out > 0 {
        let _ = writeln!(text, "  and {left_out} more");
    }
    text
}

/// Whose waker it is. Several futures may run in one task; those of `host` are meant first.
fn who(places: &[Place], host: &str, waker: &Waker) -> String {
    let of = |place: &Place| -> Vec<String> {
        let jobs = place.jobs.iter().filter(|job| job.waker().is_some_and(|own| own.will_wake(waker)));
        jobs.map(|job| format!("{}: {job}", place.host)).collect()
    };
    let mut found: Vec<String> = places.iter().filter(|place| place.host == host).flat_map(of).collect();
    if found.is_empty() {
        found = places.iter().flat_map(of).collect();
    }
    if found.is_empty() {
        return format!("{host}: a task that was not started by Host::spawn or Host::run");
    }
    found.join(", or ")
}

/// What the test has done to the network that may be why.
fn hindrances(world: &World) -> Vec<String> {
    let mut hindrances = Vec::new();
    for node in &world.nodes {
        let Kind::Host(host) = &node.kind else { continue };
        if host.life.is_none() {
            hindrances.push(format!("{} is down", node.name));
        } else if host.is_frozen {
            hindrances.push(format!("{} is frozen", node.name));
        }
    }
    for (from, to) in &world.cut {
        hindrances.push(format!("{} is cut off from {}", world.node(*to).name, world.node(*from).name));
    }
    for link in &world.links {
        if !link.forth.config().up || !link.back.config().up {
            let [first, second] = link.ends.map(|end| world.node(end).name.clone());
            hindrances.push(format!("the link {first}-{second} is down"));
        }
    }
    if world.waits_for_ever() {
        hindrances.push("what is on its way takes centuries".to_owned());
    }
    match world.rules.held() {
        0 => {}
        1 => hindrances.push("a rule holds a segment".to_owned()),
        held => hindrances.push(format!("rules hold {held} segments")),
    }
    hindrances
}
